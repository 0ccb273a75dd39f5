//! The regions that the account can use.

use aws_sdk_ec2::Client;

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
