//! Asks AWS for all that planning needs, and plans. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(super) use self::access::{check_group, find_profile, rule_changes};
use self::access::{group_changes, key_pair, profile_changes};
use self::place::{subnets, to_try};
use self::start::{Start, find_start};
use super::attempts;
use super::kept::{self, Takeover};
use super::plan::{Machine, Plan, PlannedVolume};
use super::request::{Request, Source};
use super::{World, boot, machine, volumes};
use crate::aws::instances::{self, Which};
use crate::aws::launch::{self, Disk};
use crate::aws::volumes as aws_volumes;
use crate::image::Image;
use crate::instance::{ADMIN_TAG, AUTOSTOP_TAG, GENERATION_TAG, Instance, NAME_TAG, State};
use crate::refusal::Refusal;
use crate::role::{AgentInstall, Arch, OptionValues, RenderInput, Role};

mod access;
mod place;
mod start;

/// What is launched, but for the token and what is yet to be made.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// What is done, and how it is shown.
    pub(crate) plan: Plan,
    /// The volumes that are made.
    pub(crate) disks: Vec<Disk>,
    /// The volumes that the box takes over.
    pub(crate) found: Vec<Takeover>,
    /// The user-data in base64.
    pub(crate) user_data: String,
    /// The tags of the instance.
    pub(crate) tags: BTreeMap<String, String>,
    /// The tags of its volumes.
    pub(crate) volume_tags: BTreeMap<String, String>,
    /// What EC2 does with the box when it powers itself off.
    pub(crate) on_power_off: Option<String>,
}

/// Plans a create.
pub(crate) async fn prepare(world: &World, request: &Request, role: &Role) -> anyhow::Result<Prepared> {
    let region = request.region.as_str();
    let (Start { image, arch, kinds }, subnets, key_pair, found) = tokio::try_join!(
        find_start(world, request, role),
        subnets(world, request),
        key_pair(world, request, role),
        kept_volumes(world, request, role),
    )?;
    let subnets = kept::places(&found, subnets)?;
    for kind in &kinds {
        machine::check_architecture(kind, &image.architecture)?;
    }
    let (spot, attempts) = to_try(world, request, kinds, arch, subnets).await?;
    let disks = machine::disks(&image, role, request.root_gib, &found)?;
    let (groups, profile, agent) = tokio::try_join!(
        group_changes(world, &request.name, role, &attempts[0].place.network),
        profile_changes(world, &request.name, role),
        boot::agent(world, request, role, arch),
    )?;
    let (group, mut changes) = groups;
    let (profile, profile_changes) = profile;
    changes.extend(profile_changes);

    let options = role.resolve_options(&options(request, role, &image)).map_err(Refusal::from)?;
    let rendered = render(
        request,
        &with_used_volumes(role, &disks),
        arch,
        &options,
        agent.as_ref().map(|agent| &agent.install),
        world,
    )?;
    let generation = if request.source == Source::Base { 0 } else { image.generation() };
    let mut tags = options.tags();
    tags.extend(own_tags(request, role, generation)?);
    let machine = Machine {
        image: image.id.clone(),
        image_name: image.name.clone(),
        architecture: arch.to_string(),
        instance_type: attempts[0].kind.clone(),
        instance_types: attempts::kinds(&attempts),
        root_gib: disks.iter().find(|disk| disk.device == image.root_device).and_then(|disk| disk.gib),
        volumes: planned(role, &disks, &found),
        generation,
        key_pair,
        keys: request.keys.specs.iter().map(ToString::to_string).collect(),
        agent: agent.map(|agent| agent.version),
        profile,
        zones: attempts::zones(&attempts),
        subnets: attempts::subnets(&attempts),
        user_data_bytes: rendered.len(),
        autostop: role.autostop.map(|autostop| autostop.tag()),
    };
    world.printer.detail(&format!("in {region}: {} of {}", machine.instance_type, machine.image));
    let on_power_off = role.autostop.map(|autostop| autostop.action.to_string());
    let plan = Plan { changes, group, attempts, machine, spot };
    let volume_tags = volumes::tags_of_all(&request.name, request.volumes.node.as_ref(), role);
    Ok(Prepared { plan, disks, found, user_data: STANDARD.encode(rendered), tags, volume_tags, on_power_off })
}

