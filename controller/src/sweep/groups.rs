//! Security groups of roles that no box has any more.
//!
//! Only those that carry Fleetkey's tag. EC2 does not tell when a group was made: `create` writes it into a tag, so that
//! a group whose first box is still to come stays.

use std::collections::BTreeSet;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

use super::ground::Ground;
use super::thing::{Thing, Verdict, tagged_name, unless_marked};
use super::{About, Deleted, Sweep};
use crate::aws::security_groups::{self, Group};
use crate::aws::{CallError, network_interfaces};
use crate::launch::{BOX_TAG, MADE_TAG};

const KIND: &str = "groups";

/// The kind.
#[derive(Debug)]
pub(super) struct Groups;

impl Sweep for Groups {
    fn about(&self) -> About {
        About { kind: KIND, regional: true, unasked: true, guarded: true }
    }

    fn look<'a>(&'a self, ground: &'a Ground, region: &'a str) -> LocalBoxFuture<'a, Result<Vec<Thing>, CallError>> {
        async move {
            let ec2 = ground.ec2(region);
            let mut groups = security_groups::tagged(&ec2, BOX_TAG).await?;
            groups.retain(|group| tagged_name(&group.tags, BOX_TAG, &ground.namespace).is_some());
            if groups.is_empty() {
                return Ok(Vec::new());
            }
            let ids: Vec<String> = groups.iter().map(|group| group.id.clone()).collect();
            let used = network_interfaces::groups_in_use(&ec2, &ids).await?;
            let things = groups
                .into_iter()
                .map(|group| Thing { of: tagged_name(&group.tags, BOX_TAG, &ground.namespace), ..judge(group, &used) });
            Ok(things.map(|thing| thing.in_region(region)).collect())
        }
        .boxed_local()
    }

    fn delete<'a>(&'a self, ground: &'a Ground, thing: &'a Thing) -> LocalBoxFuture<'a, Result<Deleted, CallError>> {
        async move {
            let ec2 = ground.ec2(thing.region.as_deref().unwrap_or_default());
            match security_groups::delete(&ec2, &thing.id).await {
                // An interface has it by now, or a rule of another group names it.
                Err(error) if error.code.as_deref() == Some("DependencyViolation") => Ok(Deleted::InUse),
                deleted => deleted.map(|()| Deleted::Gone),
            }
        }
        .boxed_local()
    }
}

fn judge(group: Group, used: &BTreeSet<String>) -> Thing {
    let verdict = if used.contains(&group.id) {
        Verdict::Kept("a network interface has it".to_owned())
    } else {
        unless_marked(&group.tags, format!("no network interface has {} of {}", group.name, group.network))
    };
    let since = group.tags.get(MADE_TAG).and_then(|made| made.parse().ok());
    Thing { since, ..Thing::new(KIND, group.id, verdict) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_group_goes_when_no_interface_has_it_and_is_as_old_as_its_tag_says() {
        let group = |made: &str| Group {
            id: "sg-1".into(),
            name: "prod_web".into(),
            network: "vpc-1".into(),
            rules: BTreeMap::new(),
            tags: BTreeMap::from([(MADE_TAG.to_owned(), made.to_owned())]),
        };
        let unused = judge(group("2026-11-21T12:00:00Z"), &BTreeSet::new());
        assert!(unused.goes() && unused.since.is_some());
        assert_eq!(unused.why(), "no network interface has prod_web of vpc-1");
        assert_eq!(judge(group("lately"), &BTreeSet::new()).since, None);
        assert!(!judge(group(""), &BTreeSet::from(["sg-1".to_owned()])).goes());
    }
}
