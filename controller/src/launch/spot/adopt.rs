//! Makes a box of an instance that came of a spot request: such a request has no words for an instance's tags and
//! metadata service, which RunInstances sets up from the first moment.

use jiff::Timestamp;

use super::super::World;
use super::super::carry::settle;
use super::withdraw::FORGOTTEN;
use crate::aws::launch::{self, Launch};
use crate::aws::{CallError, instances, spot};
use crate::instance::{Instance, State};
use crate::refusal::Refusal;
use crate::wait::{Look, WaitError, Waiter};

/// The codes by which EC2 says that an instance is too new for what is asked of it.
const TOO_NEW: [&str; 4] =
    ["InvalidInstanceID.NotFound", "IncorrectInstanceState", "IncorrectState", "InvalidVolume.NotFound"];

/// Tags an instance and its volumes, and sets up its metadata service and what becomes of it when it powers off. To do it twice comes to the same.
///
/// Tags come first: by them the box is found again, and may be terminated.
///
/// # Errors
/// Among others when EC2 has taken the instance back already.
pub(super) async fn adopt(world: &World, waiter: &Waiter, launch: &Launch, id: &str) -> anyhow::Result<Instance> {
    let ec2 = &world.fleet.ec2;
    let tagging = async || launch::tag_all(ec2, &[id], &launch.tags).await;
    settle(waiter, &format!("box {id} takes its tags"), too_new, tagging).await?;
    let what = format!("EC2 shows box {id} with its tags and volumes");
    let expected = launch.disks.iter().filter(|disk| !disk.none).count();
    let shown = waiter.wait(&what, async || {
        let found = launch::with_id(ec2, id).await?;
        let gone = |found: &Instance| [State::ShuttingDown, State::Terminated].contains(&found.state);
        if found.as_ref().is_some_and(gone) {
            return Err(Refusal::new(format!("EC2 took box {id} back before it could be used"))
                .hint("the same command asks for another; without --spot it is taken from nobody")
                .into());
        }
        let volumes = launch::volumes(ec2, id).await?;
        Ok(match found {
            Some(found) if volumes.len() >= expected => Look::Done((found, volumes)),
            _ => Look::NotYet(format!("{} of {expected} volumes", volumes.len())),
        })
    });
    let (instance, volumes) = shown.await.map_err(WaitError::into_anyhow)?;
    let volumes: Vec<_> = volumes.values().map(String::as_str).collect();
    let tagging = async || launch::tag_all(ec2, &volumes, &launch.volume_tags).await;
    settle(waiter, &format!("the volumes of box {id} take their tags"), too_new, tagging).await?;
    let metadata = async || spot::set_metadata(ec2, id).await;
    settle(waiter, &format!("box {id} takes its metadata options"), too_new, metadata).await?;
    if let Some(what) = &launch.on_power_off {
        let setting = async || launch::set_on_power_off(ec2, id, what).await;
        settle(waiter, &format!("box {id} takes what becomes of it when it powers off"), too_new, setting).await?;
    }
    world.printer.detail(&format!("box {id} is adopted"));
    Ok(instance)
}

/// Whether an instance is gone, or about to be. One that EC2 does not show may be too new, unless the request was `sent`
/// long ago.
pub(super) async fn is_gone(world: &World, id: &str, sent: Timestamp) -> Result<bool, CallError> {
    Ok(match instances::describe(&world.fleet.ec2, id).await? {
        None => Timestamp::now().duration_since(sent) > FORGOTTEN,
        Some(found) => {
            let state = found.state.and_then(|state| State::try_from(&state.name?).ok());
            state.is_some_and(|state| !State::LIVE.contains(&state))
        }
    })
}

fn too_new(error: &CallError) -> bool {
    error.code.as_deref().is_some_and(|code| TOO_NEW.contains(&code))
}