/// The tags by which Fleetkey knows the instance.
fn own_tags(request: &Request, role: &Role, generation: u32) -> Result<BTreeMap<String, String>, Refusal> {
    let mut tags = BTreeMap::from([
        (NAME_TAG.to_owned(), request.name.to_aws_name()),
        (GENERATION_TAG.to_owned(), generation.to_string()),
        (ADMIN_TAG.to_owned(), role.admin().map_err(Refusal::from)?.to_string()),
    ]);
    tags.extend(request.volumes.node.iter().flat_map(crate::volume::Node::tags));
    tags.extend(role.autostop.map(|autostop| (AUTOSTOP_TAG.to_owned(), autostop.tag())));
    Ok(tags)
}

/// The kept volumes that the box takes over. Nothing is asked for a role that keeps none.
async fn kept_volumes(world: &World, request: &Request, role: &Role) -> anyhow::Result<Vec<Takeover>> {
    let (ec2, wishes) = (&world.fleet.ec2, &request.volumes);
    if let Some(node) = &wishes.node {
        let boxes = instances::find(ec2, &Which::Name(&request.name), &State::LIVE).await?;
        let same = |found: &&Instance| {
            found.cluster.as_ref() == Some(&node.cluster) && found.cluster_ordinal == Some(node.ordinal)
        };
        if let Some(found) = boxes.iter().find(same) {
            return Err(Refusal::new(format!("box {} of {} is {node} already", found.id, request.name))
                .hint("give another --cluster-ordinal, or terminate that box first")
                .into());
        }
    }
    if !wishes.look(role) {
        return Ok(Vec::new());
    }
    let there = aws_volumes::stored(ec2, &Which::Name(&request.name)).await?;
    let mut gone = BTreeSet::new();
    for id in there.iter().filter_map(|volume| volume.instance.clone()).collect::<BTreeSet<_>>() {
        let found = launch::with_id(ec2, &id).await?;
        if !found.is_some_and(|found| State::LIVE.contains(&found.state)) {
            gone.insert(id);
        }
    }
    Ok(wishes.choose(&request.name, role, &there, &gone)?)
}

/// The role, in which it is noted of each volume whether it may hold data: all that is not made blank does.
fn with_used_volumes(role: &Role, disks: &[Disk]) -> Role {
    let mut role = role.clone();
    for volume in &mut role.volumes {
        let made = disks.iter().find(|disk| disk.device == volume.device && !disk.none);
        volume.used = made.is_none_or(|disk| disk.snapshot.is_some());
    }
    role
}

/// The further volumes as they will be.
fn planned(role: &Role, disks: &[Disk], found: &[Takeover]) -> Vec<PlannedVolume> {
    let planned = role.volumes.iter().map(|volume| {
        let found = found.iter().find(|found| found.label == volume.name);
        let made = disks.iter().find(|disk| disk.device == volume.device);
        PlannedVolume {
            name: volume.name.clone(),
            device: volume.device.clone(),
            gib: found.map(|found| found.gib).or(made.and_then(|disk| disk.gib)).unwrap_or(volume.gib),
            mount: volume.mount.as_ref().map(|mount| mount.folder.clone()),
            keep: volume.keep,
            from: found.map(|found| found.id.clone()).or(made.and_then(|disk| disk.snapshot.clone())),
        }
    });
    planned.collect()
}

/// The options as given, over those that the image brings along.
fn options(request: &Request, role: &Role, image: &Image) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    if matches!(request.source, Source::Taken(_)) {
        let of_role = |name: &String| role.options.contains_key(name);
        options.extend(image.tags.clone().into_iter().filter(|(name, _)| of_role(name)));
    }
    options.extend(request.options.clone());
    options
}

/// The user-data as EC2 takes it, before base64.
fn render(
    request: &Request,
    role: &Role,
    arch: Arch,
    options: &OptionValues,
    agent: Option<&AgentInstall>,
    world: &World,
) -> Result<Vec<u8>, Refusal> {
    let role = boot::role_for(request, role);
    let input = RenderInput {
        name: &request.name,
        namespace: &world.fleet.namespace,
        region: &request.region,
        arch,
        options,
        keys: &request.keys.specs,
        agent,
    };
    let user_data = role.render(&input).map_err(Refusal::from)?;
    user_data.encode().map_err(Refusal::from)
}
