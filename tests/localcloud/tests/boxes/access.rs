//! Who gets in: people of a group, people of a namespace, and everybody when there is no network.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use fleetkey_tests::in_box::InBox as _;
use fleetkey_tests::wait_until;

use crate::operator::{Operator, ROLE, SOON, utf8};
use crate::world::{status, status_text, wait_in_step};

/// How late a pushed change may be: seconds, and well below the minute after which the agent looks by itself.
const SECONDS: Duration = Duration::from_secs(30);

#[tokio::test]
async fn who_joins_the_group_gets_in_and_who_leaves_it_is_kept_out_within_seconds() -> Result<()> {
    let alice = Operator::new("group-alice", "/group/").await?;
    let bob = Operator::new("group-bob", "/group/").await?;
    alice.account.create_group("group-ops").await?;
    let booted = alice.create(&["--keypairs", "__me__", "@@group-ops"]).await?;
    wait_in_step(&booted);
    alice.wait_for_queue(&booted).await?;
    assert!(alice.gets_in()? && !bob.gets_in()?);

    alice.account.add_to_group("group-bob", "group-ops").await?;
    let start = Instant::now();
    alice.hint().await?;
    bob.wait_for_login(true)?;
    assert!(start.elapsed() < SECONDS, "in after {:?}", start.elapsed());

    alice.account.remove_from_group("group-bob", "group-ops").await?;
    let start = Instant::now();
    alice.hint().await?;
    bob.wait_for_login(false)?;
    assert!(start.elapsed() < SECONDS, "out after {:?}", start.elapsed());
    assert!(alice.gets_in()?);

    // A key that its holder registers by now is in by the hint of the controller itself.
    let carol = Operator::unregistered("group-carol", "/group/").await?;
    alice.account.add_to_group("group-carol", "group-ops").await?;
    let file = carol.file("key.pub", carol.key.line())?;
    carol.run(&["register-key", utf8(&file)?])?.ended(0);
    carol.wait_for_login(true)?;
    Ok(())
}

#[tokio::test]
async fn two_namespaces_do_not_see_each_other() -> Result<()> {
    let red = Operator::new("space-red", "/space-red/").await?;
    let blue = Operator::new("space-blue", "/space-blue/").await?;
    let reds = red.create(&[]).await?;
    let none = blue.run(&["list", "--output", "json"])?.ended(0);
    assert!(!none.stdout.contains(reds.instance_id()), "{}", none.stdout);

    let id = reds.instance_id();
    for attempt in [
        &["ssh", ROLE, "--", "true"][..],
        &["ssh", ROLE, "-I", id, "--", "true"],
        &["terminate", ROLE, "--yes"],
        &["terminate", ROLE, "-I", id, "--yes"],
        &["stop", ROLE, "-I", id],
    ] {
        let ran = blue.run(attempt)?;
        assert!(matches!(ran.code, Some(1 | 2)), "{attempt:?}: {ran:?}");
        assert!(ran.stderr.contains(ROLE), "{attempt:?}: {}", ran.stderr);
    }
    assert!(red.gets_in()?, "the box is as it was");

    // Each has a box of the same role, of which the other knows nothing.
    let blues = blue.create(&[]).await?;
    assert_ne!(blues.instance_id(), id);
    let seen = |stdout: &str| [id, blues.instance_id()].map(|id| stdout.contains(id));
    assert_eq!(seen(&red.run(&["list", "--output", "json"])?.ended(0).stdout), [true, false]);
    assert_eq!(seen(&blue.run(&["list", "--output", "json"])?.ended(0).stdout), [false, true]);
    assert!(red.gets_in()? && blue.gets_in()?);
    // By its full name a box of another namespace can be meant, and who may log in is the box's own affair.
    let foreign = format!("/space-red/{ROLE}");
    assert!(!blue.gets_in_to(&[&foreign])?);

    blue.run(&["terminate", ROLE, "--yes"])?.ended(0);
    assert!(blue.instances().await?.is_empty());
    assert_eq!(red.instances().await?.len(), 1);
    assert!(red.gets_in()?);
    Ok(())
}

#[tokio::test]
async fn a_box_that_boots_without_a_network_lets_in_whom_it_let_in_last() -> Result<()> {
    let alice = Operator::new("cut-alice", "/cut/").await?;
    let booted = alice.create(&[]).await?;
    wait_in_step(&booted);
    let id = booted.instance_id().to_owned();
    // The key file is lost at the next boot: what lets alice in then is what the agent remembers.
    booted.sh("echo 'r! /home/admin/.ssh/authorized_keys' >/etc/tmpfiles.d/lost.conf; mkdir -m 0700 /root/alice");
    let key = std::fs::read(alice.key.private())?;
    std::fs::write(booted.path("/root/alice/key"), key)?;
    booted.sh("chmod 0600 /root/alice/key; chown root:root /root/alice/key");

    alice.run(&["stop", ROLE])?.ended(0);
    alice.world.cloud.cut_network(&id)?;
    alice.account.ec2().start_instances().instance_ids(&id).send().await?;
    let booted = alice.world.wait_for_box(&id)?;
    let logs_in = "ssh -F none -i /root/alice/key -o BatchMode=yes -o IdentitiesOnly=yes -o ConnectTimeout=60 \
                   -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null admin@127.0.0.1 true";
    // cloud-init looks for the metadata service for a minute, and sshd waits for cloud-init.
    let starts = || Ok(booted.read("/run/fleetkey/status.json").is_some());
    wait_until("the agent starts", 4 * SOON, starts).with_context(|| booted.console())?;
    booted.wait_for("alice to be let in", |booted| booted.status(logs_in).success());
    booted.wait_for("word of the network", |booted| status_text(booted).contains("last known serves"));
    assert_eq!(status(&booted)["accounts"]["admin"]["keys"], 1);

    alice.world.cloud.restore_network(&id)?;
    wait_in_step(&booted);
    wait_until("alice gets in again", SOON, || alice.gets_in())?;
    Ok(())
}
