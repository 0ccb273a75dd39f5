//! EC2 instances that are boxes: found.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::Filter;
use fleetkey_common::aws_names::{AbsoluteName, Namespace};

use super::{CallError, failed};
use crate::instance::{GENERATION_TAG, Instance, NAME_TAG, State};

/// Instances on a page: the most that EC2 gives.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html>
const PAGE: i32 = 1000;

/// Which boxes are meant. EC2 leaves out the others.
#[derive(Debug, Clone)]
pub(crate) enum Which<'a> {
    /// All in the namespace, and in those below it.
    Namespace(&'a Namespace),
    /// Those of this namespace and role.
    Name(&'a AbsoluteName),
}

/// The boxes in one of `states`, in no order.
pub(crate) async fn find(client: &Client, which: &Which<'_>, states: &[State]) -> Result<Vec<Instance>, CallError> {
    const ACTION: &str = "ec2 DescribeInstances";
    let filters = vec![
        filter(&format!("tag:{NAME_TAG}"), [pattern(which)]),
        filter("tag-key", [GENERATION_TAG.to_owned()]),
        filter("instance-state-name", states.iter().map(|state| state.as_str().to_owned())),
    ];
    let call = client.describe_instances().set_filters(Some(filters)).max_results(PAGE);
    let mut pages = call.into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let reservations = page.map_err(failed(ACTION))?.reservations.unwrap_or_default();
        let instances = reservations.into_iter().flat_map(|reservation| reservation.instances.unwrap_or_default());
        found.extend(instances.filter_map(Instance::read).filter(|instance| match which {
            // The pattern says less than it should: `_` is a slash or half an underscore.
            Which::Namespace(namespace) => namespace.contains(&instance.name),
            Which::Name(name) => instance.name == **name,
        }));
    }
    Ok(found)
}

/// What EC2's filter on `Name` is to match, in which `*` stands for anything.
fn pattern(which: &Which<'_>) -> String {
    match which {
        Which::Namespace(namespace) => AbsoluteName::from((*namespace).clone()).to_aws_name() + "*",
        Which::Name(name) => name.to_aws_name(),
    }
}

/// A filter of a Describe call: any of these values.
pub(crate) fn filter(name: &str, values: impl IntoIterator<Item = String>) -> Filter {
    Filter::builder().name(name).set_values(Some(values.into_iter().collect())).build()
}
