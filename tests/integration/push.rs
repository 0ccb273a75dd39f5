//! Push against the SQS and SNS of moto: the queue that the agent makes, the hints that get through it, and those that
//! do not.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetkey_agent::config::settings::{DeleteQueue, PushSettings};
use fleetkey_agent::instance::InstanceIdentity;
use fleetkey_agent::trigger::Hint;
use fleetkey_agent::trigger::push::{Health, Push};
use fleetkey_tests::cloud::Cloud;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

const INSTANCE: &str = "i-0abc12345678def90";
const QUEUE: &str = "fleetkey-agent_i-0abc12345678def90";
/// How long anything that should happen may take on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// An account with one box that is to be told.
struct Setting {
    cloud: Cloud,
}

impl Setting {
    async fn without_topic() -> Self {
        Self { cloud: Cloud::new().await.unwrap() }
    }

    async fn with_topic() -> Self {
        let setting = Self::without_topic().await;
        assert_eq!(setting.cloud.create_topic(Cloud::TOPIC).await.unwrap(), setting.topic_arn());
        setting
    }

    fn topic_arn(&self) -> String {
        format!("arn:aws:sns:{}:{}:{}", Cloud::REGION, self.cloud.account_id(), Cloud::TOPIC)
    }

    fn queue_arn(&self) -> String {
        format!("arn:aws:sqs:{}:{}:{QUEUE}", Cloud::REGION, self.cloud.account_id())
    }

    fn push(&self) -> Push {
        let settings = PushSettings { topic: Cloud::TOPIC.to_owned(), delete_queue: DeleteQueue::Exit };
        let identity = InstanceIdentity {
            instance_id: INSTANCE.to_owned(),
            region: Cloud::REGION.to_owned(),
            account_id: self.cloud.account_id().to_owned(),
            partition: "aws".to_owned(),
        };
        Push::new(self.cloud.sqs().clone(), self.cloud.sns().clone(), &settings, &identity).unwrap()
    }

    async fn queue_url(&self) -> String {
        self.cloud.sqs().get_queue_url().queue_name(QUEUE).send().await.unwrap().queue_url.unwrap()
    }

    async fn attribute(&self, name: QueueAttributeName) -> String {
        let ask = self.cloud.sqs().get_queue_attributes().queue_url(self.queue_url().await);
        let found = ask.attribute_names(name.clone()).send().await.unwrap();
        found.attributes().and_then(|all| all.get(&name)).cloned().unwrap_or_default()
    }

    async fn publish_hint(&self) {
        self.cloud.publish_hint(&self.topic_arn()).await.unwrap();
    }

    /// Messages that are in the queue, hidden ones too.
    async fn waiting(&self) -> u32 {
        let visible = self.attribute(QueueAttributeName::ApproximateNumberOfMessages).await;
        let hidden = self.attribute(QueueAttributeName::ApproximateNumberOfMessagesNotVisible).await;
        visible.parse::<u32>().unwrap() + hidden.parse::<u32>().unwrap()
    }
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
        timeout(SOON, self.task).await.expect("it stops").unwrap();
        self.push
    }
}

#[tokio::test]
async fn the_queue_is_made_with_its_policy_and_tags_and_subscribed_once() {
    let setting = Setting::with_topic().await;
    Running::connected(setting.push()).await.stop().await;
    let push = Running::connected(setting.push()).await;

    let policy: serde_json::Value =
        serde_json::from_str(&setting.attribute(QueueAttributeName::Policy).await).expect("the policy is JSON");
    let statement = &policy["Statement"];
    assert_eq!(statement.as_array().unwrap().len(), 1);
    assert_eq!(statement[0]["Principal"]["Service"], "sns.amazonaws.com");
    assert_eq!(statement[0]["Action"], "sqs:SendMessage");
    assert_eq!(statement[0]["Resource"], setting.queue_arn());
    assert_eq!(statement[0]["Condition"]["ArnEquals"]["aws:SourceArn"], setting.topic_arn());
    assert_eq!(setting.attribute(QueueAttributeName::MessageRetentionPeriod).await, "300");
    assert_eq!(setting.attribute(QueueAttributeName::ReceiveMessageWaitTimeSeconds).await, "20");
    assert_eq!(setting.attribute(QueueAttributeName::SqsManagedSseEnabled).await.to_lowercase(), "true");

    let tags =
        setting.cloud.sqs().list_queue_tags().queue_url(setting.queue_url().await).send().await.unwrap().tags.unwrap();
    assert_eq!(tags["fleetkey:instance-id"], INSTANCE);
    assert_eq!(tags["fleetkey:created-by"], "fleetkey-agent");
    assert_eq!(tags["Name"], QUEUE);

    assert_eq!(setting.cloud.subscriptions().await.unwrap(), [setting.queue_arn()]);
    let subscriptions = setting.cloud.sns().list_subscriptions_by_topic().topic_arn(setting.topic_arn());
    let subscriptions = subscriptions.send().await.unwrap();
    let arn = subscriptions.subscriptions()[0].subscription_arn().unwrap();
    let attributes = setting.cloud.sns().get_subscription_attributes().subscription_arn(arn).send().await.unwrap();
    assert_eq!(attributes.attributes().unwrap()["RawMessageDelivery"], "true");
    push.stop().await;
}

