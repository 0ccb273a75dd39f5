//! What `ssh` and `rsync` have in common: which box, as which account, by which address, and that it is the right one.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use fleetkey_common::aws_names::AbsoluteName;
use fleetkey_common::names::AccountName;

use super::missing;
use super::route::RouteFlags;
use crate::aws::instances::{self, Which, find};
use crate::fleet::Fleet;
use crate::instance::{ADMIN_TAG, Instance, State};
use crate::interrupt;
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::role::{Library, RoleName};
use crate::selection::{self, Among};
use crate::settings::Settings;
use crate::ssh::host_keys::{self, Given};
use crate::ssh::{Route, Ssh, ready};
use crate::wait::{Look, WaitError, Waiter, parse_timeout};

/// The flags that say how to get to the box.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "How to get there")]
pub(super) struct ReachFlags {
    /// Account to log in to [default: the box's admin account]
    #[arg(short, long, value_name = "ACCOUNT")]
    login: Option<AccountName>,
    /// Log in to the box's admin account, as is done anyway where --login is not given
    #[arg(short, long, conflicts_with = "login")]
    admin: bool,
    #[command(flatten)]
    route: RouteFlags,
    /// Trust this host key of the box from now on: its SHA256:... fingerprint, or a file with it, from a trusted source
    ///
    /// Host keys are otherwise taken from the box's console, and kept.
    #[arg(long, value_name = "FINGERPRINT|FILE")]
    host_key: Option<Given>,
    /// How long a box that boots is waited for
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_timeout)]
    timeout: Duration,
}

impl ReachFlags {
    /// Finds the box and the way to it. Host keys are known when this is done, and sshd has answered since the box was
    /// launched.
    pub(super) async fn reach(
        &self,
        settings: &Settings,
        printer: Printer,
        role: &str,
        among: &Among,
        options: Vec<OsString>,
    ) -> anyhow::Result<Ssh> {
        let route = self.route.route(settings)?;
        let fleet = Fleet::open(settings, printer).await?;
        let waiter = Waiter::new(printer, interrupt::listen()?, self.timeout);
        let name = selection::name(&fleet.namespace, role)?;
        let found = boxes(&fleet, &name).await?;
        let none = found.is_empty();
        let instance = match selection::one(&name, among, found) {
            Err(refusal) if none => return Err(missing::explain(&fleet, &name, refusal).await.into()),
            chosen => chosen?,
        };
        let instance = running(&fleet, &waiter, instance).await?;
        let account = self.account(&instance)?;
        let ssh = Ssh::to(&fleet, &instance, account, &route)?.with_options(options);
        let keys = match &self.host_key {
            Some(given) => host_keys::take(&fleet, &ssh, given).await?,
            None => host_keys::learn(&fleet, &waiter, &instance).await?,
        };
        printer.detail(&format!("box {} at {}, host keys {keys}", instance.id, ssh.address()));
        if host_keys::is_reached(&fleet, &instance)? && route.is_straight() {
            look_ahead(&fleet, &instance, &ssh, printer).await;
        }
        knock(&fleet, &waiter, &instance, &ssh, &route).await?;
        Ok(ssh)
    }

    fn account(&self, instance: &Instance) -> anyhow::Result<AccountName> {
        self.login.clone().map_or_else(|| account(instance), Ok)
    }
}

/// Why a box may not answer to ssh, and what to do then.
pub(super) fn does_not_answer(fleet: &Fleet, instance: &Instance) -> Refusal {
    Refusal::new(format!("box {} does not answer to ssh", instance.id)).hint(narrowed(fleet, instance))
}

fn narrowed(fleet: &Fleet, instance: &Instance) -> String {
    let mend = format!("fleetkey refresh-ingress --region {} {}", fleet.region, instance.name);
    format!("if port 22 is not open to your address: {mend}")
}

/// Says what may be the matter with a box that let in people since it was started and does not answer now: its port may
/// not be open to an address that the caller has since today. ssh itself would wait for minutes, and not know.
async fn look_ahead(fleet: &Fleet, instance: &Instance, ssh: &Ssh, printer: Printer) {
    if ready::is_deaf(ssh).await {
        printer.warn(&format!("box {} has not answered so far; ssh goes on trying", instance.id));
        printer.hint(&narrowed(fleet, instance));
    }
}

/// Waits until sshd has answered with a key that is known, unless it did since the box was started.
pub(super) async fn knock(
    fleet: &Fleet,
    waiter: &Waiter,
    instance: &Instance,
    ssh: &Ssh,
    route: &Route,
) -> anyhow::Result<()> {
    if host_keys::is_reached(fleet, instance)? {
        return Ok(());
    }
    ready::wait_until_answering(waiter, ssh).await.map_err(|error| match error.downcast_ref() {
        Some(WaitError::TimedOut { .. }) if route.is_straight() => error.context(does_not_answer(fleet, instance)),
        _ => error,
    })?;
    host_keys::reached(fleet, instance)
}

/// The box's admin account.
pub(super) fn account(instance: &Instance) -> anyhow::Result<AccountName> {
    match instance.tags.get(ADMIN_TAG) {
        Some(tag) => tag.parse().with_context(|| {
            Refusal::new(format!("tag {ADMIN_TAG} of box {} does not name an account", instance.id))
                .hint("name an account with --login")
        }),
        None => by_role(instance),
    }
}

/// The admin account that the role of a box has here: boxes that others made have no tag that names it.
fn by_role(instance: &Instance) -> anyhow::Result<AccountName> {
    let role: Result<RoleName, String> = instance.role().parse();
    let admin = role.map_err(anyhow::Error::msg).and_then(|role| {
        let role = Library::open(&[])?.load(&role)?;
        Ok(role.admin()?.clone())
    });
    admin.with_context(|| {
        Refusal::new(format!("box {} does not say which its admin account is", instance.id))
            .hint(format!("name an account with --login; fleetkey create notes it in the tag {ADMIN_TAG}"))
    })
}

async fn boxes(fleet: &Fleet, name: &AbsoluteName) -> anyhow::Result<Vec<Instance>> {
    find(&fleet.ec2, &Which::Name(name), &State::LIVE).await.map_err(|error| {
        let refusal = Refusal::new(format!("cannot look for boxes {name}")).hint_permissions([&error]);
        anyhow::Error::from(error).context(refusal)
    })
}

/// The box once it runs. One that is off is not waited for.
pub(super) async fn running(fleet: &Fleet, waiter: &Waiter, mut instance: Instance) -> anyhow::Result<Instance> {
    let (id, name) = (instance.id.clone(), instance.name.clone());
    if instance.state == State::Pending {
        let what = format!("box {id} is running");
        let outcome = waiter.wait(&what, async || {
            let found = instances::describe(&fleet.ec2, &id).await?.and_then(Instance::read);
            Ok(match found {
                Some(found) if found.state == State::Pending => Look::NotYet(found.state.as_str().to_owned()),
                found => Look::Done(found),
            })
        });
        let found = outcome.await.map_err(WaitError::into_anyhow)?;
        instance = found.ok_or_else(|| Refusal::new(format!("box {id} is gone")))?;
    }
    if instance.state == State::Running {
        return Ok(instance);
    }
    let refusal = Refusal::new(format!("box {id} is {}, so nobody can log in", instance.state.as_str()));
    Err(refusal.hint(format!("fleetkey start {name} -I {id} starts it")).into())
}
