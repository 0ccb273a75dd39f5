//! Push: hints from an SNS topic by an SQS queue of this instance's own.
//!
//! A message is only ever a hint to look; nothing in it is believed (T11). Push never harms: without it, and whenever
//! it fails, the agent polls, only slower. So nothing here ends the agent, and every failure is tried again.

use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use fleetkey_common::message::{self, MessageError};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::coalesce::{Received, Seen, coalesce};
use super::complaints::Complaints;
use super::pace;
use super::queue::{LONG_POLL, Place, Queue};
use super::topic::Topic;
use super::{Hint, QueueError, TopicError};
use crate::config::settings::PushSettings;
use crate::instance::InstanceIdentity;

/// The first wait after a failure; it doubles with each failure in a row.
const SHORTEST_RETRY: Duration = Duration::from_secs(1);
/// The longest wait after failures in a row.
const LONGEST_RETRY: Duration = Duration::from_mins(2);
/// How long SQS refuses a name after a queue of it was deleted.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteQueue.html>
const NAME_BLOCKED: Duration = Duration::from_mins(1);
/// How often queue and subscription are made sure of while all seems well: a subscription can vanish without a word.
const REVIEW_INTERVAL: Duration = Duration::from_hours(1);
/// How long removal may take: the agent is being stopped.
const REMOVAL_LIMIT: Duration = Duration::from_secs(10);

/// Whether hints get here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Health {
    /// The queue is being made for the first time.
    Connecting,
    /// The queue is subscribed and being listened to.
    Connected {
        /// The queue's name.
        queue: String,
    },
    /// Hints do not get here for now; the agent polls.
    Down {
        /// What is wrong and what to do, in one line.
        reason: String,
    },
}

/// The queue of this instance, and the listening to it. A clone is the same queue.
#[derive(Debug, Clone)]
pub struct Push {
    queue: Queue,
    health: watch::Sender<Health>,
}

impl Push {
    /// Names the queue and the topic; calls nothing yet.
    ///
    /// The queue is made in the region of `sqs`, or where that has none, in the instance's own.
    pub fn new(
        sqs: aws_sdk_sqs::Client,
        sns: aws_sdk_sns::Client,
        settings: &PushSettings,
        identity: &InstanceIdentity,
    ) -> Result<Self, TopicError> {
        let region = sqs.config().region().map_or(identity.region.as_str(), AsRef::as_ref).to_owned();
        let InstanceIdentity { partition, account_id, instance_id, .. } = identity;
        let topic = Topic::new(&settings.topic, partition, &region, account_id)?;
        let queue = Queue::new(sqs, sns, topic, &Place { partition, region: &region, account_id, instance_id });
        let (health, _) = watch::channel(Health::Connecting);
        Ok(Self { queue, health })
    }

    /// Whether hints get here, now and whenever that changes.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Makes the queue, subscribes it and calls `hints` for hints until cancelled. `hints` must not wait: it wakes
    /// whoever looks. It is called at once for the first hint, and at most every ten seconds in a flood.
    pub async fn run(self, hints: impl Fn(Hint), cancel: CancellationToken) {
        let (sender, receiver) = pace::channel();
        let mut listener =
            Listener { push: &self, hints: sender, seen: Seen::default(), dropped: Complaints::default() };
        tokio::select! {
            () = cancel.cancelled() => {}
            () = listener.keep_listening() => {}
            () = pace::deliver(receiver, hints) => {}
        }
    }

    /// Removes the subscription and the queue; what is gone already is no error. Takes at most ten seconds.
    pub async fn remove(&self) -> Result<(), QueueError> {
        let timed_out =
            || QueueError::RemovalTimedOut { queue: self.queue.name.clone(), seconds: REMOVAL_LIMIT.as_secs() };
        timeout(REMOVAL_LIMIT, self.queue.remove()).await.map_err(|_| timed_out())?
    }
}

/// What the listening keeps from batch to batch.
struct Listener<'a> {
    push: &'a Push,
    hints: mpsc::Sender<Hint>,
    seen: Seen,
    dropped: Complaints<Discriminant<MessageError>>,
}

