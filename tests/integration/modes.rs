//! How an account's keys are kept, what sshd makes of it, and what a change of mode or the end of a grant leaves behind.

use anyhow::Result;
use fleetkey_tests::agent::{Agent, AgentConfig};
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::sandbox::Sandbox;
use fleetkey_tests::sshd::Sshd;
use fleetkey_tests::wait_until;
use nix::sys::signal::Signal;

use crate::ground::{
    AGENT, SOON, SOURCE, SYSTEM_KEYS, blob, blobs, bytes, directory, holds, in_step, key_file, machine, put_key_file,
    put_person, revoke, shipped, wait_for_keys, wait_for_looks,
};

/// A machine with an account, alice in the source, and somebody else's key in the account's file.
fn stage() -> Result<(Sandbox, TestKey, TestKey)> {
    let sandbox = machine(&["ubuntu"])?;
    let (alice, theirs) = (TestKey::new("alice")?, TestKey::new("theirs")?);
    put_person(&sandbox, "alice", &[&alice])?;
    put_key_file(&sandbox, "ubuntu", format!("{}\n", theirs.line()))?;
    Ok((sandbox, alice, theirs))
}

fn in_mode(mode: &str) -> AgentConfig {
    directory().grant_in_mode("ubuntu", &["alice"], mode)
}

fn system_file() -> String {
    format!("{SYSTEM_KEYS}/ubuntu")
}

fn wait_for_system_keys(sandbox: &Sandbox, keys: &[&TestKey]) -> Result<()> {
    let wanted = keys.iter().map(|key| blob(key).to_owned()).collect();
    let same = || Ok(blobs(sandbox, &system_file())? == wanted);
    wait_until("the system file holds them alone", SOON, same).map(drop)
}

fn wait_until_gone(sandbox: &Sandbox, inside: &str) -> Result<()> {
    wait_until(&format!("{inside} is gone"), SOON, || Ok(!sandbox.path(inside).exists())).map(drop)
}

#[test]
fn exclusive_mode_keeps_the_granted_keys_and_nothing_else() -> Result<()> {
    let (sandbox, alice, theirs) = stage()?;
    let _agent = in_step(&sandbox, &in_mode("exclusive"))?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice])?;
    let sshd = Sshd::start(&sandbox, "AuthorizedKeysFile .ssh/authorized_keys")?;
    assert!(sshd.can_log_in("ubuntu", &alice)? && !sshd.can_log_in("ubuntu", &theirs)?);
    put_key_file(&sandbox, "ubuntu", format!("{}\n", theirs.line()))?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice])?;
    revoke(&sandbox, &alice)?;
    wait_for_keys(&sandbox, "ubuntu", &[])?;
    assert!(!sshd.can_log_in("ubuntu", &alice)?);
    Ok(())
}

#[test]
fn system_mode_lets_in_by_the_shipped_snippet_and_leaves_the_home_alone() -> Result<()> {
    let (sandbox, alice, theirs) = stage()?;
    let before = bytes(&sandbox, &key_file("ubuntu"))?;
    let _agent = in_step(&sandbox, &in_mode("system"))?;
    wait_for_system_keys(&sandbox, &[&alice])?;
    let sshd = Sshd::start(&sandbox, &shipped("packaging/sshd/60-fleetkey-system.conf")?)?;
    assert!(sshd.can_log_in("ubuntu", &alice)? && sshd.can_log_in("ubuntu", &theirs)?);
    assert_eq!(bytes(&sandbox, &key_file("ubuntu"))?, before);
    // Drift in root's own folder is put right too.
    sandbox.write(system_file(), "")?;
    wait_for_system_keys(&sandbox, &[&alice])?;
    sandbox.run("rm", &[&system_file()])?;
    wait_for_system_keys(&sandbox, &[&alice])?;
    revoke(&sandbox, &alice)?;
    wait_for_system_keys(&sandbox, &[])?;
    assert!(!sshd.can_log_in("ubuntu", &alice)?);
    assert!(!sshd.can_log_in("root", &alice)?);
    Ok(())
}

