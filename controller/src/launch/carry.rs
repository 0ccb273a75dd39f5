//! Carries a plan out: makes what is missing, and launches. What is set out to be made is noted before it is made, and a
//! launch before it is asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use fleetkey_common::aws_names::AbsoluteName;
use jiff::{SignedDuration, Timestamp};

use super::journal::Journal;
use super::look::Prepared;
use super::plan::Change;
use super::{GROUP_TAG, World, is_of, profile};
use crate::aws::launch::{self, Launch, TOKEN_TAG};
use crate::aws::{CallError, instance_profiles, security_groups};
use crate::instance::{Instance, NAME_TAG, State};
use crate::refusal::Refusal;
use crate::wait::{Look, WaitError, Waiter};

/// The codes by which EC2 says that it has no room, or no such type, in a zone: another zone may have.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>
const NO_ROOM: [&str; 4] =
    ["InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientFreeAddressesInSubnet", "Unsupported"];

/// The codes by which EC2 says that the account may not have more.
const LIMITS: [&str; 2] = ["VcpuLimitExceeded", "InstanceLimitExceeded"];

/// The codes after which a launch may have been made all the same.
const UNCERTAIN: [&str; 4] = ["InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable"];

/// The codes that say nothing of a launch that was asked for before: too many calls, and a token that was used otherwise.
const OPEN: [&str; 2] = ["RequestLimitExceeded", "IdempotentParameterMismatch"];

/// The pause before a launch is asked for again whose answer was not heard; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest such pause; after it, nobody asks again.
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// How long a launch whose answer was never heard may still be under way. What does not exist after that was never
/// launched.
const UNDER_WAY: SignedDuration = SignedDuration::from_mins(30);

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
        let done = settle(waiter, &what, not_there_yet, async || perform(world, of, change, group.as_deref()).await);
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
enum Done {
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

/// Makes one change.
async fn perform(world: &World, of: &AbsoluteName, change: &Change, group: Option<&str>) -> Result<Done, CallError> {
    let (ec2, iam) = (&world.fleet.ec2, &world.iam);
    let group = group.unwrap_or_default();
    match change {
        Change::MakeGroup { name, network } => {
            let made = security_groups::create(ec2, network, name, &description(of), &[(GROUP_TAG, of.as_str())]).await;
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
            let trust = profile::trust(world.caller.partition());
            return Ok(Done::made(instance_profiles::create_role(iam, name, &description(of), &trust).await?));
        }
        Change::PutPolicy { role, policy, document } => {
            instance_profiles::put_policy(iam, role, policy, document).await?;
        }
        Change::DeletePolicy { role, policy } => instance_profiles::delete_policy(iam, role, policy).await?,
        Change::MakeProfile { name } => return Ok(Done::made(instance_profiles::create_profile(iam, name).await?)),
        Change::RemoveRole { profile, role } => instance_profiles::remove_role(iam, profile, role).await?,
        Change::AddRole { profile } => instance_profiles::add_role(iam, profile, profile).await?,
    }
    Ok(Done::Changed)
}

/// What a group and an IAM role say of themselves: both take letters, digits and these signs.
fn description(of: &AbsoluteName) -> String {
    format!("Fleetkey:{of}")
}

/// Launches the box in the first place that has room.
pub(super) async fn launch(
    world: &World,
    waiter: &Waiter,
    journal: &mut Journal,
    of: &AbsoluteName,
    prepared: &Prepared,
    group: &str,
) -> anyhow::Result<Instance> {
    let machine = &prepared.plan.machine;
    let mut full = Vec::new();
    for (attempt, place) in prepared.plan.places.iter().enumerate() {
        // A token stands for one set of parameters, and the subnet is one of them.
        let token = match attempt {
            0 => journal.record.token.clone(),
            attempt => format!("{}-{attempt}", journal.record.token),
        };
        let mut tags = prepared.tags.clone();
        tags.insert(TOKEN_TAG.to_owned(), token.clone());
        let launch = Launch {
            token,
            image: machine.image.clone(),
            instance_type: machine.instance_type.clone(),
            subnet: place.id.clone(),
            group: group.to_owned(),
            profile: machine.profile.clone(),
            key_name: machine.key_pair.clone(),
            user_data: prepared.user_data.clone(),
            disks: prepared.disks.clone(),
            tags,
            volume_tags: BTreeMap::from([(NAME_TAG.to_owned(), of.to_aws_name())]),
        };
        journal.record.launch = Some((launch.clone(), Timestamp::now()));
        journal.save()?;
        match send(world, waiter, &launch).await {
            Err(error) if has_code(&error, &NO_ROOM) => {
                world.printer.note(&format!("{}: {error}", place.zone));
                full.push(error);
            }
            Err(error) => {
                if is_refused(&error) {
                    forget_launch(world, journal);
                }
                return Err(explain(error));
            }
            sent => return sent,
        }
    }
    forget_launch(world, journal);
    let refusal =
        Refusal::new(format!("EC2 has no room for {} in {}", machine.instance_type, machine.zones.join(", ")))
            .hint("--zone or --subnet names another place, --instance-type another type; or try again later");
    Err(full.pop().map_or_else(|| anyhow::anyhow!("there is no place to launch in"), |error| error.context(refusal)))
}

/// Notes that EC2 refused a launch: there is no box of it, and nobody asks for the same again.
fn forget_launch(world: &World, journal: &mut Journal) {
    journal.record.launch = None;
    if let Err(error) = journal.save() {
        world.printer.warn(&error.to_string());
    }
}

/// Goes on with what a record tells of: finds the instance, or asks again for the launch whose answer was never heard.
/// `None` where nothing was launched, or what was is gone; `ending` is for a box that was to be gone at the end.
pub(super) async fn find_again(
    world: &World,
    waiter: &Waiter,
    journal: &Journal,
    ending: bool,
) -> anyhow::Result<Option<Instance>> {
    let ec2 = &world.fleet.ec2;
    let look = async {
        if let Some(id) = &journal.record.instance
            && let Some(found) = launch::with_id(ec2, id).await?
        {
            return Ok(Some(found));
        }
        match &journal.record.launch {
            Some((launch, _)) => launch::with_token(ec2, &launch.token).await,
            None => Ok(None),
        }
    };
    let found = waiter.act("find the box that was begun", look).await.map_err(WaitError::into_anyhow)?;
    let there = |found: &Instance| ending || State::LIVE.contains(&found.state);
    if let Some(found) = found? {
        return Ok(Some(found).filter(there));
    }
    // An instance that EC2 does not show may be too new: asked again with the same token, EC2 answers with it.
    let Some((launch, sent)) = &journal.record.launch else { return Ok(None) };
    if Timestamp::now().duration_since(*sent) > UNDER_WAY {
        return Ok(None);
    }
    match send(world, waiter, launch).await {
        // Had it been launched, EC2 would have answered with the instance.
        Err(error) if is_refused(&error) && !has_code(&error, &OPEN) => Ok(None),
        sent => sent.map(|sent| Some(sent).filter(there)).map_err(explain),
    }
}

/// Asks for one launch until EC2 has heard of the security group and the instance profile, and until it answers.
async fn send(world: &World, waiter: &Waiter, launch: &Launch) -> anyhow::Result<Instance> {
    let ec2 = &world.fleet.ec2;
    let what = match &launch.profile {
        Some(profile) => format!("EC2 knows security group {} and instance profile {profile}", launch.group),
        None => format!("EC2 knows security group {}", launch.group),
    };
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match settle(waiter, &what, not_there_yet, async || launch::run(ec2, launch).await).await {
            Err(error) if pause <= LAST_PAUSE && is_unanswered(&error) => error,
            sent => return sent,
        };
        world.printer.detail(&format!("asking again: {error:#}"));
        let looking = async {
            tokio::time::sleep(pause).await;
            launch::with_token(ec2, &launch.token).await
        };
        if let Some(found) = waiter.act("launch the box", looking).await.map_err(WaitError::into_anyhow)?? {
            return Ok(found);
        }
        pause *= 2;
    }
}

