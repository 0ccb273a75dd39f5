//! `fleetkey create`: launches a box of a role.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use clap_complete::ArgValueCandidates;
use fleetkey_common::aws_names::Namespace;
use serde::Serialize;

use super::create_autostop::AutostopFlags;
use super::create_spot::{Others, SpotFlags};
use super::create_volumes::VolumeFlags;
use super::image::take;
use super::role::{RolePath, named_value, named_values};
use super::route::RouteFlags;
use super::ssh_from::SshFromFlag;
use crate::complete;
use crate::fleet::Fleet;
use crate::image::parse_image_id;
use crate::interrupt;
use crate::launch::course::{Course, Made, Manner};
use crate::launch::plan::{self, Machine, Row};
use crate::launch::request::{Request, Source};
use crate::launch::spot::market::Terms;
use crate::launch::{World, keys};
use crate::listing;
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::role::{Arch, Autostop, AutostopAction, Role};
use crate::selection::parse_id;
use crate::settings::Settings;
use crate::settings::rules::is_instance_type;
use crate::ssh::AddressKind;
use crate::wait::{Waiter, parse_timeout};

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

/// The flags of everything that launches a box.
#[derive(Debug, Args)]
pub(super) struct LaunchFlags {
    /// Role of the box, in the namespace unless it begins with a slash; fleetkey role list names the roles
    #[arg(add = ArgValueCandidates::new(complete::roles_to_launch))]
    role: String,
    #[command(flatten)]
    what: WhatFlags,
    #[command(flatten)]
    spot: SpotFlags,
    #[command(flatten)]
    autostop: AutostopFlags,
    #[command(flatten)]
    how: HowFlags,
    #[command(flatten)]
    route: RouteFlags,
    #[command(flatten)]
    ssh_from: SshFromFlag,
}

/// What the box is to be.
#[derive(Debug, Args)]
#[command(next_help_heading = "The box")]
struct WhatFlags {
    /// Who may log in: alice, dev-*, @alice, @@developers or __me__; the first names one person, whose key EC2 puts in
    /// at launch [default: FLEETKEY_KEYPAIRS, CGCLOUD_KEYPAIRS, else __me__]
    #[arg(short, long, value_name = "SPEC", num_args = 1..)]
    keypairs: Vec<String>,
    /// Instance type; several, separated by commas, are tried one after another, each in every zone [default:
    /// FLEETKEY_INSTANCE_TYPE, CGCLOUD_INSTANCE_TYPE, that of the role, else a small one]
    #[arg(short = 't', long, value_name = "TYPE", value_delimiter = ',', value_parser = parse_type)]
    instance_type: Vec<String>,
    /// Architecture of the base image: x86_64 or arm64 [default: what instance type and role have in common]
    #[arg(long, value_name = "ARCH")]
    arch: Option<Arch>,
    /// VPC to put it in [default: the default one]
    #[arg(long, value_name = "ID", value_parser = parse_vpc)]
    vpc: Option<String>,
    /// Subnet to put it in [default: the VPC's only or default one in the zone]
    #[arg(long, value_name = "ID", value_parser = parse_subnet)]
    subnet: Option<String>,
    /// Size of the root volume [default: that of the role or the image, whichever is larger]
    #[arg(long, value_name = "GIB", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    root_volume: Option<u32>,
    /// Option of the role; fleetkey role options names them
    #[arg(short = 'O', long, value_name = "NAME=VALUE", value_parser = named_value,
        add = ArgValueCandidates::new(complete::options))]
    option: Vec<(String, String)>,
    /// Install no agent: the keys of the launch stay as they are
    #[arg(long)]
    no_agent: bool,
    #[command(flatten)]
    role_path: RolePath,
    #[command(flatten)]
    volumes: VolumeFlags,
}

/// How it is gone about.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "How it is done")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
struct HowFlags {
    /// Take an image of it when it is ready, for which it is stopped and started again
    #[arg(short = 'I', long)]
    create_image: bool,
    /// Terminate it when all is done
    #[arg(short = 'T', long, conflicts_with = "never_terminate")]
    terminate: bool,
    /// Leave everything as it is after an error
    #[arg(short = 'N', long)]
    never_terminate: bool,
    /// Do not wait until it can be used: end once EC2 has launched it
    #[arg(short = 'Q', long, visible_alias = "no-wait", conflicts_with = "create_image")]
    quick: bool,
    /// Make another box even if the same command was interrupted before
    #[arg(long)]
    anew: bool,
    /// How long all waits together may take
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = parse_timeout)]
    timeout: Duration,
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Accepted for scripts of CGCloud: the box that was made is always shown
    #[arg(long, hide = true)]
    list: bool,
}