impl Listener<'_> {
    async fn keep_listening(&mut self) {
        let mut failures = 0;
        loop {
            let started = Instant::now();
            let Err(error) = self.connect_and_listen().await else { continue };
            if started.elapsed() > LONGEST_RETRY {
                failures = 0;
            }
            let wait = retry_after(&error, failures, fastrand::f64());
            failures = failures.saturating_add(1);
            self.report_down(&error, wait);
            sleep(wait).await;
        }
    }

    /// Returns without an error when it is time to make sure of the queue again.
    async fn connect_and_listen(&mut self) -> Result<(), QueueError> {
        let Push { queue, health } = self.push;
        let url = queue.connect().await?;
        let connected = Health::Connected { queue: queue.name.clone() };
        if health.send_replace(connected.clone()) != connected {
            info!(queue = queue.name, "listening for hints");
        }
        let review = Instant::now() + REVIEW_INTERVAL.mul_f64(1.0 - 0.1 * fastrand::f64());
        let mut wait = Duration::ZERO;
        while Instant::now() < review {
            let batch = queue.receive(&url, wait).await?;
            if batch.is_empty() {
                wait = LONG_POLL;
                continue;
            }
            // While there is a backlog, no waiting: an answer to a call that waits may come late for its own sake.
            wait = Duration::ZERO;
            self.take(&batch);
            queue.delete(&url, &batch).await?;
        }
        Ok(())
    }

    fn take(&mut self, batch: &[Message]) {
        let received: Vec<Received> = batch.iter().map(|message| self.read(message)).collect();
        let (seen, hint) = coalesce(std::mem::take(&mut self.seen), &received);
        self.seen = seen;
        if let Some(hint) = hint {
            // When the channel is full, the hint that waits in it stands for this one too.
            let queued = self.hints.try_send(hint).is_ok();
            debug!(sent = ?hint.sent, messages = batch.len(), queued, "a hint");
        }
    }

    fn read(&mut self, message: &Message) -> Received {
        let id = message.message_id.clone().unwrap_or_default();
        let hint = match message::parse(message.body().unwrap_or_default()) {
            Ok(_) => true,
            Err(error) => {
                if let Some(held_back) = self.dropped.admit(discriminant(&error), Instant::now()) {
                    warn!(message_id = id, held_back, %error, "a pushed message is no hint; it is dropped");
                }
                false
            }
        };
        Received {
            id,
            sent: time(message, &MessageSystemAttributeName::SentTimestamp),
            first_receipt: time(message, &MessageSystemAttributeName::ApproximateFirstReceiveTimestamp),
            hint,
        }
    }

    fn report_down(&self, error: &QueueError, wait: Duration) {
        let down = Health::Down { reason: error.to_string() };
        let retry_in = format!("{wait:.0?}");
        // The same failure again is no news.
        if self.push.health.send_replace(down.clone()) == down {
            debug!(%error, retry_in, "still no push");
        } else {
            warn!(%error, retry_in, "no push for now; changes are seen by polling");
        }
    }
}

/// A time stamp of a message: milliseconds since 1970.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>
fn time(message: &Message, name: &MessageSystemAttributeName) -> Option<Timestamp> {
    let milliseconds = message.attributes()?.get(name)?.parse().ok()?;
    Timestamp::from_millisecond(milliseconds).ok()
}

/// The wait after a failure, with `jitter` from 0 to 1 so that a fleet does not come back all at once.
fn retry_after(error: &QueueError, failures: u32, jitter: f64) -> Duration {
    if let QueueError::DeletedRecently { .. } = error {
        return NAME_BLOCKED + SHORTEST_RETRY.mul_f64(10.0 * jitter);
    }
    let longest = SHORTEST_RETRY.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_RETRY);
    longest.mul_f64(0.5 + 0.5 * jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_are_jittered_by_half() {
        let gone = QueueError::Gone { queue: "q".to_owned() };
        assert_eq!(retry_after(&gone, 0, 1.0), SHORTEST_RETRY);
        assert_eq!(retry_after(&gone, 3, 1.0), 8 * SHORTEST_RETRY);
        assert_eq!(retry_after(&gone, 3, 0.0), 4 * SHORTEST_RETRY);
        assert_eq!(retry_after(&gone, u32::MAX, 1.0), LONGEST_RETRY);
    }

    #[test]
    fn a_name_that_was_in_use_a_moment_ago_is_tried_only_after_a_minute() {
        let deleted = QueueError::DeletedRecently { queue: "q".to_owned() };
        assert!(retry_after(&deleted, 0, 0.0) >= Duration::from_mins(1));
    }

    #[test]
    fn time_stamps_are_milliseconds_and_garbage_is_none() {
        let stamped =
            |text: &str| Message::builder().attributes(MessageSystemAttributeName::SentTimestamp, text).build();
        let sent = |text| time(&stamped(text), &MessageSystemAttributeName::SentTimestamp);
        assert_eq!(sent("1700000000123"), Timestamp::from_millisecond(1_700_000_000_123).ok());
        assert_eq!(sent("soon"), None);
        assert_eq!(sent("99999999999999999999"), None);
        assert_eq!(time(&Message::builder().build(), &MessageSystemAttributeName::SentTimestamp), None);
    }
}
