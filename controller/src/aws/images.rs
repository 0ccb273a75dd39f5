//! Images (AMIs): found by id, by the box that they were taken of, and by owner and name; taken, and deregistered.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::operation::describe_images::builders::DescribeImagesFluentBuilder;
use aws_sdk_ec2::types::{BlockDeviceMapping, ResourceType, Tag, TagSpecification};
use aws_sdk_ssm::Client as SsmClient;
use fleetkey_common::aws_names::AbsoluteName;

use super::instances::filter;
use super::{CallError, failed};
use crate::image::{self, Image};

const DESCRIBE: &str = "ec2 DescribeImages";

/// Images on a page: the most that EC2 gives.
const PAGE: i32 = 1000;

/// The images of boxes of this name that the caller's account owns, oldest first.
///
/// Those of other accounts are left out: anybody can make an image public under any name.
pub(crate) async fn of_box(client: &Client, name: &AbsoluteName) -> Result<Vec<Image>, CallError> {
    let pattern = image::prefix(name) + "*";
    let call = client.describe_images().owners("self").filters(filter("name", [pattern]));
    let mut found = all(call, &format!("{DESCRIBE} of {name}")).await?;
    found.retain(|image| image.taken().is_some_and(|(of, _)| of == *name));
    image::sort(&mut found);
    Ok(found)
}

/// The image with this id, whoever owns it; `None` if there is none that the caller may see.
pub(crate) async fn with_id(client: &Client, id: &str) -> Result<Option<Image>, CallError> {
    let found = all(client.describe_images().image_ids(id), &format!("{DESCRIBE} {id}")).await;
    match found {
        Err(error) if error.code.as_deref().is_some_and(|code| code.starts_with("InvalidAMIID.")) => Ok(None),
        found => Ok(found?.into_iter().find(|image| image.id == id)),
    }
}

/// What the images of the caller's account are made of: all of them, of boxes or not, those in the making and those that
/// were disabled included.
pub(crate) async fn own(client: &Client) -> Result<Vec<Image>, CallError> {
    let call = client.describe_images().owners("self").include_disabled(true).max_results(PAGE);
    all(call, &format!("{DESCRIBE} of the account")).await
}

/// The newest available image of an architecture by owner (an account id, `amazon` or `self`) and name, in which `*`
/// and `?` stand for anything.
pub(crate) async fn newest(
    client: &Client,
    owner: &str,
    name: &str,
    architecture: &str,
) -> Result<Option<Image>, CallError> {
    let filters = [("name", name), ("architecture", architecture), ("state", "available")];
    let filters = filters.map(|(of, value)| filter(of, [value.to_owned()]));
    let call = client.describe_images().owners(owner).set_filters(Some(filters.to_vec()));
    let found = all(call, &format!("{DESCRIBE} {name} of {owner}")).await?;
    Ok(found.into_iter().max_by(|one, other| (one.made, &one.name).cmp(&(other.made, &other.name))))
}

/// The image id that a public parameter of Systems Manager holds; `None` if there is no such parameter.
pub(crate) async fn parameter(client: &SsmClient, name: &str) -> Result<Option<String>, CallError> {
    let answer = client.get_parameter().name(name).send().await;
    match answer.map_err(failed(format!("ssm GetParameter {name}"))) {
        Err(error) if error.code.as_deref() == Some("ParameterNotFound") => Ok(None),
        answer => Ok(answer?.parameter.and_then(|parameter| parameter.value)),
    }
}

/// Takes an image of an instance, with its tags from the first moment, and gives its id. The volumes at the devices
/// `without` are left out.
pub(crate) async fn create(
    client: &Client,
    instance: &str,
    name: &str,
    tags: &[(String, String)],
    without: &[String],
) -> Result<String, CallError> {
    let action = format!("ec2 CreateImage {name} of {instance}");
    let tags = tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
    // Which image its snapshots belong to is known only afterwards, so they are tagged once they are there.
    let specification = TagSpecification::builder().resource_type(ResourceType::Image).set_tags(Some(tags)).build();
    let call = client.create_image().instance_id(instance).name(name).tag_specifications(specification);
    let left_out = without.iter().map(|device| BlockDeviceMapping::builder().device_name(device).no_device("").build());
    let call = call.set_block_device_mappings((!without.is_empty()).then(|| left_out.collect()));
    let answer = call.send().await.map_err(failed(action.clone()))?;
    answer.image_id.ok_or_else(|| CallError::answer(action, "the answer has no image id"))
}

/// Deregisters an image. One that is gone already is no error.
pub(crate) async fn deregister(client: &Client, id: &str) -> Result<(), CallError> {
    let answer = client.deregister_image().image_id(id).send().await;
    match answer.map_err(failed(format!("ec2 DeregisterImage {id}"))) {
        Err(error) if error.code.as_deref().is_some_and(|code| code.starts_with("InvalidAMIID.")) => Ok(()),
        answer => answer.map(drop),
    }
}

async fn all(call: DescribeImagesFluentBuilder, action: &str) -> Result<Vec<Image>, CallError> {
    let mut pages = call.into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let images = page.map_err(failed(action))?.images.unwrap_or_default();
        found.extend(images.into_iter().filter_map(Image::read));
    }
    Ok(found)
}
