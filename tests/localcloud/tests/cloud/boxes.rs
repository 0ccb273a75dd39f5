//! A box from its launch to its login.

use anyhow::{Context as _, Result};
use aws_sdk_ec2::error::ProvideErrorMetadata as _;
use aws_sdk_ec2::types::{Filter, InstanceStateName, Placement};
use fleetkey_localcloud::CloudBox;
use fleetkey_tests::in_box::InBox as _;
use fleetkey_tests::keys::TestKey;

use crate::support::{
    describe, encoded, here, host_keys, launch, launch_with_key, running, shared, ssh, state, stdout, up,
};

/// Nothing says that it takes connections before the host keys are on the console.
fn wait_for_sshd(booted: &CloudBox) {
    // Of several units in one call, one that is active would do.
    let both = "systemctl is-active ssh && systemctl is-active systemd-user-sessions";
    booted.wait_for("sshd", |booted| booted.status(both).success());
}

#[tokio::test]
async fn a_launched_box_boots_runs_its_user_data_and_lets_the_launch_key_in() -> Result<()> {
    let (cloud, key) = (shared()?, TestKey::new("launch@test")?);
    let data = "#cloud-config\nwrite_files:\n- path: /srv/written\n  content: by cloud-init\n";
    let launched = launch_with_key(cloud, &key, "boots").await?.user_data(encoded(data)).send().await?;
    let launched = launched.instances().first().context("an instance")?;
    assert_eq!(state(launched), "pending", "no box is up before its launch is answered");
    let id = launched.instance_id().context("an id")?;
    let keys = host_keys(&cloud.account(), id).await?;
    let instance = describe(&cloud.account(), id).await?;
    assert_eq!(state(&instance), "running");
    wait_for_sshd(&running(cloud, id)?);
    for address in [instance.private_ip_address(), instance.public_ip_address()] {
        let address = address.context("a box has both addresses")?;
        let said =
            stdout(&ssh(cloud, address, &key, &keys, "echo $(cat /srv/written); id -un; sudo id -un; hostname")?)?;
        let name = instance.private_dns_name().and_then(|name| name.split('.').next()).context("a name")?;
        assert_eq!(said, format!("by cloud-init\nadmin\nroot\n{name}"));
    }
    let stranger = ssh(cloud, instance.private_ip_address().unwrap_or_default(), &TestKey::new("x")?, &keys, "true")?;
    assert!(String::from_utf8_lossy(&stranger.stderr).contains("Permission denied"), "{stranger:?}");
    assert!(here("ip", &["-4", "address"]).is_ok_and(|all| !all.contains("169.254.169.254")));
    Ok(())
}

#[tokio::test]
async fn two_boxes_side_by_side_let_one_in() -> Result<()> {
    let (cloud, key) = (shared()?, TestKey::new("quick@test")?);
    let launch = launch_with_key(cloud, &key, "quick").await?.min_count(2).max_count(2);
    for instance in launch.send().await?.instances() {
        let id = instance.instance_id().context("an id")?;
        let keys = host_keys(&cloud.account(), id).await?;
        wait_for_sshd(&running(cloud, id)?);
        let address = instance.private_ip_address().context("an address")?;
        stdout(&ssh(cloud, address, &key, &keys, "true")?)?;
    }
    Ok(())
}

#[tokio::test]
async fn user_data_is_given_as_it_was_and_compressed_user_data_runs_too() -> Result<()> {
    let cloud = shared()?;
    let data = "#cloud-config\nruncmd:\n- touch /srv/from-compressed\n";
    let mut gzip = std::process::Command::new("sh");
    let compressed = gzip.args(["-c", "printf %s \"$1\" | gzip -n", "sh", data]).output()?.stdout;
    assert_eq!(compressed.first_chunk(), Some(&[0x1f, 0x8b]));
    let (_, booted) = up(cloud, launch(cloud).user_data(encoded(&compressed))).await?;
    booted.wait_for_cloud_init();
    booted.sh("test -e /srv/from-compressed");
    assert_eq!(booted.sh("cloud-init status"), "status: done", "and nothing of the image's own went wrong");
    let token = "curl -sS -X PUT -H 'x-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token";
    let given = format!("curl -sS -H \"x-aws-ec2-metadata-token: $({token})\" http://169.254.169.254/latest/user-data");
    assert_eq!(booted.command("sh").args(["-ec", &given]).output()?.stdout, compressed);
    Ok(())
}

