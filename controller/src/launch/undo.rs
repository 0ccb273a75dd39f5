//! Takes back what a create made, as far as nobody else uses it by now.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use fleetkey_common::aws_names::AbsoluteName;
use tokio_util::sync::CancellationToken;

use super::journal::{self, Record};
use super::spot::withdraw::withdraw;
use super::{World, is_of};
use crate::aws::instances::{self, Which};
use crate::aws::{CallError, instance_profiles, launch, security_groups};
use crate::instance::{Instance, State};
use crate::role::Role;
use crate::ssh::known_hosts::KnownHosts;
use crate::wait::{Look, WaitError, Waiter};

/// How long undoing waits for what it terminated: a security group cannot be deleted before.
const PATIENCE: Duration = Duration::from_mins(5);

/// How long EC2 may take to show an instance that it has launched, before it is asked to terminate it.
const SPREAD: Duration = Duration::from_secs(10);

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Undone {
    /// What was taken back.
    pub(crate) done: Vec<String>,
    /// What could not be, and why.
    pub(crate) left: Vec<(String, String)>,
    /// Whether the instance is there still.
    pub(crate) instance_left: bool,
}

impl Undone {
    fn note(&mut self, what: String, tried: Result<(), impl ToString>) -> bool {
        let good = tried.is_ok();
        match tried {
            Ok(()) => self.done.push(what),
            Err(error) => self.left.push((what, error.to_string())),
        }
        good
    }

    /// The same for what may not have been there: that is not worth a word.
    fn note_found(&mut self, what: String, tried: Result<bool, impl ToString>) {
        match tried {
            Ok(false) => {}
            tried => {
                self.note(what, tried.map(drop));
            }
        }
    }
}

/// Takes back what a record tells of. Goes on after each failure.
pub(crate) async fn undo(world: &World, record: &Record, folder: &Path, of: &AbsoluteName, role: &Role) -> Undone {
    let mut undone = Undone::default();
    // A second interrupt ends the program at once, so that this need not hear of any.
    let waiter = Waiter::new(world.printer, CancellationToken::new(), PATIENCE);
    let instances = terminate(world, record, role, &mut undone).await;
    let made = &record.made;
    if (made.group.is_none() && made.iam_role.is_none() && made.profile.is_none()) || undone.instance_left {
        return undone;
    }
    match in_use(world, record, folder, of, &instances).await {
        Ok(false) => {}
        // What it made is of use to others: nothing is left over.
        Ok(true) => return undone,
        Err(error) => {
            undone.note(format!("security group and instance profile of {of}"), Err(error));
            return undone;
        }
    }
    if let Some((network, name)) = &made.group {
        let what = format!("security group {name} in {network}");
        let deleted = delete_group(world, &waiter, of, network, &instances).await;
        undone.note_found(what, deleted.map_err(|error| format!("{error:#}")));
    }
    delete_profile(world, record, &mut undone).await;
    undone
}

/// Terminates what was launched, after spot requests that may be open were cancelled. Gives what it terminated.
async fn terminate(world: &World, record: &Record, role: &Role, undone: &mut Undone) -> Vec<String> {
    let ec2 = &world.fleet.ec2;
    let mut instances: BTreeSet<_> = record.instance.iter().chain(&record.arrived).cloned().collect();
    match &record.launch {
        Some((launch, sent)) if launch.open().is_some() && (!record.requests.is_empty() || instances.is_empty()) => {
            match withdraw(world, launch, *sent, &record.requests).await {
                Ok(came) => instances.extend(came),
                Err(error) => {
                    undone.instance_left = true;
                    undone.left.push((format!("the spot request for box {}", record.name), format!("{error:#}")));
                }
            }
        }
        Some((launch, _)) if instances.is_empty() => {
            // EC2 did not refuse it: what it does not show yet, it may still bring.
            match shown(world, async || launch::with_token(ec2, &launch.token).await).await {
                Ok(Some(found)) => {
                    instances.insert(found.id);
                }
                unknown => {
                    undone.instance_left = true;
                    let why = "EC2 has given no answer to it, and shows no box yet".to_owned();
                    let why = unknown.err().map_or(why, |error| format!("{error:#}"));
                    undone.left.push((format!("the launch of box {}", record.name), why));
                }
            }
        }
        _ => {}
    }
    for id in &instances {
        terminate_one(world, id, record, role, undone).await;
    }
    instances.into_iter().collect()
}

