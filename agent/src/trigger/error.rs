//! What can go wrong between the agent and its queue, and what to do about it.

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use thiserror::Error;

/// The queue or its subscription could not be had, used or removed. None of it stops the agent, which goes on polling.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueueError {
    /// The instance's role does not allow a call.
    #[error("{action} {target} is denied: {cause}; allow it in the role of the instance")]
    Denied {
        /// The call.
        action: &'static str,
        /// What it was about.
        target: String,
        /// The answer.
        cause: String,
    },
    /// The topic does not exist.
    #[error("there is no topic {topic}; make it, or name the one in use as push.topic")]
    NoTopic {
        /// Its ARN.
        topic: String,
    },
    /// SQS allows a name again only 60 seconds after a queue of that name was deleted.
    #[error("queue {queue} was deleted less than a minute ago; SQS allows it to be made again after that")]
    DeletedRecently {
        /// Its name.
        queue: String,
    },
    /// Somebody deleted the queue.
    #[error("queue {queue} is gone; somebody deleted it, and it is being made again")]
    Gone {
        /// Its name.
        queue: String,
    },
    /// Anything else: throttling, no network, no credentials.
    #[error("{action} {target} failed: {cause}")]
    Failed {
        /// The call.
        action: &'static str,
        /// What it was about.
        target: String,
        /// The answer, or why there was none, in one line.
        cause: String,
    },
    /// Removal took too long.
    #[error("queue {queue} was not removed within {seconds} s; it is left to whoever sweeps the queues of ended boxes")]
    RemovalTimedOut {
        /// Its name.
        queue: String,
        /// The limit.
        seconds: u64,
    },
}

impl QueueError {
    /// What an AWS call came to. `target` is the name of the queue, or the ARN of the topic.
    pub(super) fn new<E>(action: &'static str, target: &str, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let target = target.to_owned();
        let cause = in_one_line(error);
        // The codes of the query protocol, which SQS keeps on, and those of its JSON protocol.
        match error.code() {
            Some("AWS.SimpleQueueService.QueueDeletedRecently" | "QueueDeletedRecently") => {
                Self::DeletedRecently { queue: target }
            }
            Some("AWS.SimpleQueueService.NonExistentQueue" | "QueueDoesNotExist") => Self::Gone { queue: target },
            Some("NotFound" | "NotFoundException") if action == "sns:Subscribe" => Self::NoTopic { topic: target },
            Some("AccessDenied" | "AccessDeniedException" | "AuthorizationError" | "AuthorizationErrorException") => {
                Self::Denied { action, target, cause }
            }
            _ => Self::Failed { action, target, cause },
        }
    }
}

/// `Code: message` where AWS gave an answer, else the error with its causes.
fn in_one_line<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    if let Some(code) = error.code() {
        return format!("{code}: {}", error.message().unwrap_or("no message"));
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::error::ErrorMetadata;
    use aws_sdk_sqs::operation::receive_message::ReceiveMessageError;
    use aws_smithy_types::body::SdkBody;

    use super::*;

    fn answer(action: &'static str, code: &str) -> QueueError {
        let error = ReceiveMessageError::generic(ErrorMetadata::builder().code(code).message("no").build());
        let response = aws_sdk_sqs::config::http::HttpResponse::new(400.try_into().unwrap(), SdkBody::empty());
        QueueError::new(action, "q", &SdkError::service_error(error, response))
    }

    #[test]
    fn each_answer_is_told_as_what_it_means() {
        let queue = || "q".to_owned();
        assert_eq!(answer("sqs:ReceiveMessage", "QueueDoesNotExist"), QueueError::Gone { queue: queue() });
        assert_eq!(
            answer("sqs:CreateQueue", "AWS.SimpleQueueService.QueueDeletedRecently"),
            QueueError::DeletedRecently { queue: queue() }
        );
        assert_eq!(answer("sns:Subscribe", "NotFound"), QueueError::NoTopic { topic: queue() });
        assert_eq!(
            answer("sqs:CreateQueue", "AccessDenied").to_string(),
            "sqs:CreateQueue q is denied: AccessDenied: no; allow it in the role of the instance"
        );
        assert_eq!(answer("sqs:CreateQueue", "Throttling").to_string(), "sqs:CreateQueue q failed: Throttling: no");
    }
}
