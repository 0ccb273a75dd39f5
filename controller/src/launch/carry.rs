//! Carries the changes of a plan out. What is set out to be made is noted before it is made.

use aws_sdk_ec2::Client as Ec2Client;
use aws_sdk_iam::Client as IamClient;
use fleetkey_common::aws_names::AbsoluteName;
use jiff::Timestamp;

use super::journal::Journal;
use super::look::Prepared;
use super::plan::Change;
use super::{BOX_TAG, MADE_TAG, World, description, is_of, profile};
use crate::aws::{CallError, instance_profiles, security_groups};
use crate::wait::{Look, WaitError, Waiter};

/// Makes what is missing, and gives the id of the security group.
pub(super) async fn make(
    world: &World,
    waiter: &Waiter,
    journal: &mut Journal,
    of: &AbsoluteName,
    prepared: &Prepared,
) -> anyhow::Result<String> {
    let mut group = prepared.plan.group.clone();
    for change in &prepared.plan.changes {
        let made = &mut journal.record.made;
        match change {
            Change::MakeGroup { name, network } => made.group = Some((network.clone(), name.clone())),
            Change::MakeIamRole { name } => made.iam_role = Some(name.clone()),
            Change::MakeProfile { name } => made.profile = Some(name.clone()),
            _ => {}
        }
        journal.save()?;
        let what = format!("{} {}", change.action(), change.what());
        let done =
            settle(waiter, &what, not_there_yet, async || perform(world.hands(), of, change, group.as_deref()).await);
        match done.await? {
            Done::Changed => {}
            Done::Group(id) => group = Some(id),
            Done::There(id) => {
                group = id.or(group);
                journal.record.made.leave(change);
                journal.save()?;
            }
        }
        world.printer.detail(&format!("done: {what}"));
    }
    group.ok_or_else(|| anyhow::anyhow!("the plan makes no security group, and there is none"))
}

/// What came of a change.
pub(super) enum Done {
    /// It was made.
    Changed,
    /// The security group of this id was made.
    Group(String),
    /// Another create was faster: what was to be made is there, and not this one's to undo. The id of a security group.
    There(Option<String>),
}

impl Done {
    /// Made, or there already.
    fn made(new: bool) -> Self {
        if new { Done::Changed } else { Done::There(None) }
    }
}

/// What changes are made with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hands<'a> {
    /// EC2 in the region.
    pub(crate) ec2: &'a Ec2Client,
    /// IAM.
    pub(crate) iam: &'a IamClient,
    /// The partition of the account.
    pub(crate) partition: &'a str,
}

/// Makes one change.
pub(super) async fn perform(
    hands: Hands<'_>,
    of: &AbsoluteName,
    change: &Change,
    group: Option<&str>,
) -> Result<Done, CallError> {
    let Hands { ec2, iam, partition } = hands;
    let group = group.unwrap_or_default();
    match change {
        Change::MakeGroup { name, network } => {
            let now = Timestamp::now().to_string();
            let tags = [(BOX_TAG, of.as_str()), (MADE_TAG, &now)];
            let made = security_groups::create(ec2, network, name, &description(of), &tags).await;
            return match made {
                Err(error) if error.code.as_deref() == Some("InvalidGroup.Duplicate") => {
                    let found = security_groups::find(ec2, network, name).await?;
                    let found = found.filter(|found| is_of(found, of));
                    found.map(|found| Done::There(Some(found.id))).ok_or(error)
                }
                made => made.map(Done::Group),
            };
        }
        Change::Allow { rule, text } => security_groups::authorize(ec2, group, rule, text).await?,
        Change::Describe { rule, text } => security_groups::describe(ec2, group, rule, text).await?,
        Change::Revoke { rule } => security_groups::revoke(ec2, group, rule).await?,
        Change::MakeIamRole { name } => {
            let trust = profile::trust(partition);
            return Ok(Done::made(instance_profiles::create_role(iam, name, &description(of), &trust).await?));
        }
        Change::PutPolicy { role, policy, document } => {
            instance_profiles::put_policy(iam, role, policy, document).await?;
        }
        Change::DeletePolicy { role, policy } => instance_profiles::delete_policy(iam, role, policy).await?,
        Change::DetachPolicy { role, arn } => instance_profiles::detach(iam, role, arn).await?,
        Change::MakeProfile { name } => return Ok(Done::made(instance_profiles::create_profile(iam, name).await?)),
        Change::RemoveRole { profile, role } => instance_profiles::remove_role(iam, profile, role).await?,
        Change::AddRole { profile } => instance_profiles::add_role(iam, profile, profile).await?,
    }
    Ok(Done::Changed)
}

/// Does something, again and again while `not_yet` takes its error for a sign that AWS has not heard of what it needs.
pub(super) async fn settle<T>(
    waiter: &Waiter,
    what: &str,
    not_yet: fn(&CallError) -> bool,
    work: impl AsyncFn() -> Result<T, CallError>,
) -> anyhow::Result<T> {
    match waiter.act(what, work()).await.map_err(WaitError::into_anyhow)? {
        Err(error) if not_yet(&error) => {}
        done => return Ok(done?),
    }
    let looks = waiter.wait(what, async || match work().await {
        Err(error) if not_yet(&error) => Ok(Look::NotYet(error.cause)),
        done => Ok(Look::Done(done?)),
    });
    looks.await.map_err(WaitError::into_anyhow)
}

/// Whether AWS has not heard yet of what was made a moment ago.
pub(super) fn not_there_yet(error: &CallError) -> bool {
    let code = error.code.as_deref().unwrap_or_default();
    let cause = error.cause.to_ascii_lowercase();
    let of_profile = ["invalid iam instance profile", "no associated iam roles"];
    ["InvalidGroup.NotFound", "InvalidGroupId.NotFound", "NoSuchEntity"].contains(&code)
        || code == "InvalidParameterValue" && of_profile.iter().any(|words| cause.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_says_that_something_new_is_not_known_yet_is_tried_again() {
        let error = |code: &str, cause: &str| {
            let mut error = CallError::answer("a", cause);
            error.code = Some(code.to_owned());
            error
        };
        for (code, cause) in [
            ("InvalidGroup.NotFound", "The security group 'sg-1' does not exist"),
            (
                "InvalidParameterValue",
                "Value (web) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
            ),
            (
                "InvalidParameterValue",
                "IAM Instance Profile \"arn:aws:iam::1:instance-profile/web\" has no associated IAM Roles",
            ),
            ("NoSuchEntity", "The role with name web cannot be found."),
        ] {
            assert!(not_there_yet(&error(code, cause)), "{code}");
        }
        for (code, cause) in [
            ("InvalidParameterValue", "Value (x) for parameter groupId is invalid"),
            ("UnauthorizedOperation", "You are not authorized to perform: iam:PassRole"),
            ("InvalidSubnetID.NotFound", "The subnet ID 'subnet-1' does not exist"),
        ] {
            assert!(!not_there_yet(&error(code, cause)), "{code}");
        }
    }
}
