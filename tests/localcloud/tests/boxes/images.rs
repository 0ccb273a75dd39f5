//! R6: a box made from the image of another has its files, and nothing of its identity.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use fleetkey_localcloud::CloudBox;
use fleetkey_tests::in_box::InBox as _;

use crate::operator::{Operator, ROLE, SOON};
use crate::world::{status, wait_in_step};

/// A key that somebody put in by hand.
const OWN_LINE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGH5fGgBdTgC1nD8E/TekwJAet/K4f1f8DiBiQ4NYry/ own";

/// What makes a box itself.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    instance_id: String,
    machine_id: String,
    host_keys: Vec<String>,
    queue: String,
}

impl Identity {
    fn of(booted: &CloudBox) -> Self {
        let lines = booted.sh("cut -d' ' -f1,2 /etc/ssh/ssh_host_*_key.pub");
        let state = booted.read("/var/lib/fleetkey/state.json").unwrap();
        let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
        let instance_id = state["host"]["instance_id"].as_str().unwrap_or_default().to_owned();
        assert_eq!(status(booted)["instance_id"], *instance_id);
        Self {
            queue: format!("fleetkey-agent_{instance_id}"),
            instance_id,
            machine_id: booted.sh("cat /etc/machine-id"),
            host_keys: lines.lines().map(str::to_owned).collect(),
        }
    }
}

/// The queues of agents, by name, that are there.
async fn queues(alice: &Operator) -> Result<Vec<String>> {
    let urls = alice.account.queues().await?;
    Ok(urls.iter().filter_map(|url| url.rsplit('/').next()).map(str::to_owned).collect())
}

#[tokio::test]
async fn r6_a_recreated_box_has_the_files_of_the_imaged_one_and_nothing_of_its_identity() -> Result<()> {
    let alice = Operator::new("image-alice", "/image/").await?;
    let bob = Operator::new("image-bob", "/image/").await?;
    let booted = alice.create(&["--keypairs", "image-alice", "image-bob"]).await?;
    wait_in_step(&booted);
    alice.wait_for_queue(&booted).await?;
    assert!(alice.gets_in()? && bob.gets_in()?);
    booted.sh("echo 'my work' >/srv/work");
    booted.sh(&format!("echo '{OWN_LINE}' >>/home/admin/.ssh/authorized_keys"));
    let old = Identity::of(&booted);
    assert!(queues(&alice).await?.contains(&old.queue));

    alice.run(&["stop", ROLE])?.ended(0);
    alice.run(&["image", ROLE])?.ended(0);
    alice.run(&["terminate", ROLE, "--yes"])?.ended(0);
    assert!(alice.instances().await?.is_empty());
    // The box powered off in order, and took its queue along.
    let terminated = Instant::now();
    while queues(&alice).await?.contains(&old.queue) {
        assert!(terminated.elapsed() < SOON, "the queue of the old box is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    // bob is not let in to the new box, so that his key is there only if it came along.
    alice.run(&["recreate", ROLE, "-i", "-1", "--keypairs", "image-alice"])?.ended(0);
    let booted = alice.only_box().await?;
    assert_eq!(booted.sh("cat /srv/work"), "my work");
    wait_in_step(&booted);
    let new = Identity::of(&booted);
    assert_eq!(new.instance_id, booted.instance_id());
    assert_ne!(new.instance_id, old.instance_id);
    assert_ne!(new.machine_id, old.machine_id);
    assert!(!new.host_keys.iter().any(|key| old.host_keys.contains(key)), "{old:?} {new:?}");
    alice.wait_for_queue(&booted).await?;
    let there = queues(&alice).await?;
    assert!(there.contains(&new.queue) && !there.contains(&old.queue), "{there:?}");
    let subscriptions = alice.account.subscriptions().await?;
    assert!(!subscriptions.iter().any(|arn| arn.contains(&old.instance_id)), "{subscriptions:?}");

    assert!(alice.gets_in()?);
    assert!(!bob.gets_in()?, "{}", booted.sh("cat /home/admin/.ssh/authorized_keys"));
    let journal = booted.sh("journalctl --boot --unit=fleetkey-agent --output=cat");
    assert!(journal.contains("belongs to another box"), "{journal}");
    assert!(!journal.contains("image-bob may log in"), "{journal}");
    // Somebody's own line is one of the files that come along.
    assert!(booted.sh("cat /home/admin/.ssh/authorized_keys").contains(OWN_LINE));
    let generation = alice.instances().await?[0].tags().iter().find(|tag| tag.key() == Some("generation")).cloned();
    assert_eq!(generation.context("it has a generation")?.value(), Some("1"));

    // Nothing of the image stays behind, and the box goes on without it.
    alice.run(&["delete-image", ROLE, "-i", "-1", "--yes"])?.ended(0);
    let images = alice.account.ec2().describe_images().owners("self").send().await?;
    let snapshots = alice.account.ec2().describe_snapshots().owner_ids("self").send().await?;
    let name = format!("image_{ROLE}");
    assert!(!images.images().iter().any(|image| image.name().is_some_and(|found| found.starts_with(&name))));
    let left: Vec<_> = snapshots.snapshots().iter().filter(|one| format!("{one:?}").contains(&name)).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(alice.gets_in()?);
    Ok(())
}
