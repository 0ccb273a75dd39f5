//! Boxes that nobody uses, as EC2 sees them: stopped or terminated, by nothing but their own powering off.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aws_sdk_ec2::types::{Instance, InstanceStateName};
use fleetkey_tests::in_box::InBox as _;

use crate::operator::{Operator, SOON};
use crate::world::{status, wait_in_step};

/// A role whose boxes have the shortest time that there is. Boxes share the machine's load, whatever it is.
const ROLE_FILE: &str = "extends: [generic-debian-12-box]\nautostop: {after: 1m, max_load: 9999}\n";

/// The time, and how long the box may take beyond it.
const LIMIT: Duration = Duration::from_mins(4);

async fn wait_until_it_is(alice: &Operator, id: &str, wanted: InstanceStateName) -> Result<Instance> {
    let start = Instant::now();
    loop {
        let found = alice.launched().await?.into_iter().find(|one| one.instance_id() == Some(id));
        let found = found.context("EC2 tells of it")?;
        let state = found.state().and_then(|state| state.name()).cloned();
        if state == Some(wanted.clone()) {
            return Ok(found);
        }
        ensure!(start.elapsed() < LIMIT, "{id} is {state:?} and not {wanted} after {LIMIT:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn a_box_that_nobody_uses_is_stopped_and_can_be_started_again() -> Result<()> {
    let alice = Operator::new("idle-alice", "/idle/").await?;
    alice.file(".config/fleetkey/roles/idle.yaml", ROLE_FILE)?;
    alice.run(&["create", "idle"])?.ended(0);
    let booted = alice.only_box().await?;
    let id = booted.instance_id().to_owned();
    wait_in_step(&booted);
    let shown = alice.run(&["show", "idle"])?.ended(0).stdout;
    assert!(shown.lines().any(|line| line.starts_with("autostop") && line.ends_with("stop after 1m")), "{shown}");

    // Somebody who works there without a terminal, for longer than the time.
    let session = alice.start(&["ssh", "idle", "--", "-o", "BatchMode=yes", "sleep 75"])?;
    booted.wait_for("word of the session", |booted| {
        status(booted)["autostop"]["held_by"].to_string().contains("logged in: admin")
    });
    session.wait()?.ended(0);
    let left = Instant::now();
    wait_until_it_is(&alice, &id, InstanceStateName::Stopped).await?;
    assert!(left.elapsed() > Duration::from_secs(45), "stopped {:?} after the session", left.elapsed());

    alice.run(&["start", "idle"])?.ended(0);
    let said = alice.run(&["ssh", "idle", "--", "-o", "BatchMode=yes", "fleetkey-agent stay 4h"])?.ended(0);
    assert!(said.stderr.contains("this box stays on until"), "{}", said.stderr);
    alice.run(&["terminate", "idle", "--yes"])?.ended(0);
    Ok(())
}

#[tokio::test]
async fn a_box_that_is_to_be_terminated_is_gone_when_nobody_uses_it() -> Result<()> {
    let alice = Operator::new("gone-alice", "/gone/").await?;
    alice.file(".config/fleetkey/roles/idle.yaml", ROLE_FILE)?;
    alice.run(&["create", "idle", "--autostop-action", "terminate"])?.ended(0);
    let booted = alice.only_box().await?;
    let id = booted.instance_id().to_owned();
    wait_in_step(&booted);
    booted.wait_for("a notice", |booted| booted.path("/run/motd.d/fleetkey").exists());
    let motd = String::from_utf8(booted.read("/run/motd.d/fleetkey").context("there is a notice")?)?;
    assert!(motd.starts_with("This box is TERMINATED, its disks with it, after 1m"), "{motd}");
    wait_until_it_is(&alice, &id, InstanceStateName::Terminated).await?;
    assert!(alice.instances().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn what_the_role_says_of_idle_boxes_can_be_put_out() -> Result<()> {
    let alice = Operator::new("awake-alice", "/awake/").await?;
    alice.file(".config/fleetkey/roles/idle.yaml", ROLE_FILE)?;
    alice.run(&["create", "idle", "--no-autostop"])?.ended(0);
    let booted = alice.only_box().await?;
    wait_in_step(&booted);
    assert!(status(&booted)["autostop"].is_null());
    assert!(!booted.path("/run/motd.d/fleetkey").exists());
    let began = Instant::now();
    alice.run(&["terminate", "idle", "--yes"])?.ended(0);
    assert!(began.elapsed() < 4 * SOON);
    Ok(())
}
