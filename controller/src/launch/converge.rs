//! A role's security groups and instance profile, brought to what the role says without a launch: for boxes that run.
//! Where there is none of it at all, none is made: no box that runs would use it.

use fleetkey_common::aws_names::AbsoluteName;

use super::carry::{self, Hands};
use super::look::{check_group, find_profile, rule_changes};
use super::plan::Change;
use super::{World, boot, profile};
use crate::aws::{CallError, instance_profiles, security_groups};
use crate::fleet::Fleet;
use crate::ingress::Ssh;
use crate::role::Role;
use crate::work::Outcome;

/// A security group of the role and what is to be changed in it.
#[derive(Debug)]
pub(crate) struct Group {
    /// `sg-...`
    pub(crate) id: String,
    /// The network that it is in.
    pub(crate) network: String,
    /// The changes, those that let something in first.
    pub(crate) changes: Vec<Change>,
}

/// The instance profile of the role and what is to be changed in it.
#[derive(Debug)]
pub(crate) struct Profile {
    /// The name of the profile, and of the IAM role in it.
    pub(crate) name: String,
    /// The changes.
    pub(crate) changes: Vec<Change>,
    /// The managed policies that somebody attached to the IAM role: no role of Fleetkey's has any.
    pub(crate) attached: Vec<String>,
}

/// A change, and what became of it.
#[derive(Debug)]
pub(crate) struct Step {
    /// The change.
    pub(crate) change: Change,
    /// What became of it.
    pub(crate) outcome: Outcome,
    /// The call that failed.
    pub(crate) error: Option<CallError>,
}

impl Step {
    /// A change that is yet to be made.
    pub(crate) fn planned(change: Change) -> Self {
        Self { change, outcome: Outcome::Planned, error: None }
    }
}

/// The groups of a role in all networks of the region, or in one.
///
/// # Errors
/// When EC2 cannot be asked, or there is one that Fleetkey did not make.
pub(crate) async fn groups(
    fleet: &Fleet,
    of: &AbsoluteName,
    role: &Role,
    network: Option<&str>,
) -> anyhow::Result<Vec<Group>> {
    let mut found = security_groups::named(&fleet.ec2, &of.to_aws_name()).await?;
    found.retain(|group| network.is_none_or(|network| group.network == network));
    found.sort_by(|one, other| (&one.network, &one.id).cmp(&(&other.network, &other.id)));
    let group = |group: security_groups::Group| {
        check_group(fleet, of, &group)?;
        let changes = rule_changes(role, &group.rules, &Ssh::AsRole).collect();
        Ok(Group { id: group.id, network: group.network, changes })
    };
    found.into_iter().map(group).collect()
}

/// The instance profile of a role; `None` if there is none.
///
/// # Errors
/// When IAM cannot be asked, or there is one that Fleetkey did not make.
pub(crate) async fn profile(world: &World, of: &AbsoluteName, role: &Role) -> anyhow::Result<Option<Profile>> {
    let name = profile::name(of, &world.fleet.region);
    let found = find_profile(&world.iam, &name).await?;
    if found == profile::Found::default() {
        return Ok(None);
    }
    let changes = profile::changes(&name, &boot::policies(world, role), &found)?;
    let attached = match &found.role {
        Some(_) => instance_profiles::attached(&world.iam, &name).await?,
        None => Vec::new(),
    };
    Ok(Some(Profile { name, changes, attached }))
}

/// Makes changes one after another, up to the first that fails: who could not be let in by the new rule is not shut out
/// by the loss of the old one.
pub(crate) async fn make(hands: Hands<'_>, of: &AbsoluteName, changes: Vec<Change>, group: Option<&str>) -> Vec<Step> {
    let mut failed = false;
    let mut steps = Vec::with_capacity(changes.len());
    for change in changes {
        let (outcome, error) = if failed {
            (Outcome::NotTried, None)
        } else {
            match carry::perform(hands, of, &change, group).await {
                Ok(_) => (Outcome::Done, None),
                Err(error) => (Outcome::Failed, Some(error)),
            }
        };
        failed |= error.is_some();
        steps.push(Step { change, outcome, error });
    }
    steps
}
