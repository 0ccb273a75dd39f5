//! What befalls an agent on a box: it is killed, hangs, and finds the disk full.

use anyhow::Result;
use fleetkey_localcloud::CloudBox;
use fleetkey_tests::in_box::InBox as _;

use crate::operator::{Operator, ROLE};
use crate::world::{UNIT, status, wait_in_step};

/// Where the keys of the admin account are.
const KEY_FILE: &str = "/home/admin/.ssh/authorized_keys";

fn number(booted: &CloudBox, property: &str) -> u64 {
    booted.property(UNIT, property).parse().unwrap()
}

#[tokio::test]
async fn an_agent_that_is_killed_or_hangs_is_back_in_step_by_itself() -> Result<()> {
    let alice = Operator::new("killed-alice", "/killed/").await?;
    let bob = Operator::new("killed-bob", "/killed/").await?;
    alice.account.create_group("killed-ops").await?;
    let booted = alice.create(&["--keypairs", "__me__", "@@killed-ops"]).await?;
    wait_in_step(&booted);
    // A minute, as shipped, is not what this test is about.
    let quick = "[Service]\nWatchdogSec=4s\nRestartSec=500ms\nTimeoutStartSec=5min\nExecStartPre=/opt/held-back\n";
    booted.sh(&format!(
        "mkdir -p /etc/systemd/system/{UNIT}.d; printf '{quick}' >/etc/systemd/system/{UNIT}.d/quick.conf; \
         printf '#!/bin/sh\nwhile test -e /run/hold; do sleep 0.1; done\n' >/opt/held-back; chmod +x /opt/held-back; \
         systemctl daemon-reload; systemctl restart {UNIT}"
    ));
    wait_in_step(&booted);
    for (signal, joins) in [("KILL", true), ("STOP", false)] {
        let (restarts, agent) = (number(&booted, "NRestarts"), booted.property(UNIT, "MainPID"));
        booted.sh(&format!("touch /run/hold; kill -{signal} {agent}"));
        // What changes while nobody looks, and what somebody does to the file.
        if joins {
            alice.account.add_to_group("killed-bob", "killed-ops").await?;
        } else {
            alice.account.remove_from_group("killed-bob", "killed-ops").await?;
        }
        booted.sh(&format!("sed -i '/killed-alice/d' {KEY_FILE}"));
        assert!(!alice.gets_in()?, "the test took the key out");
        booted.sh("rm /run/hold");
        booted.wait_for("a new agent", |booted| number(booted, "NRestarts") > restarts);
        wait_in_step(&booted);
        assert_ne!(booted.property(UNIT, "MainPID"), agent);
        alice.wait_for_login(true)?;
        bob.wait_for_login(joins)?;
    }
    Ok(())
}

#[tokio::test]
async fn on_a_full_disk_the_old_keys_stay_whole_the_agent_says_so_and_it_catches_up() -> Result<()> {
    let alice = Operator::new("full-alice", "/full/").await?;
    let bob = Operator::new("full-bob", "/full/").await?;
    alice.account.create_group("full-ops").await?;
    let booted = alice.create(&["--keypairs", "__me__", "@@full-ops"]).await?;
    wait_in_step(&booted);
    alice.wait_for_queue(&booted).await?;
    // A home on a file system of its own, which is full.
    booted
        .sh("cp -a /home/admin /root/home; mount -t tmpfs -o size=64k,mode=755,uid=$(id -u admin),gid=$(id -g admin) \
         none /home/admin; cp -a /root/home/. /home/admin; dd if=/dev/zero of=/home/admin/filler 2>/dev/null || true");
    let before = booted.read(KEY_FILE);
    assert!(before.is_some() && alice.gets_in()?);

    alice.account.add_to_group("full-bob", "full-ops").await?;
    alice.hint().await?;
    booted.wait_for("word of the full disk", |booted| {
        let error = &status(booted)["accounts"]["admin"]["error"];
        error.as_str().is_some_and(|error| error.contains("free some space"))
    });
    assert!(booted.sh("fleetkey-agent status || true").starts_with("NOT in step"));
    assert_eq!(booted.read(KEY_FILE), before, "neither half a file nor an empty one");
    assert!(alice.gets_in()? && !bob.gets_in()?);

    booted.sh("rm /home/admin/filler");
    wait_in_step(&booted);
    bob.wait_for_login(true)?;
    assert!(alice.gets_in()?);
    assert_eq!(booted.sh("ls -A /home/admin/.ssh"), "authorized_keys", "no litter");
    Ok(())
}

#[tokio::test]
async fn fault_11_a_box_that_is_still_about_to_run_or_to_stop_is_terminated() -> Result<()> {
    let alice = Operator::new("early-alice", "/early/").await?;
    for stops in [false, true] {
        alice.run(&["create", ROLE, "--no-agent", "--no-wait"])?.ended(0);
        if stops {
            alice.run(&["start", ROLE])?.ended(0);
            // Stopping takes a box a moment, in which it is neither running nor stopped.
            alice.run(&["stop", ROLE, "--no-wait"])?.ended(0);
        }
        alice.run(&["terminate", ROLE, "--yes"])?.ended(0);
        assert!(alice.instances().await?.is_empty(), "after stop: {stops}");
    }
    assert_eq!(alice.launched().await?.len(), 2);
    Ok(())
}
