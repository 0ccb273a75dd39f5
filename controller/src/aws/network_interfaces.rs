//! Network interfaces: which security groups are on any.

use std::collections::BTreeSet;

use aws_sdk_ec2::Client;

use super::instances::filter;
use super::{CallError, failed};

/// How many values a filter takes.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html>
pub(crate) const FILTER_VALUES: usize = 200;

/// Interfaces on a page: the most that EC2 gives.
const PAGE: i32 = 1000;

/// Those of the groups that an interface, attached or not, has.
pub(crate) async fn groups_in_use(client: &Client, groups: &[String]) -> Result<BTreeSet<String>, CallError> {
    let mut used = BTreeSet::new();
    for some in groups.chunks(FILTER_VALUES) {
        let call = client.describe_network_interfaces().filters(filter("group-id", some.to_vec())).max_results(PAGE);
        let mut pages = call.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(failed("ec2 DescribeNetworkInterfaces by group"))?;
            let interfaces = page.network_interfaces.unwrap_or_default().into_iter();
            let found = interfaces.flat_map(|interface| interface.groups.unwrap_or_default());
            used.extend(found.filter_map(|group| group.group_id));
        }
    }
    Ok(used)
}
