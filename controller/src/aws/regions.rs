//! Regions of EC2: those that the account can use, and whether one is among them.

use aws_sdk_ec2::Client;

use super::instances::filter;
use super::{CallError, failed};

const DESCRIBE: &str = "ec2 DescribeRegions";

/// The regions that are enabled for the account, sorted. There is always one: that which was asked.
pub(crate) async fn enabled(client: &Client) -> Result<Vec<String>, CallError> {
    let answer = client.describe_regions().all_regions(false).send().await.map_err(failed(DESCRIBE))?;
    let found = answer.regions.unwrap_or_default().into_iter();
    let mut names: Vec<String> = found.filter_map(|region| region.region_name).collect();
    if names.is_empty() {
        return Err(CallError::answer(DESCRIBE, "the answer names no region"));
    }
    names.sort();
    Ok(names)
}

/// In EC2's words whether a region is on: `opt-in-not-required`, `opted-in`, `not-opted-in`; `None` if EC2 knows none of
/// this name.
pub(crate) async fn opted_in(client: &Client, region: &str) -> Result<Option<String>, CallError> {
    let call = client.describe_regions().all_regions(true).filters(filter("region-name", [region.to_owned()]));
    let answer = call.send().await.map_err(failed(format!("{DESCRIBE} {region}")))?;
    let mut regions = answer.regions.unwrap_or_default().into_iter();
    let found = regions.find(|found| found.region_name.as_deref() == Some(region));
    Ok(found.map(|found| found.opt_in_status.unwrap_or_default()))
}