/// Terminates an instance, together with volumes that would outlive it.
async fn terminate_one(world: &World, id: &str, record: &Record, role: &Role, undone: &mut Undone) {
    let ec2 = &world.fleet.ec2;
    // A box that EC2 does not show yet would not be known to it when it is to be terminated either.
    if let Err(error) = shown(world, async || launch::with_id(ec2, id).await).await {
        world.printer.detail(&format!("{error:#}"));
    }
    // What was taken over had data before: it stays, and the box only lets go of it.
    let taken_over = |device: &str| record.found.iter().any(|found| found.device == device);
    let kept = role.volumes.iter().filter(|volume| volume.keep).map(|volume| volume.device.as_str());
    let kept: Vec<_> = kept.filter(|device| !taken_over(device)).collect();
    if !kept.is_empty()
        && let Err(error) = launch::drop_volumes(ec2, id, &kept).await
    {
        undone.left.push((format!("volumes {} of box {id}", kept.join(", ")), error.to_string()));
    }
    if !undone.note(format!("box {id}"), launch::terminate(ec2, id).await) {
        undone.instance_left = true;
    } else if let Err(error) = KnownHosts::open(&world.fleet.region).and_then(|hosts| hosts.forget(id)) {
        world.printer.detail(&format!("host keys of box {id}: {error}"));
    }
}

/// An instance that was launched a moment ago, as soon as EC2 shows it; `None` if it shows none for too long.
async fn shown(
    world: &World,
    look: impl AsyncFn() -> Result<Option<Instance>, CallError>,
) -> anyhow::Result<Option<Instance>> {
    if let Some(found) = look().await? {
        return Ok(Some(found));
    }
    let waiter = Waiter::new(world.printer, CancellationToken::new(), SPREAD);
    let found = waiter.wait("EC2 shows the box that was launched", async || {
        Ok(look().await?.map_or_else(|| Look::NotYet("it shows none".to_owned()), Look::Done))
    });
    match found.await {
        Ok(found) => Ok(Some(found)),
        Err(WaitError::TimedOut { .. }) => Ok(None),
        Err(error) => Err(error.into_anyhow()),
    }
}

/// Whether another box of the role is there, or another create of one under way.
async fn in_use(
    world: &World,
    record: &Record,
    folder: &Path,
    of: &AbsoluteName,
    instances: &[String],
) -> Result<bool, CallError> {
    if journal::others(folder, record) {
        return Ok(true);
    }
    let there = instances::find(&world.fleet.ec2, &Which::Name(of), &State::LIVE).await?;
    Ok(there.iter().any(|other| !instances.contains(&other.id)))
}

/// Deletes the security group, and says whether it was there.
async fn delete_group(
    world: &World,
    waiter: &Waiter,
    of: &AbsoluteName,
    network: &str,
    instances: &[String],
) -> anyhow::Result<bool> {
    let ec2 = &world.fleet.ec2;
    let found = security_groups::find(ec2, network, &of.to_aws_name()).await?;
    // Another of that name is not what was made.
    let Some(group) = found.filter(|group| is_of(group, of)) else { return Ok(false) };
    for id in instances {
        let what = format!("box {id} is terminated");
        let gone = waiter.wait(&what, async || {
            let found = launch::with_id(ec2, id).await?;
            Ok(match found.filter(|found| found.state != State::Terminated) {
                None => Look::Done(()),
                Some(found) => Look::NotYet(found.state.as_str().to_owned()),
            })
        });
        gone.await?;
    }
    security_groups::delete(ec2, &group.id).await?;
    Ok(true)
}

async fn delete_profile(world: &World, record: &Record, undone: &mut Undone) {
    let iam = &world.iam;
    if let Some(name) = &record.made.profile {
        let deleted = instance_profiles::delete_whole_profile(iam, name).await;
        undone.note_found(format!("instance profile {name}"), deleted);
    }
    if let Some(name) = &record.made.iam_role {
        let deleted = instance_profiles::delete_whole_role(iam, name, false).await;
        undone.note_found(format!("IAM role {name}"), deleted);
    }
}
