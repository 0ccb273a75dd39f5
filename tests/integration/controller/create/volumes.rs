//! Volumes of boxes: made as the role and flags say, kept, found again, and never given to a box that is not theirs.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification, Volume};
use fleetkey_tests::proxy::Fault;
use fleetkey_tests::wait_until;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::ground::{Ground, printed, tags};

/// A role that keeps one volume and makes another anew.
const KEEPS: &str = "instance_type: t3.small
volumes:
  - {name: data, size: 20, keep: true, mount: /srv/data}
  - {name: scratch, size: 5}
";

/// More than the program needs on a busy machine.
const LONG: Duration = Duration::from_mins(1);

impl Ground {
    /// A create in any zone, which must do well.
    async fn create_anywhere(&self, more: &[&str]) -> Result<Value> {
        let more = [more, &["--quick", "--output", "json"]].concat();
        printed(&self.run_with("create", &more, &[]).await?.ended(0))
    }

    /// What a create says that is refused.
    async fn refused(&self, more: &[&str], code: i32) -> Result<String> {
        Ok(self.run_with("create", &[more, &["--quick"]].concat(), &[]).await?.ended(code).stderr)
    }

    /// The volumes that go by this name in the role, oldest first.
    async fn volumes(&self, label: &str) -> Result<Vec<Volume>> {
        let found = self.cloud().ec2().describe_volumes().send().await?.volumes.unwrap_or_default().into_iter();
        let mut found: Vec<_> =
            found.filter(|volume| tags(volume.tags()).get("fleetkey:volume") == Some(&label)).collect();
        found.sort_by_key(|volume| volume.create_time().map(aws_sdk_ec2::primitives::DateTime::as_nanos));
        Ok(found)
    }

    async fn terminate(&self, id: &str) -> Result<()> {
        self.cloud().ec2().terminate_instances().instance_ids(id).send().await?;
        Ok(())
    }

    /// A box that is gone and has left its volume.
    async fn leave_a_volume(&self, more: &[&str]) -> Result<String> {
        let made = self.create_anywhere(&[more, &["--new-volumes"]].concat()).await?;
        let id = made["id"].as_str().context("an id")?;
        let volumes = self.volumes("data").await?;
        let own = volumes.iter().find(|volume| on(volume) == Some(id)).context("it has a volume")?;
        self.terminate(id).await?;
        Ok(id_of(own).to_owned())
    }

    /// The bodies of all calls of an action since they were last asked for.
    fn bodies(&self, action: &str) -> Vec<String> {
        let calls = self.proxy.take_calls().into_iter().filter(|call| call.action == action);
        calls.map(|call| String::from_utf8_lossy(&call.body).into_owned()).collect()
    }
}

fn id_of(volume: &Volume) -> &str {
    volume.volume_id().unwrap_or_default()
}

/// The instance that a volume hangs on.
fn on(volume: &Volume) -> Option<&str> {
    volume.attachments().first().and_then(|attached| attached.instance_id())
}

#[tokio::test]
async fn a_kept_volume_is_taken_over_by_the_next_box_which_is_put_into_its_zone() -> Result<()> {
    let ground = Ground::new().await?;
    ground.role("web", KEEPS)?;
    let first = ground.create_anywhere(&["--zone", "us-west-2b"]).await?;
    let first = first["id"].as_str().context("an id")?;
    let said = ground.operator.verb("/team/", &["terminate", "web", "--yes"]).await?.ended(0).stderr;
    assert!(said.contains("hint: fleetkey create /team/web in zone us-west-2b takes it over as data"), "{said}");
    let [kept] = &ground.volumes("data").await?[..] else { panic!("one volume is kept") };
    let kept = id_of(kept);
    assert!(ground.volumes("scratch").await?.is_empty());
    let listed = ground.operator.json("/team/", &["list-volumes", "web"]).await?;
    let row = &listed["volumes"][0];
    assert_eq!((row["id"].as_str(), row["state"].as_str()), (Some(kept), Some("available")));
    assert_eq!((row["volume"].as_str(), row["zone"].as_str()), (Some("data"), Some("us-west-2b")));

    let planned = ground.run_with("create", &["--dry-run"], &[]).await?.ended(0).stdout;
    let attach = format!("attach    volume {kept} (data, 20 GiB) as /dev/sdf, mounted at /srv/data");
    assert!(planned.contains(&attach), "{planned}");
    assert!(planned.contains("make      volume scratch (5 GiB, blank) as /dev/sdg"), "{planned}");

    let second = ground.create_anywhere(&[]).await?;
    assert_eq!(second["zone"], "us-west-2b");
    assert_ne!(second["id"], first);
    let [same] = &ground.volumes("data").await?[..] else { panic!("no other is made") };
    assert_eq!((id_of(same), on(same)), (kept, second["id"].as_str()));
    assert_eq!(same.attachments()[0].device(), Some("/dev/sdf"));
    let has = tags(same.tags());
    assert_eq!((has["Name"], has["fleetkey:box"]), ("team_web_data", "/team/web"));
    let found = ground.instances().await?;
    let mapping = found[0].block_device_mappings().iter().find(|mapping| mapping.device_name() == Some("/dev/sdf"));
    assert_eq!(mapping.and_then(|mapping| mapping.ebs()?.delete_on_termination()), Some(false));

    // It hangs on a box, so that a third has one of its own.
    let third = ground.create_anywhere(&[]).await?;
    let volumes = ground.volumes("data").await?;
    assert_eq!(volumes.iter().map(on).collect::<Vec<_>>(), [second["id"].as_str(), third["id"].as_str()]);
    Ok(())
}

