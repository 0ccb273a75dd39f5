//! The IAM policies that are shipped are enough for the whole agent, and each permission in them is needed: without it
//! the status names what is missing.
//!
//! moto holds actions, and the ARNs of S3 alone, against a policy; conditions and other ARNs it does not look at, so
//! that the other ARNs are widened here: whether AWS takes the conditions as they are meant is not shown.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fleetkey_tests::agent::{Agent, AgentConfig};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::policy::ShippedPolicy;
use fleetkey_tests::proxy::Proxy;
use nix::sys::signal::Signal;

use super::fixture::{ACCOUNT, Fixture, INSTANCE, KEY_FILE, faults, push};

/// The policies that the configuration calls for. Metrics are left out: moto does not speak CloudWatch's protocol.
const POLICIES: [&str; 6] =
    ["agent-source-iam", "agent-registry-s3", "agent-registry-ec2", "agent-registry-iam", "agent-push", "agent-report"];

/// The IAM user whom the agent runs as.
const AGENT: &str = "agent";

/// A shipped policy, for moto to hold calls against.
fn shipped(name: &str, cloud: &Cloud) -> Result<String> {
    Ok(ShippedPolicy::read(name, cloud, AGENT)?.for_moto())
}

/// A box whose agent may do what the shipped policies say, in a cloud that checks it.
struct Limited {
    fixture: Fixture,
    way: Cloud,
    /// dave's, on the IAM user.
    by_iam: TestKey,
    /// carol's key pair.
    by_pair: TestKey,
    // Dropped last.
    _moto: Moto,
}

impl Limited {
    async fn new() -> Result<Self> {
        let moto = tokio::task::spawn_blocking(Moto::start).await??;
        let cloud = Cloud::on(&moto).await?;
        let policies = POLICIES.into_iter().map(|name| shipped(name, &cloud)).collect::<Result<Vec<_>>>()?;
        let policies: Vec<&str> = policies.iter().map(String::as_str).collect();
        let credentials = cloud.create_limited_user(AGENT, &policies).await?;
        let fixture = Fixture::of(cloud, Proxy::start(moto.address())?).await?;
        let (by_iam, by_pair) = (TestKey::rsa()?, TestKey::new("carol@test")?);
        // Before anything is checked: moto cannot check a request with a key in it.
        fixture.cloud.upload_iam_key("dave", &by_iam).await?;
        fixture.cloud.import_key_pair("carol", &by_pair).await?;
        fixture.cloud.put_cgcloud_key("carla", &by_pair).await?;
        moto.enforce_iam(0)?;
        let way = fixture.cloud.with_credentials(credentials).through(&fixture.proxy.endpoint());
        Ok(Self { fixture, way, by_iam, by_pair, _moto: moto })
    }

    fn config(&self) -> AgentConfig {
        AgentConfig::iam(&self.way)
            .set("registries", vec!["s3", "ec2", "iam"])
            .set("poll_interval", "5s")
            .grant(ACCOUNT, &["@@developers", "car*", "@dave"])
    }

    /// Takes an action out of a policy of the agent.
    async fn take_away(&self, name: &str, action: &str) -> Result<()> {
        let policy = ShippedPolicy::read(name, &self.fixture.cloud, AGENT)?;
        self.put(name, policy.without(action)?.for_moto()).await
    }

    /// Makes a policy of the agent as it is shipped.
    async fn give_back(&self, name: &str) -> Result<()> {
        self.put(name, shipped(name, &self.fixture.cloud)?).await
    }

    async fn put(&self, name: &str, document: String) -> Result<()> {
        let at = POLICIES.iter().position(|policy| *policy == name).context("a policy of the agent")?;
        let put = self.fixture.cloud.iam().put_user_policy().user_name(AGENT).policy_name(format!("policy-{at}"));
        put.policy_document(document).send().await?;
        Ok(())
    }
}

