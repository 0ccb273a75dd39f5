//! What can be asked of the agent: reload, `sync`, `status`, `explain`, and their answers.

use std::process::{Command, Stdio};

use anyhow::Result;
use fleetkey_tests::agent::AgentConfig;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::sandbox::Sandbox;
use fleetkey_tests::wait_until;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::ground::{
    AGENT, Answer, SOON, SOURCE, ask, directory, holds, in_step, key_file, machine, portrait, put, put_group,
    put_key_file, put_person, revoke, status, wait_for_keys, wait_for_status,
};

#[test]
fn sighup_takes_a_good_file_up_and_a_broken_one_changes_nothing_but_the_status() -> Result<()> {
    let sandbox = machine(&["ubuntu", "jenkins"])?;
    let (alice, bob) = (TestKey::new("alice")?, TestKey::new("bob")?);
    put_person(&sandbox, "alice", &[&alice])?;
    put_person(&sandbox, "bob", &[&bob])?;
    let mut agent = in_step(&sandbox, &directory().grant("ubuntu", &["alice"]))?;
    directory().grant("ubuntu", &["bob"]).grant("jenkins", &["alice"]).write(&sandbox)?;
    agent.signal(Signal::SIGHUP)?;
    wait_for_keys(&sandbox, "ubuntu", &[&bob])?;
    wait_for_keys(&sandbox, "jenkins", &[&alice])?;

    for broken in ["source = 7\n", "[[grant]\n", "source = \"directory\"\nunknown = 1\n", "\u{0}"] {
        sandbox.write(AgentConfig::FILE, broken)?;
        agent.signal(Signal::SIGHUP)?;
        let now = wait_for_status(&sandbox, "word of the file", |status| status["config_error"].is_string())?;
        assert!(now["config_error"].to_string().contains("agent.toml:"), "it names the line: {now:#}");
        assert!(holds(&sandbox, "ubuntu", &[&bob])? && holds(&sandbox, "jenkins", &[&alice])?, "{broken:?}");
        // The source is still looked at, and the right file clears the error.
        put_person(&sandbox, "bob", &[&bob, &alice])?;
        wait_for_keys(&sandbox, "ubuntu", &[&bob, &alice])?;
        put_person(&sandbox, "bob", &[&bob])?;
        wait_for_keys(&sandbox, "ubuntu", &[&bob])?;
        directory().grant("ubuntu", &["bob"]).grant("jenkins", &["alice"]).write(&sandbox)?;
        agent.signal(Signal::SIGHUP)?;
        wait_for_status(&sandbox, "no word of the file", |status| status["config_error"].is_null())?;
    }
    Ok(())
}

#[test]
fn sync_brings_files_in_step_once_and_says_what_it_did() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    let (alice, bob) = (TestKey::new("alice")?, TestKey::new("bob")?);
    put_person(&sandbox, "alice", &[&alice])?;
    put_person(&sandbox, "bob", &[&bob])?;
    // A known key that is not granted goes in the same call.
    put_key_file(&sandbox, "ubuntu", format!("{}\n", bob.line()))?;
    directory().grant("ubuntu", &["alice"]).write(&sandbox)?;
    let first = ask(&sandbox, &["sync"])?;
    assert_eq!((first.code, first.stdout.as_str()), (Some(0), ""), "{first:?}");
    assert!(holds(&sandbox, "ubuntu", &[&alice])?);
    let again = ask(&sandbox, &["sync"])?;
    assert!(again.code == Some(0) && again.stderr.contains("0 key files changed"), "{again:?}");

    sandbox.run("mv", &[SOURCE, "/srv/elsewhere"])?;
    let failed = ask(&sandbox, &["sync"])?;
    assert!(failed.code == Some(1) && failed.stderr.contains("NOT all in step"), "{failed:?}");
    assert!(holds(&sandbox, "ubuntu", &[&alice])?);
    Ok(())
}

#[test]
fn sync_does_not_run_beside_a_running_agent() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    let _agent = in_step(&sandbox, &directory().grant("ubuntu", &["alice"]))?;
    for arguments in [vec!["sync"], vec!["run"]] {
        let answer = ask(&sandbox, &arguments)?;
        assert!(answer.code == Some(1) && answer.stderr.contains("an agent runs already"), "{answer:?}");
    }
    Ok(())
}

/// Everything that the agent or a dry run of it could touch.
const TREE: [&str; 7] = ["/etc", "/home", "/root", "/run", "/srv", "/tmp", "/var"];