#[tokio::test]
async fn a_zone_that_is_not_that_of_the_volume_is_refused_with_what_to_do() -> Result<()> {
    let ground = Ground::new().await?;
    ground.role("web", KEEPS)?;
    let kept = ground.leave_a_volume(&["--zone", "us-west-2b"]).await?;
    let said = ground.run("create", &["--quick"]).await?.ended(1).stderr;
    assert_eq!(
        said,
        format!(
            "error: volume {kept} (data) is in us-west-2b, and the box would be in us-west-2a\n\
             hint: --zone us-west-2b puts the box where the volume is, in a subnet of that zone\n\
             hint: --new-volumes leaves the volume where it is, and makes a blank one\n"
        )
    );
    assert!(ground.instances().await?.is_empty());
    let made = ground.create(&["--new-volumes"]).await?;
    assert_eq!(made["zone"], "us-west-2a");
    assert_eq!(ground.volumes("data").await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn where_several_volumes_are_free_the_operator_says_which() -> Result<()> {
    let ground = Ground::new().await?;
    ground.role("web", KEEPS)?;
    let zone = ["--zone", "us-west-2a"];
    let (one, other) = (ground.leave_a_volume(&zone).await?, ground.leave_a_volume(&zone).await?);
    let said = ground.refused(&zone, 1).await?;
    assert!(said.contains("error: 2 volumes are data of /team/web and hang on nothing; which one?"), "{said}");
    assert!(said.contains(&format!("{one} (20 GiB, us-west-2a")) && said.contains(&other), "{said}");
    let made = ground.create_anywhere(&["--reuse", &one]).await?;
    let hangs = ground.volumes("data").await?;
    assert_eq!(hangs.iter().find(|volume| id_of(volume) == one).and_then(on), made["id"].as_str());
    // The other is the only one that is left.
    let made = ground.create_anywhere(&[]).await?;
    let hangs = ground.volumes("data").await?;
    assert_eq!(hangs.iter().find(|volume| id_of(volume) == other).and_then(on), made["id"].as_str());

    let scratch = id_of(&ground.volumes("scratch").await?[0]).to_owned();
    for (more, code, error) in [
        (&["--reuse", &one][..], 1, format!("--reuse {one}: it is in-use and hangs on i-")),
        (&["--reuse", &scratch], 1, format!("--reuse {scratch}: role web keeps no volume scratch")),
        (&["--reuse", "vol-0123456789abcdef0"], 1, "--reuse vol-0123456789abcdef0: there is no such volume".into()),
        (&["--reuse", "data"], 2, "a volume's id is vol- and 8 or 17 hexadecimal digits".into()),
        (&["--reuse", &one, "--new-volumes"], 2, "cannot be used with '--new-volumes'".into()),
        (&["--reuse", &one, "--reuse", &one], 2, "--reuse names a volume twice".into()),
    ] {
        let said = ground.refused(more, code).await?;
        assert!(said.contains(&error), "{more:?}: {said}");
    }
    assert_eq!(ground.instances().await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_volume_that_only_has_the_name_is_a_strangers() -> Result<()> {
    let ground = Ground::new().await?;
    ground.role("web", KEEPS)?;
    let name = Tag::builder().key("Name").value("team_web_data").build();
    let named = TagSpecification::builder().resource_type(ResourceType::Volume).tags(name).build();
    let call = ground.cloud().ec2().create_volume().availability_zone("us-west-2a").size(20);
    let strange = call.tag_specifications(named).send().await?.volume_id.context("an id")?;
    ground.create(&[]).await?;
    let answer = ground.cloud().ec2().describe_volumes().volume_ids(&strange).send().await?;
    assert!(answer.volumes()[0].attachments().is_empty());
    let said = ground.run("create", &["--quick", "--reuse", &strange]).await?.ended(1).stderr;
    assert!(said.contains("a volume is known by its tags fleetkey:box and fleetkey:volume"), "{said}");
    let other = ground.operator.json("/team/", &["list-volumes"]).await?;
    assert_eq!(other["volumes"].as_array().map(Vec::len), Some(2), "{other}");
    Ok(())
}

#[tokio::test]
async fn fault_13_a_node_of_a_cluster_finds_the_volumes_of_its_place_and_of_no_other() -> Result<()> {
    let ground = Ground::new().await?;
    ground.role("web", KEEPS)?;
    let node = |cluster: &'static str, ordinal: &'static str| {
        ["--cluster-name", cluster, "--cluster-ordinal", ordinal, "--zone", "us-west-2a"]
    };
    let mut ids = Vec::new();
    for (cluster, ordinal) in [("red", "0"), ("red", "1"), ("blue", "1")] {
        let made = ground.create_anywhere(&node(cluster, ordinal)).await?;
        assert_eq!((made["cluster"].as_str(), made["cluster_ordinal"].to_string()), (Some(cluster), ordinal.into()));
        ids.push(made["id"].as_str().context("an id")?.to_owned());
    }
    let volumes = ground.volumes("data").await?;
    let names: Vec<_> = volumes.iter().map(|volume| tags(volume.tags())["Name"].to_owned()).collect();
    assert_eq!(names, ["team_web_red_0_data", "team_web_red_1_data", "team_web_blue_1_data"]);
    let said = ground.refused(&node("red", "1"), 1).await?;
    assert!(said.contains(&format!("error: box {} of /team/web is node 1 of cluster red already", ids[1])), "{said}");

    for id in &ids {
        ground.terminate(id).await?;
    }
    let made = ground.create_anywhere(&node("red", "1")).await?;
    let hangs = ground.volumes("data").await?;
    assert_eq!(hangs.iter().filter_map(on).collect::<Vec<_>>(), [made["id"].as_str().context("an id")?]);
    assert_eq!(on(&hangs[1]), made["id"].as_str());
    let said = ground.refused(&["--reuse", id_of(&hangs[0]), "--zone", "us-west-2a"], 1).await?;
    assert!(said.contains("hint: --cluster-name red --cluster-ordinal 0 goes with it"), "{said}");
    // A box of no cluster has nothing to do with them.
    let alone = ground.create_anywhere(&["--zone", "us-west-2a"]).await?;
    assert_eq!(ground.volumes("data").await?.iter().filter(|volume| on(volume) == alone["id"].as_str()).count(), 1);
    let reds = ground.operator.json("/team/", &["list-volumes", "-c", "red", "--available"]).await?;
    assert_eq!(reds["volumes"].as_array().map(Vec::len), Some(1), "{reds}");

    for (more, error) in [
        (&["--cluster-name", "red"][..], "--cluster-ordinal <N>"),
        (&["--cluster-ordinal", "1"], "--cluster-name <NAME>"),
        (&["--cluster-name", "Red/x", "--cluster-ordinal", "1"], "a cluster has a name of 0-9 a-z . _ -"),
    ] {
        let said = ground.refused(more, 2).await?;
        assert!(said.contains(error), "{more:?}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn what_was_taken_over_outlives_an_undo_and_what_was_made_does_not() -> Result<()> {
    let ground = Ground::new().await?;
    let logs = "  - {name: logs, size: 5, keep: true}\n";
    ground.role("web", KEEPS)?;
    let kept = ground.leave_a_volume(&["--zone", "us-west-2a"]).await?;
    ground.role("web", &format!("{KEEPS}{logs}"))?;
    for (stage, code, error) in [
        ("ec2:AttachVolume", "VolumeInUse", format!("volume {kept} (data) was taken by another box meanwhile")),
        ("ec2:AttachVolume", "Broken", "it is broken".to_owned()),
        ("ec2:CreateTags", "Broken", "it is broken".to_owned()),
        ("ec2:GetConsoleOutput", "Broken", "it is broken".to_owned()),
    ] {
        ground.proxy.spoil(stage, Fault::Refuse(code, "it is broken"));
        let said = ground.run("create", &[]).await?.ended(1).stderr;
        assert!(said.contains(&error), "{stage}: {said}");
        assert!(said.contains("undone: box i-"), "{stage}: {said}");
        ground.proxy.heal();
        assert!(ground.instances().await?.is_empty(), "{stage}: {said}");
        assert!(ground.records()?.is_empty(), "{stage}: {said}");
        let all = ground.cloud().ec2().describe_volumes().send().await?.volumes.unwrap_or_default();
        assert_eq!(all.iter().map(id_of).collect::<Vec<_>>(), [&kept], "{stage}: {said}");
        assert_eq!(on(&all[0]), None, "{stage}");
    }
    let made = ground.create(&[]).await?;
    assert_eq!(on(&ground.volumes("data").await?[0]), made["id"].as_str());
    Ok(())
}

#[tokio::test]
async fn a_create_that_was_interrupted_before_its_volume_hung_on_it_is_finished_by_the_same_command() -> Result<()> {
    let ground = Ground::new().await?;
    ground.role("web", KEEPS)?;
    let kept = ground.leave_a_volume(&["--zone", "us-west-2a"]).await?;
    ground.proxy.spoil("ec2:AttachVolume", Fault::Hang);
    let running = ground.start("create", &["--quick", "--zone", "us-west-2a"])?;
    wait_until("the volume is being attached", LONG, || Ok(!ground.proxy.held().is_empty()))?;
    running.signal(Signal::SIGINT)?;
    let said = running.end().await?.ended(1).stderr;
    assert!(said.contains("hint: the same command goes on where this one stopped"), "{said}");
    ground.proxy.heal();
    let found = ground.instances().await?;
    let begun = found[0].instance_id().context("an id")?;

    let made = ground.create(&["--zone", "us-west-2a"]).await?;
    assert_eq!((made["id"].as_str(), made["resumed"].as_bool()), (Some(begun), Some(true)));
    let volumes = ground.volumes("data").await?;
    assert_eq!((volumes.len(), id_of(&volumes[0]), on(&volumes[0])), (1, kept.as_str(), Some(begun)));
    Ok(())
}

#[tokio::test]
async fn no_volume_passes_for_a_root_volume_where_a_create_was_interrupted_before_it_named_them() -> Result<()> {
    let ground = Ground::new().await?;
    ground.role("web", KEEPS)?;
    let names = async || -> Result<Vec<String>> {
        let all = ground.cloud().ec2().describe_volumes().send().await?.volumes.unwrap_or_default();
        let mut names: Vec<String> = all.iter().map(|volume| tags(volume.tags())["Name"].to_owned()).collect();
        names.sort();
        Ok(names)
    };
    ground.proxy.spoil("ec2:CreateTags", Fault::Hang);
    let running = ground.start("create", &["--quick"])?;
    wait_until("the volumes are being named", LONG, || Ok(!ground.proxy.held().is_empty()))?;
    running.signal(Signal::SIGINT)?;
    running.end().await?.ended(1);
    ground.proxy.heal();
    assert_eq!(
        names().await?,
        ["team_web_unnamed"; 3],
        "cleanup would take one of the name team_web for a root volume"
    );
    ground.create(&[]).await?;
    assert_eq!(names().await?, ["team_web", "team_web_data", "team_web_scratch"]);
    Ok(())
}

#[tokio::test]
async fn somebody_who_was_faster_keeps_the_volume_and_a_box_that_was_begun_is_left_to_the_operator() -> Result<()> {
    let ground = Ground::new().await?;
    ground.role("web", KEEPS)?;
    let kept = ground.leave_a_volume(&["--zone", "us-west-2a"]).await?;
    let other = ground.create_anywhere(&["--new-volumes", "--zone", "us-west-2a"]).await?;
    let other = other["id"].as_str().context("an id")?;
    ground.proxy.spoil("ec2:AttachVolume", Fault::Hang);
    let same = ["--quick", "--zone", "us-west-2a"];
    let running = ground.start("create", &same)?;
    wait_until("the volume is being attached", LONG, || Ok(!ground.proxy.held().is_empty()))?;
    running.signal(Signal::SIGINT)?;
    running.end().await?.ended(1);
    ground.proxy.heal();
    let found = ground.instances().await?;
    let mut ids = found.iter().filter_map(|found| found.instance_id());
    let begun = ids.find(|id| *id != other).context("a box was begun")?;
    ground.cloud().ec2().attach_volume().volume_id(&kept).instance_id(other).device("/dev/sdp").send().await?;
    let said = ground.run("create", &same).await?.ended(1).stderr;
    assert!(said.contains(&format!("error: volume {kept} (data) was taken by box {other} meanwhile")), "{said}");
    assert!(said.contains("hint: once this box is gone, the same command looks again"), "{said}");
    assert!(said.contains(&format!("-I {begun}")) && ground.instances().await?.len() == 2, "{said}");
    ground.terminate(begun).await?;
    assert_eq!(ground.create(&["--zone", "us-west-2a"]).await?["resumed"], false);
    let hangs = ground.volumes("data").await?;
    assert_eq!(hangs.iter().find(|volume| id_of(volume) == kept).and_then(on), Some(other));
    Ok(())
}

#[tokio::test]
async fn ec2_is_told_all_that_is_said_of_a_volume() -> Result<()> {
    let ground = Ground::new().await?;
    ground.role("web", "instance_type: t3.small\nvolumes:\n  - {name: plain, size: 1, encrypted: false}\n")?;
    ground.proxy.take_calls();
    let flags = ["--volume", "fast=100,kind=gp3,iops=4000,throughput=500,keep", "--volume", "plain=2,image=false"];
    ground.create(&flags).await?;
    let [body] = &ground.bodies("RunInstances")[..] else { panic!("one launch") };
    for part in [
        "BlockDeviceMapping.2.DeviceName=%2Fdev%2Fsdf",
        "BlockDeviceMapping.2.Ebs.DeleteOnTermination=true",
        "BlockDeviceMapping.2.Ebs.VolumeSize=2&",
        "BlockDeviceMapping.3.DeviceName=%2Fdev%2Fsdg",
        "BlockDeviceMapping.3.Ebs.DeleteOnTermination=false",
        "BlockDeviceMapping.3.Ebs.Iops=4000",
        "BlockDeviceMapping.3.Ebs.Throughput=500",
        "BlockDeviceMapping.3.Ebs.VolumeSize=100",
        "BlockDeviceMapping.3.Ebs.VolumeType=gp3",
        "BlockDeviceMapping.3.Ebs.Encrypted=true",
    ] {
        assert!(body.contains(part), "{part}: {body}");
    }
    assert!(!body.contains("BlockDeviceMapping.2.Ebs.Encrypted"), "{body}");
    assert_eq!(tags(ground.volumes("plain").await?[0].tags())["fleetkey:in_images"], "no");
    assert_eq!(tags(ground.volumes("fast").await?[0].tags())["fleetkey:in_images"], "yes");

    for (flags, error) in [
        (&["--volume", "data"][..], "write NAME=GIB, then fields as a role has them"),
        (&["--volume", "data=1,colour=red"], "unknown field \"colour\""),
        (&["--volume", "data=1", "--volume", "data=2"], "--volume data is given twice"),
        (&["--volume", "data=1,device=/dev/xvdf"], "--volume data: device /dev/xvdf is that of volume plain already"),
        (&["--volume", "data=70000"], "--volume data: gp3 volumes have 1 to 65536 GiB, not 70000"),
        (&["--volume", "data=10,kind=io2"], "--volume data: io2 volumes need iops"),
    ] {
        let said = ground.run("create", &[flags, &["--quick"]].concat()).await?.ended(2).stderr;
        assert!(said.contains(error), "{flags:?}: {said}");
    }
    let said = ground.run("create", &["--quick", "--volume", "data=1,device=/dev/sda"]).await?.ended(1).stderr;
    assert!(said.contains("error: volume data of role web is /dev/sda, and image ami-"), "{said}");
    assert_eq!(ground.instances().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn an_image_leaves_out_what_its_role_leaves_out() -> Result<()> {
    let ground = Ground::new().await?;
    ground.role("web", &format!("{KEEPS}  - {{name: cache, size: 5, image: false}}\n"))?;
    let made = ground.create(&[]).await?;
    ground.cloud().ec2().stop_instances().instance_ids(made["id"].as_str().context("an id")?).send().await?;
    ground.proxy.take_calls();
    let said = ground.operator.verb("/team/", &["image", "web"]).await?.ended(0).stderr;
    assert!(said.contains("/dev/sdh, 5 GiB gp3") && said.contains("is left out of the image"), "{said}");
    let [body] = &ground.bodies("CreateImage")[..] else { panic!("one image") };
    let left_out = ["BlockDeviceMapping.1.DeviceName=%2Fdev%2Fsdh", "BlockDeviceMapping.1.NoDevice=&"];
    let said = |part: &&str| format!("{body}&").contains(*part);
    assert!(left_out.iter().all(said) && !body.contains("BlockDeviceMapping.2"), "{body}");
    Ok(())
}