/// What is printed with `--output json` once a box is made.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    row: listing::Row<'a>,
    account: Option<&'a str>,
    login: &'a str,
    resumed: bool,
    image_taken: Option<&'a str>,
}

/// What is printed with `--output json --dry-run`.
#[derive(Serialize)]
struct Planned<'a> {
    name: &'a str,
    launch: &'a Machine,
    spot: Option<&'a Terms>,
    steps: &'a [Row],
}

fn parse_type(text: &str) -> Result<String, String> {
    if is_instance_type(text) {
        return Ok(text.to_owned());
    }
    Err("an instance type has a family and a size, such as t3.small".to_owned())
}

pub(super) fn parse_vpc(text: &str) -> Result<String, String> {
    parse_id("vpc-", text).ok_or_else(|| "a VPC's id is vpc- and 8 or 17 hexadecimal digits".to_owned())
}

fn parse_subnet(text: &str) -> Result<String, String> {
    parse_id("subnet-", text).ok_or_else(|| "a subnet's id is subnet- and 8 or 17 hexadecimal digits".to_owned())
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
    let HowFlags { create_image, terminate, never_terminate, quick, anew, timeout, dry_run, list: _ } = flags.how;
    let waiter = Waiter::new(printer, interrupted, timeout);
    let opening = open(&flags, source, upgrade, settings, printer);
    let (world, request, role) = waiter.act("find out who calls", Box::pin(opening)).await??;
    let manner = Manner { quick, terminate, keep: never_terminate, anew };
    let course = Course { world: &world, request: &request, role: &role, manner, waiter: &waiter };
    if dry_run {
        let prepared = course.plan().await?;
        let after = after(manner, create_image);
        let (steps, spot) = (prepared.plan.rows(&after), prepared.plan.spot.as_ref());
        let json = Planned { name: request.name.as_str(), launch: &prepared.plan.machine, spot, steps: &steps };
        return printer.data(&plan::table(&steps), &json).context("writing to standard output");
    }
    let Some(made) = Box::pin(course.run(async |off| take(&world.fleet, off, &waiter, printer).await)).await? else {
        return printer.data(&listing::table(&[]), &serde_json::Value::Null).context("writing to standard output");
    };
    print(&made, &request, &world.fleet.namespace, &role, manner, printer)
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
    if let Some(autostop) = role.autostop.as_mut().filter(|_| spot_wish.is_some()) {
        // One that was asked for once cannot be off and come back.
        autostop.action = AutostopAction::Terminate;
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

fn key_specs(given: &[String], settings: &Settings) -> Vec<String> {
    if !given.is_empty() {
        return given.to_vec();
    }
    let default = settings.key_pairs.as_deref().unwrap_or("__me__");
    default.split_whitespace().map(str::to_owned).collect()
}

/// The types of flag or variable, each once, in their order.
fn instance_types(what: &WhatFlags, settings: &Settings) -> Result<Vec<String>, Refusal> {
    let mut found: Vec<String> = Vec::new();
    let by_variable = || {
        settings.instance_type.iter().flat_map(|text| text.split(',')).map(|text| {
            parse_type(text).map_err(|error| Refusal::usage(format!("{text:?} in FLEETKEY_INSTANCE_TYPE: {error}")))
        })
    };
    let named = match what.instance_type.as_slice() {
        [] => by_variable().collect::<Result<Vec<_>, _>>()?,
        flags => flags.to_vec(),
    };
    for kind in named {
        if !found.contains(&kind) {
            found.push(kind);
        }
    }
    Ok(found)
}

fn print(
    made: &Made,
    request: &Request,
    namespace: &Namespace,
    role: &Role,
    manner: Manner,
    printer: Printer,
) -> anyhow::Result<()> {
    let found = &made.instance;
    let login = format!("fleetkey ssh --region {} {} -I {}", request.region, request.name, found.id);
    let row = listing::Row::new(None, found, namespace);
    let table = listing::table(std::slice::from_ref(&row));
    let shown = Shown {
        row,
        account: role.admin_account.as_ref().map(fleetkey_common::names::AccountName::as_str),
        login: &login,
        resumed: made.resumed,
        image_taken: made.image.as_deref(),
    };
    printer.data(&table, &shown).context("writing to standard output")?;
    if let Some(image) = shown.image_taken {
        printer.note(&format!("image {image} was taken of it; fleetkey recreate {} makes a box of it", request.name));
    }
    if !manner.terminate {
        printer.note(&format!("log in: {login}"));
    }
    Ok(())
}
