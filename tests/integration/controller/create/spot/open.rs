//! Spot requests that stay open until EC2 fills them: what comes is made a box, in whatever way it comes.

use anyhow::{Context as _, Result};
use aws_sdk_ec2::types::HttpTokensState;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetkey_tests::proxy::Fault;
use fleetkey_tests::wait_until;

use super::super::ground::{Ground, printed, tags};
use super::market::{Market, held_create};
use super::{CANCEL, DESCRIBE, LONG, REQUEST, TIMED, calls, count};

#[tokio::test]
async fn an_instance_of_a_spot_request_is_tagged_and_set_up_as_one_of_a_launch() -> Result<()> {
    let ground = Ground::new().await?;
    ground.proxy.take_calls();
    let flags = ["--spot-bid", "0.00005", "--spot-timeout", "5m", "--spot-launch-group", "red"];
    let made = ground.create(&flags).await?;
    let asked = calls(&ground.proxy.take_calls(), REQUEST);
    let [asked] = asked.as_slice() else { panic!("{} requests", asked.len()) };
    for (field, value) in
        [("SpotPrice", "0.00005"), ("Type", "one-time"), ("LaunchGroup", "team_red"), ("InstanceCount", "1")]
    {
        assert_eq!(asked.get(field).map(String::as_str), Some(value), "{field}");
    }
    let specified = |name: &str| asked.get(&format!("LaunchSpecification.{name}")).map(String::as_str);
    assert_eq!((specified("InstanceType"), specified("KeyName")), (Some("t3.small"), Some("alice")));
    let group = &ground.groups("team_web").await?[0];
    assert_eq!(specified("SecurityGroupId.1"), group.group_id());
    assert!(specified("UserData").is_some_and(|data| !data.is_empty()) && asked.contains_key("ValidUntil"));
    assert!(specified("SubnetId").is_some() && specified("IamInstanceProfile.Name").is_some());

    let found = ground.instances().await?;
    let [found] = found.as_slice() else { panic!("{} instances", found.len()) };
    assert_eq!(found.instance_id(), made["id"].as_str());
    let has = tags(found.tags());
    assert_eq!((has["Name"], has["generation"], has["fleetkey:token"].len()), ("team_web", "0", 32));
    let options = found.metadata_options().context("it has metadata options")?;
    assert_eq!(options.http_tokens(), Some(&HttpTokensState::Required));
    assert_eq!(options.http_put_response_hop_limit(), Some(1));
    let volumes = ground.cloud().ec2().describe_volumes().send().await?;
    let of_it = |volume: &&aws_sdk_ec2::types::Volume| {
        volume.attachments().iter().any(|at| at.instance_id() == found.instance_id())
    };
    let root = volumes.volumes().iter().find(of_it).context("it has a volume")?;
    assert_eq!(tags(root.tags())["Name"], "team_web");
    assert!(ground.records()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_held_is_waited_for_and_its_instance_adopted_when_it_comes() -> Result<()> {
    let ground = Ground::new().await?;
    let market = Market::open(&ground, "capacity-not-available");
    let running = held_create(&ground, &TIMED)?;
    // Throttling is no word on the request.
    ground.proxy.spoil(DESCRIBE, Fault::Throttle);
    let mut throttled = 0;
    wait_until("EC2 is asked too often", LONG, || {
        throttled += count(&ground.proxy.take_calls(), DESCRIBE);
        Ok(throttled >= 2)
    })?;
    let instance = market.fill(&ground).await?;
    ground.proxy.mend(DESCRIBE);
    let made = printed(&running.end().await?.ended(0))?;
    assert_eq!((made["id"].as_str(), made["name"].as_str()), (Some(instance.as_str()), Some("/team/web")));
    assert_eq!((market.states(), count(&ground.proxy.take_calls(), CANCEL)), (vec!["active"], 0));
    assert!(ground.records()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_request_whose_answer_is_lost_is_found_by_its_token_and_not_made_twice() -> Result<()> {
    let ground = Ground::new().await?;
    ground.proxy.spoil(REQUEST, Fault::HalfBody);
    ground.proxy.take_calls();
    let made = ground.create(&TIMED).await?;
    assert_eq!(count(&ground.proxy.take_calls(), REQUEST), 1);
    let found = ground.instances().await?;
    assert_eq!((found.len(), found[0].instance_id()), (1, made["id"].as_str()));
    assert!(ground.records()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_request_whose_answer_is_lost_and_that_cannot_be_looked_for_is_not_forgotten() -> Result<()> {
    let ground = Ground::new().await?;
    let market = Market::open(&ground, "capacity-not-available");
    market.lose_answer();
    ground.proxy.spoil(DESCRIBE, Fault::Refuse("RequestExpired", "not now"));
    let said = ground.run("create", &[&TIMED[..], &["--quick"]].concat()).await?.ended(1).stderr;
    assert!(said.contains("EC2 has not answered to a spot request, and shows none"), "{said}");
    assert!(!ground.records()?.is_empty() && market.states() == ["open"], "{said}");
    ground.proxy.mend(DESCRIBE);
    let instance = market.fill(&ground).await?;
    let made = ground.create(&TIMED).await?;
    assert_eq!((made["id"].as_str(), made["resumed"].as_bool()), (Some(instance.as_str()), Some(true)));
    assert!(market.states() == ["active"] && ground.records()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_request_moves_on_to_each_place_and_then_stays_open_in_the_first() -> Result<()> {
    let ground = Ground::new().await?;
    let market = Market::open(&ground, "price-too-low");
    let places = ["-t", "t3.small,t3.medium", "--zone", "us-west-2b,us-west-2a"];
    ground.proxy.take_calls();
    let running = ground.start("create", &[&TIMED[..], &places, &["--quick"]].concat())?;
    let mut asked = Vec::new();
    wait_until("it is back in the first place", LONG, || {
        asked.extend(calls(&ground.proxy.take_calls(), REQUEST));
        Ok(asked.len() == 5)
    })?;
    let of = |field: &str| asked.iter().map(|fields| fields[field].clone()).collect::<Vec<_>>();
    let kinds = of("LaunchSpecification.InstanceType");
    assert_eq!(kinds, ["t3.small", "t3.small", "t3.medium", "t3.medium", "t3.small"]);
    let subnets = of("LaunchSpecification.SubnetId");
    assert_eq!((&subnets[0], &subnets[1]), (&subnets[2], &subnets[3]));
    assert_ne!(subnets[0], subnets[1]);
    assert_eq!(subnets[0], subnets[4]);
    assert_eq!(market.states(), ["cancelled", "cancelled", "cancelled", "cancelled", "open"]);
    market.fill(&ground).await?;
    running.end().await?.ended(0);
    assert_eq!(market.states().last(), Some(&"active"));
    assert_eq!(ground.instances().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_request_goes_back_to_where_it_was_held_also_when_the_last_place_refuses_it() -> Result<()> {
    let ground = Ground::new().await?;
    let market = Market::open(&ground, "capacity-not-available");
    market.limit("t3.medium");
    let running = ground.start("create", &[&TIMED[..], &["-t", "t3.small,t3.medium", "--quick"]].concat())?;
    wait_until("it is back in the first place", LONG, || Ok(market.states() == ["cancelled", "open"]))?;
    let instance = market.fill(&ground).await?;
    running.end().await?.ended(0);
    assert_eq!(ground.instances().await?[0].instance_id(), Some(instance.as_str()));
    Ok(())
}

#[tokio::test]
async fn the_agent_can_be_fetched_for_as_long_as_a_request_may_stay_open_and_an_hour() -> Result<()> {
    let ground = Ground::new().await?;
    ground.operator.file(
        "roles/web.yaml",
        "package: deb\nadmin_account: admin\ninstance_type: t3.small\n\
         base_images:\n  x86_64: {owner: amazon, name: 'al2023-ami-2023*-x86_64'}\n",
    )?;
    ground.publish("deb").await?;
    for (flags, seconds) in [
        (&["--spot", "--spot-timeout", "3h", "--timeout", "4h"][..], 4 * 3600),
        (&["--spot", "--spot-launch-group", "red", "--timeout", "2h"], 3 * 3600),
    ] {
        ground.proxy.take_calls();
        ground.create(&[flags, &["--anew"]].concat()).await?;
        let asked = calls(&ground.proxy.take_calls(), REQUEST);
        let encoded =
            asked[0]["LaunchSpecification.UserData"].replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
        let user_data = String::from_utf8(STANDARD.decode(encoded)?)?;
        assert!(user_data.contains(&format!("X-Amz-Expires={seconds}&")), "{flags:?}: {user_data}");
    }
    Ok(())
}

#[tokio::test]
async fn a_request_of_a_launch_group_waits_for_its_group_where_it_is() -> Result<()> {
    let ground = Ground::new().await?;
    let market = Market::open(&ground, "launch-group-constraint");
    let group = ["--spot", "--spot-launch-group", "red", "--zone", "us-west-2b,us-west-2a"];
    let running = held_create(&ground, &group)?;
    assert_eq!(market.states(), ["open"]);
    let instance = market.fill(&ground).await?;
    assert_eq!(printed(&running.end().await?.ended(0))?["id"], instance.as_str());
    Ok(())
}
