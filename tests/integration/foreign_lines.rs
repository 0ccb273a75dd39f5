//! Other people's lines and other people's hands in a key file in `shared` mode.

use std::time::Duration;

use anyhow::{Context as _, Result};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::sandbox::Sandbox;
use fleetkey_tests::sshd::Sshd;
use fleetkey_tests::wait_until;
use nix::sys::signal::Signal;

use crate::ground::{
    SOON, blob, bytes, directory, in_step, key_file, machine, polling, put_key_file, put_person, revoke, syncs, take,
    wait_for_keys, wait_for_status,
};

/// What people have in such files.
fn curious_lines(key: &TestKey) -> Vec<(&'static str, Vec<u8>)> {
    let line = key.line();
    let key_with_options = format!("command=\"echo \\\"# no comment\\\"\",no-pty {line}\r\n\r\n  # a comment\n");
    let mut large = b"# a large file\n".to_vec();
    while large.len() < 1 << 20 {
        large.extend_from_slice(b"# ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI a line like another\n");
    }
    large.extend_from_slice(line.as_bytes());
    vec![
        ("CRLF and options", key_with_options.into_bytes()),
        ("no final newline", format!("{line}\n#end").into_bytes()),
        ("a tab, blanks and no key", format!("\t {line}  \n\n\nnot a key at all\n").into_bytes()),
        ("bytes that are no text", [b"# \xff\xfe\x00\x01\n".as_slice(), line.as_bytes(), b"\n"].concat()),
        ("only a final newline less", b"\n\n\n#".to_vec()),
        ("1 MB", large),
    ]
}

/// The file without the agent's block.
fn outside_the_block(file: &[u8]) -> Result<Vec<u8>> {
    let lines: Vec<_> = file.split_inclusive(|&byte| byte == b'\n').collect();
    let at = |mark: &[u8]| lines.iter().position(|line| line.starts_with(mark)).context("the block is there");
    let (begin, end) = (at(b"# BEGIN fleetkey")?, at(b"# END fleetkey")?);
    Ok([&lines[..begin], &lines[end + 1..]].concat().concat())
}

#[test]
fn r5_other_peoples_lines_survive_byte_for_byte_through_grant_change_and_retirement() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    let [alice, bob, theirs] = ["alice", "bob", "theirs"].map(TestKey::new);
    let (alice, bob, theirs) = (alice?, bob?, theirs?);
    for (what, lines) in curious_lines(&theirs) {
        put_key_file(&sandbox, "ubuntu", &lines)?;
        put_person(&sandbox, "alice", &[&alice])?;
        let granted = directory().grant("ubuntu", &["alice"]);
        let mut agent = in_step(&sandbox, &granted)?;
        let file = bytes(&sandbox, &key_file("ubuntu"))?;
        assert_eq!(outside_the_block(&file)?, lines, "{what}, when alice comes");
        put_person(&sandbox, "alice", &[&bob])?;
        let holds_bob =
            || Ok(bytes(&sandbox, &key_file("ubuntu"))?.windows(68).any(|part| part == blob(&bob).as_bytes()));
        wait_until("bob's key", SOON, holds_bob)?;
        assert_eq!(outside_the_block(&bytes(&sandbox, &key_file("ubuntu"))?)?, lines, "{what}, when the key changes");

        directory().write(&sandbox)?;
        agent.signal(Signal::SIGHUP)?;
        let gone = || Ok(bytes(&sandbox, &key_file("ubuntu"))? == lines);
        wait_until(&format!("{what} is as it was"), SOON, gone)?;
        agent.stop()?;
    }
    Ok(())
}

#[test]
fn fault_3_a_key_that_somebody_else_put_in_still_lets_in() -> Result<()> {
    let sandbox = machine(&["jenkins"])?;
    let (alice, worker) = (TestKey::new("alice")?, TestKey::new("worker")?);
    put_person(&sandbox, "alice", &[&alice])?;
    put_key_file(&sandbox, "jenkins", format!("{}\n", worker.line()))?;
    let _agent = in_step(&sandbox, &directory().grant("jenkins", &["alice"]))?;
    let sshd = Sshd::start(&sandbox, "AuthorizedKeysFile .ssh/authorized_keys")?;
    assert!(sshd.can_log_in("jenkins", &alice)?);
    assert!(sshd.can_log_in("jenkins", &worker)?);
    revoke(&sandbox, &alice)?;
    sshd.wait_for_login("jenkins", &alice, false, SOON)?;
    assert!(sshd.can_log_in("jenkins", &worker)?);
    Ok(())
}

