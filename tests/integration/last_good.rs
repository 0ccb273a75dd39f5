//! The last good key set: in place before anything is asked of anybody, this box's own, and not good for ever.

use std::time::{Duration, Instant};

use anyhow::Result;
use fleetkey_tests::agent::Agent;
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::proxy::{Fault, Proxy};
use fleetkey_tests::sandbox::Sandbox;
use serde_json::Value;

use crate::ground::{
    directory, holds, in_step, key_file, machine, polling, proxied, put_person, revoke, status, wait_for_keys,
    wait_for_looks, wait_for_status,
};

const STATE: &str = "/var/lib/fleetkey/state.json";

/// A cloud that knows alice and bob, bob in the group `ops`.
async fn cloud() -> Result<(Cloud, TestKey, TestKey)> {
    let cloud = Cloud::new().await?;
    let (alice, bob) = (TestKey::new("alice")?, TestKey::new("bob")?);
    cloud.put_person_key("alice", &alice).await?;
    cloud.put_person_key("bob", &bob).await?;
    cloud.create_user("bob").await?;
    cloud.create_group("ops").await?;
    cloud.add_to_group("bob", "ops").await?;
    Ok((cloud, alice, bob))
}

/// A box that was in step with such a cloud until its agent was killed, and its way there.
async fn box_that_was_in_step() -> Result<(Sandbox, Proxy, [TestKey; 2])> {
    let (cloud, alice, bob) = cloud().await?;
    let (proxy, through) = proxied(&cloud)?;
    let sandbox = machine(&["ubuntu"])?;
    let agent = in_step(&sandbox, &polling(&through).grant("ubuntu", &["alice", "@@ops"]))?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &bob])?;
    agent.kill9()?;
    Ok((sandbox, proxy, [alice, bob]))
}

#[tokio::test]
async fn rule_6_without_a_network_the_last_good_keys_are_in_place_before_the_agent_is_ready() -> Result<()> {
    let (sandbox, proxy, [alice, bob]) = box_that_was_in_step().await?;
    for (how, line) in [("refused", "rm "), ("hanging", ": >")] {
        if how == "refused" {
            proxy.refuse();
        } else {
            proxy.heal();
            proxy.spoil("*", Fault::Hang);
        }
        sandbox.run("sh", &["-c", &format!("{line}{}", key_file("ubuntu"))])?;
        let mut agent = Agent::start_as_is(&sandbox, &[])?;
        agent.wait_ready()?;
        assert!(holds(&sandbox, "ubuntu", &[&alice, &bob])?, "{how}");
        assert!(status(&sandbox)["looked_at"].is_null(), "{how}: nothing was asked before");
        agent.kill9()?;
    }
    Ok(())
}

/// Makes the state on disk that of another box, as in an image made of this one.
fn move_state(sandbox: &Sandbox, identity: &[&str]) -> Result<()> {
    let mut state: Value = serde_json::from_str(&sandbox.read(STATE)?)?;
    for name in identity {
        state["host"][name] = "i-0fedcba9876543210".into();
    }
    sandbox.write(STATE, state.to_string())
}

#[tokio::test]
async fn r6_rule_6_the_state_of_another_instance_lets_nobody_in() -> Result<()> {
    let (sandbox, proxy, [alice, bob]) = box_that_was_in_step().await?;
    let state = sandbox.read(STATE)?;
    proxy.refuse();
    // A state that is moved to where it was is used: it is the identity that counts.
    for (identity, used) in [(&[][..], true), (&["instance_id", "product_uuid", "machine_id"][..], false)] {
        sandbox.write(STATE, &state)?;
        move_state(&sandbox, identity)?;
        sandbox.run("rm", &["-r", "/home/ubuntu/.ssh"])?;
        let mut agent = Agent::start_as_is(&sandbox, &[])?;
        agent.wait_ready()?;
        wait_for_status(&sandbox, "a look that failed", |now| {
            now["faults"].as_object().is_some_and(|all| !all.is_empty())
        })?;
        assert_eq!(holds(&sandbox, "ubuntu", &[&alice, &bob])?, used);
        assert_eq!(holds(&sandbox, "ubuntu", &[])?, !used);
        agent.kill9()?;
    }
    Ok(())
}

