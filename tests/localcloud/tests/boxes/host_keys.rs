//! Fault 15: ssh is held to the host keys that a box printed to its console.

use anyhow::Result;
use aws_sdk_ec2::types::Instance;

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