/// How somebody with a right to the file spoils it; `{}` is the file.
const TAMPERINGS: [&str; 6] = [
    "rm {}",
    ": >{}",
    "sed -i '/^ssh-ed25519/d' {}",
    "sed -i 's/^# END.*/ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA x\\n&/' {}",
    "rm -r /home/ubuntu/.ssh",
    "mv /home/ubuntu/.ssh /home/ubuntu/.ssh-old",
];

#[test]
fn fault_5_tampering_is_put_right_within_a_second_although_the_key_set_is_what_it_was() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    let alice = TestKey::new("alice")?;
    put_person(&sandbox, "alice", &[&alice])?;
    let _agent = in_step(&sandbox, &directory().grant("ubuntu", &["alice"]))?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice])?;
    let (good, looks) = (sandbox.read(key_file("ubuntu"))?, syncs(&sandbox));
    let mut times = Vec::new();
    for (number, tampering) in TAMPERINGS.iter().enumerate() {
        let line = tampering.replace("{}", &key_file("ubuntu"));
        sandbox.run("runuser", &["-u", "ubuntu", "--", "sh", "-c", &line])?;
        let repaired = || Ok(sandbox.read(key_file("ubuntu")).unwrap_or_default() == good);
        times.push(wait_until(tampering, SOON, repaired)?);
        let counted = |status: &serde_json::Value| status["counters"]["drift_repaired"].as_u64() > Some(number as u64);
        wait_for_status(&sandbox, &format!("{tampering} is counted"), counted)?;
    }
    times.sort();
    // A machine under load may be late; a repair that waits for something is late each time.
    assert!(times[0] < Duration::from_secs(1), "{times:?}");
    assert_eq!(syncs(&sandbox), looks, "the source had no part in it");
    Ok(())
}

/// The lines outside the agent's block, as text.
fn others(sandbox: &Sandbox) -> Result<String> {
    Ok(String::from_utf8(outside_the_block(&bytes(sandbox, &key_file("ubuntu"))?)?)?)
}

#[test]
fn rule_4_a_known_key_outside_the_block_goes_if_not_granted_and_moves_into_it_if_granted() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    let [alice, bob, theirs] = ["alice", "bob", "theirs"].map(TestKey::new);
    let (alice, bob, theirs) = (alice?, bob?, theirs?);
    put_person(&sandbox, "alice", &[&alice])?;
    put_person(&sandbox, "bob", &[&bob])?;
    let line = |key: &TestKey| format!("{}\n", key.line());
    put_key_file(&sandbox, "ubuntu", ["# first\n", &line(&alice), &line(&theirs), &line(&bob), "# last"].concat())?;
    let agent = in_step(&sandbox, &directory().grant("ubuntu", &["alice"]))?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &theirs])?;
    assert_eq!(others(&sandbox)?, format!("# first\n{}# last", line(&theirs)));
    agent.log().wait_for("word of bob's key", SOON, |entry| {
        entry.contains("\"take-over\"") && entry.contains(&bob.fingerprint().to_string())
    })?;
    // Whoever puts it back by hand, has it taken out again; also once no registry holds it any more.
    take(&sandbox, "people/bob.pub")?;
    put_key_file(&sandbox, "ubuntu", line(&theirs) + &line(&bob))?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &theirs])?;
    assert_eq!(others(&sandbox)?, line(&theirs));
    wait_for_status(&sandbox, "their key is counted", |now| now["accounts"]["ubuntu"]["other_keys"] == 1).map(drop)
}

#[tokio::test]
async fn rule_4_the_key_that_came_with_the_launch_goes_when_its_owner_has_no_grant() -> Result<()> {
    let cloud = Cloud::new().await?;
    let sandbox = machine(&["ubuntu"])?;
    let [alice, launcher, stranger] = ["alice", "launcher", "stranger"].map(TestKey::new);
    let (alice, launcher, stranger) = (alice?, launcher?, stranger?);
    cloud.put_person_key("alice", &alice).await?;
    cloud.import_key_pair("launcher", &launcher).await?;
    // As cloud-init leaves it.
    put_key_file(&sandbox, "ubuntu", format!("{}\n{}\n", launcher.line(), stranger.line()))?;
    let mut agent = in_step(&sandbox, &polling(&cloud).grant("ubuntu", &["alice"]))?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &stranger])?;
    polling(&cloud).grant("ubuntu", &["alice", "launcher"]).write(&sandbox)?;
    agent.signal(Signal::SIGHUP)?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &launcher, &stranger])?;
    assert_eq!(others(&sandbox)?, format!("{}\n", stranger.line()));
    Ok(())
}
