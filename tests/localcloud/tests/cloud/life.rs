//! Stop, start, reboot, terminate, and a cable that is pulled.

use anyhow::{Context as _, Result};
use aws_sdk_ec2::error::ProvideErrorMetadata as _;
use aws_sdk_ec2::types::InstanceStateName;
use fleetkey_tests::in_box::InBox as _;

use crate::support::{PATIENCE, describe, host_keys, launch, running, shared, state, up, wait_for_state};

#[tokio::test]
async fn stop_and_start_keep_the_disk_and_the_private_address_and_change_the_public_one() -> Result<()> {
    let cloud = shared()?;
    let account = cloud.account();
    let (before, booted) = up(cloud, launch(cloud)).await?;
    let id = booted.instance_id();
    let keys = host_keys(&account, id).await?;
    booted.sh("echo kept >/srv/kept; rm /etc/issue");
    // It takes as long to go down as this test needs to look at it.
    booted.sh("systemd-run --quiet --unit=held --property=RemainAfterExit=yes \
         --property='ExecStop=/bin/sh -c \"until test -e /srv/let-go; do sleep 0.1; done\"' true");
    let stopped = account.ec2().stop_instances().instance_ids(id).send().await?;
    let change = stopped.stopping_instances().first().context("a change")?;
    let names = [change.previous_state(), change.current_state()].map(|state| state.and_then(|state| state.name()));
    assert_eq!(names.map(|name| name.map(InstanceStateName::as_str)), [Some("running"), Some("stopping")]);
    let early = account.ec2().start_instances().instance_ids(id).send().await.expect_err("it still goes down");
    assert_eq!(early.code(), Some("IncorrectInstanceState"));
    std::fs::write(booted.path("/srv/let-go"), "")?;
    wait_for_state(&account, id, "stopped").await?;
    assert!(cloud.running(id).is_none());

    account.ec2().start_instances().instance_ids(id).send().await?;
    let after = wait_for_state(&account, id, "running").await?;
    assert_eq!(after.private_ip_address(), before.private_ip_address());
    assert!(after.public_ip_address().is_some());
    assert_ne!(after.public_ip_address(), before.public_ip_address());
    let booted = running(cloud, id)?;
    assert_eq!(booted.sh("cat /srv/kept; test ! -e /etc/issue"), "kept");
    booted.wait_for_cloud_init();
    let shown = booted.sh("cat /etc/ssh/ssh_host_ed25519_key.pub");
    let blob = shown.split_whitespace().nth(1).context("a key")?;
    assert!(keys.contains(blob), "the same instance keeps its host keys");
    Ok(())
}

#[tokio::test]
async fn a_reboot_from_outside_or_inside_is_a_new_boot_of_an_instance_that_runs() -> Result<()> {
    let cloud = shared()?;
    let account = cloud.account();
    let (_, booted) = up(cloud, launch(cloud)).await?;
    let id = booted.instance_id();
    booted.sh("touch /run/this-boot");
    account.ec2().reboot_instances().instance_ids(id).send().await?;
    wait_for_new_boot(cloud, id).await?;
    let booted = running(cloud, id)?;
    booted.wait_for("systemd to answer", |booted| booted.status("systemctl list-jobs").success());
    booted.sh("touch /run/this-boot");
    // It may be gone before it can say so.
    booted.status("systemctl reboot");
    wait_for_new_boot(cloud, id).await?;
    assert_eq!(state(&describe(&account, id).await?), "running");
    Ok(())
}

async fn wait_for_new_boot(cloud: &fleetkey_localcloud::LocalCloud, id: &str) -> Result<()> {
    let start = std::time::Instant::now();
    // In this order: of a box that goes down between the two looks, the second finds nothing.
    let is_new = || {
        cloud
            .running(id)
            .is_some_and(|booted| !booted.path("/run/this-boot").exists() && booted.path("/run/systemd").exists())
    };
    while !is_new() {
        anyhow::ensure!(start.elapsed() < PATIENCE, "{id} does not boot again; the log says:\n{}", cloud.log());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_box_that_powers_itself_off_is_stopped() -> Result<()> {
    let cloud = shared()?;
    let (_, booted) = up(cloud, launch(cloud)).await?;
    booted.wait_for("systemd to answer", |booted| booted.status("systemctl list-jobs").success());
    booted.status("systemctl poweroff");
    wait_for_state(&cloud.account(), booted.instance_id(), "stopped").await?;
    Ok(())
}

#[tokio::test]
async fn terminating_removes_the_box_with_its_disk() -> Result<()> {
    let cloud = shared()?;
    let account = cloud.account();
    let (instance, booted) = up(cloud, launch(cloud)).await?;
    let id = booted.instance_id();
    let disk = cloud.folder().join("boxes").join(id);
    assert!(disk.is_dir());
    let ended = account.ec2().terminate_instances().instance_ids(id).send().await?;
    let now = ended.terminating_instances().first().and_then(|change| change.current_state()?.name().cloned());
    assert_eq!(now.as_ref().map(InstanceStateName::as_str), Some("shutting-down"));
    wait_for_state(&account, id, "terminated").await?;
    assert!(!disk.exists());
    assert!(cloud.running(id).is_none());
    let address = instance.private_ip_address().context("an address")?;
    let routes = crate::support::stdout(&cloud.command("ip").args(["route"]).output()?)?;
    assert!(!routes.lines().any(|route| route.starts_with(address)), "{routes}");
    let again = account.ec2().start_instances().instance_ids(id).send().await.expect_err("it is gone");
    assert_eq!(again.code(), Some("IncorrectInstanceState"));
    Ok(())
}

#[tokio::test]
async fn a_pulled_cable_stays_pulled_over_a_stop_until_it_is_plugged_in() -> Result<()> {
    let cloud = shared()?;
    let account = cloud.account();
    let (_, booted) = up(cloud, launch(cloud)).await?;
    let id = booted.instance_id().to_owned();
    let reaches = "curl -s -m 1 -o /dev/null http://169.254.169.254/";
    booted.wait_for("the metadata service to answer", |booted| booted.status(reaches).success());
    cloud.cut_network(&id)?;
    assert!(!booted.status(reaches).success());
    account.ec2().stop_instances().instance_ids(&id).send().await?;
    wait_for_state(&account, &id, "stopped").await?;
    account.ec2().start_instances().instance_ids(&id).send().await?;
    wait_for_state(&account, &id, "running").await?;
    let booted = running(cloud, &id)?;
    assert!(!booted.status(reaches).success());
    cloud.restore_network(&id)?;
    booted.wait_for("the network to be back", |booted| booted.status(reaches).success());
    cloud.cut_network("i-none").expect_err("there is no such box");
    Ok(())
}