#[test]
fn sync_dry_run_shows_the_diff_and_changes_nothing_at_all() -> Result<()> {
    let sandbox = machine(&["ubuntu", "jenkins"])?;
    let [alice, bob, theirs] = ["alice", "bob", "theirs"].map(TestKey::new);
    let (alice, bob, theirs) = (alice?, bob?, theirs?);
    put_person(&sandbox, "alice", &[&alice])?;
    put_person(&sandbox, "bob", &[&bob])?;
    put_key_file(&sandbox, "ubuntu", format!("{}\n{}\n", theirs.line(), bob.line()))?;
    let config = directory().grant("ubuntu", &["alice"]).grant_in_mode("jenkins", &["alice"], "system");
    config.write(&sandbox)?;
    let before = portrait(&sandbox, &TREE)?;
    let shown = ask(&sandbox, &["sync", "--dry-run"])?;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let added = format!("+{} alice\n", alice.public());
    assert_eq!(shown.stdout.matches(&added).count(), 2, "in both files: {}", shown.stdout);
    assert!(shown.stdout.contains(&format!("-{}\n", bob.line())), "{}", shown.stdout);
    assert!(shown.stdout.contains(&format!("\n {}\n", theirs.line())), "{}", shown.stdout);
    assert_eq!(portrait(&sandbox, &TREE)?, before);

    // Also beside a running agent, which has nothing left to do.
    let agent = in_step(&sandbox, &config)?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &theirs])?;
    let again = ask(&sandbox, &["sync", "--dry-run"])?;
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), ""), "{again:?}");
    agent.stop().map(drop)
}

#[test]
fn status_tells_how_the_agent_stands_and_by_its_exit_code_whether_all_is_well() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    let none = ask(&sandbox, &["status", "--json"])?;
    assert!(none.code == Some(1) && none.stdout.is_empty(), "{none:?}");
    put_person(&sandbox, "alice", &[&TestKey::new("alice")?])?;
    put_key_file(&sandbox, "ubuntu", format!("{}\n", TestKey::new("theirs")?.line()))?;
    let agent = in_step(&sandbox, &directory().grant("ubuntu", &["alice"]))?;
    let good = agent.status_json()?;
    assert_eq!((&good["version"], &good["accounts"]["ubuntu"]["keys"]), (&1.into(), &1.into()));
    assert_eq!(good["accounts"]["ubuntu"]["other_keys"], 1);
    assert_eq!((&good["accounts"]["ubuntu"]["mode"], &good["push"]), (&"shared".into(), &"off".into()));
    let text = ask(&sandbox, &["status"])?;
    assert!(text.code == Some(0) && text.stdout.starts_with("in step: 1 key, 1 account\n"), "{text:?}");

    sandbox.run("chown", &["-R", "ubuntu", SOURCE])?;
    put_group(&sandbox, "nudge", &[])?;
    wait_for_status(&sandbox, "a fault", |status| status["faults"].as_object().is_some_and(|all| !all.is_empty()))?;
    // Whoever asks while it is written anew is told what was there before.
    wait_until("what is printed is what is kept", SOON, || {
        let bad = ask(&sandbox, &["status", "--json"])?;
        Ok(bad.code == Some(1) && serde_json::from_str::<Value>(&bad.stdout)? == status(&sandbox))
    })?;
    agent.stop()?;
    let stopped = ask(&sandbox, &["status"])?;
    assert!(stopped.code == Some(1) && stopped.stderr.contains("NOT running"), "{stopped:?}");
    let unprivileged = sandbox.command("runuser").args(["-u", "ubuntu", "--", AGENT, "status"]).output()?;
    assert_eq!((unprivileged.status.code(), unprivileged.stdout), (Some(1), Vec::new()));
    Ok(())
}

/// What `explain` says of a key file.
fn explain(sandbox: &Sandbox, account: &str, key: &TestKey) -> Result<Answer> {
    sandbox.write("/tmp/key.pub", key.line())?;
    ask(sandbox, &["explain", account, "--key", "/tmp/key.pub"])
}

