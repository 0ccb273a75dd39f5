//! Asks AWS for all that planning needs, and plans. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_iam::Client as IamClient;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetkey_common::aws_names::AbsoluteName;
use fleetkey_common::bucket::person_prefix;
use fleetkey_common::key_spec::KeySpec;

use super::attempts::{self, Attempt};
use super::kept::{self, Takeover};
use super::plan::{Change, Machine, Plan, PlannedVolume};
use super::request::{Request, Source};
use super::spot::market;
use super::{BOX_TAG, World, boot, is_of, keys, machine, place, profile, volumes};
use crate::aws::instances::{self, Which};
use crate::aws::launch::Disk;
use crate::aws::places::{self, Kind, Subnet, Subnets};
use crate::aws::security_groups::Group;
use crate::aws::{
    CallError, images, instance_profiles, key_pairs, launch, people, security_groups, volumes as aws_volumes,
};
use crate::fleet::Fleet;
use crate::image::{self, Image, ImageChoice};
use crate::ingress::{self, Rules, Ssh};
use crate::instance::{ADMIN_TAG, AUTOSTOP_TAG, GENERATION_TAG, Instance, NAME_TAG, State};
use crate::refusal::Refusal;
use crate::role::{AgentInstall, Arch, BaseImage, OptionValues, RenderInput, Role};

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

