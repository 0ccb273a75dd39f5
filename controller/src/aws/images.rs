//! Images (AMIs): found by id, by the box that they were taken of, and by owner and name.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::operation::describe_images::builders::DescribeImagesFluentBuilder;
use aws_sdk_ssm::Client as SsmClient;
use fleetkey_common::aws_names::AbsoluteName;

use super::instances::filter;
use super::{CallError, failed};
use crate::image::{self, Image};

const DESCRIBE: &str = "ec2 DescribeImages";

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

async fn all(call: DescribeImagesFluentBuilder, action: &str) -> Result<Vec<Image>, CallError> {
    let mut pages = call.into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let images = page.map_err(failed(action))?.images.unwrap_or_default();
        found.extend(images.into_iter().filter_map(Image::read));
    }
    Ok(found)
}
