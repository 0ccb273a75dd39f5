//! Keys: what either registers, both understand; and both kinds of agent hear of it at once.

use std::time::Duration;

use anyhow::Result;
use fleetkey_tests::agent::{Agent, AgentConfig};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::sandbox::Sandbox;
use fleetkey_tests::wait_until;

use super::super::fleetkey::Operator;
use super::{CgCloud, TOPIC, beside};

/// How long anything that should happen may take on a busy machine. Nothing here polls within it.
const SOON: Duration = Duration::from_mins(1);

/// A box with an account, and the configuration of one that has moved over.
fn moved(old: &CgCloud, specs: &[&str]) -> Result<(Sandbox, AgentConfig)> {
    let sandbox = Sandbox::new()?;
    sandbox.add_account("ubuntu")?;
    let config = AgentConfig::iam(&old.cloud).set("aws.bucket", old.bucket()).set("push.topic", TOPIC);
    let config = config.grant_in_mode("ubuntu", specs, "exclusive").set("poll_interval", "24h");
    Ok((sandbox, config))
}

/// The keys that the box lets in, as they stand in the file.
fn let_in(sandbox: &Sandbox) -> String {
    sandbox.read("/home/ubuntu/.ssh/authorized_keys").unwrap_or_default()
}

/// Looks once, as the box is configured.
fn sync(sandbox: &Sandbox, config: &AgentConfig) -> Result<String> {
    config.write(sandbox)?;
    let output = sandbox.command("/usr/bin/fleetkey-agent").args(["sync", "--config", AgentConfig::FILE]).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    anyhow::ensure!(output.status.success(), "fleetkey-agent sync: {said}");
    Ok(said)
}

async fn register(operator: &Operator, old: &CgCloud, key: &TestKey, person: &str) -> Result<()> {
    let more = ["--person", person, "--bucket", &old.bucket(), "--topic", TOPIC];
    operator.register(&operator.key_file(key)?, &more).await?.ended(0);
    Ok(())
}

