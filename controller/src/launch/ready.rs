//! Waits until a box that was launched can be used: it runs, it has an address, its host key is known, it lets the
//! operator in, and cloud-init is through.

use super::World;
use crate::aws::{instances, launch};
use crate::details::reason;
use crate::instance::{Instance, State};
use crate::refusal::Refusal;
use crate::role::Role;
use crate::ssh::ready::{wait_for_cloud_init, wait_until_answering, wait_until_reachable};
use crate::ssh::{Ssh, host_keys};
use crate::wait::{Look, WaitError, Waiter};

/// Waits until a box runs and has an address.
pub(crate) async fn wait_until_running(world: &World, waiter: &Waiter, id: &str) -> anyhow::Result<Instance> {
    let what = format!("box {id} is running");
    let running = waiter.wait(&what, async || {
        let Some(found) = launch::with_id(&world.fleet.ec2, id).await? else {
            return Ok(Look::NotYet("not known to EC2 yet".to_owned()));
        };
        match found.state {
            State::Running if found.private_address.is_some() => Ok(Look::Done(found)),
            State::Running => Ok(Look::NotYet("running, without an address yet".to_owned())),
            State::Pending => Ok(Look::NotYet(found.state.as_str().to_owned())),
            state => {
                let described = instances::describe(&world.fleet.ec2, id).await?;
                let because = described.as_ref().and_then(reason).map(|text| format!(": {text}")).unwrap_or_default();
                Err(Refusal::new(format!("box {id} is {}{because}", state.as_str())).into())
            }
        }
    });
    running.await.map_err(WaitError::into_anyhow)
}

/// Waits until the operator can use a box that runs.
pub(crate) async fn wait_until_usable(
    world: &World,
    waiter: &Waiter,
    instance: &Instance,
    role: &Role,
) -> anyhow::Result<()> {
    let account = role.admin().map_err(Refusal::from)?;
    host_keys::learn(&world.fleet, waiter, instance).await?;
    let ssh = Ssh::to(&world.fleet, instance, account.clone(), &world.route)?;
    wait_until_answering(waiter, &ssh).await?;
    host_keys::reached(&world.fleet, instance)?;
    wait_until_reachable(waiter, &ssh).await?;
    if let Some(complaint) = wait_for_cloud_init(waiter, &ssh).await? {
        world.printer.warn(&format!("cloud-init on box {}: {complaint}", instance.id));
    }
    Ok(())
}
