//! `fleetkey image`, `list-images` and `delete-image`: an image of a box from beginning to end.

use anyhow::{Context as _, Result};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::proxy::{Fault, Proxy};

use super::boxes::{Tags, each, launch, launch_box, stop};
use super::fleetkey::Operator;
use super::staged::{BOX, Play, boxed, error};

/// The tags of an image or snapshot, sorted.
async fn tags(cloud: &Cloud, id: &str) -> Result<Vec<(String, String)>> {
    let filter = aws_sdk_ec2::types::Filter::builder().name("resource-id").values(id).build();
    let answer = cloud.ec2().describe_tags().filters(filter).send().await?;
    let mut tags: Vec<_> = answer
        .tags()
        .iter()
        .map(|tag| (tag.key().unwrap_or_default().to_owned(), tag.value().unwrap_or_default().to_owned()))
        .collect();
    tags.sort();
    Ok(tags)
}

/// The snapshots of the account that images of boxes have.
async fn snapshots(cloud: &Cloud) -> Result<Vec<String>> {
    let filter = aws_sdk_ec2::types::Filter::builder().name("description").values("Created by CreateImage*").build();
    let answer = cloud.ec2().describe_snapshots().owner_ids("self").filters(filter).send().await?;
    let mut ids: Vec<_> = answer.snapshots().iter().filter_map(|one| one.snapshot_id().map(str::to_owned)).collect();
    ids.sort();
    Ok(ids)
}

async fn stopped(cloud: &Cloud, tags: Tags<'_>) -> Result<String> {
    let id = launch(cloud, tags).await?;
    stop(cloud, &id).await?;
    Ok(id)
}

/// Takes an image of the one box `web` and gives its id. Names count seconds, so the next one has another name.
async fn take(operator: &Operator, namespace: &str) -> Result<String> {
    let before = operator.json(namespace, &["list-images", "web"]).await?;
    let newest = each(&before["images"], "created").pop().unwrap_or_default().to_owned();
    let now = || jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    while now() == newest {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let taken = operator.json(namespace, &["image", "web"]).await?;
    Ok(taken["id"].as_str().context("an image has an id")?.to_owned())
}

#[tokio::test]
async fn an_image_of_a_stopped_box_carries_its_options_and_the_next_generation() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let box_tags = [
        ("Name", "prod_web"),
        ("generation", "1"),
        ("cluster_name", "c1"),
        ("cluster_ordinal", "0"),
        ("data_gib", "100"),
        ("fleetkey:token", "x"),
    ];
    let id = stopped(&operator.cloud, &box_tags).await?;
    let ran = operator.verb("/prod/", &["image", "web", "-I", &id, "--output", "json"]).await?.ended(0);
    let taken: serde_json::Value = serde_json::from_str(&ran.stdout)?;
    let image = taken["id"].as_str().context("an image has an id")?;
    let said = format!(
        "image {image} of box {id} is available\nhint: fleetkey recreate /prod/web -i {image} makes a box of it\n"
    );
    assert!(ran.stderr.ends_with(&said), "{}", ran.stderr);
    let name = taken["name"].as_str().context("an image has a name")?;
    assert!(name.starts_with("prod_web__20") && name.len() == "prod_web__2026-11-21__04-05-06".len(), "{name}");
    assert_eq!((taken["generation"].as_u64(), taken["state"].as_str()), (Some(2), Some("available")));

    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut expected = vec![pair("Name", "prod_web"), pair("data_gib", "100"), pair("generation", "2")];
    assert_eq!(tags(&operator.cloud, image).await?, expected);
    expected.insert(2, pair("fleetkey:image", image));
    let snapshot = taken["snapshots"][0].as_str().context("it has a snapshot")?;
    assert_eq!(tags(&operator.cloud, snapshot).await?, expected);
    Ok(())
}

