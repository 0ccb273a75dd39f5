//! How much the agent asks of AWS, and what it puts there: calls cost money, and IAM allows few for a whole account.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fleetkey_tests::agent::Agent;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::proxy::count;
use fleetkey_tests::sandbox::Sandbox;
use fleetkey_tests::wait_until;
use serde_json::Value;

use super::fixture::{ACCOUNT, Fixture, INSTANCE, SOON, syncs};

/// What a look makes of calls where one group, one person and one user are granted and nothing changed, with the
/// registries `s3` and `ec2`: group and user each one; in the bucket one listing for each of the three persons, one of
/// the revocations, and one for the object of the one key pair; the key pairs once for both registries. No key is fetched.
const LOOK: [(&str, usize); 4] =
    [("ec2:DescribeKeyPairs", 1), ("iam:GetGroup", 1), ("iam:GetUser", 1), ("s3:ListObjectsV2", 5)];

fn look_calls(looks: usize) -> BTreeMap<String, usize> {
    LOOK.iter().map(|&(call, times)| (call.to_owned(), looks * times)).collect()
}

/// A box with keys in both registries, whose agent has looked and told of it.
async fn settled() -> Result<Fixture> {
    let fixture = Fixture::new().await?;
    // RSA: of Ed25519, moto states another fingerprint than AWS does.
    fixture.cloud.put_cgcloud_key("carol", &TestKey::rsa()?).await?;
    fixture.cloud.put_person_key("dave", &TestKey::new("dave@test")?).await?;
    Ok(fixture)
}

/// Waits until the status object is there: for ten seconds after it, none is written.
async fn wait_status_object(fixture: &Fixture) -> Result<Value> {
    let key = format!("status/{INSTANCE}.json");
    let start = std::time::Instant::now();
    loop {
        if let Some(body) = fixture.cloud.objects("status/").await?.remove(&key) {
            return Ok(serde_json::from_slice(&body)?);
        }
        anyhow::ensure!(start.elapsed() < SOON, "no {key} was put");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_look_that_finds_no_change_fetches_no_key_and_makes_few_calls() -> Result<()> {
    let fixture = settled().await?;
    let _agent = Agent::start(&fixture.sandbox, &fixture.config().set("push.enabled", false))?;
    fixture.wait_let_in(&fixture.alice)?;
    wait_status_object(&fixture).await?;
    // The object may be written once more, of what the first look changed.
    std::thread::sleep(Duration::from_secs(11));
    let looks = |status: &Value| usize::try_from(syncs(status)).unwrap_or_default();
    let before = looks(&fixture.status()?);
    fixture.wait_status("a look is done", |status| looks(status) > before)?;
    let start = looks(&fixture.status()?);
    fixture.proxy.take_calls();
    fixture.wait_status("two more are done", |status| looks(status) >= start + 2)?;
    let made = looks(&fixture.status()?) - start;
    let mut calls = count(&fixture.proxy.take_calls());
    // The status object may be put once, late; one for each look would be too many.
    assert!(calls.remove("s3:PutObject").unwrap_or_default() <= 1);
    assert_eq!(calls, look_calls(made));
    Ok(())
}

#[tokio::test]
async fn an_idle_minute_costs_one_look_and_three_long_polls() -> Result<()> {
    let fixture = settled().await?;
    let _agent = Agent::start(&fixture.sandbox, &fixture.config().set("poll_interval", "60s"))?;
    fixture.wait_let_in(&fixture.alice)?;
    wait_status_object(&fixture).await?;
    fixture.wait_well()?;
    std::thread::sleep(Duration::from_secs(11));
    fixture.proxy.take_calls();
    std::thread::sleep(Duration::from_mins(1));
    let calls = count(&fixture.proxy.take_calls());
    // The wait is jittered by a tenth, so that a minute holds one look, or none, or two; polls of 20 s end two to four times.
    for (call, times) in &calls {
        let most = match call.as_str() {
            "sqs:ReceiveMessage" => 4,
            // The status object says once that push is on; that may have taken its time.
            "s3:PutObject" => 1,
            look => 2 * LOOK.iter().find(|(call, _)| *call == look).map_or(0, |(_, times)| *times),
        };
        assert!(*times <= most, "{times} times {call}, and {most} are enough: {calls:#?}");
    }
    assert!(calls.contains_key("sqs:ReceiveMessage"), "{calls:#?}");
    Ok(())
}

#[tokio::test]
async fn the_status_object_is_put_in_the_bucket_and_changes_with_the_state() -> Result<()> {
    let fixture = settled().await?;
    let agent = Agent::start(&fixture.sandbox, &fixture.config())?;
    fixture.wait_let_in(&fixture.alice)?;
    let first = wait_status_object(&fixture).await?;
    assert_eq!(first["instance_id"], INSTANCE);
    let bob = TestKey::new("bob@test")?;
    fixture.cloud.put_person_key("bob", &bob).await?;
    fixture.cloud.add_to_group("bob", "developers").await?;
    fixture.wait_let_in(&bob)?;
    let keys = |status: &Value| status["accounts"]["ubuntu"]["keys"].as_u64().unwrap_or_default();
    let start = std::time::Instant::now();
    loop {
        let status = wait_status_object(&fixture).await?;
        if keys(&status) == 4 {
            assert!(status["serial"].as_u64() > first["serial"].as_u64());
            break;
        }
        anyhow::ensure!(start.elapsed() < SOON, "the object still says {status:#}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(keys(&agent.status_json()?), 4);
    Ok(())
}

/// A text string of CBOR that stands whole in `bytes` (RFC 8949, section 3.1, of less than 256 bytes).
fn texts(bytes: &[u8], prefix: &str) -> Vec<String> {
    let starts = bytes.windows(prefix.len()).enumerate().filter(|(_, window)| *window == prefix.as_bytes());
    let text = |at: usize| {
        let length = match bytes.get(at.checked_sub(1)?)? {
            head @ 0x60..=0x77 => usize::from(head - 0x60),
            length if at >= 2 && bytes[at - 2] == 0x78 => usize::from(*length),
            _ => return None,
        };
        String::from_utf8(bytes.get(at..at + length)?.to_vec()).ok()
    };
    starts.filter_map(|(at, _)| text(at)).collect()
}

// moto does not speak the protocol that the SDK uses for CloudWatch (Smithy RPC v2, CBOR): the request is looked at.
#[tokio::test]
async fn memory_and_disk_use_go_to_cloudwatch_by_the_names_that_cgcloud_gave_them() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    // What is in memory is no disk to tell of.
    fixture.sandbox = Sandbox::new()?;
    fixture.sandbox.add_account(ACCOUNT)?;
    let _agent = Agent::start(&fixture.sandbox, &fixture.config().set("metrics.enabled", true))?;
    let mut report = None;
    wait_until("the first report comes at once", SOON, || {
        report = fixture.proxy.take_calls().into_iter().find(|call| call.action == "PutMetricData");
        Ok(report.is_some())
    })?;
    let report = report.context("it was seen")?;
    assert_eq!(report.service, "monitoring");
    for wanted in ["CGCloud", "MemUsage", "Percent", "InstanceId", INSTANCE] {
        assert!(texts(&report.body, wanted).contains(&wanted.to_owned()), "{wanted} is not in the report");
    }
    let disks = texts(&report.body, "DiskUsage_");
    assert!(disks.contains(&"DiskUsage_root".to_owned()), "{disks:?}");
    Ok(())
}
