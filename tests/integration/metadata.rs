//! The instance metadata service: what the agent knows of itself and has its credentials from. It is asked by version 2
//! alone, its answers have to agree with what is known, and its faults cost nothing but new keys (T16, R15).

use std::fs;
use std::time::Duration;

use anyhow::Result;
use fleetkey_tests::agent::{Agent, AgentConfig};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::imds::{Identity, Imds, Mood};
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::wait_until;
use nix::sys::signal::Signal;

use super::fixture::{ACCOUNT, Fixture, INSTANCE, KEY_FILE, SOON, faults, longest_silence, syncs};

const OTHER: &str = "i-0fedcba9876543210";
/// What each mood is; the words are those that the status has for it.
const MOODS: [(Mood, &str); 4] = [
    (Mood::Hanging, "gave no answer"),
    (Mood::Failing, "gave no answer"),
    (Mood::Raving, "gave no answer"),
    (Mood::Closing, "gave no answer"),
];

/// The metadata service of an instance whose role is the test's own.
fn imds(fixture: &Fixture, instance_id: &str) -> Result<Imds> {
    Imds::start(identity(fixture, instance_id))
}

fn identity(fixture: &Fixture, instance_id: &str) -> Identity {
    Identity {
        instance_id: instance_id.to_owned(),
        account_id: fixture.cloud.account_id().to_owned(),
        region: Cloud::REGION.to_owned(),
        role: Some(fixture.cloud.instance_role("box")),
    }
}

/// Nothing is configured that the metadata service can tell.
fn config(fixture: &Fixture, imds: &Imds) -> AgentConfig {
    let way = fixture.cloud.through(&fixture.proxy.endpoint());
    let config = AgentConfig::iam_by_metadata(&way, imds).grant(ACCOUNT, &["@@developers", "carol"]);
    config.set("poll_interval", "5s")
}

fn source_fault(status: &serde_json::Value) -> String {
    faults(status).into_iter().find(|line| line.starts_with("the source: ")).unwrap_or_default()
}

#[tokio::test]
async fn t16_identity_and_credentials_come_by_version_2_of_the_metadata_service() -> Result<()> {
    let fixture = Fixture::new().await?;
    // It answers nothing to a request without a token.
    let imds = imds(&fixture, INSTANCE)?;
    let agent = Agent::start(&fixture.sandbox, &config(&fixture, &imds))?;
    fixture.wait_let_in(&fixture.alice)?;
    fixture.wait_well()?;
    assert_eq!(agent.status_json()?["instance_id"], INSTANCE);
    let queues = fixture.cloud.queues().await?;
    assert!(queues.len() == 1 && queues[0].ends_with(&format!("fleetkey-agent_{INSTANCE}")), "{queues:?}");
    Ok(())
}

#[tokio::test]
async fn t16_an_answer_that_is_not_the_configured_instances_is_refused() -> Result<()> {
    let fixture = Fixture::new().await?;
    let imds = imds(&fixture, OTHER)?;
    let config = config(&fixture, &imds).set("instance.id", INSTANCE);
    let mut agent = Agent::start(&fixture.sandbox, &config)?;
    agent.wait_ready()?;
    fixture.wait_status("the status names both", |status| {
        let fault = source_fault(status);
        fault.contains(INSTANCE) && fault.contains(OTHER) && fault.contains("the configuration")
    })?;
    assert!(!fixture.lets_in(&fixture.alice));
    assert_eq!(fixture.proxy.take_calls(), [], "no credentials of another instance are used");
    imds.become_instance(identity(&fixture, INSTANCE));
    fixture.wait_let_in(&fixture.alice)?;
    Ok(())
}

