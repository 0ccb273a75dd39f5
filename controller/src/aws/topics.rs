//! SNS topics of one region: whether one is there, and one made.

use aws_sdk_sns::Client;
use aws_sdk_sns::operation::get_topic_attributes::GetTopicAttributesError;

use super::caller::Caller;
use super::{CallError, failed};

/// The ARN of the topic of this name in the caller's account.
pub(crate) fn arn(caller: &Caller, region: &str, name: &str) -> String {
    format!("arn:{}:sns:{region}:{}:{name}", caller.partition(), caller.account)
}

/// Whether the topic is there.
pub(crate) async fn exists(client: &Client, caller: &Caller, region: &str, name: &str) -> Result<bool, CallError> {
    let answer = client.get_topic_attributes().topic_arn(arn(caller, region, name)).send().await;
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.as_service_error().is_some_and(GetTopicAttributesError::is_not_found_exception) => {
            Ok(false)
        }
        Err(error) => Err(CallError::new(format!("sns GetTopicAttributes {name} in {region}"), &error)),
    }
}

/// Makes the topic. There already: done. Gives its ARN.
pub(crate) async fn create(client: &Client, region: &str, name: &str) -> Result<Option<String>, CallError> {
    let created = client.create_topic().name(name).send().await;
    Ok(created.map_err(failed(format!("sns CreateTopic {name} in {region}")))?.topic_arn)
}
