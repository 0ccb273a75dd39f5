//! Volumes: what is on one outlives its box, is found again by the next, and is mounted where it was.

use anyhow::{Context as _, Result};
use aws_sdk_ec2::types::VolumeState;
use fleetkey_tests::in_box::InBox as _;
use fleetkey_tests::wait_until;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::operator::{Operator, ROLE, SOON};

/// A volume that is kept, and one that is not and that images leave out.
const VOLUMES: [&str; 4] =
    ["--volume", "data=1,mount=/srv/data,owner=admin,keep", "--volume", "scratch=1,mount=/srv/scratch,image=false"];

/// The volume `data` as `list-volumes` has it; there must be one.
fn data(alice: &Operator) -> Result<Value> {
    let listed = alice.run(&["list-volumes", ROLE, "--output", "json"])?.ended(0).stdout;
    let listed: Value = serde_json::from_str(&listed)?;
    let all = listed["volumes"].as_array().context("volumes are a list")?;
    let data: Vec<_> = all.iter().filter(|volume| volume["volume"] == "data").collect();
    let [only] = data[..] else { anyhow::bail!("there is not one volume data: {listed}") };
    Ok(only.clone())
}

#[tokio::test]
async fn what_is_on_a_kept_volume_is_there_on_the_next_box_and_on_one_of_an_image() -> Result<()> {
    let alice = Operator::new("volume-alice", "/volume/").await?;
    let booted = alice.create(&VOLUMES).await?;
    assert_eq!(booted.sh("stat --format='%U %m' /srv/data"), "admin /srv/data");
    // She writes to it herself.
    alice.ssh(&["echo my work >/srv/data/work; sudo sh -c 'echo gone >/srv/scratch/work'"])?.ended(0);
    let first = data(&alice)?;
    assert_eq!((&first["state"], &first["zone"]), (&"in-use".into(), &"us-west-2a".into()));

    // A reboot formats nothing.
    booted.sh("systemctl reboot --no-block || true");
    let id = booted.instance_id().to_owned();
    // Nothing is run in it meanwhile: systemd stops all processes before it ends them, and nsenter stops with its own.
    booted.wait_for("the end of this boot", |old| !old.path("/").exists());
    let booted = alice.world.wait_for_box(&id)?;
    booted.wait_for_cloud_init();
    assert_eq!(booted.sh("cat /srv/data/work /srv/scratch/work"), "my work\ngone");

    alice.run(&["stop", ROLE])?.ended(0);
    let said = alice.run(&["image", ROLE])?.ended(0).stderr;
    assert!(said.contains("/dev/sdg, 1 GiB gp3") && said.contains("is left out of the image"), "{said}");
    let said = alice.run(&["terminate", ROLE, "--yes"])?.ended(0).stderr;
    assert!(said.contains("takes it over as data"), "{said}");
    let kept = data(&alice)?;
    assert_eq!((&kept["id"], &kept["state"]), (&first["id"], &"available".into()));

    // A box of the role's base image finds it again; what was not kept is blank.
    let booted = alice.create(&VOLUMES).await?;
    assert_eq!(booted.sh("cat /srv/data/work; ls /srv/scratch | grep -v lost+found || true"), "my work");
    assert_eq!(data(&alice)?["instance"], booted.instance_id());
    assert_eq!(data(&alice)?["id"], first["id"]);
    assert!(booted.sh("cat /var/log/cloud-init-output.log").contains("volume data: /dev/xvdf (ext4) is mounted"));
    booted.sh("echo more >>/srv/data/work");
    alice.run(&["terminate", ROLE, "--yes"])?.ended(0);

    // And so does one of the image, whose fstab is that of the first box.
    alice.run(&[&["recreate", ROLE], &VOLUMES[..]].concat())?.ended(0);
    let booted = alice.only_box().await?;
    assert_eq!(booted.sh("cat /srv/data/work; mountpoint /srv/scratch"), "my work\nmore\n/srv/scratch is a mountpoint");
    let fstab = booted.sh("grep x-fleetkey=data /etc/fstab");
    assert!(fstab.ends_with(&format!("x-fleetkey=data@{} 0 2", booted.instance_id())), "{fstab}");
    alice.run(&["terminate", ROLE, "--yes"])?.ended(0);

    let volumes = alice.account.ec2().describe_volumes().volume_ids(kept["id"].as_str().context("an id")?);
    let state = volumes.send().await?.volumes()[0].state().cloned();
    assert_eq!(state, Some(VolumeState::Available), "no terminate has deleted it");
    alice.run(&["delete-image", ROLE, "--yes"])?.ended(0);
    Ok(())
}

