//! Regions of EC2: whether there is one of a name, and whether the account may use it.

use aws_sdk_ec2::Client;

use super::instances::filter;
use super::{CallError, failed};

/// In EC2's words whether the region is on: `opt-in-not-required`, `opted-in`, `not-opted-in`; `None` if EC2 knows none of
/// this name.
pub(crate) async fn opted_in(client: &Client, region: &str) -> Result<Option<String>, CallError> {
    let call = client.describe_regions().all_regions(true).filters(filter("region-name", [region.to_owned()]));
    let answer = call.send().await.map_err(failed(format!("ec2 DescribeRegions {region}")))?;
    let mut regions = answer.regions.unwrap_or_default().into_iter();
    let found = regions.find(|found| found.region_name.as_deref() == Some(region));
    Ok(found.map(|found| found.opt_in_status.unwrap_or_default()))
}