#[tokio::test]
async fn images_are_listed_oldest_first_of_their_own_role_and_deleted_by_ordinal_or_id() -> Result<()> {
    let operator = Operator::new("alice").await?;
    stopped(&operator.cloud, &[("Name", "prod_web"), ("generation", "0")]).await?;
    stopped(&operator.cloud, &[("Name", "alice_web"), ("generation", "0")]).await?;
    let other = take(&operator, "/alice/").await?;
    let taken = [take(&operator, "/prod/").await?, take(&operator, "/prod/").await?, take(&operator, "/prod/").await?];
    let listed = operator.json("/prod/", &["list-images", "web"]).await?;
    assert_eq!(each(&listed["images"], "id"), taken);
    assert_eq!(listed["of"], "/prod/web");
    let table = operator.verb("/prod/", &["list-images", "web"]).await?.ended(0).stdout;
    assert!(table.starts_with("ORDINAL  ID "), "{table}");

    let which = operator.verb("/prod/", &["delete-image", "web", "--yes"]).await?.ended(2);
    assert!(which.stderr.contains("there are 3 images of /prod/web; which one?\nhint: -i N"), "{}", which.stderr);
    for (choice, at) in [("1", 1), (taken[0].as_str(), 0), ("-1", 2)] {
        let deleted = operator.json("/prod/", &["delete-image", "web", "-i", choice, "--yes"]).await?;
        assert_eq!(deleted["image"], taken[at]);
        assert_eq!(each(&deleted["snapshots"], "result"), ["deleted"]);
    }
    assert_eq!(operator.json("/prod/", &["list-images", "web"]).await?["images"], serde_json::json!([]));
    assert_eq!(snapshots(&operator.cloud).await?.len(), 1, "that of the other namespace is left");
    // One alone need not be named.
    assert_eq!(operator.json("/alice/", &["delete-image", "web", "-y"]).await?["image"], other);
    assert!(snapshots(&operator.cloud).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_image_is_taken_of_a_box_that_is_off_and_of_no_other() -> Result<()> {
    let mut operator = Operator::new("alice").await?;
    let id = launch_box(&operator.cloud, "web").await?;
    let ran = operator.verb("/", &["image", "web"]).await?.ended(1);
    let said = format!(
        "error: box {id} is running; an image is taken of a box that is stopped\nhint: stop it first: fleetkey stop --region us-west-2 /web -I {id}\n"
    );
    assert_eq!(ran.stderr, said);
    assert!(snapshots(&operator.cloud).await?.is_empty());

    // One that is about to be off is waited for.
    let image = "<imagesSet><item><imageId>ami-0123456789abcdef0</imageId><name>web__2026-11-21__04-05-06</name>\
        <imageState>available</imageState></item></imagesSet>";
    let states = ["stopping", "stopping", "stopped"].map(|state| (200, boxed(state, "")));
    let play = Play::start(vec![
        ("DescribeInstances", states.to_vec()),
        ("CreateImage", vec![(200, "<imageId>ami-0123456789abcdef0</imageId>".to_owned())]),
        ("DescribeImages", vec![(200, String::new()), (200, String::new()), (200, image.to_owned())]),
    ])?;
    operator.go_through(play.endpoint());
    let ran = operator.verb("/", &["image", "web"]).await?.ended(0);
    assert!(ran.stderr.contains(&format!("waiting: box {BOX} is stopped\n")), "{}", ran.stderr);
    assert!(ran.stderr.contains("waiting: image ami-0123456789abcdef0 is available\n"), "{}", ran.stderr);
    assert_eq!(play.done(), [format!("CreateImage {BOX}")]);
    Ok(())
}

/// An image of the box `/web` as EC2 describes it, with two snapshots.
fn described(state: &str) -> (u16, String) {
    let volume = |device: &str, snapshot: &str| {
        format!(
            "<item><deviceName>{device}</deviceName><ebs><snapshotId>{snapshot}</snapshotId><volumeSize>8</volumeSize>\
            </ebs></item>"
        )
    };
    let volumes = volume("/dev/xvda", "snap-0123456789abcdef0") + &volume("/dev/xvdf", "snap-0123456789abcdef1");
    let image = format!(
        "<imagesSet><item><imageId>ami-0123456789abcdef0</imageId><name>web__2026-11-21__04-05-06</name>\
        <imageState>{state}</imageState><sourceInstanceId>{BOX}</sourceInstanceId>\
        <blockDeviceMapping>{volumes}</blockDeviceMapping></item></imagesSet>"
    );
    (200, image)
}

#[tokio::test]
async fn an_image_that_was_begun_before_an_interruption_is_gone_on_with_and_not_taken_twice() -> Result<()> {
    let mut operator = Operator::new("alice").await?;
    let stopped = || ("DescribeInstances", vec![(200, boxed("stopped", ""))]);
    let play = Play::start(vec![
        stopped(),
        ("DescribeImages", vec![described("pending"), described("pending"), described("available")]),
    ])?;
    operator.go_through(play.endpoint());
    let ran = operator.verb("/", &["image", "web"]).await?.ended(0);
    assert!(
        ran.stderr.contains("going on with image ami-0123456789abcdef0, which was begun before\n"),
        "{}",
        ran.stderr
    );
    assert_eq!(play.done(), ["CreateTags"]);

    let play = Play::start(vec![stopped(), ("DescribeImages", vec![described("pending")])])?;
    operator.go_through(play.endpoint());
    let ran = operator.verb("/", &["image", "web", "--timeout", "5s"]).await?.ended(1);
    let said = format!(
        "image ami-0123456789abcdef0 is available; at last: pending\nhint: go on with: fleetkey image --region us-west-2 /web -I {BOX}\n"
    );
    assert!(ran.stderr.ends_with(&said), "{}", ran.stderr);
    let ran = operator.verb("/", &["image", "web", "--no-wait"]).await?.ended(0);
    assert!(ran.stderr.contains("image ami-0123456789abcdef0 is begun; not waited for\n"), "{}", ran.stderr);

    let play = Play::start(vec![
        stopped(),
        ("DescribeImages", vec![(200, String::new()), described("failed")]),
        ("CreateImage", vec![(200, "<imageId>ami-0123456789abcdef0</imageId>".to_owned())]),
    ])?;
    operator.go_through(play.endpoint());
    let ran = operator.verb("/", &["image", "web"]).await?.ended(1);
    assert!(
        ran.stderr.contains(
            "it is failed\nhint: remove what is left of it: fleetkey delete-image /web -i ami-0123456789abcdef0\n"
        ),
        "{}",
        ran.stderr
    );
    Ok(())
}

#[tokio::test]
async fn fault_12_every_snapshot_of_an_image_is_deleted() -> Result<()> {
    let mut operator = Operator::new("alice").await?;
    let in_use = error("InvalidSnapshot.InUse", "The snapshot is currently in use by ami-0123456789abcdef0");
    let done = (200, String::new());
    let play = Play::start(vec![
        ("DescribeImages", vec![described("available")]),
        ("DeleteSnapshot", vec![in_use.clone(), in_use.clone(), done]),
    ])?;
    operator.go_through(play.endpoint());
    let deleted = operator.json("/", &["delete-image", "web", "--yes"]).await?;
    assert_eq!(each(&deleted["snapshots"], "id"), ["snap-0123456789abcdef0", "snap-0123456789abcdef1"]);
    assert_eq!(each(&deleted["snapshots"], "result"), ["deleted", "deleted"]);
    let delete = |at| format!("DeleteSnapshot snap-0123456789abcdef{at}");
    let order = [
        "CreateTags".to_owned(),
        "DeregisterImage ami-0123456789abcdef0".to_owned(),
        delete(0),
        delete(0),
        delete(0),
        delete(1),
    ];
    assert_eq!(play.done(), order, "marked first, and what is in use for a while is tried again");

    for (more, said) in [
        (
            &["--quick"][..],
            "EC2 has not let all snapshots go yet\nhint: run again to finish: fleetkey delete-image /web -i ami-0123456789abcdef0\n",
        ),
        (
            &["--timeout", "5s"],
            "waited 5s in vain: snapshot snap-0123456789abcdef0 is deleted; at last: in use by an image\nhint: run again to finish: fleetkey delete-image /web -i ami-0123456789abcdef0\n",
        ),
    ] {
        let lines = vec![("DescribeImages", vec![described("available")]), ("DeleteSnapshot", vec![in_use.clone()])];
        let play = Play::start(lines)?;
        operator.go_through(play.endpoint());
        let ran = operator.verb("/", &[&["delete-image", "web", "-y"], more].concat()).await?.ended(1);
        assert!(ran.stderr.contains(said), "{more:?}: {}", ran.stderr);
    }
    Ok(())
}

#[tokio::test]
async fn a_deletion_that_stopped_half_way_is_finished_by_the_hinted_command() -> Result<()> {
    let mut operator = Operator::new("alice").await?;
    stopped(&operator.cloud, &[("Name", "web"), ("generation", "0")]).await?;
    let image = take(&operator, "/").await?;
    let proxy = Proxy::start(Moto::shared()?.address())?;
    operator.go_through(proxy.endpoint());
    proxy.spoil("ec2:DeleteSnapshot", Fault::ServerError);
    let ran = operator.verb("/", &["delete-image", "web", "--yes"]).await?.ended(1);
    assert!(
        ran.stderr.contains(&format!("error: image {image} is deregistered, but snapshots of it are left: ")),
        "{}",
        ran.stderr
    );
    let hint = format!("hint: run again to finish: fleetkey delete-image /web -i {image}\n");
    assert!(ran.stderr.ends_with(&hint), "{}", ran.stderr);
    assert_eq!(snapshots(&operator.cloud).await?.len(), 1);

    proxy.heal();
    // Not by another role: the snapshots say whose they are.
    let other = operator.verb("/", &["delete-image", "db", "-i", &image, "--yes"]).await?.ended(1);
    assert!(other.stderr.contains("there is no image of /db"), "{}", other.stderr);
    let ran = operator.verb("/", &["delete-image", "/web", "-i", &image, "--yes"]).await?.ended(0);
    assert!(ran.stderr.contains("is deregistered already; its snapshots are left\n"), "{}", ran.stderr);
    assert!(snapshots(&operator.cloud).await?.is_empty());
    let none = operator.verb("/", &["delete-image", "/web", "-i", &image, "--yes"]).await?.ended(1);
    assert!(none.stderr.contains("there is no image of /web"), "{}", none.stderr);
    Ok(())
}

#[tokio::test]
async fn snapshots_are_kept_where_told_and_boxes_of_the_image_are_named() -> Result<()> {
    let operator = Operator::new("alice").await?;
    stopped(&operator.cloud, &[("Name", "web"), ("generation", "0")]).await?;
    let image = take(&operator, "/").await?;
    let run = operator.cloud.ec2().run_instances().image_id(&image).min_count(1).max_count(1).send().await?;
    let running = run.instances()[0].instance_id().context("an instance has an id")?;
    let ran = operator.verb("/", &["delete-image", "web", "-K", "-y"]).await?.ended(0);
    assert!(
        ran.stderr.contains(&format!("warning: launched from image {image}, and unharmed by its end: {running}\n")),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("snapshots that are kept go on costing"), "{}", ran.stderr);
    assert!(ran.stdout.contains("deregistered\n") && ran.stdout.contains("kept\n"), "{}", ran.stdout);
    assert_eq!(snapshots(&operator.cloud).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn fault_10_ids_of_both_lengths_are_taken_and_bad_command_lines_end_with_2() -> Result<()> {
    let operator = Operator::new("alice").await?;
    for (arguments, code, said) in [
        (&["delete-image", "web", "-y", "-i", "ami-0123456789abcdef0"][..], 1, "there is no image of /web"),
        (&["delete-image", "web", "-y", "-i", "ami-4dcced7d"], 1, "there is no image of /web"),
        (&["delete-image", "web", "-y"], 1, "there is no image of /web"),
        (&["image", "web", "-I", "i-0123456789abcdef0"], 1, "is no box of role /web"),
        (&["image", "web", "-I", "i-4dcced7d"], 1, "is no box of role /web"),
        (&["image", "web"], 1, "there is no box /web"),
        (&["delete-image", "web", "-y", "-i", "ami-4dcced7"], 2, "an image id is ami- and 8 or 17 hexadecimal digits"),
        (&["delete-image", "web", "-y", "-K", "-Q"], 2, "cannot be used with"),
        (&["delete-image", "web", "-i", "0"], 2, "there is no terminal to ask on\nhint: --yes"),
        (&["delete-image", "-y"], 2, "required arguments were not provided"),
        (&["list-images"], 2, "required arguments were not provided"),
        (&["list-images", "A"], 2, "has the character 'A'"),
        (&["image", "web", "--timeout", "x"], 2, "invalid value 'x' for '--timeout <DURATION>'"),
    ] {
        let ran = operator.verb("/", arguments).await?.ended(code);
        assert!(ran.stderr.contains(said) && ran.stdout.is_empty(), "{arguments:?}: {}", ran.stderr);
    }
    let none = operator.verb("/", &["list-images", "web"]).await?.ended(0);
    assert_eq!(
        none.stderr,
        "there is no image of /web in us-west-2\nhint: fleetkey image /web takes one of a box that is stopped\n"
    );
    Ok(())
}
