//! Homes and disks that fail the agent, and accounts that come and go: what could not be written is written later, by
//! itself, and nobody else waits for it.
//!
//! Of R14, jumps of the clock are not tried here: no namespace shifts the wall clock, and the machine's own is not to be
//! set by a test. The tests of the agent's `Moment` try them.

use anyhow::Result;
use fleetkey_tests::agent::Agent;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::sandbox::Sandbox;
use fleetkey_tests::wait_until;

use crate::ground::{
    SOON, blobs, bytes, directory, holds, in_step, key_file, machine, portrait, put_group, put_person, revoke, status,
    syncs, wait_for_keys, wait_for_status, wait_in_step,
};

/// A machine with these accounts, alice and bob in the source, alice alone in the group `ops`.
fn stage(accounts: &[&str]) -> Result<(Sandbox, TestKey, TestKey)> {
    let sandbox = machine(accounts)?;
    let (alice, bob) = (TestKey::new("alice")?, TestKey::new("bob")?);
    put_person(&sandbox, "alice", &[&alice])?;
    put_person(&sandbox, "bob", &[&bob])?;
    put_group(&sandbox, "ops", &["alice"])?;
    Ok((sandbox, alice, bob))
}

/// Waits until the status tells of an account that could not be written, and says how.
fn wait_for_error(sandbox: &Sandbox, account: &str, words: &str) -> Result<()> {
    wait_for_status(sandbox, &format!("{account} is not written: {words}"), |status| {
        status["accounts"][account]["error"].as_str().is_some_and(|error| error.contains(words))
    })
    .map(drop)
}

#[test]
fn r9_a_home_that_was_read_only_for_a_while_is_written_by_itself() -> Result<()> {
    let (sandbox, alice, bob) = stage(&["ubuntu", "other"])?;
    let mut agent = in_step(&sandbox, &directory().grant("ubuntu", &["@@ops"]).grant("other", &["@@ops"]))?;
    let looks = syncs(&sandbox);
    sandbox.run("mount", &["--bind", "/home/ubuntu", "/home/ubuntu"])?;
    sandbox.run("mount", &["-o", "remount,bind,ro", "/home/ubuntu"])?;
    put_group(&sandbox, "ops", &["alice", "bob"])?;
    wait_for_keys(&sandbox, "other", &[&alice, &bob])?;
    wait_for_error(&sandbox, "ubuntu", "Read-only file system")?;
    assert!(holds(&sandbox, "ubuntu", &[&alice])?);
    wait_for_status(&sandbox, "it is tried again", |now| now["counters"]["write_failures"].as_u64() >= Some(3))?;
    sandbox.run("mount", &["-o", "remount,bind,rw", "/home/ubuntu"])?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &bob])?;
    wait_in_step(&mut agent)?;
    assert!(syncs(&sandbox) <= looks + 2, "the source was not asked for it");
    Ok(())
}

#[test]
fn r14_a_full_home_keeps_its_file_and_is_written_once_there_is_room() -> Result<()> {
    let (sandbox, alice, bob) = stage(&["ubuntu", "other"])?;
    let owner = sandbox.run("id", &["-u", "ubuntu"])?;
    let options = format!("size=64k,mode=0755,uid={0},gid={0}", owner.trim());
    sandbox.run("mount", &["-t", "tmpfs", "-o", &options, "none", "/home/ubuntu"])?;
    let mut agent = in_step(&sandbox, &directory().grant("ubuntu", &["@@ops"]).grant("other", &["@@ops"]))?;
    let before = bytes(&sandbox, &key_file("ubuntu"))?;
    sandbox.run("sh", &["-c", "! head -c 1M /dev/zero >/home/ubuntu/filler"])?;
    put_group(&sandbox, "ops", &["alice", "bob"])?;
    wait_for_keys(&sandbox, "other", &[&alice, &bob])?;
    wait_for_error(&sandbox, "ubuntu", "free some space")?;
    assert_eq!(bytes(&sandbox, &key_file("ubuntu"))?, before);
    assert_eq!(sandbox.run("ls", &["-A", "/home/ubuntu/.ssh"])?, "authorized_keys\n");
    sandbox.run("rm", &["/home/ubuntu/filler"])?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &bob])?;
    wait_in_step(&mut agent)
}

