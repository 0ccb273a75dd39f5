//! Volumes that are attached to nothing, of boxes that are gone.
//!
//! Only those that carry the tag of the boxes that they are of. EC2 does not tell when a volume was detached, so that a
//! disk that somebody has taken out for a while looks as one that is left over: none goes while a box of that name is
//! there. Nor does EC2 know of that box: what it guards are volumes that are attached, and a box that is being launched
//! attaches its volume only once it runs. Volumes that a role names are there to outlive boxes: they are a kind of their
//! own, which goes only where it is named on the command line.

use std::collections::BTreeSet;

use fleetkey_common::aws_names::AbsoluteName;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

use super::ground::Ground;
use super::thing::{Thing, Verdict, tagged_name, unless_marked};
use super::{About, Deleted, Sweep};
use crate::aws::CallError;
use crate::aws::instances::{self, Which};
use crate::aws::volumes::{self, Detached};
use crate::instance::{NAME_TAG, State};
use crate::launch::BOX_TAG;
use crate::volume::VOLUME_TAG;

/// The kind, twice: what a launch left over, and what holds data.
#[derive(Debug)]
pub(super) struct Volumes {
    /// Whether those that a role names are meant, or the others.
    pub(super) of_data: bool,
}

impl Volumes {
    fn kind(&self) -> &'static str {
        if self.of_data { "data-volumes" } else { "volumes" }
    }
}

impl Sweep for Volumes {
    fn about(&self) -> About {
        About { kind: self.kind(), regional: true, unasked: !self.of_data, guarded: false }
    }

    fn look<'a>(&'a self, ground: &'a Ground, region: &'a str) -> LocalBoxFuture<'a, Result<Vec<Thing>, CallError>> {
        async move {
            let ec2 = ground.ec2(region);
            let found = volumes::detached(&ec2, BOX_TAG).await?.into_iter();
            let mut found: Vec<(AbsoluteName, Detached)> = found
                .filter_map(|volume| Some((tagged_name(&volume.tags, BOX_TAG, &ground.namespace)?, volume)))
                .collect();
            found.retain(|(of, volume)| is_of_data(of, volume) == self.of_data);
            if found.is_empty() {
                return Ok(Vec::new());
            }
            let boxes = instances::find(&ec2, &Which::Namespace(&ground.namespace), &State::LIVE).await?;
            let boxes: BTreeSet<AbsoluteName> = boxes.into_iter().map(|instance| instance.name).collect();
            let things = found.into_iter().map(|(of, volume)| judge(self.kind(), of, volume, &boxes));
            Ok(things.map(|thing| thing.in_region(region)).collect())
        }
        .boxed_local()
    }

    fn delete<'a>(&'a self, ground: &'a Ground, thing: &'a Thing) -> LocalBoxFuture<'a, Result<Deleted, CallError>> {
        async move {
            let ec2 = ground.ec2(thing.region.as_deref().unwrap_or_default());
            let gone = volumes::delete(&ec2, &thing.id).await?;
            Ok(if gone { Deleted::Gone } else { Deleted::InUse })
        }
        .boxed_local()
    }
}

/// Whether the volume holds data rather than a system: it has a name of its own, given by a role or by somebody, or it
/// was made blank. A root volume comes of a snapshot and has the name of its box; where a launch makes others as well,
/// none has that name before all have theirs.
fn is_of_data(of: &AbsoluteName, volume: &Detached) -> bool {
    let named = volume.tags.contains_key(VOLUME_TAG) || volume.tags.get(NAME_TAG) != Some(&of.to_aws_name());
    named || volume.snapshot.is_none()
}

fn judge(kind: &'static str, of: AbsoluteName, volume: Detached, boxes: &BTreeSet<AbsoluteName>) -> Thing {
    let verdict = if boxes.contains(&of) {
        Verdict::Kept(format!("it may be that of a box {of}, of which some are there"))
    } else {
        let name = volume.tags.get(NAME_TAG).map_or("", String::as_str);
        let what = if name == of.to_aws_name() { String::new() } else { format!("{name}, ") };
        unless_marked(&volume.tags, format!("{what}{}, attached to nothing, and no box {of} is there", volume.kind))
    };
    Thing { of: Some(of), since: volume.made, ..Thing::new(kind, volume.id, verdict).gib(volume.gib) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn volume(name: &str) -> Detached {
        let tags = BTreeMap::from([(NAME_TAG.to_owned(), name.to_owned())]);
        let snapshot = Some("snap-1".to_owned());
        Detached { id: "vol-1".into(), gib: 100, kind: "gp3".into(), made: None, snapshot, tags }
    }

    #[test]
    fn a_volume_with_a_name_of_its_own_or_made_blank_holds_data() {
        let of: AbsoluteName = "/prod/web".parse().unwrap();
        assert!(!is_of_data(&of, &volume("prod_web")));
        assert!(is_of_data(&of, &volume("prod_web_data")) && is_of_data(&of, &volume("mine")));
        assert!(is_of_data(&of, &volume("prod_web_unnamed")));
        let mut named = volume("prod_web");
        named.tags.insert(VOLUME_TAG.to_owned(), "data".to_owned());
        assert!(is_of_data(&of, &named));
        assert!(is_of_data(&of, &Detached { snapshot: None, ..volume("prod_web") }));
    }

    #[test]
    fn a_volume_stays_while_a_box_of_its_name_is_there() {
        let of: AbsoluteName = "/prod/web".parse().unwrap();
        let boxes = BTreeSet::from([of.clone()]);
        assert!(!judge("volumes", of.clone(), volume("prod_web"), &boxes).goes());
        let thing = judge("data-volumes", of, volume("prod_web_data"), &BTreeSet::new());
        assert_eq!(thing.why(), "prod_web_data, gp3, attached to nothing, and no box /prod/web is there");
        assert!(thing.goes());
    }
}
