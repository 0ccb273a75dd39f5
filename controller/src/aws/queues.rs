//! The agents' queues in a region, and their subscriptions: listed, looked at, deleted.

use std::collections::BTreeMap;

use aws_sdk_sns::Client as SnsClient;
use aws_sdk_sqs::Client as SqsClient;
use aws_sdk_sqs::types::QueueAttributeName;
use jiff::Timestamp;

use super::{CallError, failed};

/// Queues on a page: the most that SQS gives. Without it, SQS gives as many and does not say that there are more.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ListQueues.html>
const PAGE: i32 = 1000;

/// A subscription to a topic of the region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// Its ARN, by which it is deleted.
    pub(crate) arn: String,
    /// What hears: for a queue its ARN.
    pub(crate) endpoint: String,
}

/// The URLs of the queues whose names begin so.
pub(crate) async fn list(client: &SqsClient, prefix: &str) -> Result<Vec<String>, CallError> {
    let call = client.list_queues().queue_name_prefix(prefix).max_results(PAGE);
    let mut pages = call.into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(failed(format!("sqs ListQueues {prefix}")))?;
        found.extend(page.queue_urls.unwrap_or_default());
    }
    Ok(found)
}

/// The tags of a queue; `None` if it is gone.
pub(crate) async fn tags(client: &SqsClient, url: &str) -> Result<Option<BTreeMap<String, String>>, CallError> {
    let answer = client.list_queue_tags().queue_url(url).send().await;
    let answer = there(answer.map_err(failed(format!("sqs ListQueueTags {url}"))))?;
    Ok(answer.map(|answer| answer.tags.unwrap_or_default().into_iter().collect()))
}

/// When a queue was made; `None` if it is gone.
pub(crate) async fn made(client: &SqsClient, url: &str) -> Result<Option<Timestamp>, CallError> {
    let action = format!("sqs GetQueueAttributes {url}");
    let call = client.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::CreatedTimestamp);
    let Some(answer) = there(call.send().await.map_err(failed(action.clone())))? else { return Ok(None) };
    let made = answer.attributes.and_then(|mut told| told.remove(&QueueAttributeName::CreatedTimestamp));
    let made = made.as_deref().and_then(moment);
    made.map(Some).ok_or_else(|| CallError::answer(action, "the answer does not say when the queue was made"))
}

/// Seconds since 1970, of which a fraction counts for nothing.
fn moment(seconds: &str) -> Option<Timestamp> {
    let whole = seconds.split_once('.').map_or(seconds, |(whole, _)| whole);
    Timestamp::from_second(whole.parse().ok()?).ok()
}

/// Deletes a queue. Gone already: done.
pub(crate) async fn delete(client: &SqsClient, url: &str) -> Result<(), CallError> {
    let answer = client.delete_queue().queue_url(url).send().await;
    there(answer.map_err(failed(format!("sqs DeleteQueue {url}"))))?;
    Ok(())
}

/// The subscriptions of queues to any topic of the region.
pub(crate) async fn subscriptions(client: &SnsClient) -> Result<Vec<Subscription>, CallError> {
    let mut pages = client.list_subscriptions().into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(failed("sns ListSubscriptions"))?.subscriptions.unwrap_or_default();
        found.extend(page.into_iter().filter(|one| one.protocol.as_deref() == Some("sqs")).filter_map(|one| {
            // One that nobody has confirmed has words in place of an ARN.
            let arn = one.subscription_arn.filter(|arn| arn.starts_with("arn:"))?;
            Some(Subscription { arn, endpoint: one.endpoint? })
        }));
    }
    Ok(found)
}

/// Deletes a subscription. Gone already: done, and SNS says so itself.
pub(crate) async fn unsubscribe(client: &SnsClient, arn: &str) -> Result<(), CallError> {
    let answer = client.unsubscribe().subscription_arn(arn).send().await;
    match answer.map_err(failed(format!("sns Unsubscribe {arn}"))) {
        Err(error) if error.code.as_deref() != Some("NotFound") => Err(error),
        _ => Ok(()),
    }
}

/// `None` for a queue that is gone. SQS has two words for it.
fn there<T>(answer: Result<T, CallError>) -> Result<Option<T>, CallError> {
    const GONE: [&str; 2] = ["AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"];
    match answer {
        Err(error) if error.code.as_deref().is_some_and(|code| GONE.contains(&code)) => Ok(None),
        answer => answer.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_with_and_without_a_fraction_and_nothing_else_is_one() {
        for text in ["1767225600", "1767225600.25"] {
            assert_eq!(moment(text).unwrap().to_string(), "2026-01-01T00:00:00Z");
        }
        for bad in ["", ".", "soon", "2026-01-01T00:00:00Z", "99999999999999999999"] {
            assert_eq!(moment(bad), None, "{bad:?}");
        }
    }
}
