//! `fleetkey list` and `show`: the boxes of a namespace, and all about one.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::proxy::{Fault, Proxy, count};
use fleetkey_tests::stub::{Answer, Stub};

use super::boxes::{each, launch, launch_box, launch_with, stop, volume};
use super::fleetkey::Operator;

#[tokio::test]
async fn boxes_of_a_namespace_and_those_below_it_are_listed_by_one_call_and_those_of_others_are_not() -> Result<()> {
    let mut operator = Operator::new("alice").await?;
    let web = launch_box(&operator.cloud, "prod_web").await?;
    let below = launch_box(&operator.cloud, "prod_sub_db").await?;
    launch_box(&operator.cloud, "production_web").await?;
    launch_box(&operator.cloud, "alice_web").await?;
    // `_` of a name and the slash are told apart, and what is no box is left out.
    launch_box(&operator.cloud, "prod__web").await?;
    launch(&operator.cloud, &[("Name", "prod_web")]).await?;
    launch(&operator.cloud, &[("Name", "Prod server"), ("generation", "0")]).await?;
    let proxy = Proxy::start(Moto::shared()?.address())?;
    operator.go_through(proxy.endpoint());

    let listed = operator.json("/prod/", &["list"]).await?;
    assert_eq!(each(&listed["boxes"], "role"), ["sub/db", "web"]);
    assert_eq!(each(&listed["boxes"], "id"), [below.as_str(), &web]);
    assert_eq!((listed["namespace"].as_str(), listed["region"].as_str()), (Some("/prod/"), Some(Cloud::REGION)));
    let calls = count(&proxy.take_calls());
    assert_eq!(calls.into_iter().collect::<Vec<_>>(), [("ec2:DescribeInstances".to_owned(), 1)]);

    let everywhere = operator.json("/", &["list"]).await?;
    let names = ["/alice/web", "/prod/sub/db", "/prod/web", "/prod_web", "/production/web"];
    assert_eq!(each(&everywhere["boxes"], "name"), names);
    // `__me__` is the caller.
    let mine = operator.run(&["list"]).await?.ended(0);
    assert_eq!(mine.stdout.lines().count(), 2, "{}", mine.stdout);
    assert!(mine.stdout.starts_with("ORDINAL  ROLE  CLUSTER  ID "), "{}", mine.stdout);
    Ok(())
}

#[tokio::test]
async fn ordinals_count_the_boxes_of_a_role_and_within_a_cluster_when_one_is_named() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let node = |cluster: &'static str, ordinal: &'static str| {
        [("Name", "web"), ("generation", "0"), ("cluster_name", cluster), ("cluster_ordinal", ordinal)]
    };
    launch_box(&operator.cloud, "db").await?;
    launch_box(&operator.cloud, "web").await?;
    launch(&operator.cloud, &node("c1", "0")).await?;
    launch(&operator.cloud, &node("c2", "0")).await?;
    launch(&operator.cloud, &node("c2", "1")).await?;
    let gone = launch_box(&operator.cloud, "web").await?;
    operator.cloud.ec2().terminate_instances().instance_ids(&gone).send().await?;

    let ordinals = |listed: &serde_json::Value| -> Vec<Option<u64>> {
        listed["boxes"].as_array().into_iter().flatten().map(|one| one["ordinal"].as_u64()).collect()
    };
    let all = operator.json("/", &["list"]).await?;
    assert_eq!(ordinals(&all), [Some(0), Some(0), Some(1), Some(2), Some(3)]);
    assert!(!each(&all["boxes"], "id").contains(&gone.as_str()));
    let web = operator.json("/", &["list", "web"]).await?;
    assert_eq!(ordinals(&web), [Some(0), Some(1), Some(2), Some(3)]);
    for arguments in [&["list", "-c", "c2"][..], &["list", "/web", "--cluster-name", "c2"]] {
        let cluster = operator.json("/", arguments).await?;
        assert_eq!(ordinals(&cluster), [Some(0), Some(1)]);
        assert_eq!(each(&cluster["boxes"], "cluster"), ["c2", "c2"]);
    }
    // The ordinal that is listed is the one that chooses.
    for (at, id) in each(&web["boxes"], "id").into_iter().enumerate() {
        assert_eq!(operator.json("/", &["show", "web", "-o", &at.to_string()]).await?["id"], id);
    }
    Ok(())
}