#[tokio::test]
async fn t16_an_instance_that_becomes_another_one_while_running_is_refused() -> Result<()> {
    let fixture = Fixture::new().await?;
    let imds = imds(&fixture, INSTANCE)?;
    let mut agent = Agent::start(&fixture.sandbox, &config(&fixture, &imds))?;
    fixture.wait_let_in(&fixture.alice)?;
    fixture.wait_well()?;
    let good = fixture.file();

    imds.become_instance(identity(&fixture, OTHER));
    agent.signal(Signal::SIGHUP)?;
    let both = |status: &_| {
        let fault = source_fault(status);
        fault.contains(INSTANCE) && fault.contains(OTHER) && fault.contains("an earlier one")
    };
    fixture.wait_status("the status names both", both)?;
    let looks = syncs(&fixture.status()?);
    let carol = TestKey::new("carol@test")?;
    fixture.cloud.put_person_key("carol", &carol).await?;
    fixture.wait_status("it has looked again", |status| syncs(status) > looks && both(status))?;
    assert_eq!(fixture.file(), good, "nobody new, and nobody gone");
    assert_eq!(fixture.cloud.queues().await?.len(), 1, "no queue by the name of another");

    imds.become_instance(identity(&fixture, INSTANCE));
    fixture.wait_let_in(&carol)?;
    Ok(())
}

#[tokio::test]
async fn r6_a_state_that_was_bound_to_another_instance_is_dropped_when_the_metadata_tells_so() -> Result<()> {
    let fixture = Fixture::new().await?;
    let imds = imds(&fixture, INSTANCE)?;
    let agent = Agent::start(&fixture.sandbox, &config(&fixture, &imds))?;
    fixture.wait_let_in(&fixture.alice)?;
    assert!(agent.stop()?.success());
    // An image of a box may carry its machine id over: here nothing but the instance id tells the two apart.
    imds.become_instance(identity(&fixture, OTHER));
    fixture.cloud.remove_from_group("alice", "developers").await?;
    let agent = Agent::start(&fixture.sandbox, &config(&fixture, &imds))?;
    fixture.wait_status("it knows who it is", |status| status["instance_id"] == OTHER)?;
    wait_until("alice is out", Duration::from_secs(30), || Ok(!fixture.lets_in(&fixture.alice)))?;
    assert!(agent.log().text()?.contains("state-dropped"), "{}", agent.log().text()?);
    let state = fixture.sandbox.read("/var/lib/fleetkey/state.json")?;
    assert!(state.contains(OTHER) && !state.contains(INSTANCE), "{state}");
    Ok(())
}

#[tokio::test]
async fn r15_a_metadata_service_that_fails_costs_nobody_access_and_is_caught_up_with() -> Result<()> {
    let fixture = Fixture::new().await?;
    let imds = imds(&fixture, INSTANCE)?;
    imds.set_mood(Mood::Hanging);
    let mut agent = Agent::start(&fixture.sandbox, &config(&fixture, &imds))?;
    assert!(agent.wait_ready()? < Duration::from_secs(10), "it is ready with what it has");
    fixture.wait_status("the status tells of the service", |status| source_fault(status).contains(&imds.url()))?;
    assert!(!fixture.lets_in(&fixture.alice));
    imds.set_mood(Mood::Well);
    fixture.wait_let_in(&fixture.alice)?;
    fixture.wait_well()?;

    for (mood, words) in MOODS {
        let good = fixture.file();
        imds.set_mood(mood);
        let key = TestKey::new(&format!("{mood:?}"))?;
        fixture.cloud.put_person_key("carol", &key).await?;
        // What is known of the instance is good until the way to AWS is made anew.
        fixture.wait_let_in(&key)?;
        agent.signal(Signal::SIGHUP)?;
        fixture.wait_status(&format!("the status tells of {mood:?}"), |status| {
            let fault = source_fault(status);
            fault.contains(&imds.url()) && fault.contains(words)
        })?;
        assert!(fixture.file().starts_with(good.lines().next().unwrap_or_default()) && fixture.lets_in(&fixture.alice));
        let good = fixture.file();
        fs::write(fixture.sandbox.path(KEY_FILE), "")?;
        wait_until("drift is repaired", SOON, || Ok(fixture.file() == good))?;
        imds.set_mood(Mood::Well);
        fixture.wait_well()?;
    }
    assert!(longest_silence(&mut agent) < Duration::from_secs(9), "{:?}", longest_silence(&mut agent));
    Ok(())
}
