//! Spot instances that EC2 launches at once or not at all, and the lists of zones and types that a launch falls through.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_sdk_ec2::primitives::{DateTime, DateTimeFormat};
use aws_sdk_ec2::types::InstanceLifecycleType;
use fleetkey_tests::proxy::Fault;

use super::super::ground::{Ground, printed};
use super::{calls, count};

const RUN: &str = "ec2:RunInstances";
const LISTS: [&str; 5] = ["--quick", "-t", "t3.small,t3.medium", "--zone", "us-west-2b,us-west-2a"];

#[tokio::test]
async fn a_spot_instance_is_asked_for_once_with_the_bid_or_up_to_the_on_demand_price() -> Result<()> {
    let ground = Ground::new().await?;
    for (flags, price) in [(&["--spot-bid", "0.0510"][..], Some("0.051")), (&["--spot"], None)] {
        ground.proxy.take_calls();
        let made = ground.create(&[flags, &["--anew"]].concat()).await?;
        let asked = calls(&ground.proxy.take_calls(), RUN);
        let field = |name: &str| asked[0].get(&format!("InstanceMarketOptions.{name}")).map(String::as_str);
        assert_eq!((field("MarketType"), field("SpotOptions.SpotInstanceType")), (Some("spot"), Some("one-time")));
        assert_eq!((asked.len(), field("SpotOptions.MaxPrice")), (1, price));
        let found = ground.instances().await?;
        let found = found.iter().find(|found| found.instance_id() == made["id"].as_str()).context("it is there")?;
        assert_eq!(found.instance_lifecycle(), Some(&InstanceLifecycleType::Spot));
    }
    ground.create(&["--anew"]).await?;
    let asked = calls(&ground.proxy.take_calls(), RUN);
    assert!(!asked[0].keys().any(|field| field.starts_with("InstanceMarketOptions")));
    Ok(())
}

