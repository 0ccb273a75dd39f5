//! The SQS queue of this instance and its subscription: each method is a few calls to AWS.
//!
//! Decides nothing about messages, retries nothing (the SDK does so a few times) and keeps nothing between calls.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sns::config::Region;
use aws_sdk_sns::operation::subscribe::SubscribeError;
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::operation::create_queue::CreateQueueError;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName, QueueAttributeName};
use aws_smithy_types::timeout::TimeoutConfig;
use serde_json::json;
use tracing::{debug, info};

use super::error::QueueError;
use super::topic::Topic;

/// How long SQS keeps a hint: later it is worth nothing, the agent has looked by itself.
const RETENTION: Duration = Duration::from_mins(5);
/// The longest wait for a message that SQS knows.
pub(super) const LONG_POLL: Duration = Duration::from_secs(20);
/// How long a message that was received is hidden. It is deleted at once, so this counts only if that fails, or if SQS
/// gave it to a poll of which nobody waits for the answer any more, that of an agent that was restarted: then it is how
/// late the hint is. One that is received twice is told by its id.
const VISIBILITY: Duration = Duration::from_secs(2);
/// The largest message: a hint has some fifty bytes, and one in an SNS envelope a thousand.
const MESSAGE_LIMIT: usize = 16 * 1024;
/// The most messages that one call takes.
const BATCH: i32 = 10;
/// What the answer of a long poll may take beyond the poll itself.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The queue of one instance.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    sqs: aws_sdk_sqs::Client,
    sns: aws_sdk_sns::Client,
    topic: Topic,
    instance_id: String,
    /// `fleetkey-agent_<instance id>`.
    pub(super) name: String,
    arn: String,
}

/// Where a queue lives.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) partition: &'a str,
    pub(super) region: &'a str,
    pub(super) account_id: &'a str,
    pub(super) instance_id: &'a str,
}

impl Queue {
    pub(super) fn new(sqs: aws_sdk_sqs::Client, sns: aws_sdk_sns::Client, topic: Topic, place: &Place<'_>) -> Self {
        let Place { partition, region, account_id, instance_id } = place;
        let name = format!("fleetkey-agent_{instance_id}");
        let arn = format!("arn:{partition}:sqs:{region}:{account_id}:{name}");
        Self { sqs, sns, topic, instance_id: (*instance_id).to_owned(), name, arn }
    }

    /// Makes the queue and its subscription what they should be, whatever is there; gives the queue's URL.
    pub(super) async fn connect(&self) -> Result<String, QueueError> {
        let url = self.create().await?;
        self.subscribe().await?;
        Ok(url)
    }

    async fn create(&self) -> Result<String, QueueError> {
        let created = self
            .sqs
            .create_queue()
            .queue_name(&self.name)
            .set_attributes(Some(self.attributes()))
            .set_tags(Some(self.tags()))
            .send()
            .await;
        match created {
            Ok(queue) => queue.queue_url.ok_or_else(|| self.no_answer("sqs:CreateQueue")),
            Err(error) if is_other_attributes(&error) => self.put_right().await,
            Err(error) => Err(QueueError::new("sqs:CreateQueue", &self.name, &error)),
        }
    }

    /// Gives a queue that an older agent or somebody else made the attributes and tags that it should have.
    async fn put_right(&self) -> Result<String, QueueError> {
        info!(queue = self.name, "the queue exists with other attributes; they are put right");
        let found = self.sqs.get_queue_url().queue_name(&self.name).send().await;
        let found = found.map_err(|error| QueueError::new("sqs:GetQueueUrl", &self.name, &error))?;
        let url = found.queue_url.ok_or_else(|| self.no_answer("sqs:GetQueueUrl"))?;
        let set = self.sqs.set_queue_attributes().queue_url(&url).set_attributes(Some(self.attributes())).send().await;
        set.map_err(|error| QueueError::new("sqs:SetQueueAttributes", &self.name, &error))?;
        let tagged = self.sqs.tag_queue().queue_url(&url).set_tags(Some(self.tags())).send().await;
        tagged.map_err(|error| QueueError::new("sqs:TagQueue", &self.name, &error))?;
        Ok(url)
    }

