//! EBS volumes of a box: found.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types;

use super::instances::filter;
use super::{CallError, failed};
use crate::details::Volume;

/// The volumes that are attached to an instance, by device name.
pub(crate) async fn of_box(client: &Client, id: &str) -> Result<Vec<Volume>, CallError> {
    let call = client.describe_volumes().filters(filter("attachment.instance-id", [id.to_owned()]));
    let mut pages = call.into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let volumes = page.map_err(failed(format!("ec2 DescribeVolumes of {id}")))?.volumes.unwrap_or_default();
        found.extend(volumes.into_iter().filter_map(|volume| read(volume, id)));
    }
    found.sort_by(|one, other| (&one.device, &one.id).cmp(&(&other.device, &other.id)));
    Ok(found)
}

fn read(volume: types::Volume, instance: &str) -> Option<Volume> {
    let attachments = volume.attachments.unwrap_or_default();
    let attached = attachments.into_iter().find(|attached| attached.instance_id.as_deref() == Some(instance))?;
    let tags = volume.tags.unwrap_or_default().into_iter();
    Some(Volume {
        id: volume.volume_id?,
        device: attached.device.unwrap_or_default(),
        gib: volume.size.and_then(|gib| u32::try_from(gib).ok()).unwrap_or(0),
        kind: volume.volume_type.map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
        encrypted: volume.encrypted.unwrap_or(false),
        deleted_with_box: attached.delete_on_termination.unwrap_or(false),
        tags: tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect(),
    })
}
