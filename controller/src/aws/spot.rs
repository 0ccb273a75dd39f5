//! The spot market: its prices, requests that stay open, and what EC2 takes of an instance only after such a request.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::Builder;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::primitives::DateTime;
use aws_sdk_ec2::types::{
    HttpTokensState, IamInstanceProfileSpecification, InstanceMetadataEndpointState, InstanceMetadataTagsState,
    InstanceType, RequestSpotLaunchSpecification, ResourceType, SpotInstanceRequest, SpotInstanceType,
};
use jiff::Timestamp;

use super::instances::filter;
use super::launch::{HOPS, Launch, Open, TOKEN_TAG, mapping, specification};
use super::{CallError, failed};
use crate::price::Price;

/// What boxes are sold as. EC2 tells the second of accounts that are old enough to have been without networks.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSpotPriceHistory.html>
const PRODUCTS: [&str; 2] = ["Linux/UNIX", "Linux/UNIX (Amazon VPC)"];

const DESCRIBE: &str = "ec2 DescribeSpotInstanceRequests";

/// A spot request as EC2 describes it.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instances-request-status-lifecycle.html>
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// `sir-...`
    pub(crate) id: String,
    /// `open`, `active`, `closed`, `cancelled`, `failed` or `disabled`.
    pub(crate) state: String,
    /// Why, in a word, such as `capacity-not-available`.
    pub(crate) code: String,
    /// Why, in EC2's own words.
    pub(crate) message: String,
    /// The instance that it was filled with.
    pub(crate) instance: Option<String>,
}

/// The price of an instance type in a zone from a moment on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Priced {
    /// The instance type.
    pub(crate) kind: String,
    /// The zone.
    pub(crate) zone: String,
    /// From when on.
    pub(crate) at: Timestamp,
    /// For an hour.
    pub(crate) price: Price,
}

/// Asks for instances with a request that stays open until it is filled. Asks once, as [`super::launch::run`] does: a
/// request is a request for each instance, and each has the launch's token as a tag.
pub(crate) async fn request(client: &Client, launch: &Launch, open: &Open) -> Result<Vec<Request>, CallError> {
    let action = format!("ec2 RequestSpotInstances {} of {} in {}", launch.instance_type, launch.image, launch.subnet);
    let profile = launch.profile.as_ref().map(|name| IamInstanceProfileSpecification::builder().name(name).build());
    let specified = RequestSpotLaunchSpecification::builder()
        .image_id(&launch.image)
        .instance_type(InstanceType::from(launch.instance_type.as_str()))
        .subnet_id(&launch.subnet)
        .security_group_ids(&launch.group)
        .set_iam_instance_profile(profile)
        .set_key_name(launch.key_name.clone())
        .user_data(&launch.user_data)
        .set_block_device_mappings(Some(launch.disks.iter().map(mapping).collect()))
        .build();
    let answer = client
        .request_spot_instances()
        .client_token(&launch.token)
        .r#type(SpotInstanceType::OneTime)
        .instance_count(i32::try_from(open.count).unwrap_or(i32::MAX))
        .set_spot_price(launch.spot.as_ref().and_then(|spot| spot.max_price.clone()))
        .set_launch_group(open.launch_group.clone())
        .valid_until(DateTime::from_secs(open.until.as_second()))
        .tag_specifications(specification(ResourceType::SpotInstancesRequest, &launch.tags))
        .launch_specification(specified)
        .customize()
        .config_override(Builder::new().retry_config(RetryConfig::disabled()))
        .send()
        .await
        .map_err(failed(action.clone()))?;
    let made: Vec<_> = answer.spot_instance_requests.unwrap_or_default().into_iter().filter_map(read).collect();
    if made.is_empty() {
        return Err(CallError::answer(action, "the answer has no spot request"));
    }
    Ok(made)
}

/// The requests with these ids. Those that EC2 does not know, not yet or no longer, are left out.
pub(crate) async fn with_ids(client: &Client, ids: &[String]) -> Result<Vec<Request>, CallError> {
    // To name ids without a filter is an error for all of them when EC2 does not know one.
    find(client, "spot-instance-request-id", ids).await
}

/// The requests of a launch with this token.
pub(crate) async fn with_token(client: &Client, token: &str) -> Result<Vec<Request>, CallError> {
    find(client, &format!("tag:{TOKEN_TAG}"), &[token.to_owned()]).await
}

async fn find(client: &Client, name: &str, values: &[String]) -> Result<Vec<Request>, CallError> {
    let call = client.describe_spot_instance_requests().filters(filter(name, values.to_vec()));
    let mut pages = call.into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(failed(format!("{DESCRIBE} {}", values.join(" "))))?;
        found.extend(page.spot_instance_requests.unwrap_or_default().into_iter().filter_map(read));
    }
    Ok(found)
}

/// Has requests cancelled. What was filled before runs on.
pub(crate) async fn cancel(client: &Client, ids: &[String]) -> Result<(), CallError> {
    let answer = client.cancel_spot_instance_requests().set_spot_instance_request_ids(Some(ids.to_vec())).send().await;
    answer.map(drop).map_err(failed(format!("ec2 CancelSpotInstanceRequests {}", ids.join(" "))))
}

/// The prices of these types in these zones since a moment, the one that held at that moment included.
pub(crate) async fn prices(
    client: &Client,
    kinds: &[String],
    zones: &[String],
    since: Timestamp,
) -> Result<Vec<Priced>, CallError> {
    let call = client
        .describe_spot_price_history()
        .set_instance_types(Some(kinds.iter().map(|kind| InstanceType::from(kind.as_str())).collect()))
        .set_product_descriptions(Some(PRODUCTS.map(str::to_owned).to_vec()))
        .filters(filter("availability-zone", zones.to_vec()))
        .start_time(DateTime::from_secs(since.as_second()));
    let mut pages = call.into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(failed(format!("ec2 DescribeSpotPriceHistory {}", kinds.join(" "))))?;
        found.extend(page.spot_price_history.unwrap_or_default().into_iter().filter_map(|told| {
            Some(Priced {
                kind: told.instance_type?.as_str().to_owned(),
                zone: told.availability_zone?,
                at: Timestamp::from_second(told.timestamp?.secs()).ok()?,
                price: told.spot_price?.parse().ok()?,
            })
        }));
    }
    Ok(found)
}

/// Sets up the metadata service of an instance as a launch does, for which a spot request has no words.
pub(crate) async fn set_metadata(client: &Client, id: &str) -> Result<(), CallError> {
    let call = client
        .modify_instance_metadata_options()
        .instance_id(id)
        .http_endpoint(InstanceMetadataEndpointState::Enabled)
        .http_tokens(HttpTokensState::Required)
        .http_put_response_hop_limit(HOPS)
        .instance_metadata_tags(InstanceMetadataTagsState::Enabled);
    call.send().await.map(drop).map_err(failed(format!("ec2 ModifyInstanceMetadataOptions {id}")))
}

fn read(described: SpotInstanceRequest) -> Option<Request> {
    let status = described.status;
    let text = |text: Option<String>| text.unwrap_or_default();
    Some(Request {
        id: described.spot_instance_request_id?,
        state: described.state.map(|state| state.as_str().to_owned()).unwrap_or_default(),
        code: text(status.as_ref().and_then(|status| status.code.clone())),
        message: text(status.and_then(|status| status.message)),
        instance: described.instance_id.filter(|id| !id.is_empty()),
    })
}