#[tokio::test]
async fn where_there_is_no_box_this_is_said_and_is_no_failure() -> Result<()> {
    let operator = Operator::new("alice").await?;
    for (arguments, said) in [
        (
            &["list"][..],
            "there is no box in /prod/ in us-west-2\n\
             hint: fleetkey create ROLE makes one; fleetkey role list names the roles\n",
        ),
        (&["list", "web"], "there is no box /prod/web in us-west-2\n"),
    ] {
        let ran = operator.verb("/prod/", arguments).await?.ended(0);
        assert_eq!(ran.stderr, said);
        assert_eq!(ran.stdout.lines().count(), 1, "the columns alone: {}", ran.stdout);
        assert_eq!(operator.json("/prod/", arguments).await?["boxes"], serde_json::json!([]));
    }
    Ok(())
}

/// One page of EC2's answer, with `count` instances from `first` on.
fn page(first: usize, count: usize, next: Option<&str>) -> Answer {
    let mut body =
        "<DescribeInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><reservationSet>".to_owned();
    for at in first..first + count {
        let _ = write!(
            body,
            "<item><instancesSet><item><instanceId>i-{at:017x}</instanceId><imageId>ami-1</imageId>\
            <instanceState><code>16</code><name>running</name></instanceState><instanceType>t3.micro</instanceType>\
            <launchTime>2026-11-21T04:05:06.000Z</launchTime><privateIpAddress>10.0.{}.{}</privateIpAddress>\
            <tagSet><item><key>Name</key><value>web</value></item><item><key>generation</key><value>0</value></item>\
            </tagSet></item></instancesSet></item>",
            at / 256,
            at % 256
        );
    }
    let next = next.map(|token| format!("<nextToken>{token}</nextToken>")).unwrap_or_default();
    Answer::new(200, "text/xml", body + "</reservationSet>" + &next + "</DescribeInstancesResponse>")
}

#[tokio::test]
async fn eleven_hundred_boxes_are_listed_page_by_page_and_numbered_by_their_addresses() -> Result<()> {
    let mut operator = Operator::new("alice").await?;
    let mut stub = Stub::start(|request| match request.field("NextToken").as_deref() {
        None => page(0, 1000, Some("more")),
        Some(_) => page(1000, 100, None),
    })?;
    operator.go_through(stub.endpoint());
    let listed = operator.json("/", &["list"]).await?;
    let ids = each(&listed["boxes"], "id");
    let expected: Vec<String> = (0..1100).map(|at| format!("i-{at:017x}")).collect();
    assert_eq!(ids, expected);
    assert_eq!(listed["boxes"][1099]["ordinal"], 1099);
    assert_eq!(stub.next_request().await?.field("MaxResults").as_deref(), Some("1000"));
    assert_eq!(stub.next_request().await?.field("NextToken").as_deref(), Some("more"));
    Ok(())
}

