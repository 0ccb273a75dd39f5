//! The hint to agents that it is time to look: one message to the SNS topic. It says nothing that anyone believes.

use aws_sdk_sns::Client;
use aws_sdk_sns::operation::publish::PublishError;

use super::caller::Caller;
use super::{CallError, failed, topics};

/// Publishes `body` to the topic of this name in the caller's account and region, making the topic if there is none.
///
/// Asked for by its ARN first, so that an operator who may only publish needs no right to create.
pub(crate) async fn publish(
    client: &Client,
    caller: &Caller,
    region: &str,
    topic: &str,
    body: &str,
) -> Result<(), CallError> {
    let arn = topics::arn(caller, region, topic);
    let action = || format!("sns Publish {topic} in {region}");
    match client.publish().topic_arn(&arn).message(body).send().await {
        Ok(_) => return Ok(()),
        Err(error) if error.as_service_error().is_some_and(PublishError::is_not_found_exception) => {}
        Err(error) => return Err(CallError::new(action(), &error)),
    }
    let arn = topics::create(client, region, topic).await?.unwrap_or(arn);
    client.publish().topic_arn(arn).message(body).send().await.map_err(failed(action()))?;
    Ok(())
}