#[tokio::test]
async fn a_volume_with_something_unknown_on_it_is_left_as_it_is_and_neither_box_nor_one_of_an_image_is_kept()
-> Result<()> {
    let alice = Operator::new("unknown-alice", "/unknown/").await?;
    let keep = ["--volume", "data=1,keep"];
    // Without a mount, what is on it is the box's own business.
    let booted = alice.create(&keep).await?;
    booted.sh("printf 'raw data' | dd of=/dev/xvdf bs=1 seek=700000000 conv=notrunc status=none; sync");
    alice.run(&["stop", ROLE])?.ended(0);
    alice.run(&["image", ROLE])?.ended(0);
    alice.run(&["terminate", ROLE, "--yes"])?.ended(0);
    let kept = data(&alice)?;

    // A box of an image has another command at boot, behind that which mounts.
    for verb in ["create", "recreate"] {
        let ran = alice.run(&[verb, ROLE, "--volume", "data=1,mount=/srv/data,keep"])?.ended(1);
        assert!(ran.stderr.contains("error: cloud-init failed on box i-"), "{verb}: {}", ran.stderr);
        assert!(ran.stderr.contains("undone: box i-"), "{verb}: {}", ran.stderr);
        assert_eq!((&data(&alice)?["id"], &data(&alice)?["state"]), (&kept["id"], &"available".into()), "{verb}");
    }
    alice.run(&["delete-image", ROLE, "--yes"])?.ended(0);
    let booted = alice.create(&keep).await?;
    assert_eq!(booted.sh("dd if=/dev/xvdf bs=1 skip=700000000 count=8 status=none"), "raw data");
    alice.run(&["terminate", ROLE, "--yes"])?.ended(0);
    Ok(())
}

#[tokio::test]
async fn a_box_whose_volume_comes_when_it_has_given_it_up_boots_again_with_it() -> Result<()> {
    let alice = Operator::new("tardy-alice", "/tardy/").await?;
    let flags = ["--volume", "data=1,mount=/srv/data,keep"];
    let booted = alice.create(&flags).await?;
    booted.sh("echo my work >/srv/data/work");
    alice.run(&["terminate", ROLE, "--yes"])?.ended(0);

    let mut running = alice.start(&[&["create", ROLE], &flags[..]].concat())?;
    wait_until(
        "a box is launched",
        3 * SOON,
        || Ok(running.said()?.contains("launched box ") || running.has_ended()?),
    )?;
    running.signal(Signal::SIGKILL)?;
    let said = running.wait()?.stderr;
    assert!(said.contains("launched box ") && !said.contains("is attached as"), "{said}");
    let there = alice.instances().await?;
    let id = there.first().and_then(|found| found.instance_id()).context("it was launched")?;
    let first = alice.world.wait_for_box(id)?;
    wait_until("the volume is given up", 6 * SOON, || {
        Ok(first.status("grep -q 'NOT mounted at /srv/data' /var/log/cloud-init-output.log").success())
    })?;

    let said = alice.run(&[&["create", ROLE], &flags[..]].concat())?.ended(0).stderr;
    assert!(said.contains(&format!("box {id} got a volume late, and boots again: ")), "{said}");
    let booted = alice.only_box().await?;
    assert_eq!((booted.sh("cat /srv/data/work").as_str(), booted.instance_id()), ("my work", id));
    alice.run(&["terminate", ROLE, "--yes"])?.ended(0);
    Ok(())
}