#[test]
fn explain_says_yes_by_which_group_and_no_for_which_reason() -> Result<()> {
    let sandbox = machine(&["ubuntu", "jenkins"])?;
    let names = ["alice", "barred", "outsider", "stranger", "late", "robot"];
    let keys = names.iter().map(|name| TestKey::new(name)).collect::<Result<Vec<_>>>()?;
    let [alice, barred, outsider, stranger, late, robot] = &keys[..] else { unreachable!("six names") };
    for (person, key) in [("alice", alice), ("barred", barred), ("outsider", outsider), ("robot", robot)] {
        put_person(&sandbox, person, &[key])?;
    }
    put(&sandbox, "people/late.pub", format!("expiry-time=\"20200101000000Z\" {}\n", late.line()))?;
    put_group(&sandbox, "ops", &["alice", "barred", "late"])?;
    revoke(&sandbox, barred)?;
    let _agent = in_step(&sandbox, &directory().grant("ubuntu", &["@@ops"]).grant("jenkins", &["robot"]))?;
    wait_for_keys(&sandbox, "ubuntu", &[alice])?;
    let before = sandbox.read(key_file("ubuntu"))?;

    let yes = explain(&sandbox, "ubuntu", alice)?;
    assert_eq!(yes.code, Some(0), "{yes:?}");
    assert!(yes.stdout.contains("yes: alice may log in to ubuntu"), "{yes:?}");
    assert!(yes.stdout.contains("by @@ops: alice holds it in directory (people/alice.pub, key 1)"), "{yes:?}");
    for (key, why) in [
        (barred, "it is revoked"),
        (outsider, "a registry holds it, for a person whom no grant of this account names"),
        (robot, "robot holds it, and no grant of this account names robot"),
        (stranger, "no registry holds it"),
        (late, "it has expired"),
    ] {
        let no = explain(&sandbox, "ubuntu", key)?;
        assert_eq!(no.code, Some(1), "{no:?}");
        assert!(no.stdout.contains("no: SHA256:") && no.stdout.contains(why), "{why:?}: {no:?}");
    }
    let unmanaged = explain(&sandbox, "root", alice)?;
    assert!(unmanaged.code == Some(1) && unmanaged.stdout.contains("no grant for root"), "{unmanaged:?}");
    let fingerprint = alice.fingerprint().to_string();
    assert_eq!(ask(&sandbox, &["explain", "ubuntu", "--fingerprint", &fingerprint])?.code, Some(0));
    let all = ask(&sandbox, &["explain", "ubuntu"])?;
    assert!(all.code == Some(0) && all.stdout.contains(&fingerprint), "{all:?}");
    assert_eq!(sandbox.read(key_file("ubuntu"))?, before);
    Ok(())
}

#[test]
fn explain_tells_of_a_key_that_sshd_lets_in_by_somebody_elses_line() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    let theirs = TestKey::new("theirs")?;
    put_key_file(&sandbox, "ubuntu", format!("{}\n", theirs.line()))?;
    let _agent = in_step(&sandbox, &directory().grant("ubuntu", &["alice"]))?;
    let answer = explain(&sandbox, "ubuntu", &theirs)?;
    assert!(answer.stdout.contains("BUT it stands in the key file"), "{answer:?}");
    assert_eq!(answer.code, Some(0));
    Ok(())
}

/// A pipe whose reader has gone, as `head` goes.
fn nobody_reads() -> Result<Stdio> {
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    Ok(writer.into())
}

#[test]
fn no_program_panics_when_nobody_reads_what_it_prints() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    put_person(&sandbox, "alice", &[&TestKey::new("alice")?])?;
    let _agent = in_step(&sandbox, &directory().grant("ubuntu", &["alice"]))?;
    // Each with its exit code when all is well.
    let calls: [(&[&str], i32); 7] = [
        (&["--help"], 0),
        (&["run", "--help"], 0),
        (&["check-config"], 0),
        (&["status"], 0),
        (&["status", "--json"], 0),
        (&["explain", "ubuntu"], 0),
        (&["authorized-keys", "ubuntu"], 0),
    ];
    for (arguments, code) in calls {
        let output = sandbox.command(AGENT).args(arguments).stdout(nobody_reads()?).output()?;
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(code), &b""[..]), "{arguments:?}");
    }
    // Nor when nobody hears what is wrong.
    for (arguments, code) in [(&["run"][..], 1), (&["sync", "--log", "json"], 1), (&["nonsense"], 2)] {
        let status = sandbox.command(AGENT).args(arguments).stderr(nobody_reads()?).status()?;
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
    for arguments in [["--help"], ["--version"]] {
        let mut fleetkey = Command::new(fleetkey_tests::program("fleetkey"));
        let output = fleetkey.args(arguments).stdout(nobody_reads()?).output()?;
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{arguments:?}");
    }
    Ok(())
}