#[test]
fn r14_a_full_state_folder_is_told_and_access_is_kept_up_to_date_all_the_same() -> Result<()> {
    let (sandbox, alice, bob) = stage(&["ubuntu"])?;
    sandbox.run("mkdir", &["-p", "/var/lib/fleetkey"])?;
    sandbox.run("mount", &["-t", "tmpfs", "-o", "size=16k,mode=0711", "none", "/var/lib/fleetkey"])?;
    sandbox.run("sh", &["-c", "! head -c 1M /dev/zero >/var/lib/fleetkey/filler"])?;
    let mut agent = Agent::start(&sandbox, &directory().grant("ubuntu", &["@@ops"]))?;
    agent.wait_ready()?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice])?;
    agent.log().wait_for("word of the state", SOON, |line| line.contains("\"state-not-saved\""))?;
    revoke(&sandbox, &alice)?;
    put_group(&sandbox, "ops", &["alice", "bob"])?;
    wait_for_keys(&sandbox, "ubuntu", &[&bob])?;
    assert!(!sandbox.path("/var/lib/fleetkey/state.json").exists());

    // Once there is room, the next change is on disk.
    sandbox.run("rm", &["/var/lib/fleetkey/filler"])?;
    put_group(&sandbox, "ops", &[])?;
    wait_for_keys(&sandbox, "ubuntu", &[])?;
    let saved = || Ok(sandbox.path("/var/lib/fleetkey/state.json").exists());
    wait_until("the state is saved", SOON, saved)?;
    Ok(())
}

#[test]
fn r14_an_account_that_is_removed_and_made_again_while_the_agent_runs_costs_the_others_nothing() -> Result<()> {
    let (sandbox, alice, bob) = stage(&["ubuntu", "guest"])?;
    let mut agent = in_step(&sandbox, &directory().grant("ubuntu", &["@@ops"]).grant("guest", &["@@ops"]))?;
    sandbox.run("userdel", &["--remove", "guest"])?;
    put_group(&sandbox, "ops", &["alice", "bob"])?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &bob])?;
    wait_for_error(&sandbox, "guest", "guest")?;
    assert!(!sandbox.path("/home/guest").exists(), "root makes no homes");
    sandbox.add_account("guest")?;
    wait_for_keys(&sandbox, "guest", &[&alice, &bob])?;
    wait_in_step(&mut agent)
}

#[test]
fn fault_7_a_folder_that_the_user_swaps_for_a_link_leads_root_nowhere() -> Result<()> {
    let (sandbox, alice, bob) = stage(&["ubuntu"])?;
    let mut agent = in_step(&sandbox, &directory().grant("ubuntu", &["@@ops"]))?;
    sandbox.run("install", &["-d", "-m", "0700", "/root/.ssh"])?;
    sandbox.write("/root/.ssh/authorized_keys", "# root's own\n")?;
    let others = ["/root", "/etc/shadow", "/etc/ssh"];
    let before = portrait(&sandbox, &others)?;
    for line in [
        "rm -rf .ssh && ln -sT /root/.ssh .ssh",
        "rm -rf .ssh && ln -sT /etc .ssh",
        "rm -rf .ssh && mkdir -m 700 .ssh && ln -sT /etc/shadow .ssh/authorized_keys",
        "rm -rf .ssh && mkdir -m 700 .ssh && mkdir .ssh/authorized_keys",
    ] {
        let failures = status(&sandbox)["counters"]["write_failures"].as_u64();
        // The agent may be quicker to put a folder or a file there again.
        let line = format!("cd /home/ubuntu; until {line}; do :; done");
        sandbox.run("runuser", &["-u", "ubuntu", "--", "sh", "-c", &line])?;
        wait_for_status(&sandbox, &line, |now| now["counters"]["write_failures"].as_u64() > failures)?;
        wait_for_error(&sandbox, "ubuntu", "/home/ubuntu/.ssh")?;
        assert_eq!(portrait(&sandbox, &others)?, before, "{line}");
    }
    put_group(&sandbox, "ops", &["alice", "bob"])?;
    sandbox.run("runuser", &["-u", "ubuntu", "--", "sh", "-c", "until rm -rf ~/.ssh; do :; done"])?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &bob])?;
    assert!(blobs(&sandbox, "/root/.ssh/authorized_keys")?.is_empty());
    wait_in_step(&mut agent)
}
