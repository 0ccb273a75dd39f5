//! Hints through the topic and the queue, to the running agent: what they may do is make it look.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetkey_tests::agent::{Agent, AgentConfig};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::sandbox::Sandbox;
use tokio::time::{sleep, timeout};

use crate::ground::{SOON, holds, machine, syncs, wait_for_keys, wait_for_status};

/// Keys from IAM by hints, polled so seldom that what happens soon was hinted at.
fn hinted(cloud: &Cloud) -> AgentConfig {
    AgentConfig::iam(cloud).set("poll_interval", "24h").grant("ubuntu", &["alice", "bob"])
}

/// The queue of the instance, once the agent listens on it.
async fn queue(cloud: &Cloud, sandbox: &Sandbox) -> Result<String> {
    wait_for_status(sandbox, "the agent listens", |status| {
        status["looked_at"].is_string() && status["push"].as_str().is_some_and(|push| push.starts_with("connect"))
    })?;
    let found = async {
        loop {
            if let (Some(queue), false) = (cloud.queues().await?.pop(), cloud.subscriptions().await?.is_empty()) {
                return Ok(queue);
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(SOON, found).await.context("a queue that is subscribed")?
}

/// How many messages the queue holds, those that were received and not deleted too.
async fn waiting(cloud: &Cloud, queue: &str) -> Result<u32> {
    let all = cloud.sqs().get_queue_attributes().queue_url(queue).attribute_names(QueueAttributeName::All);
    let all = all.send().await?.attributes.unwrap_or_default();
    let names =
        [QueueAttributeName::ApproximateNumberOfMessages, QueueAttributeName::ApproximateNumberOfMessagesNotVisible];
    names.iter().map(|name| Ok(all.get(name).context("it is counted")?.parse::<u32>()?)).sum()
}

async fn wait_until_drained(cloud: &Cloud, queue: &str) -> Result<()> {
    let drained = async {
        while waiting(cloud, queue).await? > 0 {
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    };
    timeout(3 * SOON, drained).await.context("the queue is drained")?
}

#[tokio::test]
async fn t11_forged_replayed_truncated_and_unknown_messages_let_nobody_in_and_the_next_hint_works() -> Result<()> {
    let cloud = Cloud::new().await?;
    let topic = cloud.create_topic(Cloud::TOPIC).await?;
    let sandbox = machine(&["ubuntu"])?;
    let [alice, bob, mallory] = ["alice", "bob", "mallory"].map(TestKey::new);
    let (alice, bob, mallory) = (alice?, bob?, mallory?);
    cloud.put_person_key("alice", &alice).await?;
    let mut agent = Agent::start(&sandbox, &hinted(&cloud))?;
    agent.wait_ready()?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice])?;
    let queue = queue(&cloud, &sandbox).await?;
    let looks = syncs(&sandbox);

    let forged = format!(r#"{{"version": 2, "type": 1, "grant": {{"root": ["{}"]}}}}"#, mallory.line());
    let bodies = [
        STANDARD.encode(&forged),
        forged,
        "x".to_owned(),
        STANDARD.encode(r#"{"version": 1, "ty"#),
        STANDARD.encode("[]"),
        STANDARD.encode(r#"{"version": 1, "type": 99, "run": "id"}"#),
        STANDARD.encode(r#"{"version": 18446744073709551616, "type": 1}"#),
        mallory.line().to_owned(),
    ];
    for body in &bodies {
        cloud.sqs().send_message().queue_url(&queue).message_body(body).send().await?;
    }
    wait_until_drained(&cloud, &queue).await?;
    assert_eq!(syncs(&sandbox), looks, "nothing of it is a reason to look");
    assert!(holds(&sandbox, "ubuntu", &[&alice])?);

    cloud.put_person_key("bob", &bob).await?;
    cloud.publish_hint(&topic).await?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &bob])?;
    // Replayed: at most a look, and whoever was let in.
    for _ in 0..5 {
        cloud.publish_hint(&topic).await?;
    }
    wait_until_drained(&cloud, &queue).await?;
    assert!(holds(&sandbox, "ubuntu", &[&alice, &bob])?);
    assert!(!sandbox.path("/root/.ssh/authorized_keys").exists());
    agent.stop()?;
    Ok(())
}

#[tokio::test]
async fn fault_6_a_message_of_unknown_version_is_told_dropped_and_survived() -> Result<()> {
    let cloud = Cloud::new().await?;
    let topic = cloud.create_topic(Cloud::TOPIC).await?;
    let sandbox = machine(&["ubuntu"])?;
    let alice = TestKey::new("alice")?;
    let mut agent = Agent::start(&sandbox, &hinted(&cloud))?;
    agent.wait_ready()?;
    queue(&cloud, &sandbox).await?;
    cloud.publish(&topic, &STANDARD.encode(r#"{"version": 7, "type": 1}"#)).await?;
    agent.log().wait_for("word of the version", SOON, |line| line.contains("WARN") && line.contains("version is 7"))?;
    cloud.put_person_key("alice", &alice).await?;
    cloud.publish_hint(&topic).await?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice])?;
    Ok(())
}

// Ten thousand are tried where it is decided, in the agent's own tests: moto goes through its whole queue for each
// message, and takes half a minute of processor time for a thousand.
#[tokio::test]
async fn r12_hints_that_queued_up_while_the_agent_was_stopped_cost_one_look() -> Result<()> {
    let cloud = Cloud::new().await?;
    let topic = cloud.create_topic(Cloud::TOPIC).await?;
    let sandbox = machine(&["ubuntu"])?;
    let (alice, bob) = (TestKey::new("alice")?, TestKey::new("bob")?);
    cloud.put_person_key("alice", &alice).await?;
    let mut agent = Agent::start(&sandbox, &hinted(&cloud))?;
    agent.wait_ready()?;
    let queue = queue(&cloud, &sandbox).await?;
    agent.stop()?;
    let hint = STANDARD.encode(r#"{"version": 1, "type": 1}"#);
    let entries = (0..10).map(|id| SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body(&hint));
    let entries = entries.map(|entry| Ok(entry.build()?)).collect::<Result<Vec<_>>>()?;
    for _ in 0..30 {
        cloud.sqs().send_message_batch().queue_url(&queue).set_entries(Some(entries.clone())).send().await?;
    }
    assert_eq!(waiting(&cloud, &queue).await?, 300, "a stop is no end: the queue is still there");

    // A hint that was sent while the agent looked, or shortly before as far as two clocks can tell, is a new one.
    sleep(Duration::from_millis(2_500)).await;
    let mut agent = Agent::start_as_is(&sandbox, &[])?;
    agent.wait_ready()?;
    wait_until_drained(&cloud, &queue).await?;
    let looks = syncs(&sandbox);
    // One at the start; one for the first batch; and one more where the poll that the stopped agent left behind had
    // taken that batch before: its messages then tell an early time for the look that they led to.
    assert!((1..=3).contains(&looks), "{looks} looks");
    cloud.put_person_key("bob", &bob).await?;
    cloud.publish_hint(&topic).await?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &bob])?;
    Ok(())
}

#[tokio::test]
async fn fault_8_the_queue_bears_the_instance_id_and_goes_with_the_agent_if_told_to() -> Result<()> {
    let cloud = Cloud::new().await?;
    cloud.create_topic(Cloud::TOPIC).await?;
    let sandbox = machine(&["ubuntu"])?;
    let mut agent = Agent::start(&sandbox, &hinted(&cloud).set("push.delete_queue", "exit"))?;
    agent.wait_ready()?;
    let queue = queue(&cloud, &sandbox).await?;
    assert!(queue.ends_with("/fleetkey-agent_i-0123456789abcdef0"), "{queue}");
    assert!(agent.stop()?.success());
    assert_eq!(cloud.queues().await?, [""; 0]);
    assert_eq!(cloud.subscriptions().await?, [""; 0]);
    Ok(())
}