#[tokio::test]
async fn a_dry_run_shows_the_bid_the_price_of_today_and_how_long_ec2_may_take() -> Result<()> {
    let ground = Ground::new().await?;
    let flags = ["--dry-run", "--spot-bid", "0.00005", "--spot-timeout", "5m", "--spot-launch-group", "red"];
    let ran = ground.run("create", &flags).await?.ended(0);
    let shown: Vec<_> = ran.stdout.lines().filter(|line| line.contains("pay") || line.contains("request")).collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    pay       the spot price, at most 0.00005 USD an hour
    pay       now for t3.small: 0.00001 in us-west-2a
    wait for  the spot request, for 5m at most, in launch group team_red
    ");
    let ran = ground.run("create", &["--dry-run", "--spot", "--output", "json"]).await?.ended(0);
    insta::assert_snapshot!(printed(&ran)?["spot"].to_string(), @r#"{"bid":null,"call":"RunInstances","launch_group":null,"prices":{"t3.small":{"us-west-2a":"0.00001"}},"tentative":false,"timeout_seconds":null}"#);
    assert!(ground.is_bare().await?);
    Ok(())
}

#[tokio::test]
async fn a_bid_that_makes_no_sense_by_the_prices_of_today_is_warned_about() -> Result<()> {
    let ground = Ground::new().await?;
    let said = ground.run("create", &["--dry-run", "--spot-bid", "0.05"]).await?.ended(0).stderr;
    assert!(said.contains("warning: the bid of 0.05 is more than 10 times the price of t3.small (0.00001)"), "{said}");
    let said = ground.run("create", &["--dry-run", "--spot-bid", "0.000001"]).await?.ended(0).stderr;
    assert!(said.contains("warning: the bid of 0.000001 is below every price: the lowest is 0.00001"), "{said}");
    // What is only shown keeps nobody from a box.
    ground.proxy.spoil("ec2:DescribeSpotPriceHistory", Fault::Refuse("Broken", "it is broken"));
    let said = ground.run("create", &["--quick", "--spot-bid", "0.05"]).await?.ended(0).stderr;
    assert!(said.contains("warning: the prices of today are not known: "), "{said}");
    let said = ground.run("create", &["--quick", "--spot", "--spot-auto-zone"]).await?.ended(1).stderr;
    assert!(said.contains("ec2 DescribeSpotPriceHistory t3.small failed: Broken"), "{said}");
    Ok(())
}

#[tokio::test]
async fn zones_are_tried_in_the_order_of_their_prices_and_that_of_a_variable_gives_way() -> Result<()> {
    let ground = Ground::new().await?;
    let price = |zone: &str, at: &str, price: &str| {
        format!(
            "<item><instanceType>t3.small</instanceType><productDescription>Linux/UNIX</productDescription>\
             <spotPrice>{price}</spotPrice><timestamp>{at}</timestamp><availabilityZone>us-west-2{zone}</availabilityZone>\
             </item>"
        )
    };
    let (before, lately) = ("2020-01-01T00:00:00.000Z", yesterday()?);
    let told = [
        price("a", before, "0.0100"),
        price("a", &lately, "0.0900"),
        price("b", before, "0.0200"),
        price("b", &lately, "0.0210"),
        price("c", before, "0.0300"),
    ];
    let body = format!(
        "<DescribeSpotPriceHistoryResponse><spotPriceHistorySet>{}</spotPriceHistorySet></DescribeSpotPriceHistoryResponse>",
        told.concat()
    );
    ground.proxy.answer("ec2:DescribeSpotPriceHistory", 200, &body);
    let order = async |more: &[&str]| {
        let flags = [more, &["--spot-auto-zone", "--dry-run", "--output", "json"]].concat();
        let zones = printed(&ground.run("create", &flags).await?.ended(0))?["launch"]["zones"].clone();
        anyhow::Ok(zones.to_string().replace("us-west-2", "").replace('"', ""))
    };
    // c never changed, b a little, and a much; the tests' FLEETKEY_ZONE is a.
    assert_eq!(order(&["--spot"]).await?, "[c,b,a]");
    assert_eq!(order(&["--spot-bid", "0.025"]).await?, "[b,c,a]");
    assert_eq!(order(&["--spot", "--zone", "us-west-2a,us-west-2b"]).await?, "[b,a]");
    let ran = ground.run("create", &["--spot", "--spot-auto-zone", "-t", "t3.medium"]).await?.ended(1);
    assert!(ran.stderr.contains("error: EC2 tells no spot price of t3.medium in "), "{}", ran.stderr);
    Ok(())
}

/// Yesterday at this time, as EC2 writes it.
fn yesterday() -> Result<String> {
    let at = std::time::SystemTime::now() - Duration::from_hours(24);
    Ok(DateTime::from(at).fmt(DateTimeFormat::DateTime)?)
}

#[tokio::test]
async fn without_room_each_type_is_tried_in_each_zone_in_the_order_given() -> Result<()> {
    let ground = Ground::new().await?;
    ground.proxy.spoil(RUN, Fault::Refuse("InsufficientInstanceCapacity", "no room"));
    ground.proxy.take_calls();
    let said = ground.run("create", &LISTS).await?.ended(1).stderr;
    let asked = calls(&ground.proxy.take_calls(), RUN);
    let kinds: Vec<_> = asked.iter().map(|fields| fields["InstanceType"].as_str()).collect();
    assert_eq!(kinds, ["t3.small", "t3.small", "t3.medium", "t3.medium"]);
    let subnets: Vec<_> = asked.iter().map(|fields| fields["SubnetId"].as_str()).collect();
    assert_eq!((subnets[0], subnets[1]), (subnets[2], subnets[3]));
    assert_ne!(subnets[0], subnets[1]);
    let mut tokens: Vec<_> = asked.iter().map(|fields| fields["ClientToken"].as_str()).collect();
    tokens.dedup();
    assert_eq!(tokens.len(), 4);
    assert!(said.contains("error: EC2 has no room for t3.small, t3.medium in us-west-2b, us-west-2a: "), "{said}");
    assert!(ground.is_bare().await? && ground.records()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn each_error_of_capacity_falls_through_as_far_as_it_can_help() -> Result<()> {
    let ground = Ground::new().await?;
    for (code, times, error) in [
        ("InsufficientReservedInstanceCapacity", 4, "EC2 has no room for t3.small, t3.medium"),
        ("SpotMaxPriceTooLow", 4, "EC2 has no room for t3.small, t3.medium"),
        ("Unsupported", 4, "EC2 has no room for t3.small, t3.medium"),
        ("InstanceLimitExceeded", 2, "the account may not have more instances of this kind"),
        ("MaxSpotInstanceCountExceeded", 2, "the account may not have more instances of this kind"),
        ("Broken", 1, "no box of /team/web was made"),
    ] {
        ground.proxy.spoil(RUN, Fault::Refuse(code, "no"));
        ground.proxy.take_calls();
        let said = ground.run("create", &[&LISTS[..], &["--spot-bid", "0.00005"]].concat()).await?.ended(1).stderr;
        assert_eq!(count(&ground.proxy.take_calls(), RUN), times, "{code}: {said}");
        assert!(said.contains(&format!("error: {error}")) || times == 1 && said.contains("Broken"), "{code}: {said}");
        assert!(ground.is_bare().await? && ground.records()?.is_empty(), "{code}");
    }
    Ok(())
}

#[tokio::test]
async fn an_account_that_never_had_a_spot_instance_is_told_what_it_lacks() -> Result<()> {
    let ground = Ground::new().await?;
    let code = "AuthFailure.ServiceLinkedRoleCreationNotPermitted";
    ground.proxy.spoil(RUN, Fault::Refuse(code, "The provided credentials do not have permission"));
    let said = ground.run("create", &["--quick", "--spot"]).await?.ended(1).stderr;
    let hint = "hint: aws iam create-service-linked-role --aws-service-name spot.amazonaws.com makes it";
    assert!(said.contains(hint) && ground.is_bare().await?, "{said}");
    Ok(())
}

#[tokio::test]
async fn a_tentative_bid_that_cannot_be_placed_ends_well_and_leaves_nothing() -> Result<()> {
    let ground = Ground::new().await?;
    let flags = ["--quick", "--spot-bid", "0.00001", "--spot-tentative", "--output", "json"];
    for code in ["SpotMaxPriceTooLow", "MaxSpotInstanceCountExceeded"] {
        ground.proxy.spoil(RUN, Fault::Refuse(code, "no"));
        let ran = ground.run("create", &flags).await?.ended(0);
        assert_eq!(ran.stdout.trim(), "null", "{code}");
        assert!(ran.stderr.contains("no box of /team/web, which is well: "), "{code}: {}", ran.stderr);
        assert!(ground.is_bare().await? && ground.records()?.is_empty(), "{code}: {}", ran.stderr);
    }
    ground.proxy.spoil(RUN, Fault::Refuse("Broken", "it is broken"));
    ground.run("create", &flags).await?.ended(1);
    ground.proxy.heal();
    assert_eq!(ground.create(&flags[1..4]).await?["state"], "pending");
    Ok(())
}
