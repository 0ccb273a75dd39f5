//! Snapshots, volumes, security groups and instance profiles.

use anyhow::{Context as _, Result};
use aws_sdk_ec2::types::IamInstanceProfileSpecification;

use super::super::boxes::{BASE_IMAGE, launch_box, stop};
use super::ground::{ELSEWHERE, Ground, json, stays, swept};

const HERE: &str = "us-west-2";

async fn snapshots(ground: &Ground, region: &str) -> Result<Vec<String>> {
    let answer = ground.ec2(region).describe_snapshots().owner_ids("self").send().await?;
    Ok(answer.snapshots().iter().filter_map(|one| one.snapshot_id().map(str::to_owned)).collect())
}

#[tokio::test]
async fn snapshots_of_images_that_are_gone_are_swept_in_all_regions_and_no_others() -> Result<()> {
    let ground = Ground::new().await?;
    let gone = ("fleetkey:image", "ami-00000001");
    let left = ground.left_snapshot(HERE).await?;
    let far = ground.left_snapshot(ELSEWHERE).await?;
    let below = ground.snapshot(HERE, &[("Name", "prod_sub_db"), gone]).await?;
    let mut others = Vec::new();
    for tags in [
        &[("Name", "prod_web")][..],
        &[("Name", "production_web"), gone],
        &[("Name", "Prod web"), gone],
        &[("Name", "prod_"), gone],
        &[gone],
        &[],
        &[("Name", "prod_web"), gone, ("fleetkey:keep", "for Bob")],
    ] {
        others.push(ground.snapshot(HERE, tags).await?);
    }
    // One that another image has by now than the one that it was made with.
    let id = launch_box(ground.cloud(), "prod_web").await?;
    stop(ground.cloud(), &id).await?;
    let image = ground.operator.json("/prod/", &["image", "web"]).await?;
    let used = image["snapshots"][0].as_str().context("it has a snapshot")?.to_owned();
    let retag = aws_sdk_ec2::types::Tag::builder().key(gone.0).value(gone.1).build();
    ground.cloud().ec2().create_tags().resources(&used).tags(retag).send().await?;

    let only = ["--only", "snapshots"];
    let young = ground.cleanup(&[&only[..], &["--yes", "-v", "--region", HERE]].concat()).await?.ended(0);
    assert!(stays(&young)[&left].starts_with("too young; its image ami-00000001 is gone"), "{}", young.stderr);
    assert!(young.stderr.contains("would go: nothing; "), "{}", young.stderr);
    let why = stays(&young);
    assert!(why[&used].starts_with("image ami-"), "{why:?}");
    assert_eq!(why[&others[6]], "it carries the tag fleetkey:keep");
    assert_eq!(why.len(), 4, "{why:?}");

    let near = ground.sweep(&[&only[..], &["--region", HERE]].concat()).await?;
    let mut expected = [&left, &below].map(|id| format!("snapshots {id} deleted"));
    expected.sort();
    assert_eq!(near, expected);
    assert_eq!(snapshots(&ground, ELSEWHERE).await?.iter().filter(|id| **id == far).count(), 1);
    assert_eq!(ground.sweep(&only).await?, [format!("snapshots {far} deleted")]);
    let there = snapshots(&ground, HERE).await?;
    assert!(others.iter().chain([&used]).all(|id| there.contains(id)), "{there:?}");
    assert!(!there.contains(&left) && !there.contains(&below));
    Ok(())
}

