//! What the tests of broken surroundings share: one box with one account, in a cloud of its own, whose agent reaches
//! AWS by a proxy that can spoil the answers.

use std::time::Duration;

use anyhow::{Context as _, Result};
use fleetkey_tests::agent::{Agent, AgentConfig};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::proxy::Proxy;
use fleetkey_tests::sandbox::Sandbox;
use fleetkey_tests::wait_until;
use serde_json::Value;

/// The managed account.
pub(super) const ACCOUNT: &str = "ubuntu";
/// Its key file.
pub(super) const KEY_FILE: &str = "/home/ubuntu/.ssh/authorized_keys";
/// The instance that [`AgentConfig::iam`] configures.
pub(super) const INSTANCE: &str = "i-0123456789abcdef0";
/// How long anything that should happen may take on a busy machine, retries and polls included.
pub(super) const SOON: Duration = Duration::from_secs(90);

/// A box, and the cloud that it is in.
pub(super) struct Fixture {
    /// Reached directly: what the test itself does there always works.
    pub(super) cloud: Cloud,
    /// The agent's way to the cloud.
    pub(super) proxy: Proxy,
    pub(super) sandbox: Sandbox,
    /// Of the group `developers`; has a key in the bucket.
    pub(super) alice: TestKey,
}

impl Fixture {
    /// On the server that all tests share.
    pub(super) async fn new() -> Result<Self> {
        let cloud = Cloud::new().await?;
        Self::of(cloud, Proxy::start(Moto::shared()?.address())?).await
    }

    /// With this cloud, and this way to it.
    pub(super) async fn of(cloud: Cloud, proxy: Proxy) -> Result<Self> {
        let alice = TestKey::new("alice@test")?;
        cloud.create_group("developers").await?;
        for person in ["alice", "bob", "dave"] {
            cloud.create_user(person).await?;
        }
        cloud.add_to_group("alice", "developers").await?;
        cloud.put_person_key("alice", &alice).await?;
        cloud.create_topic(Cloud::TOPIC).await?;
        // In memory: a disk that is busy with something else would be taken for a slow agent.
        let agent = fleetkey_tests::program("fleetkey-agent");
        let sandbox = Sandbox::options().in_memory().program(agent, "/usr/bin/fleetkey-agent").start()?;
        sandbox.add_account(ACCOUNT)?;
        Ok(Self { cloud, proxy, sandbox, alice })
    }

    /// The `iam` source by the proxy, with grants to the group, to carol and to the user dave; it polls as often as it may.
    pub(super) fn config(&self) -> AgentConfig {
        let way = self.cloud.through(&self.proxy.endpoint());
        AgentConfig::iam(&way).grant(ACCOUNT, &["@@developers", "carol", "@dave"]).set("poll_interval", "5s")
    }

    /// The key file; empty when there is none.
    pub(super) fn file(&self) -> String {
        self.sandbox.read(KEY_FILE).unwrap_or_default()
    }

    /// Whether the key file lets this key in.
    pub(super) fn lets_in(&self, key: &TestKey) -> bool {
        let blob = key.line().split(' ').nth(1).unwrap_or(key.line());
        self.file().contains(blob)
    }

    /// Waits until the key is let in.
    pub(super) fn wait_let_in(&self, key: &TestKey) -> Result<Duration> {
        let waited = wait_until(&format!("{} is let in", key.line()), SOON, || Ok(self.lets_in(key)));
        waited.with_context(|| format!("the status is {:#}", self.status().unwrap_or_default()))
    }

    /// The status file as it is, for looking at it often; [`Agent::status_json`] asks the program.
    pub(super) fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.sandbox.read("/run/fleetkey/status.json")?)?)
    }

    /// Waits until the status is as it should be.
    pub(super) fn wait_status(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Duration> {
        let ready = || Ok(self.status().is_ok_and(|status| wanted(&status)));
        let outcome = wait_until(what, SOON, ready);
        outcome.with_context(|| format!("the status is {:#}", self.status().unwrap_or_default()))
    }

    /// Waits until the agent knows of nothing that is wrong, and hears hints.
    pub(super) fn wait_well(&self) -> Result<Duration> {
        self.wait_status("the agent is well again", |status| {
            faults(status).is_empty() && push(status).starts_with("connected")
        })
    }
}

/// What could not be looked up, as `part: why`.
pub(super) fn faults(status: &Value) -> Vec<String> {
    let faults = status["faults"].as_object();
    faults.into_iter().flatten().map(|(part, why)| format!("{part}: {}", why.as_str().unwrap_or_default())).collect()
}

/// How hints reach the box.
pub(super) fn push(status: &Value) -> &str {
    status["push"].as_str().unwrap_or_default()
}

/// How many looks the agent has made.
pub(super) fn syncs(status: &Value) -> u64 {
    status["counters"]["syncs"].as_u64().unwrap_or_default()
}

/// The longest time between two signs of life that the agent gave systemd since it was ready.
pub(super) fn longest_silence(agent: &mut Agent<'_>) -> Duration {
    let signs = agent.notices().heard().iter().filter(|notice| ["READY", "WATCHDOG"].contains(&notice.key.as_str()));
    let times: Vec<_> = signs.map(|notice| notice.at).chain([std::time::Instant::now()]).collect();
    times.windows(2).map(|pair| pair[1].duration_since(pair[0])).max().unwrap_or_default()
}