#[tokio::test]
async fn the_whole_agent_runs_on_the_shipped_policies() -> Result<()> {
    let limited = Limited::new().await?;
    let fixture = &limited.fixture;
    let agent = Agent::start(&fixture.sandbox, &limited.config())?;
    for key in [&fixture.alice, &limited.by_pair, &limited.by_iam] {
        fixture.wait_let_in(key)?;
    }
    fixture.wait_well()?;

    // A hint gets through, is deleted, and what it tells of is seen.
    let topic = format!("arn:aws:sns:{}:{}:{}", Cloud::REGION, fixture.cloud.account_id(), Cloud::TOPIC);
    let bob = TestKey::new("bob@test")?;
    fixture.cloud.put_person_key("bob", &bob).await?;
    fixture.cloud.add_to_group("bob", "developers").await?;
    fixture.cloud.publish_hint(&topic).await?;
    fixture.wait_let_in(&bob)?;
    fixture.wait_well()?;
    let status = fixture.cloud.objects("status/").await?;
    assert!(status.contains_key(&format!("status/{INSTANCE}.json")), "{:?}", status.keys());
    // Whose key stands on another line is asked of every registry.
    let strange = TestKey::new("nobody@test")?;
    fixture.sandbox.run("sh", &["-c", &format!("echo '{}' >>{KEY_FILE}", strange.line())])?;
    fixture.wait_status("the strange line is seen", |status| status["accounts"][ACCOUNT]["other_keys"] == 1)?;
    std::thread::sleep(Duration::from_secs(2));
    let refused: Vec<_> =
        fixture.proxy.take_calls().into_iter().filter(|call| matches!(call.status, Some(400 | 401 | 403))).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    drop(agent);
    Ok(())
}

#[tokio::test]
async fn without_a_permission_the_status_names_the_call_that_lacks_it() -> Result<()> {
    let limited = Limited::new().await?;
    let fixture = &limited.fixture;
    let mut agent = Agent::start(&fixture.sandbox, &limited.config())?;
    fixture.wait_let_in(&fixture.alice)?;
    fixture.wait_well()?;
    let good = fixture.file();

    for (policy, action, part, call) in [
        ("agent-source-iam", "iam:GetGroup", "group developers", "GetGroup"),
        ("agent-source-iam", "iam:GetUser", "user dave", "GetUser"),
        ("agent-registry-s3", "s3:ListBucket", "revocations", "ListObjectsV2"),
        ("agent-registry-iam", "iam:ListSSHPublicKeys", "keys of dave in iam", "ListSSHPublicKeys"),
        ("agent-registry-iam", "iam:ListUsers", "names in iam", "ListUsers"),
    ] {
        limited.take_away(policy, action).await?;
        fixture.wait_status(&format!("the status tells that {action} is not allowed"), |status| {
            // moto refuses calls to IAM in a form that is not IAM's, so that the status of the answer is all there is.
            let denied = |line: &String| line.contains(call) && line.contains("HTTP 403");
            faults(status).iter().any(|line| line.starts_with(part) && denied(line))
        })?;
        assert_eq!(fixture.file(), good, "without {action} nobody new, and nobody gone");
        limited.give_back(policy).await?;
        fixture.wait_well()?;
    }

    // What is asked when the way to AWS is made.
    for action in ["sqs:CreateQueue", "sns:Subscribe"] {
        limited.take_away("agent-push", action).await?;
        agent.signal(Signal::SIGHUP)?;
        fixture.wait_status(&format!("the status tells that {action} is not allowed"), |status| {
            push(status).starts_with("down") && push(status).contains(&format!("{action} "))
        })?;
        limited.give_back("agent-push").await?;
        fixture.wait_well()?;
    }
    Ok(())
}

#[tokio::test]
async fn every_permission_of_the_agents_policies_is_explained() -> Result<()> {
    let cloud = Cloud::new().await?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/iam");
    let readme = std::fs::read_to_string(folder.join("README.md"))?;
    for name in POLICIES.into_iter().chain(["agent-metrics"]) {
        for action in ShippedPolicy::read(name, &cloud, AGENT)?.actions() {
            let short = action.split(':').nth(1).unwrap_or(&action);
            assert!(readme.contains(&format!("{short}`")), "{action} of {name} is not in the README");
        }
    }
    Ok(())
}