#[test]
fn sshd_asks_the_agent_by_the_shipped_snippet_also_when_the_agent_is_dead() -> Result<()> {
    let (sandbox, alice, theirs) = stage()?;
    sandbox.run(
        "useradd",
        &["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", "fleetkey-keys"],
    )?;
    let agent = in_step(&sandbox, &in_mode("shared"))?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &theirs])?;
    // The file has no part in it.
    let sshd =
        Sshd::start(&sandbox, &(shipped("packaging/sshd/60-fleetkey-command.conf")? + "AuthorizedKeysFile none\n"))?;
    assert!(sshd.can_log_in("ubuntu", &alice)?, "{}", sshd.log().text()?);
    assert!(!sshd.can_log_in("ubuntu", &theirs)?);
    agent.kill9()?;
    assert!(sshd.can_log_in("ubuntu", &alice)?, "{}", sshd.log().text()?);
    let _agent = in_step(&sandbox, &in_mode("shared"))?;
    revoke(&sandbox, &alice)?;
    sshd.wait_for_login("ubuntu", &alice, false, SOON)?;
    Ok(())
}

#[test]
fn a_change_of_mode_takes_along_what_the_mode_before_left() -> Result<()> {
    let (sandbox, alice, theirs) = stage()?;
    let untouched = bytes(&sandbox, &key_file("ubuntu"))?;
    let mut agent = in_step(&sandbox, &in_mode("shared"))?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &theirs])?;

    in_mode("system").write(&sandbox)?;
    agent.signal(Signal::SIGHUP)?;
    wait_for_system_keys(&sandbox, &[&alice])?;
    wait_for_keys(&sandbox, "ubuntu", &[&theirs])?;
    assert_eq!(bytes(&sandbox, &key_file("ubuntu"))?, untouched);

    in_mode("shared").write(&sandbox)?;
    agent.signal(Signal::SIGHUP)?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &theirs])?;
    wait_until_gone(&sandbox, &system_file())?;

    // Also when the agent was not there at the time of the change.
    agent.kill9()?;
    let mut agent = in_step(&sandbox, &in_mode("system"))?;
    wait_for_system_keys(&sandbox, &[&alice])?;
    wait_for_keys(&sandbox, "ubuntu", &[&theirs])?;

    in_mode("exclusive").write(&sandbox)?;
    agent.signal(Signal::SIGHUP)?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice])?;
    wait_until_gone(&sandbox, &system_file())
}

#[test]
fn a_change_between_modes_that_keep_the_same_file_writes_it_once_and_takes_nothing_back() -> Result<()> {
    let (sandbox, alice, theirs) = stage()?;
    let config = |mode: &str| in_mode(mode).write(&sandbox);
    config("shared")?;
    let sync = || sandbox.run(AGENT, &["sync", "--config", AgentConfig::FILE]);
    sync()?;
    assert!(holds(&sandbox, "ubuntu", &[&alice, &theirs])?);
    // One pass, and nobody to put right what it leaves behind.
    config("exclusive")?;
    sync()?;
    assert!(holds(&sandbox, "ubuntu", &[&alice])?);
    config("shared")?;
    sync()?;
    assert!(holds(&sandbox, "ubuntu", &[&alice])?);
    Ok(())
}

