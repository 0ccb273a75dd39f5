//! EBS volumes: those of boxes, found and attached, and those that no box has any more.

use std::collections::BTreeMap;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::operation::describe_volumes::builders::DescribeVolumesFluentBuilder;
use aws_sdk_ec2::types;
use jiff::Timestamp;

use fleetkey_common::aws_names::AbsoluteName;

use super::instances::{Which, filter};
use super::{CallError, failed};
use crate::details::Volume;
use crate::volume::{BOX_TAG, Stored, VOLUME_TAG};

const DESCRIBE: &str = "ec2 DescribeVolumes";

/// The volumes that are attached to an instance, by device name.
pub(crate) async fn of_box(client: &Client, id: &str) -> Result<Vec<Volume>, CallError> {
    let call = client.describe_volumes().filters(filter("attachment.instance-id", [id.to_owned()]));
    let described = all(call, &format!("{DESCRIBE} of {id}")).await?;
    let mut found: Vec<_> = described.into_iter().filter_map(|volume| read(volume, id)).collect();
    found.sort_by(|one, other| (&one.device, &one.id).cmp(&(&other.device, &other.id)));
    Ok(found)
}

/// The volumes that boxes have beside their root volumes, and those that outlived their boxes; by name, oldest first.
pub(crate) async fn stored(client: &Client, which: &Which<'_>) -> Result<Vec<Stored>, CallError> {
    let pattern = match which {
        Which::Namespace(namespace) => AbsoluteName::from((*namespace).clone()).to_string() + "*",
        Which::Name(name) => name.to_string(),
    };
    let call = client.describe_volumes().filters(filter(&format!("tag:{BOX_TAG}"), [pattern]));
    let call = call.filters(filter("tag-key", [VOLUME_TAG.to_owned()]));
    let mut found: Vec<_> = all(call, DESCRIBE).await?.into_iter().filter_map(Stored::read).collect();
    found.retain(|volume| which.means(&volume.of));
    found.sort_by(|one, other| {
        (&one.of, &one.node, &one.label, one.made, &one.id).cmp(&(
            &other.of,
            &other.node,
            &other.label,
            other.made,
            &other.id,
        ))
    });
    Ok(found)
}

/// The state of a volume, and the instance that it hangs on if it does; `None` if EC2 knows no such volume.
pub(crate) async fn state(client: &Client, id: &str) -> Result<Option<(String, Option<String>)>, CallError> {
    let answer = client.describe_volumes().volume_ids(id).send().await;
    match answer.map_err(failed(format!("{DESCRIBE} {id}"))) {
        Err(error) if error.code.as_deref() == Some("InvalidVolume.NotFound") => Ok(None),
        answer => Ok(answer?.volumes.unwrap_or_default().into_iter().next().map(|found| {
            let state = found.state.map(|state| state.as_str().to_owned()).unwrap_or_default();
            let attached = found.attachments.unwrap_or_default().into_iter().next();
            (state, attached.and_then(|attached| attached.instance_id))
        })),
    }
}

/// Attaches a volume to an instance. It is not deleted with the instance, as EC2 has it for all that is attached.
pub(crate) async fn attach(client: &Client, id: &str, instance: &str, device: &str) -> Result<(), CallError> {
    let call = client.attach_volume().volume_id(id).instance_id(instance).device(device);
    call.send().await.map(drop).map_err(failed(format!("ec2 AttachVolume {id} to {instance}")))
}

async fn all(call: DescribeVolumesFluentBuilder, action: &str) -> Result<Vec<types::Volume>, CallError> {
    let mut pages = call.into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        found.extend(page.map_err(failed(action))?.volumes.unwrap_or_default());
    }
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

/// A volume that is attached to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Detached {
    /// `vol-...`
    pub(crate) id: String,
    /// Its size in GiB.
    pub(crate) gib: u32,
    /// Its type, such as `gp3`.
    pub(crate) kind: String,
    /// When it was made: EC2 does not tell when it was detached.
    pub(crate) made: Option<Timestamp>,
    /// The snapshot that it was made from; `None` for one that was made blank.
    pub(crate) snapshot: Option<String>,
    /// Its tags.
    pub(crate) tags: BTreeMap<String, String>,
}

/// Volumes on a page: the most that EC2 gives.
const PAGE: i32 = 1000;

/// The volumes with this tag, whatever its value, that are attached to nothing.
pub(crate) async fn detached(client: &Client, tag: &str) -> Result<Vec<Detached>, CallError> {
    let filters = [filter("status", ["available".to_owned()]), filter("tag-key", [tag.to_owned()])];
    let call = client.describe_volumes().set_filters(Some(filters.to_vec())).max_results(PAGE);
    let found = all(call, "ec2 DescribeVolumes that are detached").await?.into_iter();
    let detached = found.filter_map(|volume| {
        let tags = volume.tags.unwrap_or_default().into_iter();
        Some(Detached {
            id: volume.volume_id?,
            gib: volume.size.and_then(|gib| u32::try_from(gib).ok()).unwrap_or(0),
            kind: volume.volume_type.map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
            made: volume.create_time.and_then(|time| Timestamp::from_second(time.secs()).ok()),
            snapshot: volume.snapshot_id.filter(|id| !id.is_empty()),
            tags: tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect(),
        })
    });
    Ok(detached.collect())
}

/// Deletes a volume, and says whether it did: `false` if it is attached by now. Gone already: done.
pub(crate) async fn delete(client: &Client, volume: &str) -> Result<bool, CallError> {
    let answer = client.delete_volume().volume_id(volume).send().await;
    match answer.map_err(failed(format!("ec2 DeleteVolume {volume}"))) {
        Err(error) if error.code.as_deref() == Some("InvalidVolume.NotFound") => Ok(true),
        Err(error) if error.code.as_deref() == Some("VolumeInUse") => Ok(false),
        answer => answer.map(|_| true),
    }
}
