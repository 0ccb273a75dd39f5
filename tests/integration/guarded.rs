//! What keeps one wrong answer from locking everybody out, and what it must not hold up.

use std::time::{Duration, Instant};

use anyhow::Result;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::sandbox::Sandbox;
use fleetkey_tests::wait_until;
use nix::sys::signal::Signal;

use crate::ground::{
    SOON, SOURCE, SYSTEM_KEYS, blob, blobs, bytes, directory, holds, in_step, key_file, machine, put_group, put_person,
    revoke, status, syncs, take, wait_for_keys, wait_for_status, wait_in_step,
};

const BREAK_GLASS: &str = "/etc/fleetkey/break_glass.pub";

/// A machine with ten people in the group `ops`.
fn ten() -> Result<(Sandbox, Vec<TestKey>)> {
    let sandbox = machine(&["ubuntu"])?;
    let keys = (0..10).map(|number| TestKey::new(&format!("p{number}"))).collect::<Result<Vec<_>>>()?;
    for (number, key) in keys.iter().enumerate() {
        put_person(&sandbox, &format!("p{number}"), &[key])?;
    }
    put_ops(&sandbox, 10)?;
    Ok((sandbox, keys))
}

/// Makes the first people the members of `ops`.
fn put_ops(sandbox: &Sandbox, count: usize) -> Result<()> {
    let names: Vec<_> = (0..count).map(|number| format!("p{number}")).collect();
    put_group(sandbox, "ops", &names.iter().map(String::as_str).collect::<Vec<_>>())
}

fn first(keys: &[TestKey], count: usize) -> Vec<&TestKey> {
    keys.iter().take(count).collect()
}

#[test]
fn guard_a_large_cut_is_held_until_a_second_look_ten_seconds_later_agrees() -> Result<()> {
    let (sandbox, keys) = ten()?;
    let mut agent = in_step(&sandbox, &directory().grant("ubuntu", &["@@ops"]))?;
    let start = Instant::now();
    put_ops(&sandbox, 2)?;
    let held = wait_for_status(&sandbox, "the cut is held", |now| now["accounts"]["ubuntu"]["held"].is_string())?;
    assert_eq!(held["accounts"]["ubuntu"]["held"], "8 of 10 keys would go: a large cut must be seen twice");
    assert!(holds(&sandbox, "ubuntu", &first(&keys, 10))?);
    wait_for_keys(&sandbox, "ubuntu", &first(&keys, 2))?;
    assert!(start.elapsed() >= Duration::from_secs(10), "{:?}", start.elapsed());
    wait_in_step(&mut agent)
}

#[test]
fn guard_a_wrong_answer_that_is_taken_back_in_time_takes_nobody_out() -> Result<()> {
    let (sandbox, keys) = ten()?;
    let mut agent = in_step(&sandbox, &directory().grant("ubuntu", &["@@ops"]))?;
    put_group(&sandbox, "ops", &[])?;
    wait_for_status(&sandbox, "the cut is held", |now| now["accounts"]["ubuntu"]["held"].is_string())?;
    put_ops(&sandbox, 10)?;
    wait_for_status(&sandbox, "no cut waits", |now| now["accounts"]["ubuntu"]["held"].is_null())?;
    wait_in_step(&mut agent)?;
    assert!(holds(&sandbox, "ubuntu", &first(&keys, 10))?);
    assert_eq!(status(&sandbox)["counters"]["writes"], 1);
    Ok(())
}

#[test]
fn guard_keys_that_are_revoked_by_name_go_at_once_however_many_they_are() -> Result<()> {
    let (sandbox, keys) = ten()?;
    let _agent = in_step(&sandbox, &directory().grant("ubuntu", &["@@ops"]))?;
    let start = Instant::now();
    for key in &keys[1..] {
        revoke(&sandbox, key)?;
    }
    wait_for_keys(&sandbox, "ubuntu", &first(&keys, 1))?;
    // Far below the ten seconds for which a cut is held; a busy machine may take some of them.
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    Ok(())
}

