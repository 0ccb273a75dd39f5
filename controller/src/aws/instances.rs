//! EC2 instances that are boxes: found, and brought from one state to another.

use std::collections::BTreeSet;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::operation::describe_instances::builders::DescribeInstancesFluentBuilder;
use aws_sdk_ec2::types::{self, Filter};
use fleetkey_common::aws_names::{AbsoluteName, Namespace};

use super::network_interfaces::FILTER_VALUES;
use super::{CallError, failed};
use crate::instance::{GENERATION_TAG, Instance, NAME_TAG, State};
use crate::lifecycle::Wish;

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

impl Which<'_> {
    /// Whether boxes of this name are meant.
    pub(crate) fn means(&self, of: &AbsoluteName) -> bool {
        match self {
            Self::Namespace(namespace) => namespace.contains(of),
            Self::Name(name) => of == *name,
        }
    }
}

const DESCRIBE: &str = "ec2 DescribeInstances";

/// The boxes in one of `states`, in no order.
pub(crate) async fn find(client: &Client, which: &Which<'_>, states: &[State]) -> Result<Vec<Instance>, CallError> {
    // The pattern says less than it should: `_` is a slash or half an underscore.
    search(client, vec![pattern(which)], states, |name| which.means(name)).await
}

/// What somebody may have meant by this name: boxes of its role in any namespace, and all in this namespace.
pub(crate) async fn near(
    client: &Client,
    name: &AbsoluteName,
    namespace: &Namespace,
) -> Result<Vec<Instance>, CallError> {
    let role = name.base_name().replace('_', "__");
    let patterns = vec![pattern(&Which::Namespace(namespace)), format!("*_{role}"), role];
    let fits = |found: &AbsoluteName| found.base_name() == name.base_name() || namespace.contains(found);
    search(client, patterns, &State::LIVE, fits).await
}

/// The boxes in one of `states` whose tag `Name` is like one of these, and whose name fits.
async fn search(
    client: &Client,
    patterns: Vec<String>,
    states: &[State],
    fits: impl Fn(&AbsoluteName) -> bool,
) -> Result<Vec<Instance>, CallError> {
    let filters = vec![
        filter(&format!("tag:{NAME_TAG}"), patterns),
        filter("tag-key", [GENERATION_TAG.to_owned()]),
        filter("instance-state-name", states.iter().map(|state| state.as_str().to_owned())),
    ];
    let call = client.describe_instances().set_filters(Some(filters)).max_results(PAGE);
    let mut pages = call.into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let reservations = page.map_err(failed(DESCRIBE))?.reservations.unwrap_or_default();
        let instances = reservations.into_iter().flat_map(|reservation| reservation.instances.unwrap_or_default());
        found.extend(instances.filter_map(Instance::read).filter(|instance| fits(&instance.name)));
    }
    Ok(found)
}

/// One instance as EC2 describes it now; `None` once EC2 has forgotten it.
pub(crate) async fn describe(client: &Client, id: &str) -> Result<Option<types::Instance>, CallError> {
    let answer = client.describe_instances().instance_ids(id).send().await;
    let answer = match answer.map_err(failed(format!("{DESCRIBE} {id}"))) {
        Err(error) if error.code.as_deref() == Some("InvalidInstanceID.NotFound") => return Ok(None),
        answer => answer?,
    };
    let reservations = answer.reservations.unwrap_or_default().into_iter();
    let mut instances = reservations.flat_map(|reservation| reservation.instances.unwrap_or_default());
    Ok(instances.find(|instance| instance.instance_id.as_deref() == Some(id)))
}

/// The ids of the instances, boxes or not, that were launched from an image and are there.
pub(crate) async fn launched_from(client: &Client, image: &str) -> Result<Vec<String>, CallError> {
    let filters = vec![
        filter("image-id", [image.to_owned()]),
        filter("instance-state-name", State::LIVE.map(|state| state.as_str().to_owned())),
    ];
    let call = client.describe_instances().set_filters(Some(filters)).max_results(PAGE);
    let mut pages = call.into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let reservations = page.map_err(failed(DESCRIBE))?.reservations.unwrap_or_default();
        let instances = reservations.into_iter().flat_map(|reservation| reservation.instances.unwrap_or_default());
        found.extend(instances.filter_map(|instance| instance.instance_id));
    }
    Ok(found)
}

/// Those of the ids whose instances, boxes or not, are there: one that is terminated is not.
pub(crate) async fn there(client: &Client, ids: &[String]) -> Result<BTreeSet<String>, CallError> {
    let mut found = BTreeSet::new();
    for some in ids.chunks(FILTER_VALUES) {
        // As a filter: asked for by id, EC2 fails for all if it knows one of them no more.
        let filters = vec![filter("instance-id", some.to_vec()), filter("instance-state-name", not_gone())];
        let call = client.describe_instances().set_filters(Some(filters)).max_results(PAGE);
        each(call, |instance| found.extend(instance.instance_id)).await?;
    }
    Ok(found)
}

/// The ARNs of the instance profiles that instances, boxes or not, have.
pub(crate) async fn profiles(client: &Client) -> Result<BTreeSet<String>, CallError> {
    let mut found = BTreeSet::new();
    let call = client.describe_instances().filters(filter("instance-state-name", not_gone())).max_results(PAGE);
    each(call, |instance| found.extend(instance.iam_instance_profile.and_then(|profile| profile.arn))).await?;
    Ok(found)
}

/// The states of instances that are not gone yet: what is about to be still uses what it has.
fn not_gone() -> impl Iterator<Item = String> {
    State::LIVE.into_iter().chain([State::ShuttingDown]).map(|state| state.as_str().to_owned())
}

async fn each(call: DescribeInstancesFluentBuilder, mut see: impl FnMut(types::Instance)) -> Result<(), CallError> {
    let mut pages = call.into_paginator().send();
    while let Some(page) = pages.next().await {
        let reservations = page.map_err(failed(DESCRIBE))?.reservations.unwrap_or_default();
        reservations.into_iter().flat_map(|reservation| reservation.instances.unwrap_or_default()).for_each(&mut see);
    }
    Ok(())
}

/// Asks EC2 to begin with what is wished of an instance.
pub(crate) async fn ask(client: &Client, id: &str, wish: Wish) -> Result<(), CallError> {
    let action = |operation: &str| format!("ec2 {operation} {id}");
    match wish {
        Wish::Start => {
            let answer = client.start_instances().instance_ids(id).send().await;
            answer.map(drop).map_err(failed(action("StartInstances")))
        }
        Wish::Stop { force } => {
            let call = client.stop_instances().instance_ids(id).set_force(force.then_some(true));
            call.send().await.map(drop).map_err(failed(action("StopInstances")))
        }
        Wish::Reboot => {
            let answer = client.reboot_instances().instance_ids(id).send().await;
            answer.map(drop).map_err(failed(action("RebootInstances")))
        }
        Wish::Terminate => {
            let answer = client.terminate_instances().instance_ids(id).send().await;
            answer.map(drop).map_err(failed(action("TerminateInstances")))
        }
    }
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
