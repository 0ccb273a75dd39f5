//! EBS snapshots of images: found by the image that they belong to, and deleted.

use std::collections::BTreeMap;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{self, Tag};
use fleetkey_common::aws_names::AbsoluteName;
use jiff::Timestamp;

use super::instances::filter;
use super::{CallError, failed};
use crate::image::ImageVolume;
use crate::instance::NAME_TAG;

/// Tag: the image that a snapshot belongs to, by which the snapshot is found when the image is gone.
pub(crate) const IMAGE_TAG: &str = "fleetkey:image";

/// What came of deleting a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deleted {
    /// It is gone.
    Gone,
    /// An image still has it, or EC2 has not noticed yet that none does.
    InUse,
}

/// The snapshots that carry the tag of an image of a box, whether the image is there or not.
pub(crate) async fn of_image(client: &Client, image: &str, of: &AbsoluteName) -> Result<Vec<ImageVolume>, CallError> {
    let call = client.describe_snapshots().owner_ids("self");
    let call = call.filters(filter(&format!("tag:{IMAGE_TAG}"), [image.to_owned()]));
    let mut pages = call.filters(filter(&format!("tag:{NAME_TAG}"), [of.to_aws_name()])).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let snapshots = page.map_err(failed(format!("ec2 DescribeSnapshots of {image}")))?.snapshots;
        found.extend(snapshots.unwrap_or_default().into_iter().filter_map(read));
    }
    found.sort_by(|one: &ImageVolume, other| one.snapshot.cmp(&other.snapshot));
    Ok(found)
}

fn read(snapshot: types::Snapshot) -> Option<ImageVolume> {
    let gib = snapshot.volume_size.and_then(|gib| u32::try_from(gib).ok()).unwrap_or(0);
    Some(ImageVolume { device: String::new(), snapshot: snapshot.snapshot_id?, gib })
}

/// A snapshot that carries the tag of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tagged {
    /// `snap-...`
    pub(crate) id: String,
    /// The size of the volume that it was taken of, in GiB.
    pub(crate) gib: u32,
    /// When it was begun.
    pub(crate) made: Option<Timestamp>,
    /// Its tags.
    pub(crate) tags: BTreeMap<String, String>,
}

/// Snapshots on a page: the most that EC2 gives.
const PAGE: i32 = 1000;

/// The account's own snapshots that carry the tag of an image and a name that begins so.
pub(crate) async fn tagged(client: &Client, prefix: &str) -> Result<Vec<Tagged>, CallError> {
    let filters =
        [filter("tag-key", [IMAGE_TAG.to_owned()]), filter(&format!("tag:{NAME_TAG}"), [format!("{prefix}*")])];
    let call = client.describe_snapshots().owner_ids("self").set_filters(Some(filters.to_vec())).max_results(PAGE);
    let mut pages = call.into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let snapshots = page.map_err(failed("ec2 DescribeSnapshots of images"))?.snapshots.unwrap_or_default();
        found.extend(snapshots.into_iter().filter_map(|snapshot| {
            let tags = snapshot.tags.clone().unwrap_or_default().into_iter();
            Some(Tagged {
                made: snapshot.start_time.and_then(|time| Timestamp::from_second(time.secs()).ok()),
                tags: tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect(),
                gib: snapshot.volume_size.and_then(|gib| u32::try_from(gib).ok()).unwrap_or(0),
                id: snapshot.snapshot_id?,
            })
        }));
    }
    Ok(found)
}

/// Sets tags of snapshots.
pub(crate) async fn tag<'a>(
    client: &Client,
    snapshots: impl IntoIterator<Item = &'a str>,
    tags: &[(String, String)],
) -> Result<(), CallError> {
    let snapshots: Vec<String> = snapshots.into_iter().map(str::to_owned).collect();
    if snapshots.is_empty() {
        return Ok(());
    }
    let action = format!("ec2 CreateTags {}", snapshots.join(" "));
    let tags = tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
    let call = client.create_tags().set_resources(Some(snapshots)).set_tags(Some(tags));
    call.send().await.map(drop).map_err(failed(action))
}

/// Deletes a snapshot. One that is gone already is no error.
pub(crate) async fn delete(client: &Client, snapshot: &str) -> Result<Deleted, CallError> {
    let answer = client.delete_snapshot().snapshot_id(snapshot).send().await;
    match answer.map_err(failed(format!("ec2 DeleteSnapshot {snapshot}"))) {
        Err(error) if error.code.as_deref() == Some("InvalidSnapshot.NotFound") => Ok(Deleted::Gone),
        Err(error) if error.code.as_deref() == Some("InvalidSnapshot.InUse") => Ok(Deleted::InUse),
        answer => answer.map(|_| Deleted::Gone),
    }
}