#[test]
fn guard_a_revoked_key_goes_at_once_while_a_large_cut_is_held() -> Result<()> {
    let (sandbox, keys) = ten()?;
    let _agent = in_step(&sandbox, &directory().grant("ubuntu", &["@@ops"]))?;
    put_ops(&sandbox, 1)?;
    wait_for_status(&sandbox, "the cut is held", |now| now["accounts"]["ubuntu"]["held"].is_string())?;
    revoke(&sandbox, &keys[9])?;
    wait_for_keys(&sandbox, "ubuntu", &first(&keys, 9))?;
    wait_for_keys(&sandbox, "ubuntu", &first(&keys, 1)).map(drop)
}

#[test]
fn guard_an_addition_does_not_wait_for_a_cut_that_is_held() -> Result<()> {
    let (sandbox, keys) = ten()?;
    put_ops(&sandbox, 9)?;
    let _agent = in_step(&sandbox, &directory().grant("ubuntu", &["@@ops"]))?;
    put_group(&sandbox, "ops", &["p0", "p9"])?;
    wait_for_keys(&sandbox, "ubuntu", &first(&keys, 10))?;
    wait_for_keys(&sandbox, "ubuntu", &[&keys[0], &keys[9]]).map(drop)
}

#[test]
fn guard_the_break_glass_key_is_in_every_mode_and_whatever_becomes_of_the_source() -> Result<()> {
    let sandbox = machine(&["shared", "whole", "root-kept"])?;
    let (alice, emergency) = (TestKey::new("alice")?, TestKey::new("emergency")?);
    put_person(&sandbox, "alice", &[&alice])?;
    sandbox.write(BREAK_GLASS, format!("{}\n", emergency.line()))?;
    let config = directory().grant("shared", &["alice"]).grant_in_mode("whole", &["alice"], "exclusive").grant_in_mode(
        "root-kept",
        &["alice"],
        "system",
    );
    let mut agent = in_step(&sandbox, &config)?;
    let everywhere = |keys: &[&TestKey]| -> Result<()> {
        for account in ["shared", "whole"] {
            wait_for_keys(&sandbox, account, keys)?;
        }
        let wanted = keys.iter().map(|key| blob(key).to_owned()).collect();
        let file = format!("{SYSTEM_KEYS}/root-kept");
        let same = || Ok(blobs(&sandbox, &file)? == wanted);
        wait_until("the system file holds them", SOON, same).map(drop)
    };
    everywhere(&[&alice, &emergency])?;
    take(&sandbox, "people/alice.pub")?;
    everywhere(&[&emergency])?;
    // The source is gone altogether; what is left of the file is put right all the same.
    sandbox.run("mv", &[SOURCE, "/srv/elsewhere"])?;
    sandbox.run("rm", &[&key_file("whole")])?;
    everywhere(&[&emergency])?;
    // A file that others can write is not believed, and takes nothing away, by a reload neither; one that is gone does.
    sandbox.run("chmod", &["0666", BREAK_GLASS])?;
    agent.signal(Signal::SIGHUP)?;
    agent.log().wait_for("word of the file", SOON, |line| line.contains("\"break-glass\""))?;
    agent.log().wait_for("the reload", SOON, |line| line.contains("\"reload\""))?;
    let looks = syncs(&sandbox);
    wait_for_status(&sandbox, "a look after it", |now| now["counters"]["syncs"].as_u64() > Some(looks))?;
    everywhere(&[&emergency])?;
    sandbox.run("rm", &[BREAK_GLASS])?;
    everywhere(&[])
}

#[test]
fn guard_a_break_glass_file_that_goes_bad_while_the_agent_runs_keeps_its_keys_in() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    let (emergency, mallory) = (TestKey::new("emergency")?, TestKey::new("mallory")?);
    sandbox.write(BREAK_GLASS, format!("{}\n", emergency.line()))?;
    let agent = in_step(&sandbox, &directory().grant("ubuntu", &[]))?;
    wait_for_keys(&sandbox, "ubuntu", &[&emergency])?;
    let before = bytes(&sandbox, &key_file("ubuntu"))?;
    sandbox.write("/etc/fleetkey/new", format!("{}\n", mallory.line()))?;
    sandbox.run("chmod", &["0666", "/etc/fleetkey/new"])?;
    sandbox.run("mv", &["/etc/fleetkey/new", BREAK_GLASS])?;
    agent.log().wait_for("word of the file", SOON, |line| line.contains("\"break-glass\""))?;
    assert_eq!(bytes(&sandbox, &key_file("ubuntu"))?, before);
    Ok(())
}