/// The image, and what the role makes of it.
struct Start {
    image: Image,
    arch: Arch,
    kinds: Vec<Kind>,
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
    let mut attempts = to_try(world, kinds, arch, subnets).await?;
    let mut spot = None;
    if let Some(wish) = &request.spot {
        let (terms, ordered) = market::terms(world, wish, attempts).await?;
        (spot, attempts) = (Some(terms), ordered);
    }
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
    let mut tags = options.tags();
    let generation = if request.source == Source::Base { 0 } else { image.generation() };
    tags.insert(NAME_TAG.to_owned(), request.name.to_aws_name());
    tags.insert(GENERATION_TAG.to_owned(), generation.to_string());
    tags.insert(ADMIN_TAG.to_owned(), role.admin().map_err(Refusal::from)?.to_string());
    tags.extend(request.volumes.node.iter().flat_map(crate::volume::Node::tags));
    tags.extend(role.autostop.map(|autostop| (AUTOSTOP_TAG.to_owned(), autostop.tag())));
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
    let volume_tags = volumes::tags_of_all(&request.name, request.volumes.node.as_ref());
    Ok(Prepared { plan, disks, found, user_data: STANDARD.encode(rendered), tags, volume_tags, on_power_off })
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

/// The image, the architecture, and the instance types if somebody named some that run it.
async fn find_start(world: &World, request: &Request, role: &Role) -> anyhow::Result<Start> {
    let fleet = &world.fleet;
    let named = match (request.instance_types.first(), &role.instance_type) {
        (Some(name), _) => machine::Named::Operator(name.clone()),
        (None, Some(name)) => machine::Named::Role(name.clone()),
        (None, None) => machine::Named::Nobody,
    };
    let mut kinds = Vec::new();
    for name in named.name().into_iter().chain(request.instance_types.iter().skip(1).map(String::as_str)) {
        kinds.push(places::kind(&fleet.ec2, name).await?.ok_or_else(|| {
            Refusal::usage(format!("{} has no instance type {name}", request.region))
                .hint("aws ec2 describe-instance-types shows those that there are")
        })?);
    }
    let (image, arch) = match &request.source {
        Source::Base => {
            let arch = machine::architecture(request.arch, &named, kinds.first(), role)?;
            (base_image(world, role, arch).await?, arch)
        }
        Source::Image(id) => of_arch(world, request, with_id(world, id).await?)?,
        Source::Taken(choice) => of_arch(world, request, taken(world, request, choice).await?)?,
    };
    if image.state != "available" {
        return Err(Refusal::new(format!("image {} is {}, not available", image.id, image.state))
            .hint("one that is pending takes some minutes; fleetkey list-images shows the others")
            .into());
    }
    // The role's type is a default, which gives way to the image.
    let runs = |kind: &Kind| machine::check_architecture(kind, arch.as_str()).is_ok();
    kinds.retain(|kind| runs(kind) || matches!(named, machine::Named::Operator(_)));
    Ok(Start { image, arch, kinds })
}

/// An image together with its architecture, which must be the one asked for, if one was.
fn of_arch(world: &World, request: &Request, image: Image) -> Result<(Image, Arch), Refusal> {
    let arch: Arch = image.architecture.parse().map_err(|_| {
        let (id, architecture) = (&image.id, &image.architecture);
        Refusal::usage(format!("image {id} is for {architecture:?}, on which no box runs"))
            .hint(format!("give one for {}", Arch::WORDS.join(" or ")))
    })?;
    if request.arch.is_some_and(|asked| asked != arch) {
        return Err(Refusal::usage(format!("image {} is for {arch}", image.id)).hint("leave --arch out"));
    }
    world.printer.detail(&format!("image {} ({})", image.id, image.name));
    Ok((image, arch))
}

async fn with_id(world: &World, id: &str) -> anyhow::Result<Image> {
    let found = images::with_id(&world.fleet.ec2, id).await?;
    Ok(found.ok_or_else(|| {
        Refusal::new(format!("there is no image {id} in {}, or none that you may use", world.fleet.region))
            .hint("an image is of one region; --region or --zone says which")
    })?)
}

async fn taken(world: &World, request: &Request, choice: &ImageChoice) -> anyhow::Result<Image> {
    let images = images::of_box(&world.fleet.ec2, &request.name).await?;
    Ok(image::choose(images, choice, &request.name)?)
}

/// The first of the role's images for this architecture that there is.
async fn base_image(world: &World, role: &Role, arch: Arch) -> anyhow::Result<Image> {
    let wanted = role.base_image(arch).map_err(Refusal::from)?;
    let mut looked = Vec::new();
    for image in wanted {
        let found = match image {
            BaseImage::Ssm { parameter } => {
                looked.push(format!("parameter {parameter}"));
                match images::parameter(&world.fleet.ssm(), parameter).await? {
                    Some(id) => images::with_id(&world.fleet.ec2, &id).await?,
                    None => None,
                }
            }
            BaseImage::Pattern { owner, name } => {
                looked.push(format!("{name} of {owner}"));
                images::newest(&world.fleet.ec2, owner, name, arch.as_str()).await?
            }
        };
        if let Some(found) = found {
            return Ok(found);
        }
    }
    let (role, region) = (&role.name, &world.fleet.region);
    Err(Refusal::new(format!("{region} has no base image of role {role} for {arch}"))
        .hint(format!("looked for: {}", looked.join("; ")))
        .hint("--image names another image")
        .into())
}

async fn subnets(world: &World, request: &Request) -> anyhow::Result<Vec<Subnet>> {
    let which = match (&request.subnet, &request.network) {
        (Some(id), _) => Subnets::Id(id),
        (None, Some(id)) => Subnets::Network(id),
        (None, None) => Subnets::Default,
    };
    let found = places::subnets(&world.fleet.ec2, which).await?;
    let wanted = place::Where {
        region: &request.region,
        zones: &request.zones,
        network: request.network.as_deref(),
        subnet: request.subnet.as_deref(),
    };
    Ok(place::candidates(&wanted, found)?)
}

/// Each instance type in the subnets in whose zones it is offered: one at least.
async fn to_try(world: &World, mut kinds: Vec<Kind>, arch: Arch, subnets: Vec<Subnet>) -> anyhow::Result<Vec<Attempt>> {
    let ec2 = &world.fleet.ec2;
    let names = |kinds: &[Kind]| kinds.iter().map(|kind| kind.name.clone()).collect::<Vec<_>>();
    let offers = if kinds.is_empty() {
        let small = places::burstable(ec2, arch.as_str()).await?;
        let offers = places::offers(ec2, &names(&small)).await?;
        let zones: Vec<_> = subnets.iter().map(|subnet| subnet.zone.as_str()).collect();
        kinds.push(machine::smallest(&small, &offers, &zones).cloned().ok_or_else(|| {
            Refusal::new(format!("no small instance type for {arch} is offered in {}", zones.join(", ")))
                .hint("--instance-type names one; --zone names another zone")
        })?);
        offers
    } else {
        places::offers(ec2, &names(&kinds)).await?
    };
    let (mut attempts, mut nowhere) = (Vec::new(), Vec::new());
    for Kind { name: kind, .. } in kinds {
        let zones = offers.get(&kind).map_or(&[][..], Vec::as_slice);
        world.printer.detail(&format!("{kind} is offered in {} of {}", zones.join(", "), world.fleet.region));
        match place::offering(&kind, &subnets, zones) {
            Ok(places) => attempts.extend(places.into_iter().map(|place| Attempt { kind: kind.clone(), place })),
            Err(refusal) => nowhere.push(refusal),
        }
    }
    if attempts.is_empty() {
        let refusal = nowhere.into_iter().next();
        return Err(refusal.unwrap_or_else(|| Refusal::new("there is no place to launch in")).into());
    }
    for refusal in nowhere {
        world.printer.note(&format!("{refusal}: another of the types is taken"));
    }
    Ok(attempts)
}

/// The key pair that EC2 is told of, after everybody who is named was found.
async fn key_pair(world: &World, request: &Request, role: &Role) -> anyhow::Result<Option<String>> {
    let keys = &request.keys;
    let pairs: BTreeSet<_> = key_pairs::list(&world.fleet.ec2).await?.into_iter().map(|pair| pair.name).collect();
    let mut registered = keys::Registered { pairs, ..keys::Registered::default() };
    for name in keys.names() {
        if !registered.pairs.contains(name.as_str()) && !world.bucket.list(&person_prefix(name)).await?.is_empty() {
            registered.people.insert(name.clone());
        }
    }
    for spec in &keys.specs {
        let (kind, name, there) = match spec {
            KeySpec::User(name) => ("user", name.to_string(), people::user_exists(&world.iam, name).await?),
            KeySpec::Group(name) => ("group", name.to_string(), people::group_exists(&world.iam, name).await?),
            KeySpec::Name(_) | KeySpec::Glob(_) | KeySpec::Me => continue,
        };
        if !there {
            return Err(Refusal::usage(format!("--keypairs {spec}: there is no IAM {kind} {name}"))
                .hint("names count with their case")
                .into());
        }
    }
    Ok(keys.key_pair(&registered, request.agent && role.agent, &request.region)?)
}

/// The security group, if it is there, and what makes it let in what the role says.
async fn group_changes(
    world: &World,
    of: &AbsoluteName,
    role: &Role,
    network: &str,
) -> anyhow::Result<(Option<String>, Vec<Change>)> {
    let (fleet, name) = (&world.fleet, of.to_aws_name());
    let found = security_groups::find(&fleet.ec2, network, &name).await?;
    let mut changes = Vec::new();
    let there = if let Some(group) = &found {
        check_group(fleet, of, group)?;
        group.rules.clone()
    } else {
        changes.push(Change::MakeGroup { name, network: network.to_owned() });
        Rules::new()
    };
    let ssh = world.entry.resolve(fleet, &there).await?;
    changes.extend(rule_changes(role, &there, &ssh));
    Ok((found.map(|group| group.id), changes))
}

/// Refuses a group of the name of Fleetkey's that Fleetkey did not make.
pub(super) fn check_group(fleet: &Fleet, of: &AbsoluteName, group: &Group) -> Result<(), Refusal> {
    if is_of(group, of) {
        return Ok(());
    }
    let Group { id, name, .. } = group;
    let tag = format!("Key={BOX_TAG},Value={of} --region {}", fleet.region);
    Err(Refusal::new(format!("there is a security group {name} ({id}) that Fleetkey did not make"))
        .hint(format!("aws ec2 create-tags --resources {id} --tags {tag} lets Fleetkey have it"))
        .hint("or delete or rename it, or give another --namespace"))
}

/// What makes a group that lets in what is `there` let in what the role says, and SSH from where it is said.
pub(super) fn rule_changes(role: &Role, there: &Rules, ssh: &Ssh) -> impl Iterator<Item = Change> + use<> {
    Change::of_rules(ingress::changes(&ingress::wanted(&role.ingress), there, ssh))
}

/// The instance profile's name, and what gives it the policies that the role says; none for a role without any.
async fn profile_changes(
    world: &World,
    of: &AbsoluteName,
    role: &Role,
) -> anyhow::Result<(Option<String>, Vec<Change>)> {
    let name = profile::name(of, &world.fleet.region);
    let wanted = boot::policies(world, role);
    let found = find_profile(&world.iam, &name).await?;
    if wanted.is_empty() && found == profile::Found::default() {
        return Ok((None, Vec::new()));
    }
    let changes = profile::changes(&name, &wanted, &found)?;
    Ok((Some(name), changes))
}

/// What there is of a profile.
pub(super) async fn find_profile(iam: &IamClient, name: &str) -> Result<profile::Found, CallError> {
    let (role, profile) =
        tokio::try_join!(instance_profiles::find_role(iam, name), instance_profiles::find_profile(iam, name))?;
    Ok(profile::Found { role, profile })
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
