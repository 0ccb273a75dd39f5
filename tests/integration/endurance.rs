//! R10: memory and descriptors stay flat.
//!
//! A million syncs are too many for a test. What is shown is that between the first quarter of many and the last nothing
//! is added: a leak of [`MARGIN_KIB`] over the rest would be seen, and less than that is little over a million, too.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetkey_agent::clock::since_boot;
use fleetkey_agent::config::{self, Flags};
use fleetkey_agent::drift::{Drift, Hints};
use fleetkey_agent::engine::{Engine, Scope};
use fleetkey_agent::instance::HostIdentity;
use fleetkey_agent::report::{Status, Surroundings};
use fleetkey_agent::source::Findings;
use fleetkey_common::public_key::PublicKey;
use fleetkey_common::registry::{Lookup, RegisteredKey, Registry};
use fleetkey_tests::agent::{Agent, AgentConfig};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::proxy::Proxy;
use fleetkey_tests::sandbox::Sandbox;
use fleetkey_tests::tls::TestCa;
use fleetkey_tests::wait_until;
use jiff::Timestamp;
use nix::sys::signal::Signal;

use super::fixture::{Fixture, INSTANCE, SOON, push, syncs};

/// Syncs of the engine.
const SYNCS: usize = 10_000;
/// Messages pushed to the agent.
const MESSAGES: usize = 2_000;
/// What memory may grow between a quarter of the way and its end: 420 bytes a sync. glibc takes and keeps memory in steps:
/// equal runs were seen to differ by 1.2 MiB.
const MARGIN_KIB: u64 = 3 * 1024;
/// Reloads, and how many of them go before the memory is looked at: it settles over the first ones.
const RELOADS: u64 = 250;
const FIRST_RELOADS: u64 = 50;
/// What memory may grow over the rest: 16 KiB a reload, far less than the certificate authorities or the clients that one
/// would leak, and more than glibc's steps, of which 1.1 MiB were seen.
const RELOADS_MARGIN_KIB: u64 = 3 * 1024 + 256;
/// The certificate authorities of the system, inside and outside.
const SYSTEM_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Set for the process that has the engine to itself: the memory of this one is that of all its tests.
const ALONE: &str = "FLEETKEY_TEST_ENDURANCE";
/// Where that process finds itself in the sandbox.
const PROGRAM: &str = "/usr/bin/endurance";

/// Memory in KiB, and descriptors, of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    rss_kib: u64,
    descriptors: usize,
}

impl Held {
    fn of_this_process() -> Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a process has memory")?;
        let rss_kib = line.trim().trim_end_matches(" kB").parse()?;
        Ok(Self { rss_kib, descriptors: std::fs::read_dir("/proc/self/fd")?.count() })
    }

    fn of(agent: &Agent<'_>) -> Result<Self> {
        Ok(Self { rss_kib: agent.rss_kib()?, descriptors: agent.open_descriptors()? })
    }

    /// What an agent holds once it has given back the connections of a look that is under way.
    fn at_rest(agent: &Agent<'_>, before: Self) -> Result<Self> {
        wait_until("descriptors are closed", SOON, || Ok(agent.open_descriptors()? <= before.descriptors))?;
        Self::of(agent)
    }

    fn assert_flat(self, later: Self, margin_kib: u64) {
        assert!(later.rss_kib <= self.rss_kib + margin_kib, "memory grew: {self:?}, then {later:?}");
        assert!(later.descriptors <= self.descriptors, "descriptors were left open: {self:?}, then {later:?}");
    }
}