#[tokio::test]
async fn detached_volumes_of_boxes_that_are_gone_are_swept_and_those_of_data_only_when_named() -> Result<()> {
    let ground = Ground::new().await?;
    let web = ("fleetkey:box", "/prod/web");
    let left = ground.root_volume(HERE, &[("Name", "prod_web"), web]).await?;
    // Made blank by a launch that was cut short before it gave its volumes their names.
    let blank = ground.volume(HERE, &[("Name", "prod_web"), web]).await?;
    let data = ground.volume(HERE, &[("Name", "prod_web_data"), web]).await?;
    let kept = ground.root_volume(HERE, &[("Name", "prod_web"), web, ("fleetkey:keep", "")]).await?;
    for tags in [
        &[("Name", "prod_web")][..],
        &[("Name", "prod_web"), ("fleetkey:box", "/other/web")],
        &[("Name", "prod_web"), ("fleetkey:box", "/prod/../web")],
        &[("Name", "prod_web"), ("fleetkey:box", "prod_web")],
    ] {
        ground.volume(HERE, tags).await?;
    }
    // A box of another role, with a volume of its own that is not detached.
    let other = launch_box(ground.cloud(), "prod_other").await?;
    let root = ground.cloud().ec2().describe_volumes().send().await?;
    let root = root.volumes().iter().find(|volume| !volume.attachments().is_empty()).context("the box has one")?;
    let root = root.volume_id().context("it has an id")?.to_owned();
    let tag = |value: &str| aws_sdk_ec2::types::Tag::builder().key("fleetkey:box").value(value).build();
    ground.cloud().ec2().create_tags().resources(&root).tags(tag("/prod/other")).send().await?;
    let rescue = ground.root_volume(HERE, &[("Name", "prod_other"), ("fleetkey:box", "/prod/other")]).await?;

    let here = ["--region", HERE, "--only", "volumes"];
    let all = ["--output", "json", "--older-than", "0s", "--dry-run", "-v"];
    let planned = ground.cleanup(&[&here[..], &all].concat()).await?.ended(0);
    assert_eq!(swept(&planned)?, [format!("volumes {left} planned")]);
    assert_eq!(json(&planned)?["things"][0]["bytes"].as_u64(), Some(8 << 30));
    let why = stays(&planned);
    assert_eq!(why[&rescue], "it may be that of a box /prod/other, of which some are there");
    assert_eq!(why.keys().collect::<Vec<_>>().len(), 2, "{why:?}");
    assert!(why.contains_key(&kept));
    assert_eq!(ground.sweep(&here).await?, [format!("volumes {left} deleted")]);
    assert_eq!(ground.sweep(&["--region", HERE]).await?, Vec::<String>::new());
    let named = ground.sweep(&["--region", HERE, "--only", "data-volumes"]).await?;
    let mut expected = [blank, data].map(|id| format!("data-volumes {id} deleted"));
    expected.sort();
    assert_eq!(named, expected);
    ground.cloud().ec2().terminate_instances().instance_ids(other).send().await?;
    assert_eq!(ground.sweep(&here).await?, [format!("volumes {rescue} deleted")]);
    assert_eq!(ground.cloud().ec2().describe_volumes().send().await?.volumes().len(), 5);
    Ok(())
}

#[tokio::test]
async fn a_volume_whose_box_comes_back_while_somebody_is_asked_stays() -> Result<()> {
    let ground = Ground::new().await?;
    let data = async |name: &str, region: &str| {
        let (tag, of) = (format!("prod_{name}_data"), format!("/prod/{name}"));
        ground.volume(region, &[("Name", &tag), ("fleetkey:box", &of)]).await
    };
    let (taken, gone, far) = (data("web", HERE).await?, data("db", HERE).await?, data("web", ELSEWHERE).await?);
    let words = ["cleanup", "--namespace", "/prod/", "--only", "data-volumes", "--older-than", "0s"];
    // The box is there and attaches the volume only once it runs, so that EC2 would delete it.
    let come = async || launch_box(ground.cloud(), "prod_web").await.map(drop);
    let ran = ground.operator.asked(&words, "y\n", come).await?.ended(0);
    assert!(ran.stdout.contains("Delete for good: 3 data-volumes ("), "{}", ran.stdout);
    let result = |id: &str| {
        let line = ran.stdout.lines().rev().find(|line| line.contains(id));
        line.map(|line| line.trim_end().rsplit("  ").next().unwrap_or_default().to_owned())
    };
    let results = [&taken, &gone, &far].map(|id| result(id));
    assert_eq!(results.each_ref().map(Option::as_deref), [Some("in use"), Some("deleted"), Some("deleted")]);
    let there = ground.cloud().ec2().describe_volumes().volume_ids(&taken).send().await?;
    assert_eq!(there.volumes().len(), 1);
    Ok(())
}