#[test]
fn rule_1_a_source_that_never_answered_empties_no_file_in_any_mode() -> Result<()> {
    for mode in ["shared", "exclusive", "system"] {
        let (sandbox, alice, theirs) = stage()?;
        sandbox.run("mv", &[SOURCE, "/srv/elsewhere"])?;
        let untouched = bytes(&sandbox, &key_file("ubuntu"))?;
        let mut agent = Agent::start(&sandbox, &in_mode(mode))?;
        agent.wait_ready()?;
        wait_for_looks(&sandbox, 1)?;
        assert_eq!(bytes(&sandbox, &key_file("ubuntu"))?, untouched, "{mode}");
        assert!(!sandbox.path(system_file()).exists());
        // The keys for emergencies come beside what stands there.
        let emergency = TestKey::new("emergency")?;
        sandbox.write("/etc/fleetkey/break_glass.pub", format!("{}\n", emergency.line()))?;
        let lets_in = |key: &TestKey| -> Result<bool> {
            let (home, system) = (blobs(&sandbox, &key_file("ubuntu"))?, blobs(&sandbox, &system_file())?);
            Ok(home.union(&system).any(|held| held == blob(key)))
        };
        wait_until("the emergency key is in", SOON, || lets_in(&emergency))?;
        assert!(lets_in(&theirs)? && !lets_in(&alice)?, "{mode}");
        sandbox.run("mv", &["/srv/elsewhere", SOURCE])?;
        wait_until("alice is in", SOON, || lets_in(&alice))?;
        assert_eq!(lets_in(&theirs)?, mode != "exclusive", "{mode}");
    }
    Ok(())
}

#[test]
fn a_key_for_emergencies_that_is_taken_out_of_its_file_is_gone_from_files_that_carry_no_block() -> Result<()> {
    let (sandbox, alice, _) = stage()?;
    let emergency = TestKey::new("emergency")?;
    sandbox.write("/etc/fleetkey/break_glass.pub", format!("{}\n", emergency.line()))?;
    let mut agent = in_step(&sandbox, &in_mode("exclusive"))?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &emergency])?;
    in_mode("shared").write(&sandbox)?;
    agent.signal(Signal::SIGHUP)?;
    wait_until("the block is there", SOON, || Ok(sandbox.read(key_file("ubuntu"))?.contains("BEGIN fleetkey")))?;
    sandbox.run("rm", &["/etc/fleetkey/break_glass.pub"])?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice])?;
    Ok(())
}

#[test]
fn a_grant_that_is_dropped_leaves_no_key_of_the_agents_in_any_mode() -> Result<()> {
    for mode in ["shared", "exclusive", "system"] {
        for restart in [false, true] {
            let (sandbox, alice, theirs) = stage()?;
            let mut agent = in_step(&sandbox, &in_mode(mode))?;
            let has_key = || -> Result<bool> {
                Ok(blobs(&sandbox, &key_file("ubuntu"))?
                    .union(&blobs(&sandbox, &system_file())?)
                    .any(|key| key == blob(&alice)))
            };
            wait_until("alice is in", SOON, has_key)?;
            assert!(sandbox.path("/var/lib/fleetkey/lookup/ubuntu").exists());
            directory().write(&sandbox)?;
            let _agent = if restart {
                agent.restart()?
            } else {
                agent.signal(Signal::SIGHUP)?;
                agent
            };
            wait_until("alice is out", SOON, || Ok(!has_key()?))?;
            wait_until_gone(&sandbox, &system_file())?;
            wait_until_gone(&sandbox, "/var/lib/fleetkey/lookup/ubuntu")?;
            assert_eq!(holds(&sandbox, "ubuntu", &[&theirs])?, mode != "exclusive", "{mode}");
        }
    }
    Ok(())
}

#[test]
fn a_spec_that_is_dropped_from_a_grant_is_gone_before_the_source_is_asked() -> Result<()> {
    let (sandbox, alice, theirs) = stage()?;
    let bob = TestKey::new("bob")?;
    put_person(&sandbox, "bob", &[&bob])?;
    let agent = in_step(&sandbox, &directory().grant("ubuntu", &["alice", "bob"]))?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &bob, &theirs])?;
    agent.kill9()?;
    sandbox.run("mv", &[SOURCE, "/srv/elsewhere"])?;
    let mut agent = Agent::start(&sandbox, &directory().grant("ubuntu", &["bob"]))?;
    agent.wait_ready()?;
    assert!(holds(&sandbox, "ubuntu", &[&bob, &theirs])?);
    Ok(())
}