#[tokio::test]
async fn a_published_hint_arrives_and_is_deleted() {
    let setting = Setting::with_topic().await;
    let mut running = Running::connected(setting.push()).await;
    setting.publish_hint().await;
    assert!(running.next_hint().await.sent.is_some());
    // Sent after the first was received, and by more than clocks may be apart.
    sleep(Duration::from_millis(1_500)).await;
    setting.publish_hint().await;
    running.next_hint().await;
    let start = Instant::now();
    while setting.waiting().await > 0 {
        assert!(start.elapsed() < SOON, "the hint is not deleted");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_hint_given_to_a_poll_that_nobody_waits_for_comes_again_within_seconds() {
    let setting = Setting::with_topic().await;
    let push = Running::connected(setting.push()).await.stop().await;
    setting.publish_hint().await;
    // Received and not deleted: by this, or by the poll that the stopped one left behind.
    let url = setting.queue_url().await;
    setting.cloud.sqs().receive_message().queue_url(&url).wait_time_seconds(1).send().await.unwrap();
    let mut running = Running::connected(push).await;
    timeout(SOON, running.hints.recv()).await.expect("the hint comes again").unwrap();
}

#[tokio::test]
async fn t11_forged_unknown_and_truncated_messages_trigger_nothing_and_are_dropped() {
    let setting = Setting::with_topic().await;
    let mut running = Running::connected(setting.push()).await;
    let url = setting.queue_url().await;
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
        setting.cloud.sqs().send_message().queue_url(&url).message_body(body).send().await.unwrap();
    }
    while setting.waiting().await > 0 {
        sleep(Duration::from_millis(100)).await;
    }
    assert!(running.hints.is_empty(), "{:?}", running.next_hint().await);
    setting.publish_hint().await;
    running.next_hint().await;
}

// Three hundred are thirty batches: enough to show that what is in the queue, and not each message or batch, makes one
// hint. That ten thousand do so is shown where it is decided, in the agent's own tests, and not over a queue.
#[tokio::test]
async fn r12_three_hundred_queued_messages_trigger_once() {
    let setting = Setting::with_topic().await;
    let push = Running::connected(setting.push()).await.stop().await;
    let url = setting.queue_url().await;
    let entry = |n: usize| SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(hint());
    let entries: Vec<_> = (0..10).map(|n| entry(n).build().unwrap()).collect();
    for _ in 0..30 {
        setting
            .cloud
            .sqs()
            .send_message_batch()
            .queue_url(&url)
            .set_entries(Some(entries.clone()))
            .send()
            .await
            .unwrap();
    }
    sleep(Duration::from_millis(1_500)).await;
    let mut running = Running::connected(push).await;
    running.next_hint().await;
    let drained = async {
        while setting.waiting().await > 0 {
            sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(3 * SOON, drained).await.expect("the queue is drained");
    assert!(running.hints.is_empty(), "{} hints more", running.hints.len());
}

#[tokio::test]
async fn a_queue_that_exists_with_other_attributes_is_put_right() {
    let setting = Setting::with_topic().await;
    let lax = r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}]}"#;
    let other = setting.cloud.sqs().create_queue().queue_name(QUEUE).attributes(QueueAttributeName::Policy, lax);
    other.send().await.unwrap();
    let running = Running::connected(setting.push()).await;
    let policy = setting.attribute(QueueAttributeName::Policy).await;
    assert!(policy.contains(&setting.topic_arn()) && !policy.contains("sqs:*"), "{policy}");
    assert_eq!(setting.attribute(QueueAttributeName::MessageRetentionPeriod).await, "300");
    running.stop().await;
}

#[tokio::test]
async fn a_queue_that_is_deleted_under_the_agent_is_made_again() {
    let setting = Setting::with_topic().await;
    let mut running = Running::connected(setting.push()).await;
    setting.cloud.sqs().delete_queue().queue_url(setting.queue_url().await).send().await.unwrap();
    // moto notices only when the long poll ends.
    let mut health = running.push.health();
    let down = health.wait_for(|health| matches!(health, Health::Down { reason } if reason.contains("is gone")));
    timeout(2 * SOON, down).await.expect("it is told").unwrap();
    running.wait_for("connected", |health| matches!(health, Health::Connected { .. })).await;
    setting.publish_hint().await;
    running.next_hint().await;
}

#[tokio::test]
async fn a_missing_topic_is_told_and_used_once_it_is_there() {
    let setting = Setting::without_topic().await;
    let mut running = Running::start(setting.push());
    let told = format!("there is no topic {}; make it, or name the one in use as push.topic", setting.topic_arn());
    running.wait_for("down", |health| matches!(health, Health::Down { reason } if *reason == told)).await;
    setting.cloud.create_topic(Cloud::TOPIC).await.unwrap();
    running.wait_for("connected", |health| matches!(health, Health::Connected { .. })).await;
    setting.publish_hint().await;
    running.next_hint().await;
}

#[tokio::test]
async fn removal_leaves_neither_queue_nor_subscription() {
    let setting = Setting::with_topic().await;
    let push = Running::connected(setting.push()).await.stop().await;
    push.remove().await.unwrap();
    assert_eq!(setting.cloud.queues().await.unwrap(), [""; 0]);
    assert_eq!(setting.cloud.subscriptions().await.unwrap(), [""; 0]);
    push.remove().await.expect("what is gone already is no error");
    assert_eq!(setting.cloud.subscriptions().await.unwrap(), [""; 0]);
}