#[tokio::test]
async fn security_groups_that_no_interface_has_are_swept_unless_they_are_young() -> Result<()> {
    let ground = Ground::new().await?;
    let old = ("fleetkey:made", "2026-01-01T00:00:00Z");
    let unused = ground.group("prod_web", &[("fleetkey:box", "/prod/web"), old]).await?;
    let used = ground.group("prod_db", &[("fleetkey:box", "/prod/db"), old]).await?;
    let now = jiff::Timestamp::now().to_string();
    let young = ground.group("prod_new", &[("fleetkey:box", "/prod/new"), ("fleetkey:made", &now)]).await?;
    ground.group("other_web", &[("fleetkey:box", "/other/web"), old]).await?;
    ground.group("prod_mine", &[]).await?;
    let ec2 = ground.cloud().ec2();
    let launched = ec2.run_instances().image_id(BASE_IMAGE).min_count(1).max_count(1);
    let launched = launched.security_group_ids(&used).send().await?;
    let instance = launched.instances()[0].instance_id().context("it has an id")?;
    // moto shows the groups of an interface only where they were given with it.
    let interface = launched.instances()[0].network_interfaces()[0].network_interface_id().context("it has an id")?;
    ec2.modify_network_interface_attribute().network_interface_id(interface).groups(&used).send().await?;

    let here = ["--region", HERE, "--only", "groups", "--output", "json"];
    let ran = ground.cleanup(&[&here[..], &["--yes", "-v"]].concat()).await?.ended(0);
    assert_eq!(swept(&ran)?, [format!("groups {unused} deleted")]);
    let why = stays(&ran);
    assert_eq!(why[&used], "a network interface has it");
    assert!(why[&young].starts_with("too young; no network interface has prod_new of vpc-"), "{why:?}");
    assert_eq!(why.len(), 2);
    ec2.terminate_instances().instance_ids(instance).send().await?;
    Ok(())
}

#[tokio::test]
async fn an_instance_profile_that_no_instance_of_any_region_has_is_swept_with_its_role() -> Result<()> {
    let ground = Ground::new().await?;
    let iam = ground.cloud().iam();
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    for (name, path) in [
        ("prod_web.us-west-2", "/fleetkey/"),
        ("prod_db.us-west-2", "/fleetkey/"),
        ("prod_far.eu-west-1", "/fleetkey/"),
        ("other_web.us-west-2", "/fleetkey/"),
        ("prod_mine.us-west-2", "/mine/"),
        ("prod_web", "/fleetkey/"),
    ] {
        iam.create_role().role_name(name).path(path).assume_role_policy_document(trust).send().await?;
        iam.create_instance_profile().instance_profile_name(name).path(path).send().await?;
        iam.add_role_to_instance_profile().instance_profile_name(name).role_name(name).send().await?;
    }
    let policy = trust.replace(r#""Principal":{"Service":"ec2.amazonaws.com"},"#, r#""Resource":"*","#);
    iam.put_role_policy().role_name("prod_web.us-west-2").policy_name("own").policy_document(&policy).send().await?;
    let managed = iam.create_policy().policy_name("managed").policy_document(policy).send().await?;
    let managed = managed.policy.and_then(|policy| policy.arn).context("it has an ARN")?;
    iam.attach_role_policy().role_name("prod_web.us-west-2").policy_arn(managed).send().await?;
    // Used where its name does not say.
    let profile = IamInstanceProfileSpecification::builder().name("prod_db.us-west-2").build();
    let launched = ground.ec2(ELSEWHERE).run_instances().image_id(BASE_IMAGE).min_count(1).max_count(1);
    launched.iam_instance_profile(profile).send().await?;

    let only = ["--only", "profiles", "--older-than", "0s", "--yes", "--output", "json", "-v"];
    ground.proxy.spoil("ec2:DescribeInstances ap-south-1", fleetkey_tests::proxy::Fault::ServerError);
    let ran = ground.cleanup(&only).await?.ended(1);
    assert_eq!(swept(&ran)?, Vec::<String>::new());
    assert!(
        ran.stderr.contains("profiles stay as they are: ec2 DescribeInstances in ap-south-1 failed"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("hint: ") && ran.stderr.contains("--skip-region"), "{}", ran.stderr);
    let ran = ground.cleanup(&[&only[..], &["--skip-region", "ap-south-1", "--dry-run"]].concat()).await?.ended(0);
    assert_eq!(swept(&ran)?, ["profiles prod_far.eu-west-1 planned", "profiles prod_web.us-west-2 planned"]);
    ground.proxy.heal();

    let ran = ground.cleanup(&[&only[..], &["--region", HERE]].concat()).await?.ended(0);
    assert_eq!(swept(&ran)?, ["profiles prod_web.us-west-2 deleted"]);
    assert_eq!(stays(&ran)["prod_db.us-west-2"], "an instance has it");
    let left = iam.list_roles().path_prefix("/fleetkey/").send().await?;
    assert_eq!(left.roles().len(), 4);
    let left = iam.list_instance_profiles().send().await?;
    assert_eq!(left.instance_profiles().len(), 5);
    Ok(())
}