/// Whether it is not known what became of a call, or EC2 says that it is asked too often.
fn is_unanswered(error: &anyhow::Error) -> bool {
    let call = error.downcast_ref::<CallError>();
    call.is_some_and(|call| match call.code.as_deref() {
        None => call.missing_permission().is_none(),
        Some(code) => code == "RequestLimitExceeded" || UNCERTAIN.contains(&code),
    })
}

/// Whether EC2 has answered that it does not launch. Whoever hears nothing, or stops listening, does not know.
fn is_refused(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<CallError>().and_then(|call| call.code.as_deref());
    code.is_some_and(|code| !UNCERTAIN.contains(&code))
}

/// Does something, again and again while `not_yet` takes its error for a sign that AWS has not heard of what it needs.
async fn settle<T>(
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
fn not_there_yet(error: &CallError) -> bool {
    let code = error.code.as_deref().unwrap_or_default();
    let cause = error.cause.to_ascii_lowercase();
    let of_profile = ["invalid iam instance profile", "no associated iam roles"];
    ["InvalidGroup.NotFound", "InvalidGroupId.NotFound", "NoSuchEntity"].contains(&code)
        || code == "InvalidParameterValue" && of_profile.iter().any(|words| cause.contains(words))
}

fn has_code(error: &anyhow::Error, codes: &[&str]) -> bool {
    let code = error.downcast_ref::<CallError>().and_then(|error| error.code.as_deref());
    code.is_some_and(|code| codes.contains(&code))
}

/// Adds what to do about an error of a launch.
fn explain(error: anyhow::Error) -> anyhow::Error {
    if !has_code(&error, &LIMITS) {
        return error;
    }
    let refusal = Refusal::new("the account may not have more instances of this kind")
        .hint("terminate some, or give a smaller --instance-type")
        .hint("aws service-quotas request-service-quota-increase --service-code ec2 ... asks AWS for more");
    error.context(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_is_refused_only_when_ec2_says_so() {
        let refused = |code: Option<&str>| {
            let mut error = CallError::answer("ec2 RunInstances", "no");
            error.code = code.map(str::to_owned);
            is_refused(&error.into())
        };
        assert!(refused(Some("InvalidParameterValue")) && refused(Some("VcpuLimitExceeded")));
        assert!(!refused(None) && !refused(Some("InternalError")) && !refused(Some("Unavailable")));
        assert!(!is_refused(&WaitError::Interrupted("launch the box".into()).into()));
    }

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