#[test]
fn rule_6_a_damaged_state_is_told_and_the_agent_starts_afresh() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    let alice = TestKey::new("alice")?;
    put_person(&sandbox, "alice", &[&alice])?;
    let config = directory().grant("ubuntu", &["alice"]);
    in_step(&sandbox, &config)?.kill9()?;
    let state = sandbox.read(STATE)?;
    for damaged in ["", "{", &state[..state.len() / 2], "{\"version\":99}", "\u{0}\u{0}\u{0}"] {
        sandbox.write(STATE, damaged)?;
        let agent = in_step(&sandbox, &config)?;
        assert!(agent.log().text()?.contains("\"state-dropped\""), "{damaged:?}");
        assert!(holds(&sandbox, "ubuntu", &[&alice])?, "{damaged:?}");
        agent.kill9()?;
    }
    Ok(())
}

#[test]
fn rule_6_a_key_that_is_revoked_while_the_agent_is_dead_does_not_come_back_with_the_state() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    let (alice, bob) = (TestKey::new("alice")?, TestKey::new("bob")?);
    put_person(&sandbox, "alice", &[&alice])?;
    put_person(&sandbox, "bob", &[&bob])?;
    let config = directory().grant("ubuntu", &["alice", "bob"]);
    let agent = in_step(&sandbox, &config)?;
    revoke(&sandbox, &alice)?;
    wait_for_keys(&sandbox, "ubuntu", &[&bob])?;
    // The order of a change is state first, file second: what is gone from the file is gone from the state.
    agent.kill9()?;
    sandbox.run("rm", &[&key_file("ubuntu")])?;
    let mut agent = Agent::start_as_is(&sandbox, &[])?;
    agent.wait_ready()?;
    assert!(holds(&sandbox, "ubuntu", &[&bob])?);
    Ok(())
}

// A minute is the shortest that the configuration takes.
#[tokio::test]
async fn max_stale_ends_what_serves_without_a_source_and_of_a_part_that_fails_alone_that_part() -> Result<()> {
    let (cloud, alice, bob) = cloud().await?;
    let emergency = TestKey::new("emergency")?;
    let stage = |through: &Cloud| -> Result<Sandbox> {
        let sandbox = machine(&["ubuntu"])?;
        sandbox.write("/etc/fleetkey/break_glass.pub", format!("{}\n", emergency.line()))?;
        polling(through).set("guard.max_stale", "1m").grant("ubuntu", &["alice", "@@ops"]).write(&sandbox)?;
        Ok(sandbox)
    };
    let ((whole, through_whole), (part, through_part)) = (proxied(&cloud)?, proxied(&cloud)?);
    let (cut_off, half_blind) = (stage(&through_whole)?, stage(&through_part)?);
    let (mut first, mut second) = (Agent::start_as_is(&cut_off, &[])?, Agent::start_as_is(&half_blind, &[])?);
    for (agent, sandbox) in [(&mut first, &cut_off), (&mut second, &half_blind)] {
        agent.wait_ready()?;
        wait_for_keys(sandbox, "ubuntu", &[&alice, &bob, &emergency])?;
    }
    whole.refuse();
    part.spoil("iam", Fault::ServerError);
    let start = Instant::now();
    for sandbox in [&cut_off, &half_blind] {
        wait_for_looks(sandbox, 1)?;
        assert!(holds(sandbox, "ubuntu", &[&alice, &bob, &emergency])?, "after {:?}", start.elapsed());
    }
    let wait = |sandbox: &Sandbox, keys: &[&TestKey]| {
        let deadline = Duration::from_mins(3);
        fleetkey_tests::wait_until("what is stale is gone", deadline, || holds(sandbox, "ubuntu", keys))
    };
    wait(&cut_off, &[&emergency])?;
    assert!(start.elapsed() > Duration::from_secs(30), "{:?}", start.elapsed());
    wait(&half_blind, &[&alice, &emergency])?;
    for sandbox in [&cut_off, &half_blind] {
        wait_for_status(sandbox, "word of it", |now| now["too_old"].as_array().is_some_and(|all| !all.is_empty()))?;
    }

    // What was stale comes back with the source.
    whole.heal();
    part.heal();
    for sandbox in [&cut_off, &half_blind] {
        wait_for_keys(sandbox, "ubuntu", &[&alice, &bob, &emergency])?;
    }
    Ok(())
}
