//! Push against the SQS and SNS of moto: the queue that the agent makes, the hints that get through it, and those that
//! do not.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_sqs::config::{BehaviorVersion, Region};
use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetkey_agent::config::settings::{DeleteQueue, PushSettings};
use fleetkey_agent::instance::InstanceIdentity;
use fleetkey_agent::trigger::Hint;
use fleetkey_agent::trigger::push::{Health, Push};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

const TOPIC: &str = "fleetkey-agent-notifications";
const TOPIC_ARN: &str = "arn:aws:sns:us-west-2:123456789012:fleetkey-agent-notifications";
const INSTANCE: &str = "i-0abc12345678def90";
const QUEUE: &str = "fleetkey-agent_i-0abc12345678def90";
/// How long anything that should happen may take on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// A moto server of a test's own; it ends with the test, and with the test process however that ends.
#[derive(Debug)]
struct Moto {
    process: Child,
    url: String,
}

impl Moto {
    async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "moto_server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("setpriv and moto_server are installed");
        let started = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(3 * SOON, started).await.expect("moto_server starts");
        Self { process, url: format!("http://127.0.0.1:{port}") }
    }

    fn sqs(&self) -> aws_sdk_sqs::Client {
        let config = aws_sdk_sqs::Config::builder().behavior_version(BehaviorVersion::v2026_01_12());
        let config = config.endpoint_url(&self.url).region(Region::new("us-west-2")).credentials_provider(anybody());
        aws_sdk_sqs::Client::from_conf(config.build())
    }

    fn sns(&self) -> aws_sdk_sns::Client {
        let config = aws_sdk_sns::Config::builder().behavior_version(BehaviorVersion::v2026_01_12());
        let config = config.endpoint_url(&self.url).region(Region::new("us-west-2")).credentials_provider(anybody());
        aws_sdk_sns::Client::from_conf(config.build())
    }

    async fn with_topic() -> Self {
        let moto = Self::start().await;
        moto.sns().create_topic().name(TOPIC).send().await.unwrap();
        moto
    }

    fn push(&self) -> Push {
        let settings = PushSettings { topic: TOPIC.to_owned(), delete_queue: DeleteQueue::Exit };
        let identity = InstanceIdentity {
            instance_id: INSTANCE.to_owned(),
            region: "us-west-2".to_owned(),
            account_id: "123456789012".to_owned(),
            partition: "aws".to_owned(),
        };
        Push::new(self.sqs(), self.sns(), &settings, &identity).unwrap()
    }

    async fn queue_url(&self) -> String {
        self.sqs().get_queue_url().queue_name(QUEUE).send().await.unwrap().queue_url.unwrap()
    }

    async fn attribute(&self, name: QueueAttributeName) -> String {
        let url = self.queue_url().await;
        let found =
            self.sqs().get_queue_attributes().queue_url(url).attribute_names(name.clone()).send().await.unwrap();
        found.attributes().and_then(|all| all.get(&name)).cloned().unwrap_or_default()
    }

    async fn subscriptions(&self) -> Vec<String> {
        let found = self.sns().list_subscriptions_by_topic().topic_arn(TOPIC_ARN).send().await.unwrap();
        found.subscriptions().iter().map(|s| s.subscription_arn().unwrap().to_owned()).collect()
    }

    async fn publish_hint(&self) {
        self.sns().publish().topic_arn(TOPIC_ARN).message(hint()).send().await.unwrap();
    }

    /// Messages that are in the queue, hidden ones too.
    async fn waiting(&self) -> u32 {
        let visible = self.attribute(QueueAttributeName::ApproximateNumberOfMessages).await;
        let hidden = self.attribute(QueueAttributeName::ApproximateNumberOfMessagesNotVisible).await;
        visible.parse::<u32>().unwrap() + hidden.parse::<u32>().unwrap()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn anybody() -> Credentials {
    Credentials::new("test", "test", None, None, "test")
}

fn hint() -> String {
    STANDARD.encode(r#"{"version": 1, "type": 1}"#)
}

/// Push that is running, and the hints that came of it.
struct Running {
    push: Push,
    hints: mpsc::UnboundedReceiver<Hint>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(push: Push) -> Self {
        let (sender, hints) = mpsc::unbounded_channel();
        let cancel = CancellationToken::new();
        let task = tokio::spawn(push.clone().run(move |hint| sender.send(hint).unwrap(), cancel.clone()));
        Self { push, hints, cancel, task }
    }

    async fn connected(push: Push) -> Self {
        let running = Self::start(push);
        running.wait_for("connected", |health| matches!(health, Health::Connected { queue } if queue == QUEUE)).await;
        running
    }

    async fn wait_for(&self, what: &str, wanted: impl FnMut(&Health) -> bool) {
        let mut health = self.push.health();
        let last = self.push.health();
        let outcome = timeout(SOON, health.wait_for(wanted)).await;
        assert!(outcome.is_ok(), "push is not {what}: {:?}", *last.borrow());
    }

    async fn next_hint(&mut self) -> Hint {
        timeout(SOON, self.hints.recv()).await.expect("a hint arrives").unwrap()
    }

    async fn stop(self) -> Push {
        self.cancel.cancel();
        timeout(Duration::from_secs(1), self.task).await.expect("it stops at once").unwrap();
        self.push
    }
}

#[tokio::test]
async fn the_queue_is_made_with_its_policy_and_tags_and_subscribed_once() {
    let moto = Moto::with_topic().await;
    Running::connected(moto.push()).await.stop().await;
    let push = Running::connected(moto.push()).await;

    let policy: serde_json::Value =
        serde_json::from_str(&moto.attribute(QueueAttributeName::Policy).await).expect("the policy is JSON");
    let statement = &policy["Statement"];
    assert_eq!(statement.as_array().unwrap().len(), 1);
    assert_eq!(statement[0]["Principal"]["Service"], "sns.amazonaws.com");
    assert_eq!(statement[0]["Action"], "sqs:SendMessage");
    assert_eq!(statement[0]["Resource"], format!("arn:aws:sqs:us-west-2:123456789012:{QUEUE}"));
    assert_eq!(statement[0]["Condition"]["ArnEquals"]["aws:SourceArn"], TOPIC_ARN);
    assert_eq!(moto.attribute(QueueAttributeName::MessageRetentionPeriod).await, "300");
    assert_eq!(moto.attribute(QueueAttributeName::ReceiveMessageWaitTimeSeconds).await, "20");
    assert_eq!(moto.attribute(QueueAttributeName::SqsManagedSseEnabled).await.to_lowercase(), "true");

    let tags = moto.sqs().list_queue_tags().queue_url(moto.queue_url().await).send().await.unwrap().tags.unwrap();
    assert_eq!(tags["fleetkey:instance-id"], INSTANCE);
    assert_eq!(tags["fleetkey:created-by"], "fleetkey-agent");
    assert_eq!(tags["Name"], QUEUE);

    let subscriptions = moto.subscriptions().await;
    assert_eq!(subscriptions.len(), 1, "{subscriptions:?}");
    let attributes = moto.sns().get_subscription_attributes().subscription_arn(&subscriptions[0]).send().await.unwrap();
    assert_eq!(attributes.attributes().unwrap()["RawMessageDelivery"], "true");
    push.stop().await;
}

#[tokio::test]
async fn a_published_hint_arrives_and_is_deleted() {
    let moto = Moto::with_topic().await;
    let mut running = Running::connected(moto.push()).await;
    moto.publish_hint().await;
    assert!(running.next_hint().await.sent.is_some());
    // Sent after the first was received, and by more than clocks may be apart.
    sleep(Duration::from_millis(1_500)).await;
    moto.publish_hint().await;
    running.next_hint().await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(moto.waiting().await, 0);
}

#[tokio::test]
async fn a_hint_given_to_a_poll_that_nobody_waits_for_comes_again_within_seconds() {
    let moto = Moto::with_topic().await;
    let push = Running::connected(moto.push()).await.stop().await;
    moto.publish_hint().await;
    // Received and not deleted: by this, or by the poll that the stopped one left behind.
    let url = moto.queue_url().await;
    moto.sqs().receive_message().queue_url(&url).wait_time_seconds(1).send().await.unwrap();
    let mut running = Running::connected(push).await;
    timeout(Duration::from_secs(5), running.hints.recv()).await.expect("the hint comes again").unwrap();
}

#[tokio::test]
async fn t11_forged_unknown_and_truncated_messages_trigger_nothing_and_are_dropped() {
    let moto = Moto::with_topic().await;
    let mut running = Running::connected(moto.push()).await;
    let url = moto.queue_url().await;
    let encoded = |json: &str| STANDARD.encode(json);
    let bad = [
        "x".to_owned(),
        "{}".to_owned(),
        "\u{fffd}".repeat(100),
        hint()[..10].to_owned(),
        encoded("{"),
        encoded("[]"),
        encoded(r#"{"version": 2, "type": 1}"#),
        encoded(r#"{"version": 1, "type": 99}"#),
        encoded(r#"{"version": "1; grant alice root", "type": 1}"#),
        r#"{"Type": "UnsubscribeConfirmation", "Message": "eA=="}"#.to_owned(),
    ];
    for body in &bad {
        moto.sqs().send_message().queue_url(&url).message_body(body).send().await.unwrap();
    }
    while moto.waiting().await > 0 {
        sleep(Duration::from_millis(100)).await;
    }
    assert!(running.hints.is_empty(), "{:?}", running.next_hint().await);
    moto.publish_hint().await;
    running.next_hint().await;
}

// Ten thousand are tried where it is decided, in the agent's own tests: moto goes through its whole queue for each
// message, and takes half a minute of processor time for a thousand.
#[tokio::test]
async fn r12_three_hundred_queued_messages_trigger_once() {
    let moto = Moto::with_topic().await;
    let push = Running::connected(moto.push()).await.stop().await;
    let url = moto.queue_url().await;
    let entry = |n: usize| SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(hint());
    let entries: Vec<_> = (0..10).map(|n| entry(n).build().unwrap()).collect();
    for _ in 0..30 {
        moto.sqs().send_message_batch().queue_url(&url).set_entries(Some(entries.clone())).send().await.unwrap();
    }
    sleep(Duration::from_millis(1_500)).await;
    let mut running = Running::connected(push).await;
    running.next_hint().await;
    let drained = async {
        while moto.waiting().await > 0 {
            sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(3 * SOON, drained).await.expect("the queue is drained");
    assert!(running.hints.is_empty(), "{} hints more", running.hints.len());
}

#[tokio::test]
async fn a_queue_that_exists_with_other_attributes_is_put_right() {
    let moto = Moto::with_topic().await;
    let lax = r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}]}"#;
    let other = moto.sqs().create_queue().queue_name(QUEUE).attributes(QueueAttributeName::Policy, lax);
    other.send().await.unwrap();
    let running = Running::connected(moto.push()).await;
    let policy = moto.attribute(QueueAttributeName::Policy).await;
    assert!(policy.contains(TOPIC_ARN) && !policy.contains("sqs:*"), "{policy}");
    assert_eq!(moto.attribute(QueueAttributeName::MessageRetentionPeriod).await, "300");
    running.stop().await;
}

#[tokio::test]
async fn a_queue_that_is_deleted_under_the_agent_is_made_again() {
    let moto = Moto::with_topic().await;
    let mut running = Running::connected(moto.push()).await;
    moto.sqs().delete_queue().queue_url(moto.queue_url().await).send().await.unwrap();
    // moto notices only when the long poll ends.
    let mut health = running.push.health();
    let down = health.wait_for(|health| matches!(health, Health::Down { reason } if reason.contains("is gone")));
    timeout(2 * SOON, down).await.expect("it is told").unwrap();
    running.wait_for("connected", |health| matches!(health, Health::Connected { .. })).await;
    moto.publish_hint().await;
    running.next_hint().await;
}

#[tokio::test]
async fn a_missing_topic_is_told_and_used_once_it_is_there() {
    let moto = Moto::start().await;
    let mut running = Running::start(moto.push());
    let told = format!("there is no topic {TOPIC_ARN}; make it, or name the one in use as push.topic");
    running.wait_for("down", |health| matches!(health, Health::Down { reason } if *reason == told)).await;
    moto.sns().create_topic().name(TOPIC).send().await.unwrap();
    running.wait_for("connected", |health| matches!(health, Health::Connected { .. })).await;
    moto.publish_hint().await;
    running.next_hint().await;
}

#[tokio::test]
async fn removal_leaves_neither_queue_nor_subscription() {
    let moto = Moto::with_topic().await;
    let push = Running::connected(moto.push()).await.stop().await;
    push.remove().await.unwrap();
    assert_eq!(moto.sqs().list_queues().send().await.unwrap().queue_urls(), [""; 0]);
    assert_eq!(moto.subscriptions().await, [""; 0]);
    push.remove().await.expect("what is gone already is no error");
    assert_eq!(moto.subscriptions().await, [""; 0]);
}