    /// Subscribes the queue; where it is subscribed already, finds the subscription. Gives the subscription's ARN.
    async fn subscribe(&self) -> Result<String, QueueError> {
        let request = || {
            self.sns
                .subscribe()
                .topic_arn(&self.topic.arn)
                .protocol("sqs")
                .endpoint(&self.arn)
                .return_subscription_arn(true)
        };
        let failed = |error| QueueError::new("sns:Subscribe", &self.topic.arn, &error);
        let subscribed = request()
            .attributes("RawMessageDelivery", "true")
            .customize()
            .config_override(self.at_topic())
            .send()
            .await;
        let (answer, raw) = match subscribed {
            Ok(answer) => (answer, true),
            // "Subscription already exists with different attributes": take it as it is, then set them.
            Err(error) if error.as_service_error().is_some_and(SubscribeError::is_invalid_parameter_exception) => {
                (request().customize().config_override(self.at_topic()).send().await.map_err(failed)?, false)
            }
            Err(error) => return Err(failed(error)),
        };
        let subscription = answer.subscription_arn.ok_or_else(|| self.no_answer("sns:Subscribe"))?;
        if !raw {
            let set = self.sns.set_subscription_attributes().subscription_arn(&subscription);
            let set = set.attribute_name("RawMessageDelivery").attribute_value("true");
            let set = set.customize().config_override(self.at_topic()).send().await;
            set.map_err(|error| QueueError::new("sns:SetSubscriptionAttributes", &subscription, &error))?;
        }
        Ok(subscription)
    }

