//! R15 and R3: AWS answers with nothing, garbage, errors or half a body, or not at all. The agent lives on, keeps whom it
//! let in, lets in nobody new by the part that fails, says what is wrong, and catches up by itself.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use fleetkey_tests::agent::Agent;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::proxy::Fault;
use fleetkey_tests::wait_until;
use nix::sys::signal::Signal;

use super::fixture::{ACCOUNT, Fixture, KEY_FILE, SOON, faults, longest_silence, push};

/// How soon a key file that somebody changed is put right, whatever the network does: well before a look that waits for
/// AWS would be over. How soon it is on a machine at rest, foreign_lines.rs shows.
const REPAIR: Duration = Duration::from_secs(9);
/// The longest time without a sign of life. The agent is told to give one in 2 s; the rest is for a busy machine.
const SILENCE: Duration = Duration::from_secs(9);

/// The parts of the source that the fixture's configuration has, and the calls that each is made of.
const PARTS: [(&str, &[&str]); 6] = [
    ("group developers", &["iam: GetGroup developers failed"]),
    ("user dave", &["iam: GetUser dave failed"]),
    ("keys of carol in s3", &["s3: ListObjectsV2", "s3: DescribeKeyPairs"]),
    ("keys of carol in ec2", &["ec2: DescribeKeyPairs failed"]),
    ("revocations", &["s3: ListObjectsV2"]),
    ("keys of dave", &[]),
];

/// Throughout: `fault`, or refused connections for `None`. `words`: what messages say of it, one of them in each.
async fn is_survived(fault: Option<Fault>, words: &[&str]) -> Result<()> {
    let fixture = Fixture::new().await?;
    let [carol, dave, bob, carols_second] = ["carol", "dave", "bob", "carol2"].map(TestKey::new);
    let (carol, dave, bob, carols_second) = (carol?, dave?, bob?, carols_second?);
    fixture.cloud.put_person_key("carol", &carol).await?;
    fixture.cloud.put_person_key("dave", &dave).await?;

    // The topic alone fails at first, which the others do not notice: it is asked for nothing later on.
    if let Some(fault) = fault {
        fixture.proxy.spoil("sns", fault);
    }
    let mut agent = Agent::start(&fixture.sandbox, &fixture.config())?;
    agent.wait_ready()?;
    for key in [&fixture.alice, &carol, &dave] {
        fixture.wait_let_in(key)?;
    }
    if fault.is_some() {
        let told = |status: &_| push(status).starts_with("down") && push(status).contains("sns:Subscribe");
        fixture.wait_status("the status tells of the topic", told)?;
    }
    fixture.proxy.heal();
    fixture.wait_well()?;
    let good = fixture.file();

    match fault {
        Some(fault) => fixture.proxy.spoil("*", fault),
        None => fixture.proxy.refuse(),
    }
    fixture.cloud.put_person_key("bob", &bob).await?;
    fixture.cloud.add_to_group("bob", "developers").await?;
    fixture.cloud.put_person_key("carol", &carols_second).await?;
    // A look may be under way, and a long poll is.
    fs::write(fixture.sandbox.path(KEY_FILE), "")?;
    wait_until("drift is repaired while calls fail", REPAIR, || Ok(fixture.file() == good))?;
    fixture.wait_status("the status tells of every part and of the push", |status| {
        faults(status).len() >= PARTS.len() - 1 && push(status).starts_with("down")
    })?;
    assert_says(&agent.status_json()?, words);
    assert_eq!(fixture.file(), good, "nobody new, and nobody gone");
    fs::remove_file(fixture.sandbox.path(KEY_FILE))?;
    wait_until("drift is repaired after failed calls", REPAIR, || Ok(fixture.file() == good))?;

    fixture.proxy.heal();
    fixture.wait_let_in(&bob)?;
    fixture.wait_let_in(&carols_second)?;
    fixture.wait_well()?;
    assert!(longest_silence(&mut agent) < SILENCE, "systemd heard nothing for {:?}", longest_silence(&mut agent));
    assert!(agent.stop()?.success());
    Ok(())
}

/// Holds a status against what should be wrong.
fn assert_says(status: &serde_json::Value, words: &[&str]) {
    let told = faults(status);
    for (part, calls) in PARTS {
        let why: Vec<_> = told.iter().filter_map(|line| line.strip_prefix(part)?.strip_prefix(": ")).collect();
        for why in &why {
            assert!(calls.iter().any(|call| why.starts_with(call)), "{part} is told without its call: {why}");
            assert!(words.iter().any(|word| why.contains(word)), "{part} is told without its cause: {why}");
        }
        assert!(!why.is_empty() || calls.is_empty(), "nothing is told of {part}: {told:#?}");
    }
    let push = push(status);
    assert!(push.contains("sqs:"), "the push is told without its call: {push}");
    assert!(words.iter().any(|word| push.contains(word)), "the push is told without its cause: {push}");
}

#[tokio::test]
async fn r15_throttling_is_survived_and_caught_up_with() -> Result<()> {
    is_survived(Some(Fault::Throttle), &["Throttling", "RequestThrottled", "RequestLimitExceeded", "SlowDown"]).await
}

#[tokio::test]
async fn r15_errors_of_the_services_own_are_survived_and_caught_up_with() -> Result<()> {
    is_survived(Some(Fault::ServerError), &["InternalError"]).await
}