#[test]
fn r10_memory_and_descriptors_are_flat_over_ten_thousand_syncs() -> Result<()> {
    const NAME: &str = "endurance::r10_memory_and_descriptors_are_flat_over_ten_thousand_syncs";
    if std::env::var_os(ALONE).is_some() {
        return tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(sync_again_and_again());
    }
    let sandbox = Sandbox::options()
        .program(fleetkey_tests::program("fleetkey-agent"), "/usr/bin/fleetkey-agent")
        .program(std::env::current_exe()?, PROGRAM)
        .in_memory()
        .start()?;
    sandbox.add_account("ubuntu")?;
    AgentConfig::directory("/srv/keys").grant_in_mode("ubuntu", &["alice"], "system").write(&sandbox)?;
    let output = sandbox.command(PROGRAM).args(["--exact", NAME, "--nocapture"]).env(ALONE, "1").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// What the agent's loop does at each look, with another key set each time and a home of root's own to write to.
async fn sync_again_and_again() -> Result<()> {
    let settings = Arc::new(config::load(Path::new(AgentConfig::FILE), &Flags::default())?.settings);
    let host = HostIdentity::read(Path::new("/"), None);
    let mut engine = Engine::open(Arc::clone(&settings), host, "/usr/bin/fleetkey-agent".into());
    let mut drift = Drift::new(Arc::new(Hints::default()));
    let keys = (0..64).map(registered).collect::<Result<Vec<_>>>()?;
    let mut quarter = None;
    for sync in 0..SYNCS {
        // One key goes and one comes, round and round, so that the set of keys ever seen is bounded as people are.
        let keys = (0..8).map(|at| keys[(sync + at) % keys.len()].clone()).collect();
        let of_alice = BTreeMap::from([(Registry::S3, Lookup { keys, ..Lookup::default() })]);
        let revoked = Some(Ok([].into()));
        let findings =
            Findings { keys: BTreeMap::from([("alice".parse()?, of_alice)]), revoked, ..Findings::default() };
        drop(engine.cache());
        let look = engine.take(&findings, since_boot());
        let pass = engine.pass(Scope::All).await;
        assert!(!look.failed && pass.failed.is_empty(), "{:?} {:?}", engine.faults(), engine.files());
        drift.watch(&settings, pass.homes);
        engine.show(&Status::new(&engine, surroundings()));
        if sync == SYNCS / 4 {
            quarter = Some(Held::of_this_process()?);
        }
    }
    let counters = engine.counters();
    assert_eq!((counters.syncs, counters.writes), (SYNCS as u64, SYNCS as u64), "each was a real one");
    quarter.context("there is a quarter")?.assert_flat(Held::of_this_process()?, MARGIN_KIB);
    Ok(())
}

fn surroundings() -> Surroundings {
    Surroundings {
        instance_id: Some(INSTANCE.to_owned()),
        started_at: Timestamp::now(),
        looked_at: Some(Timestamp::now()),
        push: "off".to_owned(),
        config_error: None,
        autostop: None,
    }
}

/// A key that nobody has the private half of.
fn registered(number: u8) -> Result<RegisteredKey> {
    let string = |bytes: &[u8]| [(u32::try_from(bytes.len()).unwrap_or(0)).to_be_bytes().as_slice(), bytes].concat();
    let blob = STANDARD.encode([string(b"ssh-ed25519"), string(&[number; 32])].concat());
    Ok(RegisteredKey {
        key: PublicKey::from_parts("ssh-ed25519", &blob)?,
        restrictions: fleetkey_common::restrictions::Restrictions::default(),
        place: format!("people/alice/{number}.pub").into(),
        version: "1".into(),
    })
}

#[tokio::test]
async fn r10_memory_and_descriptors_are_flat_over_two_thousand_pushed_messages() -> Result<()> {
    let fixture = Fixture::new().await?;
    let agent = Agent::start(&fixture.sandbox, &fixture.config().set("poll_interval", "60s"))?;
    fixture.wait_let_in(&fixture.alice)?;
    fixture.wait_status("it listens", |status| push(status).starts_with("connected"))?;
    let sqs = fixture.cloud.sqs();
    let url = sqs.get_queue_url().queue_name(format!("fleetkey-agent_{INSTANCE}")).send().await?;
    let url = url.queue_url.context("a queue has a URL")?;
    // Hints and rubbish in turn: both are read, and both are deleted.
    let hint = STANDARD.encode(r#"{"version": 1, "type": 1}"#);
    let entry = |n: usize| {
        let body = if n.is_multiple_of(2) { hint.clone() } else { format!("rubbish {n}") };
        SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(body).build()
    };
    let batch = (0..10).map(entry).collect::<Result<Vec<_>, _>>()?;
    let mut quarter = None;
    for sent in (0..MESSAGES).step_by(batch.len()) {
        if sent == MESSAGES / 4 {
            quarter = Some(Held::of(&agent)?);
        }
        sqs.send_message_batch().queue_url(&url).set_entries(Some(batch.clone())).send().await?;
        // The queue is kept short: moto goes through all of it for each message.
        drained(&fixture.cloud, &url).await?;
    }
    let quarter = quarter.context("there is a quarter")?;
    quarter.assert_flat(Held::at_rest(&agent, quarter)?, MARGIN_KIB);
    fixture.wait_well()?;
    assert!(fixture.lets_in(&fixture.alice));
    Ok(())
}

/// With TLS, and with all authorities that a box trusts: what a reload makes anew is large then.
#[tokio::test]
async fn r10_memory_and_descriptors_are_flat_over_two_hundred_reloads() -> Result<()> {
    let (cloud, ca) = (Cloud::new().await?, TestCa::new()?);
    let fixture = Fixture::of(cloud, Proxy::start_tls(Moto::shared()?.address(), &ca)?).await?;
    let system = std::fs::read_to_string(SYSTEM_BUNDLE).context("this system has certificate authorities")?;
    fixture.sandbox.write(SYSTEM_BUNDLE, system + &std::fs::read_to_string(ca.ca_bundle())?)?;
    let config = fixture.config().set("poll_interval", "1h").set("push.enabled", false);
    let mut agent = Agent::start(&fixture.sandbox, &config)?;
    fixture.wait_let_in(&fixture.alice)?;
    let looks = || fixture.status().map(|status| syncs(&status)).unwrap_or_default();
    let mut first = None;
    for reload in 0..RELOADS {
        if reload == FIRST_RELOADS {
            first = Some(Held::of(&agent)?);
        }
        let before = looks();
        agent.signal(Signal::SIGHUP)?;
        fixture.wait_status("it has looked again", |status| syncs(status) > before)?;
    }
    let first = first.context("there were some")?;
    first.assert_flat(Held::at_rest(&agent, first)?, RELOADS_MARGIN_KIB);
    assert!(fixture.lets_in(&fixture.alice));
    Ok(())
}

/// Waits until nothing is in the queue, seen or not.
async fn drained(cloud: &Cloud, url: &str) -> Result<()> {
    let names =
        [QueueAttributeName::ApproximateNumberOfMessages, QueueAttributeName::ApproximateNumberOfMessagesNotVisible];
    let start = std::time::Instant::now();
    loop {
        let ask = cloud.sqs().get_queue_attributes().queue_url(url);
        let answer = ask.set_attribute_names(Some(names.to_vec())).send().await?;
        if answer.attributes().into_iter().flatten().all(|(_, number)| number == "0") {
            return Ok(());
        }
        ensure!(start.elapsed() < SOON, "the queue is not drained");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