async fn developers(cloud: &Cloud, people: &[&str]) -> Result<()> {
    cloud.create_group("developers").await?;
    for person in people {
        if *person != "alice" {
            cloud.create_user(person).await?;
        }
        cloud.add_to_group(person, "developers").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_cgcloud_registered_is_let_in_by_fleetkeys_agent_from_either_registry() -> Result<()> {
    let (operator, old) = beside().await?;
    developers(&operator.cloud, &["alice"]).await?;
    let key = TestKey::rsa()?;
    let file = operator.key_file(&key)?;
    old.run(&["register-key", "alice", file.to_str().unwrap()])?;
    let blob = key.public().to_string();
    for registry in ["s3", "ec2"] {
        let (sandbox, config) = moved(&old, &["@@developers"])?;
        sync(&sandbox, &config.set("registries", vec![registry]).set("push.enabled", false))?;
        assert_eq!(let_in(&sandbox).matches(&blob).count(), 1, "{registry}: {}", let_in(&sandbox));
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_cgcloud_registered_is_whose_cgcloud_says_it_is() -> Result<()> {
    let (operator, old) = beside().await?;
    operator.cloud.create_user("bob").await?;
    let key = TestKey::rsa()?;
    let file = operator.key_file(&key)?;
    old.run(&["register-key", "alice", file.to_str().unwrap()])?;
    let bucket = old.bucket();
    let of = |person| ["--person", person, "--bucket", &bucket, "--topic", TOPIC].map(str::to_owned);
    let taken = of("bob");
    let taken: Vec<&str> = taken.iter().map(String::as_str).collect();
    let ran = operator.register(&file, &taken).await?.ended(1);
    assert!(ran.stderr.contains("is registered as alice's key"), "{}", ran.stderr);
    // As alice's, what CGCloud wrote stands, and only what Fleetkey has beyond it is added.
    let own = of("alice");
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let ran = operator.register(&file, &own).await?.ended(0);
    let steps: serde_json::Value = serde_json::from_str(&ran.stdout)?;
    let places = super::super::boxes::each(&steps["steps"], "place");
    assert!(places.iter().any(|place| place.starts_with("people/alice/")), "{steps}");
    assert!(!places.iter().any(|place| place.starts_with("ssh_pubkey:")), "{steps}");
    Ok(())
}

#[tokio::test]
async fn a_key_that_fleetkey_registered_is_found_checked_and_written_by_cgclouds_agent_until_it_is_revoked()
-> Result<()> {
    let (operator, old) = beside().await?;
    developers(&operator.cloud, &["alice"]).await?;
    operator.cloud.create_bucket(&old.bucket()).await?;
    let key = TestKey::rsa()?;
    register(&operator, &old, &key, "alice").await?;
    for spec in ["alice", "al*", "@alice", "@@developers"] {
        old.run(&["agent-once", "keys", spec])?;
        assert_eq!(old.lines("keys"), [key.line()], "by {spec}");
    }
    let more = ["--bucket", &old.bucket(), "--topic", TOPIC, &key.fingerprint().to_string()].map(str::to_owned);
    operator.revoke(&more.iter().map(String::as_str).collect::<Vec<_>>()).await?.ended(0);
    old.run(&["agent-once", "keys", "@@developers"])?;
    assert_eq!(old.lines("keys"), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn an_object_with_another_key_than_its_name_says_lets_in_nobody_on_either_side() -> Result<()> {
    let (operator, old) = beside().await?;
    developers(&operator.cloud, &["alice"]).await?;
    let (key, planted) = (TestKey::rsa()?, TestKey::new_rsa("mallory")?);
    let file = operator.key_file(&key)?;
    let made = old.run(&["register-key", "alice", file.to_str().unwrap()])?;
    let object = format!("ssh_pubkey:{}", made["fingerprint"].as_str().unwrap_or_default());
    let put = operator.cloud.s3().put_object().bucket(old.bucket()).key(&object);
    put.body(planted.line().as_bytes().to_vec().into()).send().await?;
    old.run(&["agent-once", "keys", "@@developers"])?;
    assert_eq!(old.lines("keys"), Vec::<String>::new());
    let (sandbox, config) = moved(&old, &["@@developers"])?;
    let said = sync(&sandbox, &config.set("registries", vec!["s3"]).set("push.enabled", false))?;
    assert!(!let_in(&sandbox).contains(&planted.public().to_string()), "{}", let_in(&sandbox));
    assert!(said.contains(&object), "it is told which object is wrong: {said}");
    Ok(())
}

#[tokio::test]
async fn in_a_mixed_fleet_what_either_side_registers_or_revokes_reaches_both_kinds_of_agent_at_once() -> Result<()> {
    let (operator, old) = beside().await?;
    developers(&operator.cloud, &["alice", "bob"]).await?;
    operator.cloud.create_bucket(&old.bucket()).await?;
    operator.cloud.create_topic(TOPIC).await?;
    let (alice, bob) = (TestKey::rsa()?, TestKey::new_rsa("bob")?);
    let _theirs = old.agent("old-box", "keys", &["@@developers"])?;
    let (sandbox, config) = moved(&old, &["@@developers"])?;
    let mut ours = Agent::start(&sandbox, &config)?;
    ours.wait_ready()?;
    wait_until("both agents listen", SOON, || {
        Ok(old.path("keys").exists()
            && sandbox.read("/run/fleetkey/status.json").is_ok_and(|s| s.contains("connected")))
    })?;
    let both = |key: &TestKey| {
        let on_old = old.lines("keys").iter().any(|line| line == key.line());
        (on_old, let_in(&sandbox).contains(&key.public().to_string()))
    };

    let file = operator.key_file(&alice)?;
    old.run(&["register-key", "alice", file.to_str().unwrap()])?;
    wait_until("CGCloud's key is on both boxes", SOON, || Ok(both(&alice) == (true, true)))?;
    register(&operator, &old, &bob, "bob").await?;
    wait_until("Fleetkey's key is on both boxes", SOON, || Ok(both(&bob) == (true, true)))?;
    let more = ["--person", "bob", "--bucket", &old.bucket(), "--topic", TOPIC].map(str::to_owned);
    operator.revoke(&more.iter().map(String::as_str).collect::<Vec<_>>()).await?.ended(0);
    wait_until("the revoked key is on neither", SOON, || Ok(both(&bob) == (false, false)))?;
    assert_eq!(both(&alice), (true, true));
    Ok(())
}
