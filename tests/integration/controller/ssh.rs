//! `fleetkey ssh`: only ever to the box that is meant.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::Result;
use fleetkey_tests::keys::TestKey;

use super::box_at_hand::{ADMIN, BoxAtHand, FINISHED, ROLE, console, machine};

#[tokio::test]
async fn a_command_runs_on_the_box_and_output_and_exit_code_are_its_own() -> Result<()> {
    let machine = machine()?;
    let there = BoxAtHand::new(&machine).await?;
    let ran = there.ssh(&[], &["id -un;", "echo  'a  b';", "exit 7"]).await?.ended(7);
    assert_eq!(ran.stdout, format!("{ADMIN}\na  b\n"));
    let calls = there.proxy.take_calls();
    let consoles =
        |calls: &[fleetkey_tests::proxy::Call]| calls.iter().filter(|call| call.action == "GetConsoleOutput").count();
    assert_eq!(consoles(&calls), 1, "{calls:?}");

    // The keys are kept, for their owner alone, and asked for no more.
    let kept = fs::read_to_string(there.known_hosts())?;
    let key: String = there.host_key()?.split(' ').take(2).collect::<Vec<_>>().join(" ");
    assert!(kept.contains(&format!("\n{} {key}\n", there.id)), "{kept}");
    assert_eq!(fs::metadata(there.known_hosts())?.permissions().mode() & 0o777, 0o600);
    let ran = there.ssh(&["-o", "-1", "--login", ADMIN], &["true"]).await?.ended(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    assert_eq!(consoles(&there.proxy.take_calls()), 0);
    Ok(())
}

#[tokio::test]
async fn fault_15_nobody_is_logged_in_to_a_box_whose_console_shows_no_host_key() -> Result<()> {
    let machine = machine()?;
    let there = BoxAtHand::new(&machine).await?;
    there.print(FINISHED);
    let ran = there.ssh(&[], &["true"]).await?.ended(1);
    assert!(ran.stderr.contains("shows no host keys, and no others are trusted"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: --host-key takes one from a trusted source"), "{}", ran.stderr);
    // Before cloud-init is through, it is waited for.
    there.print("[    0.000000] Linux version 6.1.0-25-cloud-amd64\r\n");
    let ran = there.ssh(&["--timeout", "600ms"], &["true"]).await?.ended(1);
    assert!(ran.stderr.contains("waited 600ms in vain: box"), "{}", ran.stderr);
    // Nor is a key of the operator's own known_hosts any good, or an option of ssh that would trust anything.
    let ran = there.ssh(&["--timeout", "600ms"], &["-o", "StrictHostKeyChecking=no", "true"]).await?.ended(1);
    assert!(ran.stderr.contains("no others are trusted"), "{}", ran.stderr);
    assert!(!there.sshd.log().text()?.contains("Connection from"), "the box was connected to");
    assert!(!there.known_hosts().exists());
    Ok(())
}

#[tokio::test]
async fn fault_15_a_changed_host_key_is_refused() -> Result<()> {
    let machine = machine()?;
    let mut there = BoxAtHand::new(&machine).await?;
    there.ssh(&[], &["true"]).await?.ended(0);
    let old = there.host_key()?;
    there.change_host_key()?;
    // By ssh itself, whatever it is told: 255 is its own exit code.
    let ran = there.ssh(&[], &["-o", "StrictHostKeyChecking=no", "true"]).await?.ended(255);
    assert!(ran.stderr.contains("REMOTE HOST IDENTIFICATION HAS CHANGED"), "{}", ran.stderr);

    // After a new launch, in words of our own.
    let changed = format!("error: the host key of box {} has changed", there.id);
    let relaunch = || -> Result<()> {
        let kept = fs::read_to_string(there.known_hosts())?;
        let lines = kept.lines().filter(|line| !line.starts_with("# reached"));
        Ok(fs::write(there.known_hosts(), lines.collect::<Vec<_>>().join("\n"))?)
    };
    relaunch()?;
    let ran = there.ssh(&[], &["true"]).await?.ended(1);
    assert!(ran.stderr.contains(&changed), "{}", ran.stderr);
    // Also where it is the console that shows another.
    there.print(&console(&[&there.host_key()?]));
    let ran = there.ssh(&[], &["true"]).await?.ended(1);
    assert!(ran.stderr.contains(&changed) && ran.stderr.contains("printed: ssh-ed25519 SHA256:"), "{}", ran.stderr);
    assert!(!there.was_entered()?);

    // What the message says helps: the file removed, the key is taken from the console anew.
    assert!(ran.stderr.contains(&there.known_hosts().display().to_string()), "{}", ran.stderr);
    fs::remove_file(there.known_hosts())?;
    there.ssh(&[], &["true"]).await?.ended(0);
    assert_ne!(old, there.host_key()?);
    Ok(())
}

#[tokio::test]
async fn fault_15_a_forged_key_on_the_console_lets_nobody_in_between() -> Result<()> {
    let machine = machine()?;
    let there = BoxAtHand::new(&machine).await?;
    let forged = TestKey::new("root@box")?;
    there.print(&(console(&[&there.host_key()?]) + &console(&[forged.line()])));
    let ran = there.ssh(&[], &["true"]).await?.ended(1);
    assert!(ran.stderr.contains("shows different host keys, so that none is believed"), "{}", ran.stderr);
    there.print(&console(&[forged.line()]));
    let ran = there.ssh(&[], &["true"]).await?.ended(1);
    assert!(ran.stderr.contains("has changed: this may be another machine"), "{}", ran.stderr);
    assert!(!there.was_entered()?);
    Ok(())
}

#[tokio::test]
async fn a_host_key_may_be_given_by_hand() -> Result<()> {
    let machine = machine()?;
    let there = BoxAtHand::new(&machine).await?;
    there.print(FINISHED);
    let other = TestKey::new("other@test")?;
    let ran = there.ssh(&["--host-key", &other.fingerprint().to_string()], &["true"]).await?.ended(1);
    assert!(ran.stderr.contains("does not have the host key SHA256:"), "{}", ran.stderr);
    assert!(!there.known_hosts().exists());

    let key: fleetkey_common::public_key::PublicKey = there.host_key()?.parse()?;
    there.ssh(&["--host-key", &key.fingerprint().to_string()], &["true"]).await?.ended(0);
    there.ssh(&[], &["true"]).await?.ended(0);

    let file = there.operator.key_file(&other)?;
    let ran = there.ssh(&["--host-key", file.to_str().unwrap()], &["true"]).await?.ended(1);
    assert!(ran.stderr.contains("has changed"), "{}", ran.stderr);
    let file = there.operator.file("host.pub", &there.host_key()?)?;
    there.ssh(&["--host-key", file.to_str().unwrap()], &["true"]).await?.ended(0);
    Ok(())
}

#[tokio::test]
async fn a_box_that_boots_is_waited_for_until_its_console_shows_its_keys() -> Result<()> {
    let machine = machine()?;
    let there = BoxAtHand::new(&machine).await?;
    there.print("");
    let whole = console(&[&there.host_key()?]);
    let print = async {
        while !there.proxy.take_calls().iter().any(|call| call.action == "GetConsoleOutput") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        there.print(&whole);
    };
    let (ran, ()) = tokio::join!(there.ssh(&[], &["true"]), print);
    let ran = ran?.ended(0);
    assert!(ran.stderr.contains("waiting: box"), "{}", ran.stderr);
    assert!(ran.stderr.contains("has its host keys on its console"), "{}", ran.stderr);
    Ok(())
}

#[tokio::test]
async fn a_box_that_cannot_be_logged_in_to_is_told_with_what_to_do() -> Result<()> {
    let machine = machine()?;
    let there = BoxAtHand::new(&machine).await?;
    let ran = there.operator.run(&["ssh", "-n", "/", "none"]).await?.ended(1);
    assert!(ran.stderr.contains("there is no box /none"), "{}", ran.stderr);
    let ran = there.ssh(&["--address", "public"], &[]).await?.ended(1);
    assert!(ran.stderr.contains(&format!("box {} has no public address", there.id)), "{}", ran.stderr);
    for bad in ["-oProxyCommand=x", "a b", ""] {
        there.operator.run(&["ssh", "-n", "/", &format!("--login={bad}"), ROLE]).await?.ended(2);
    }

    let ec2 = there.operator.cloud.ec2();
    ec2.delete_tags()
        .resources(&there.id)
        .tags(aws_sdk_ec2::types::Tag::builder().key("fleetkey:admin").build())
        .send()
        .await?;
    let ran = there.ssh(&[], &["true"]).await?.ended(1);
    assert!(ran.stderr.contains("hint: name an account with --login"), "{}", ran.stderr);
    there.ssh(&["-l", ADMIN], &["true"]).await?.ended(0);
    // A role of that name says it as well.
    fs::create_dir_all(there.operator.path(".config/fleetkey/roles"))?;
    there.operator.file(&format!(".config/fleetkey/roles/{ROLE}.yaml"), "extends: [generic-debian-12-box]\n")?;
    let ran = there.ssh(&[], &["id", "-un"]).await?.ended(0);
    assert_eq!(ran.stdout, format!("{ADMIN}\n"));

    // Without the programs, it says which is missing. The program itself is found by its path.
    let nowhere = [("FLEETKEY_ZONE", "us-west-2a"), ("PATH", "/nowhere")];
    let ran = there.operator.run_with(&["ssh", "-n", "/", "-l", ADMIN, ROLE], &nowhere).await?.ended(1);
    assert!(ran.stderr.contains("cannot run ssh") && ran.stderr.contains("install ssh"), "{}", ran.stderr);

    ec2.stop_instances().instance_ids(&there.id).send().await?;
    let ran = there.ssh(&["-l", ADMIN], &["true"]).await?.ended(1);
    assert!(ran.stderr.contains("so nobody can log in"), "{}", ran.stderr);
    let hint = format!("hint: fleetkey start /{ROLE} -I {} starts it", there.id);
    assert!(ran.stderr.contains(&hint), "{}", ran.stderr);
    Ok(())
}

#[tokio::test]
async fn a_box_is_waited_for_again_after_a_reboot_and_forgotten_once_it_is_gone() -> Result<()> {
    let machine = machine()?;
    let there = BoxAtHand::new(&machine).await?;
    let reached = || Ok::<_, anyhow::Error>(fs::read_to_string(there.known_hosts())?.contains("# reached"));
    there.ssh(&[], &["true"]).await?.ended(0);
    assert!(reached()?);
    there.operator.run(&["reboot", "-n", "/", ROLE]).await?.ended(0);
    assert!(!reached()?);
    let ran = there.ssh(&[], &["true"]).await?.ended(0);
    assert!(ran.stderr.contains("answers to ssh at 127.0.0.1"), "{}", ran.stderr);
    assert!(reached()?);
    there.operator.run(&["terminate", "-n", "/", "--yes", ROLE]).await?.ended(0);
    assert!(!there.known_hosts().exists());
    Ok(())
}