    /// Receives up to ten messages, waiting for the first one up to `wait`.
    pub(super) async fn receive(&self, url: &str, wait: Duration) -> Result<Vec<Message>, QueueError> {
        // The client's own limits are for calls that answer at once.
        let limit = wait + ANSWER_LIMIT;
        let patience = TimeoutConfig::builder().read_timeout(limit).operation_attempt_timeout(limit);
        let patience = aws_sdk_sqs::Config::builder().timeout_config(patience.operation_timeout(2 * limit).build());
        let received = self
            .sqs
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(BATCH)
            .wait_time_seconds(seconds(wait))
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateFirstReceiveTimestamp)
            .customize()
            .config_override(patience)
            .send()
            .await;
        let received = received.map_err(|error| QueueError::new("sqs:ReceiveMessage", &self.name, &error))?;
        Ok(received.messages.unwrap_or_default())
    }

    /// Deletes messages that were received: at most ten. Those that SQS fails to delete come again, and are old then.
    pub(super) async fn delete(&self, url: &str, messages: &[Message]) -> Result<(), QueueError> {
        let entries = messages.iter().enumerate().filter_map(|(number, message)| {
            let handle = message.receipt_handle.as_ref()?;
            DeleteMessageBatchRequestEntry::builder().id(number.to_string()).receipt_handle(handle).build().ok()
        });
        let deleted = self.sqs.delete_message_batch().queue_url(url).set_entries(Some(entries.collect())).send().await;
        let deleted = deleted.map_err(|error| QueueError::new("sqs:DeleteMessageBatch", &self.name, &error))?;
        for failed in deleted.failed {
            debug!(queue = self.name, code = failed.code, "SQS did not delete a message; it will come again");
        }
        Ok(())
    }

    /// Removes the subscription, then the queue. What is gone already is no error.
    pub(super) async fn remove(&self) -> Result<(), QueueError> {
        let unsubscribed = self.unsubscribe().await;
        let deleted = self.delete_queue().await;
        unsubscribed.and(deleted)
    }

    async fn unsubscribe(&self) -> Result<(), QueueError> {
        // Subscribing again is the one call that finds the subscription of this queue among those of ten thousand.
        let subscription = match self.subscribe().await {
            Ok(subscription) => subscription,
            Err(QueueError::NoTopic { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let removed = self.sns.unsubscribe().subscription_arn(&subscription).customize();
        let removed = removed.config_override(self.at_topic()).send().await;
        removed.map_err(|error| QueueError::new("sns:Unsubscribe", &subscription, &error))?;
        Ok(())
    }

    async fn delete_queue(&self) -> Result<(), QueueError> {
        let found = self.sqs.get_queue_url().queue_name(&self.name).send().await;
        let found = found.map_err(|error| QueueError::new("sqs:GetQueueUrl", &self.name, &error));
        let url = match found {
            Ok(found) => found.queue_url.ok_or_else(|| self.no_answer("sqs:GetQueueUrl"))?,
            Err(QueueError::Gone { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let deleted = self.sqs.delete_queue().queue_url(url).send().await;
        match deleted.map_err(|error| QueueError::new("sqs:DeleteQueue", &self.name, &error)) {
            Ok(_) | Err(QueueError::Gone { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// SNS must be called in the region of the topic, which an ARN may put elsewhere.
    fn at_topic(&self) -> aws_sdk_sns::config::Builder {
        aws_sdk_sns::Config::builder().region(Region::new(self.topic.region.clone()))
    }

    fn attributes(&self) -> HashMap<QueueAttributeName, String> {
        HashMap::from([
            (QueueAttributeName::Policy, policy(&self.arn, &self.topic.arn)),
            (QueueAttributeName::MessageRetentionPeriod, RETENTION.as_secs().to_string()),
            (QueueAttributeName::ReceiveMessageWaitTimeSeconds, LONG_POLL.as_secs().to_string()),
            (QueueAttributeName::VisibilityTimeout, VISIBILITY.as_secs().to_string()),
            (QueueAttributeName::MaximumMessageSize, MESSAGE_LIMIT.to_string()),
            (QueueAttributeName::SqsManagedSseEnabled, "true".to_owned()),
        ])
    }

    fn tags(&self) -> HashMap<String, String> {
        HashMap::from([
            ("Name".to_owned(), self.name.clone()),
            ("fleetkey:instance-id".to_owned(), self.instance_id.clone()),
            ("fleetkey:created-by".to_owned(), "fleetkey-agent".to_owned()),
        ])
    }

    fn no_answer(&self, action: &'static str) -> QueueError {
        let cause = "the answer lacks what it is for".to_owned();
        QueueError::Failed { action, target: self.name.clone(), cause }
    }
}

/// The policy of a queue that only SNS may send to, and only on behalf of the topic. The same text for the same
/// names, so that making the queue again is no change.
/// <https://docs.aws.amazon.com/sns/latest/dg/subscribe-sqs-queue-to-sns-topic.html>
fn policy(queue_arn: &str, topic_arn: &str) -> String {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "HintsFromTheTopicOnly",
            "Effect": "Allow",
            "Principal": { "Service": "sns.amazonaws.com" },
            "Action": "sqs:SendMessage",
            "Resource": queue_arn,
            "Condition": { "ArnEquals": { "aws:SourceArn": topic_arn } },
        }],
    })
    .to_string()
}

/// Whether a queue of the name exists whose attributes are not those asked for.
fn is_other_attributes(error: &SdkError<CreateQueueError>) -> bool {
    error.as_service_error().is_some_and(CreateQueueError::is_queue_name_exists)
}

/// Whole seconds, as SQS counts waits.
fn seconds(wait: Duration) -> i32 {
    i32::try_from(wait.as_secs()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_lets_only_sns_send_and_only_for_the_topic() {
        let expected = r#"{"Statement":[{"Action":"sqs:SendMessage","Condition":{"ArnEquals":{"aws:SourceArn":"T"}},"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Resource":"Q","Sid":"HintsFromTheTopicOnly"}],"Version":"2012-10-17"}"#;
        assert_eq!(policy("Q", "T"), expected);
    }
}
