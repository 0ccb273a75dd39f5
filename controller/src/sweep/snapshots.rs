//! Snapshots of images that no image has any more.
//!
//! Only those that carry the tag by which `image` and `delete-image` say whose they are: a snapshot that somebody took
//! of a volume is a backup.

use std::collections::BTreeSet;

use fleetkey_common::aws_names::AbsoluteName;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

use super::ground::Ground;
use super::thing::{Thing, Verdict, is_of, unless_marked};
use super::{About, Deleted, Sweep};
use crate::aws::snapshots::{self, IMAGE_TAG, Tagged};
use crate::aws::{CallError, images};
use crate::image::Image;
use crate::instance::NAME_TAG;

const KIND: &str = "snapshots";

/// The kind.
#[derive(Debug)]
pub(super) struct Snapshots;

impl Sweep for Snapshots {
    fn about(&self) -> About {
        About { kind: KIND, regional: true, unasked: true, guarded: true }
    }

    fn look<'a>(&'a self, ground: &'a Ground, region: &'a str) -> LocalBoxFuture<'a, Result<Vec<Thing>, CallError>> {
        async move {
            let ec2 = ground.ec2(region);
            let prefix = AbsoluteName::from(ground.namespace.clone()).to_aws_name();
            let mut tagged = snapshots::tagged(&ec2, &prefix).await?;
            tagged.retain(|snapshot| name(snapshot).is_some_and(|name| is_of(&ground.namespace, &name)));
            if tagged.is_empty() {
                return Ok(Vec::new());
            }
            let images = images::own(&ec2).await?;
            Ok(judge(tagged, &images).map(|thing| thing.in_region(region)).collect())
        }
        .boxed_local()
    }

    fn delete<'a>(&'a self, ground: &'a Ground, thing: &'a Thing) -> LocalBoxFuture<'a, Result<Deleted, CallError>> {
        async move {
            let ec2 = ground.ec2(thing.region.as_deref().unwrap_or_default());
            Ok(match snapshots::delete(&ec2, &thing.id).await? {
                snapshots::Deleted::Gone => Deleted::Gone,
                snapshots::Deleted::InUse => Deleted::InUse,
            })
        }
        .boxed_local()
    }
}

fn name(snapshot: &Tagged) -> Option<AbsoluteName> {
    AbsoluteName::from_aws_name(snapshot.tags.get(NAME_TAG)?).ok()
}

/// Which of the snapshots no image has. One in the making does not tell yet what it is made of: its id counts too.
fn judge(tagged: Vec<Tagged>, images: &[Image]) -> impl Iterator<Item = Thing> {
    let there: BTreeSet<String> = images.iter().map(|image| image.id.clone()).collect();
    let used: std::collections::BTreeMap<String, String> = images
        .iter()
        .flat_map(|image| image.volumes.iter().map(|volume| (volume.snapshot.clone(), image.id.clone())))
        .collect();
    tagged.into_iter().map(move |snapshot| {
        let of = snapshot.tags.get(IMAGE_TAG).cloned().unwrap_or_default();
        let verdict = match used.get(&snapshot.id) {
            Some(image) => Verdict::Kept(format!("image {image} has it")),
            None if there.contains(&of) => Verdict::Kept(format!("its image {of} is there")),
            None => unless_marked(&snapshot.tags, format!("its image {of} is gone, and no other has it")),
        };
        let of = name(&snapshot);
        Thing { of, since: snapshot.made, ..Thing::new(KIND, snapshot.id, verdict).gib(snapshot.gib) }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::image::ImageVolume;

    fn snapshot(id: &str, image: &str, more: &[&str]) -> Tagged {
        let mut tags =
            BTreeMap::from([(NAME_TAG.to_owned(), "prod_web".to_owned()), (IMAGE_TAG.to_owned(), image.to_owned())]);
        tags.extend(more.iter().map(|tag| ((*tag).to_owned(), String::new())));
        Tagged { id: id.to_owned(), gib: 8, made: None, tags }
    }

    #[test]
    fn a_snapshot_goes_when_neither_its_image_is_there_nor_another_has_it() {
        let image = Image {
            id: "ami-1".into(),
            name: String::new(),
            state: "available".into(),
            architecture: String::new(),
            source: None,
            made: None,
            root_device: String::new(),
            volumes: vec![ImageVolume { device: String::new(), snapshot: "snap-used".into(), gib: 8 }],
            tags: BTreeMap::new(),
        };
        let tagged = vec![
            snapshot("snap-used", "ami-9", &[]),
            snapshot("snap-pending", "ami-1", &[]),
            snapshot("snap-left", "ami-9", &[]),
            snapshot("snap-marked", "ami-9", &["fleetkey:keep"]),
        ];
        let shown: Vec<_> = judge(tagged, &[image]).map(|it| (it.id.clone(), it.goes(), it.why().to_owned())).collect();
        let row = |id: &str, goes, why: &str| (id.to_owned(), goes, why.to_owned());
        assert_eq!(
            shown,
            [
                row("snap-used", false, "image ami-1 has it"),
                row("snap-pending", false, "its image ami-1 is there"),
                row("snap-left", true, "its image ami-9 is gone, and no other has it"),
                row("snap-marked", false, "it carries the tag fleetkey:keep"),
            ]
        );
    }
}