#[tokio::test]
async fn all_about_a_box_is_shown() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let volumes = vec![volume("/dev/sda1", 8, true), volume("/dev/sdf", 100, false)];
    let tags = [("Name", "prod_web"), ("generation", "3"), ("data_gib", "100")];
    let id = launch_with(&operator.cloud, &tags, volumes).await?;
    stop(&operator.cloud, &id).await?;
    let shown = operator.json("/prod/", &["show", "web"]).await?;
    for (field, value) in [("id", id.as_str()), ("state", "stopped"), ("role", "web"), ("type", "t3.micro")] {
        assert_eq!(shown[field], value, "{shown}");
    }
    assert_eq!((shown["generation"].as_u64(), shown["ordinal"].as_u64()), (Some(3), Some(0)));
    assert_eq!(shown["tags"]["data_gib"], "100");
    let volumes = shown["volumes"].as_array().context("volumes")?;
    let fates: Vec<_> =
        volumes.iter().map(|volume| (&volume["device"], &volume["gib"], &volume["deleted_with_box"])).collect();
    assert_eq!(serde_json::json!(fates), serde_json::json!([["/dev/sda1", 8, true], ["/dev/sdf", 100, false]]));
    assert!(shown["subnet"].as_str().is_some_and(|subnet| subnet.starts_with("subnet-")), "{shown}");

    let table = operator.verb("/prod/", &["show", "web", "-I", &id]).await?.ended(0).stdout;
    for part in ["WHAT ", "state             stopped\n", "tag               data_gib=100\n", "kept when the box goes\n"]
    {
        assert!(table.contains(part), "{part}: {table}");
    }
    // One that is gone is shown by its id, as long as EC2 tells of it.
    operator.cloud.ec2().terminate_instances().instance_ids(&id).send().await?;
    let shown = operator.json("/prod/", &["show", "web", "-I", &id]).await?;
    assert_eq!((shown["state"].as_str(), shown.get("ordinal")), (Some("terminated"), None));
    Ok(())
}

#[tokio::test]
async fn bad_command_lines_are_told_apart_from_boxes_that_are_not_there() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let web = launch_box(&operator.cloud, "web").await?;
    launch_box(&operator.cloud, "web").await?;
    launch_box(&operator.cloud, "prod_web").await?;
    for (arguments, code, said) in [
        (&["show"][..], 2, "required arguments were not provided"),
        (&["show", "Web"], 2, "has the character 'W'"),
        (&["show", ""], 2, "empty component"),
        (&["show", "/"], 2, "empty component"),
        (&["list", "a//b"], 2, "empty component"),
        (&["show", "web", "-I", "i-12"], 2, "an instance id is i- and 8 or 17 hexadecimal digits"),
        (&["show", "web", "-o", "x"], 2, "invalid value 'x' for '--ordinal <N>'"),
        (&["show", "web", "-o", "0", "-I", "i-0123456789abcdef0"], 2, "cannot be used with"),
        (&["list", "-o", "0"], 2, "unexpected argument '-o'"),
        (&["show", "web"], 1, "error: 2 boxes are /web; which one?\nhint: -o N picks one by its ordinal"),
        (&["show", "web", "-o", "2"], 1, "no box /web has ordinal 2\nhint: ordinals run from 0 to 1"),
        (&["show", "web", "-o", "-3"], 1, "no box /web has ordinal -3"),
        (&["show", "db"], 1, "error: there is no box /db\nhint: fleetkey list"),
        (&["show", "web", "-c", "c1"], 1, "there is no box /web in cluster c1"),
        (&["show", "web", "-I", "i-0123456789abcdef0"], 1, "i-0123456789abcdef0 is no box of role /web"),
        (&["show", "/prod/web", "-I", &web], 1, "is no box of role /prod/web"),
    ] {
        let ran = operator.verb("/", arguments).await?.ended(code);
        assert!(ran.stderr.contains(said) && ran.stdout.is_empty(), "{arguments:?}: {}", ran.stderr);
    }
    let bad = operator.verb("prod", &["list"]).await?.ended(2);
    assert!(bad.stderr.contains("does not begin and end with a slash"), "{}", bad.stderr);
    Ok(())
}

#[tokio::test]
async fn fault_16_what_ec2_says_to_a_look_is_told() -> Result<()> {
    let mut operator = Operator::new("alice").await?;
    let proxy = Proxy::start(Moto::shared()?.address())?;
    operator.go_through(proxy.endpoint());
    for (fault, said) in [(Fault::Throttle, "RequestLimitExceeded"), (Fault::Garbage, "ec2 DescribeInstances failed")] {
        proxy.spoil("ec2:DescribeInstances", fault);
        let ran = operator.verb("/", &["list"]).await?.ended(1);
        assert!(ran.stderr.contains(said) && ran.stdout.is_empty(), "{}", ran.stderr);
    }
    Ok(())
}