#[tokio::test]
async fn an_address_comes_from_the_subnet_of_the_zone() -> Result<()> {
    let cloud = shared()?;
    let placement = Placement::builder().availability_zone("us-west-2b").build();
    let launched = launch(cloud).placement(placement).send().await?;
    let instance = launched.instances().first().context("an instance")?;
    let subnet = instance.subnet_id().context("a subnet")?;
    let subnets = cloud.account().ec2().describe_subnets().subnet_ids(subnet).send().await?;
    let subnet = subnets.subnets().first().context("the subnet")?;
    assert_eq!(subnet.availability_zone(), Some("us-west-2b"));
    let start = |address: &str| address.split('.').take(2).collect::<Vec<_>>().join(".");
    let address = instance.private_ip_address().map(start);
    assert_eq!((address.as_deref(), subnet.cidr_block().map(start)), (Some("172.31"), Some("172.31".to_owned())));
    Ok(())
}

#[tokio::test]
async fn the_same_client_token_launches_one_box() -> Result<()> {
    let cloud = shared()?;
    let first = launch(cloud).client_token("one").send().await?;
    let second = launch(cloud).client_token("one").send().await?;
    let id = |launched: &aws_sdk_ec2::operation::run_instances::RunInstancesOutput| {
        launched.instances().first().and_then(|instance| instance.instance_id().map(str::to_owned))
    };
    assert!(id(&first).is_some());
    assert_eq!(id(&first), id(&second));
    let other = launch(cloud).client_token("one").user_data(encoded("#!/bin/sh\n")).send().await;
    assert_eq!(other.expect_err("another launch").code(), Some("IdempotentParameterMismatch"));
    Ok(())
}

#[tokio::test]
async fn an_image_that_is_not_there_is_refused() -> Result<()> {
    let refused = launch(shared()?).image_id("ami-00000000000000000").send().await.expect_err("there is none");
    assert_eq!(refused.code(), Some("InvalidAMIID.NotFound"));
    Ok(())
}

#[tokio::test]
async fn debians_image_is_found_by_owner_and_name_and_by_parameter() -> Result<()> {
    let cloud = shared()?;
    let filter = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
    let asked = cloud.account().ec2().describe_images().owners("136693071363");
    let asked = asked.filters(filter("name", "debian-12-amd64-*")).filters(filter("state", "available"));
    let found = asked.filters(filter("architecture", "x86_64")).send().await?;
    let ids: Vec<_> = found.images().iter().filter_map(|image| image.image_id()).collect();
    assert_eq!(ids, [cloud.image_id()]);
    let snapshot = found.images().first().and_then(|image| image.block_device_mappings().first()?.ebs()?.snapshot_id());
    assert!(snapshot.is_some_and(|id| id.starts_with("snap-")), "{snapshot:?}");
    let ssm = aws_sdk_ssm::Client::new(&cloud.account().sdk_config());
    let name = "/aws/service/debian/release/12/latest/amd64";
    let parameter = ssm.get_parameter().name(name).send().await?;
    assert_eq!(parameter.parameter().and_then(|parameter| parameter.value()), Some(cloud.image_id()));
    let linux = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";
    ssm.get_parameter().name(linux).send().await.context("the others are moto's")?;
    Ok(())
}

#[tokio::test]
async fn states_choose_among_instances_as_they_truly_are() -> Result<()> {
    let cloud = shared()?;
    let launched = launch(cloud).send().await?;
    let id = launched.instances().first().and_then(|instance| instance.instance_id()).context("an id")?;
    let found = |state: InstanceStateName| {
        let filter = Filter::builder().name("instance-state-name").values(state.as_str()).build();
        let asked = cloud.account().ec2().describe_instances().filters(filter).instance_ids(id);
        async move { anyhow::Ok(asked.send().await?.reservations().len()) }
    };
    // It is one or the other, and may become the other between the two questions.
    let stopped = found(InstanceStateName::Stopped).await?;
    let up = found(InstanceStateName::Pending).await? + found(InstanceStateName::Running).await?;
    assert_eq!((stopped, up.min(1)), (0, 1));
    let account = cloud.account();
    crate::support::wait_for_state(&account, id, "running").await?;
    account.ec2().stop_instances().instance_ids(id).send().await?;
    assert_eq!(found(InstanceStateName::Running).await?, 0);
    crate::support::wait_for_state(&account, id, "stopped").await?;
    assert_eq!(found(InstanceStateName::Stopped).await?, 1);
    Ok(())
}