#[tokio::test]
async fn r15_half_a_body_is_survived_and_caught_up_with() -> Result<()> {
    is_survived(Some(Fault::HalfBody), &["end of file before message length reached", "timeout"]).await
}

#[tokio::test]
async fn r15_garbage_is_survived_and_caught_up_with() -> Result<()> {
    is_survived(Some(Fault::Garbage), &["makes no sense", "unexpected token"]).await
}

#[tokio::test]
async fn r15_calls_that_hang_are_survived_and_caught_up_with() -> Result<()> {
    is_survived(Some(Fault::Hang), &["timeout"]).await
}

#[tokio::test]
async fn r15_no_answer_is_survived_and_caught_up_with() -> Result<()> {
    is_survived(Some(Fault::Close), &["connection closed before message completed"]).await
}

#[tokio::test]
async fn r15_refused_connections_are_survived_and_caught_up_with() -> Result<()> {
    is_survived(None, &["Connection refused"]).await
}

#[tokio::test]
async fn r3_t13_a_service_that_fails_costs_its_own_part_and_the_others_stay_current() -> Result<()> {
    let fixture = Fixture::new().await?;
    let agent = Agent::start(&fixture.sandbox, &fixture.config())?;
    fixture.wait_let_in(&fixture.alice)?;
    let [by_s3, by_ec2, bob, later] = ["carol", "carol-ec2", "bob", "later"].map(TestKey::new);
    let (by_s3, by_ec2, bob, later) = (by_s3?, by_ec2?, bob?, later?);

    // IAM fails: who is named gets a new key, the group stays as it was.
    fixture.proxy.spoil("iam", Fault::ServerError);
    fixture.cloud.put_person_key("bob", &bob).await?;
    fixture.cloud.add_to_group("bob", "developers").await?;
    fixture.cloud.put_person_key("carol", &by_s3).await?;
    fixture.wait_let_in(&by_s3)?;
    fixture.wait_status("IAM is told of", |status| faults(status).iter().any(|line| line.starts_with("group dev")))?;
    assert!(fixture.lets_in(&fixture.alice) && !fixture.lets_in(&bob));
    fixture.proxy.heal();
    fixture.wait_let_in(&bob)?;

    // EC2 fails: keys of the bucket are current.
    fixture.proxy.spoil("ec2", Fault::ServerError);
    fixture.cloud.import_key_pair("carol", &by_ec2).await?;
    fixture.cloud.put_person_key("carol", &later).await?;
    fixture.wait_let_in(&later)?;
    assert!(!fixture.lets_in(&by_ec2));
    fixture.proxy.heal();
    fixture.wait_let_in(&by_ec2)?;

    // The bucket fails, and with it the list of revocations: nobody new, but who leaves a group is out.
    fixture.proxy.spoil("s3", Fault::ServerError);
    fixture.cloud.remove_from_group("bob", "developers").await?;
    let other = TestKey::new("alice-ec2")?;
    fixture.cloud.import_key_pair("alice", &other).await?;
    wait_until("bob, who left, is out", SOON, || Ok(!fixture.lets_in(&bob)))?;
    fixture.wait_status("S3 is told of", |status| faults(status).iter().any(|line| line.starts_with("revocations")))?;
    for key in [&fixture.alice, &by_s3, &by_ec2, &later] {
        assert!(fixture.lets_in(key));
    }
    assert!(!fixture.lets_in(&other), "it may be revoked, for all that the agent knows");
    fixture.proxy.heal();
    fixture.wait_let_in(&other)?;
    drop(agent);
    Ok(())
}

#[tokio::test]
async fn a_reload_and_a_stop_wait_for_no_call_that_hangs() -> Result<()> {
    let fixture = Fixture::new().await?;
    let mut agent = Agent::start(&fixture.sandbox, &fixture.config())?;
    agent.wait_ready()?;
    fixture.wait_let_in(&fixture.alice)?;
    fixture.wait_well()?;
    // Every task has a call under way when the reload comes: the look, the long poll, the status object, which is written
    // ten seconds after the last one.
    fixture.proxy.spoil("s3:PutObject", Fault::Hang);
    let dave = TestKey::new("dave@test")?;
    fixture.cloud.put_person_key("dave", &dave).await?;
    fixture.wait_let_in(&dave)?;
    std::thread::sleep(Duration::from_secs(11));
    fixture.proxy.spoil("*", Fault::Hang);
    let key = TestKey::new("carol@test")?;
    fixture.config().grant_in_mode("root", &["carol"], "system").write(&fixture.sandbox)?;
    agent.signal(Signal::SIGHUP)?;
    fixture.wait_status("the reload is done", |status| status["accounts"]["root"].is_object())?;
    std::thread::sleep(Duration::from_secs(2));
    fixture.config().write(&fixture.sandbox)?;
    agent.signal(Signal::SIGHUP)?;
    fixture.wait_status("the second is done", |status| status["accounts"]["root"].is_null())?;
    fixture.cloud.put_person_key("carol", &key).await?;
    assert!(longest_silence(&mut agent) < SILENCE, "systemd heard nothing for {:?}", longest_silence(&mut agent));
    assert!(fixture.lets_in(&fixture.alice) && !fixture.lets_in(&key));
    assert!(fixture.status()?["accounts"][ACCOUNT]["error"].is_null());

    let start = std::time::Instant::now();
    assert!(agent.stop()?.success());
    assert!(start.elapsed() < SILENCE, "the stop took {:?}", start.elapsed());
    Ok(())
}
