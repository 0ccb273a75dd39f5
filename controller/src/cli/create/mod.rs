//! `fleetkey create`: launches a box of a role.

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use self::flags::{HowFlags, instance_types, key_specs};
pub(super) use self::flags::{LaunchFlags, parse_vpc};
use self::spot::Others;
use super::image::take;
use super::role::named_values;
use crate::fleet::Fleet;
use crate::image::parse_image_id;
use crate::interrupt;
use crate::launch::course::{Course, Manner};
use crate::launch::plan::{self, Machine, Row};
use crate::launch::request::{Request, Source};
use crate::launch::spot::market::Terms;
use crate::launch::{World, keys};
use crate::listing;
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::role::{Autostop, Role};
use crate::settings::Settings;
use crate::ssh::AddressKind;
use crate::wait::Waiter;

mod autostop;
mod flags;
mod shown;
mod spot;
mod volumes;

/// Launch a box of a role, and wait until it can be used.
///
/// Security group and instance profile of the role are made, or brought to what the role says; then EC2 launches the
/// box, which sets itself up by cloud-init. Interrupted, the same command goes on where it was, and launches no second
/// box; after an error, what was made is undone.
#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    flags: LaunchFlags,
    /// Image in place of the role's base image: ami- and 8 or 17 hexadecimal digits
    #[arg(short, long, alias = "boot-image", value_name = "AMI", value_parser = parse_image_id)]
    image: Option<String>,
    /// Bring installed packages up to date at boot
    #[arg(short = 'U', long)]
    upgrade: bool,
}

/// What is printed with `--output json --dry-run`.
#[derive(Serialize)]
struct Planned<'a> {
    name: &'a str,
    launch: &'a Machine,
    spot: Option<&'a Terms>,
    steps: &'a [Row],
}

impl Create {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let source = self.image.map_or(Source::Base, Source::Image);
        Box::pin(launch(self.flags, source, self.upgrade, settings, printer)).await
    }
}

/// Launches what the flags say, from this source.
pub(super) async fn launch(
    flags: LaunchFlags,
    source: Source,
    upgrade: bool,
    settings: &Settings,
    printer: Printer,
) -> anyhow::Result<()> {
    let interrupted = interrupt::listen().context("listening for signals")?;
    let HowFlags { create_image, terminate, never_terminate, quick, anew, timeout, dry, list: _ } = flags.how;
    let waiter = Waiter::new(printer, interrupted, timeout);
    let opening = open(&flags, source, upgrade, settings, printer);
    let (world, request, role) = waiter.act("find out who calls", Box::pin(opening)).await??;
    let manner = Manner { quick, terminate, keep: never_terminate, anew };
    let course = Course { world: &world, request: &request, role: &role, manner, waiter: &waiter };
    if dry.dry_run {
        let prepared = course.plan().await?;
        let after = after(manner, create_image);
        let (steps, spot) = (prepared.plan.rows(&after), prepared.plan.spot.as_ref());
        let json = Planned { name: request.name.as_str(), launch: &prepared.plan.machine, spot, steps: &steps };
        return printer.data(&plan::table(&steps), &json).context("writing to standard output");
    }
    let take = async |off: &_| take(&world.fleet, off, &waiter, printer).await;
    let Some((made, journal)) = Box::pin(course.run(take)).await? else {
        return printer.data(&listing::table(&[]), &serde_json::Value::Null).context("writing to standard output");
    };
    shown::print(&made, &request, &world.fleet.namespace, &role, manner, printer)?;
    // Whoever interrupts this has been told, or finds the box again.
    Ok(journal.forget()?)
}

/// What follows the launch, in words.
fn after(manner: Manner, create_image: bool) -> Vec<&'static str> {
    let waits = (!manner.quick).then_some("wait for");
    let image = create_image.then_some("take an image of");
    waits.into_iter().chain(image).chain(manner.terminate.then_some("terminate")).collect()
}

/// Reads the role and what was asked for, and opens the world.
async fn open(
    flags: &LaunchFlags,
    source: Source,
    upgrade: bool,
    settings: &Settings,
    printer: Printer,
) -> anyhow::Result<(World, Request, Role)> {
    let LaunchFlags { role, what, spot, autostop, how, route, ssh_from } = flags;
    let route = route.route(settings)?;
    let entry = ssh_from.entry(settings, route.is_straight() && route.address != Some(AddressKind::Private))?;
    let fleet = Fleet::open(settings, printer).await?;
    let name = crate::selection::name(&fleet.namespace, role)?;
    let spot_wish = spot.wish(&Others {
        subnet: what.subnet.is_some(),
        zones: if settings.zones_by_flag { &fleet.zones } else { &[] },
        create_image: how.create_image,
        timeout: how.timeout,
        namespace: &fleet.namespace,
    })?;
    // As CGCloud has it, a zone that a variable names gives way to one that is chosen by its price.
    let given_way = spot.orders_zones() && !settings.zones_by_flag;
    let zones = if given_way { Vec::new() } else { fleet.zones.clone() };
    let volumes = what.volumes.wishes()?;
    let mut role = what.role_path.of(&name)?.with_volumes(&volumes.volumes).map_err(Refusal::usage)?;
    let autostop = autostop.asked();
    role.autostop = Autostop::settle(role.autostop, autostop, role.agent && !what.no_agent)?;
    if let Some(wanted) = role.autostop.filter(|_| spot_wish.is_some()) {
        let settled = wanted.on_spot(autostop)?;
        if settled != wanted {
            printer.note("a spot instance cannot be stopped: the box is terminated when nobody uses it");
        }
        role.autostop = Some(settled);
    }
    let specs = key_specs(&what.keypairs, settings);
    let me = if keys::needs_me(&specs) { Some(fleet.me().await?) } else { None };
    let caller = fleet.caller().await?.clone();
    let request = Request {
        account: caller.account.clone(),
        region: fleet.region.clone(),
        name,
        keys: keys::read(&specs, me.as_ref())?,
        source,
        arch: what.arch,
        instance_types: instance_types(what, settings)?,
        zones,
        network: what.vpc.clone(),
        subnet: what.subnet.clone(),
        root_gib: what.root_volume,
        options: named_values(&what.option)?,
        agent: !what.no_agent,
        upgrade,
        create_image: how.create_image,
        autostop,
        spot: spot_wish,
        volumes,
    };
    let world = World { route, entry, ..World::open(fleet, settings, printer).await? };
    Ok((world, request, role))
}
