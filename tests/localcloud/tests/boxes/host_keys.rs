//! Fault 15: ssh is held to the host keys that a box printed to its console.

use std::collections::BTreeSet;

use anyhow::Result;
use aws_sdk_ec2::types::Instance;
use fleetkey_localcloud::CloudBox;
use fleetkey_tests::in_box::InBox as _;

use crate::operator::{Operator, ROLE};

#[tokio::test]
async fn a_box_that_was_stopped_and_started_is_reached_at_its_new_address_with_the_same_host_key() -> Result<()> {
    let alice = Operator::new("moved-alice", "/moved/").await?;
    let booted = alice.create(&[]).await?;
    let host_key = booted.sh("cat /etc/ssh/ssh_host_ed25519_key.pub");
    let address = |found: &[Instance]| found[0].public_ip_address().map(str::to_owned);
    let before = address(&alice.instances().await?);
    assert!(before.is_some());

    alice.run(&["stop", ROLE])?.ended(0);
    assert_eq!(address(&alice.instances().await?), None);
    let refused = alice.ssh(&["true"])?;
    assert!(refused.code != Some(0) && refused.stderr.contains("start"), "{refused:?}");
    alice.run(&["start", ROLE])?.ended(0);
    let after = address(&alice.instances().await?);
    assert!(after.is_some() && after != before, "{before:?} and {after:?}");

    let booted = alice.only_box().await?;
    assert_eq!(booted.sh("cat /etc/ssh/ssh_host_ed25519_key.pub"), host_key);
    assert!(alice.gets_in()?);
    Ok(())
}

#[tokio::test]
async fn fault_15_a_box_with_another_host_key_than_its_console_printed_is_refused() -> Result<()> {
    let alice = Operator::new("forged-alice", "/forged/").await?;
    let booted = alice.create(&[]).await?;
    assert!(alice.gets_in()?);
    booted.sh("mkdir /root/true; mv /etc/ssh/ssh_host_* /root/true; ssh-keygen -A; systemctl restart ssh");
    for words in [
        &["ssh", ROLE, "--", "-o", "StrictHostKeyChecking=no", "touch", "/tmp/in"][..],
        &["ssh", ROLE, "--", "touch", "/tmp/in"],
    ] {
        let ran = alice.run(words)?;
        assert_ne!(ran.code, Some(0));
        assert!(ran.stderr.contains("has changed"), "{}", ran.stderr);
    }
    assert!(!booted.path("/tmp/in").exists(), "nobody was logged in");

    // Nobody but the console is believed, so an operator who comes later does not fall for it either.
    let bob = Operator::new("forged-bob", "/forged/").await?;
    let ran = bob.ssh(&["true"])?;
    assert!(ran.code != Some(0) && !ran.stderr.contains("Permission denied"), "{}", ran.stderr);

    booted.sh("mv /root/true/* /etc/ssh; systemctl restart ssh");
    assert!(alice.gets_in()?);
    Ok(())
}

/// The host keys of a box, and of the blocks that it has printed to its console since it was started.
fn keys(booted: &CloudBox) -> (BTreeSet<String>, Vec<BTreeSet<String>>) {
    let two = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let own = booted.sh("cat /etc/ssh/ssh_host_*_key.pub").lines().map(two).collect();
    let console = booted.console();
    let blocks = console.split("-----BEGIN SSH HOST KEY KEYS-----").skip(1);
    let blocks = blocks.filter_map(|block| block.split_once("-----END SSH HOST KEY KEYS-----"));
    let keys = |block: &str| block.lines().map(str::trim).filter(|line| line.contains(' ')).map(two).collect();
    (own, blocks.map(|(block, _)| keys(block)).collect())
}

fn wait_for_boot(alice: &Operator, id: &str) -> Result<CloudBox> {
    let booted = alice.world.wait_for_box(id)?;
    booted.wait_for("the boot to end", |booted| booted.console().contains(" finished at "));
    Ok(booted)
}

#[tokio::test]
async fn a_box_that_nobody_has_reached_before_it_was_stopped_tells_its_host_keys_again() -> Result<()> {
    let alice = Operator::new("late-alice", "/late/").await?;
    alice.run(&["create", ROLE, "--no-wait"])?.ended(0);
    let id = alice.instances().await?[0].instance_id().unwrap_or_default().to_owned();
    wait_for_boot(&alice, &id)?;
    let known = |id: &str| alice.home().join(".local/state/fleetkey/known_hosts.d/us-west-2").join(id);
    alice.run(&["stop", ROLE])?.ended(0);
    alice.run(&["start", ROLE])?.ended(0);
    assert!(!known(&id).exists(), "nobody has looked yet");
    assert!(alice.gets_in()?, "without --host-key");
    let (own, printed) = keys(&wait_for_boot(&alice, &id)?);
    assert_eq!(printed, std::slice::from_ref(&own), "it has booted once since it was started");

    // A box that is made of its image has keys of its own, and tells no others.
    alice.run(&["stop", ROLE])?.ended(0);
    alice.run(&["image", ROLE])?.ended(0);
    alice.run(&["terminate", ROLE, "--yes"])?.ended(0);
    alice.run(&["recreate", ROLE, "--no-wait"])?.ended(0);
    let id = alice.instances().await?[0].instance_id().unwrap_or_default().to_owned();
    let (new, printed) = keys(&wait_for_boot(&alice, &id)?);
    assert!(new.is_disjoint(&own) && !printed.is_empty());
    assert!(printed.iter().all(|block| *block == new), "{printed:?}");
    assert!(alice.gets_in()?);
    std::fs::remove_file(known(&id))?;
    alice.run(&["stop", ROLE])?.ended(0);
    alice.run(&["start", ROLE])?.ended(0);
    assert!(alice.gets_in()?);
    Ok(())
}
