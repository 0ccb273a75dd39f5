//! The SNS topic that hints come from, by name or by ARN.
//!
//! Only names it: whether it exists is found out when the queue is subscribed to it.

use thiserror::Error;

/// The longest name of a topic. <https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html>
const NAME_LIMIT: usize = 256;

/// Why a text names no topic.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TopicError {
    /// It is neither a name nor an ARN.
    #[error(
        "push.topic is {0:?}, which is not a topic; give its name (letters, digits, - and _) or its ARN \
         (arn:PARTITION:sns:REGION:ACCOUNT:NAME)"
    )]
    Malformed(String),
    /// It is a first-in-first-out topic, which delivers to no queue of this kind.
    #[error("push.topic is {0:?}, a FIFO topic; hints need a standard topic")]
    Fifo(String),
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topic {
    /// Its ARN.
    pub(super) arn: String,
    /// The region it is in, which need not be that of the queue.
    pub(super) region: String,
}

impl Topic {
    /// The topic of this name in the given place, or of this ARN.
    pub(super) fn new(text: &str, partition: &str, region: &str, account_id: &str) -> Result<Self, TopicError> {
        if text.strip_suffix(".fifo").is_some() {
            return Err(TopicError::Fifo(text.to_owned()));
        }
        if is_name(text) {
            let arn = format!("arn:{partition}:sns:{region}:{account_id}:{text}");
            return Ok(Self { arn, region: region.to_owned() });
        }
        let parts: Vec<&str> = text.split(':').collect();
        match parts[..] {
            ["arn", partition, "sns", region, account, name]
                if is_name(partition)
                    && is_name(region)
                    && is_name(name)
                    && account.len() == 12
                    && account.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                Ok(Self { arn: text.to_owned(), region: region.to_owned() })
            }
            _ => Err(TopicError::Malformed(text.to_owned())),
        }
    }
}

fn is_name(text: &str) -> bool {
    (1..=NAME_LIMIT).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(text: &str) -> Result<Topic, TopicError> {
        Topic::new(text, "aws-cn", "cn-north-1", "123456789012")
    }

    #[test]
    fn a_name_is_a_topic_of_the_instances_own_place() {
        let expected = "arn:aws-cn:sns:cn-north-1:123456789012:fleetkey-agent-notifications";
        assert_eq!(topic("fleetkey-agent-notifications").unwrap().arn, expected);
    }

    #[test]
    fn an_arn_is_taken_as_it_is_with_its_own_region() {
        let arn = "arn:aws:sns:eu-west-1:210987654321:hints";
        assert_eq!(topic(arn).unwrap(), Topic { arn: arn.to_owned(), region: "eu-west-1".to_owned() });
    }

    #[test]
    fn t5_what_could_break_out_of_a_policy_is_refused() {
        let long = "x".repeat(NAME_LIMIT + 1);
        for bad in
            ["", "a b", "a\n", "a\"", "*", "arn:aws:sns:eu-west-1:2109:hints", "arn:aws:sns:*:210987654321:h", &long]
        {
            assert_eq!(topic(bad), Err(TopicError::Malformed(bad.to_owned())));
        }
        assert_eq!(topic("a.fifo"), Err(TopicError::Fifo("a.fifo".to_owned())));
    }
}
