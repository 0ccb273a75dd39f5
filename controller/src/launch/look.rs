//! Asks AWS for all that planning needs, and plans. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetkey_common::bucket::person_prefix;
use fleetkey_common::key_spec::KeySpec;

use super::plan::{Change, Machine, Plan};
use super::request::{Request, Source};
use super::{GROUP_TAG, World, boot, is_of, keys, machine, place, profile};
use crate::aws::launch::Disk;
use crate::aws::places::{self, Kind, Subnet, Subnets};
use crate::aws::{images, instance_profiles, key_pairs, people, security_groups};
use crate::image::{self, Image, ImageChoice};
use crate::ingress::{self, Rules};
use crate::instance::{ADMIN_TAG, GENERATION_TAG, NAME_TAG};
use crate::refusal::Refusal;
use crate::role::{AgentInstall, Arch, BaseImage, OptionValues, RenderInput, Role};

/// What is launched, but for the token and what is yet to be made.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// What is done, and how it is shown.
    pub(crate) plan: Plan,
    /// The volumes.
    pub(crate) disks: Vec<Disk>,
    /// The user-data in base64.
    pub(crate) user_data: String,
    /// The tags of the instance.
    pub(crate) tags: BTreeMap<String, String>,
}

/// The image, and what the role makes of it.
struct Start {
    image: Image,
    arch: Arch,
    kind: Option<Kind>,
}

/// Plans a create.
pub(crate) async fn prepare(world: &World, request: &Request, role: &Role) -> anyhow::Result<Prepared> {
    let region = request.region.as_str();
    let (Start { image, arch, kind }, subnets, key_pair) =
        tokio::try_join!(find_start(world, request, role), subnets(world, request), key_pair(world, request, role),)?;
    let (kind, places) = kind_and_places(world, request, kind, arch, subnets).await?;
    machine::check_architecture(&kind, &image.architecture)?;
    let disks = machine::disks(&image, role, request.root_gib)?;
    let (groups, profile, agent) = tokio::try_join!(
        group_changes(world, request, role, &places[0].network),
        profile_changes(world, request, role),
        boot::agent(world, request, role, arch),
    )?;
    let (group, mut changes) = groups;
    let (profile, profile_changes) = profile;
    changes.extend(profile_changes);

    let options = role.resolve_options(&options(request, role, &image)).map_err(Refusal::from)?;
    let rendered = render(request, role, arch, &options, agent.as_ref().map(|agent| &agent.install), world)?;
    let mut tags = options.tags();
    let generation = if request.source == Source::Base { 0 } else { image.generation() };
    tags.insert(NAME_TAG.to_owned(), request.name.to_aws_name());
    tags.insert(GENERATION_TAG.to_owned(), generation.to_string());
    tags.insert(ADMIN_TAG.to_owned(), role.admin().map_err(Refusal::from)?.to_string());
    let machine = Machine {
        image: image.id.clone(),
        image_name: image.name.clone(),
        architecture: arch.to_string(),
        instance_type: kind.name,
        root_gib: disks.iter().find(|disk| disk.device == image.root_device).and_then(|disk| disk.gib),
        volumes: disks.iter().skip(1).map(|disk| (disk.device.clone(), disk.gib)).collect(),
        generation,
        key_pair,
        keys: request.keys.specs.iter().map(ToString::to_string).collect(),
        agent: agent.map(|agent| agent.version),
        profile,
        zones: places.iter().map(|subnet| subnet.zone.clone()).collect(),
        subnets: places.iter().map(|subnet| subnet.id.clone()).collect(),
        user_data_bytes: rendered.len(),
    };
    world.printer.detail(&format!("in {region}: {} of {}", machine.instance_type, machine.image));
    let plan = Plan { changes, group, places, machine };
    Ok(Prepared { plan, disks, user_data: STANDARD.encode(rendered), tags })
}

/// The image, the architecture, and the instance type if somebody named one that runs it.
async fn find_start(world: &World, request: &Request, role: &Role) -> anyhow::Result<Start> {
    let fleet = &world.fleet;
    let named = match (&request.instance_type, &role.instance_type) {
        (Some(name), _) => machine::Named::Operator(name.clone()),
        (None, Some(name)) => machine::Named::Role(name.clone()),
        (None, None) => machine::Named::Nobody,
    };
    let kind = match named.name() {
        None => None,
        Some(name) => Some(places::kind(&fleet.ec2, name).await?.ok_or_else(|| {
            Refusal::usage(format!("{} has no instance type {name}", request.region))
                .hint("aws ec2 describe-instance-types shows those that there are")
        })?),
    };
    let (image, arch) = match &request.source {
        Source::Base => {
            let arch = machine::architecture(request.arch, &named, kind.as_ref(), role)?;
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
    let kind = kind.filter(|kind| runs(kind) || matches!(named, machine::Named::Operator(_)));
    Ok(Start { image, arch, kind })
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
        zone: request.zone.as_deref(),
        network: request.network.as_deref(),
        subnet: request.subnet.as_deref(),
    };
    Ok(place::candidates(&wanted, found)?)
}

/// The instance type, and the subnets in whose zones it is offered.
async fn kind_and_places(
    world: &World,
    request: &Request,
    kind: Option<Kind>,
    arch: Arch,
    subnets: Vec<Subnet>,
) -> anyhow::Result<(Kind, Vec<Subnet>)> {
    let ec2 = &world.fleet.ec2;
    let (kind, offers) = if let Some(kind) = kind {
        let offers = places::offers(ec2, std::slice::from_ref(&kind.name)).await?;
        (kind, offers)
    } else {
        let kinds = places::burstable(ec2, arch.as_str()).await?;
        let names: Vec<_> = kinds.iter().map(|kind| kind.name.clone()).collect();
        let offers = places::offers(ec2, &names).await?;
        let zones: Vec<_> = subnets.iter().map(|subnet| subnet.zone.as_str()).collect();
        let kind = machine::smallest(&kinds, &offers, &zones).cloned().ok_or_else(|| {
            Refusal::new(format!("no small instance type for {arch} is offered in {}", zones.join(", ")))
                .hint("--instance-type names one; --zone names another zone")
        })?;
        (kind, offers)
    };
    let zones = offers.get(&kind.name).map_or(&[][..], Vec::as_slice);
    let places = place::offering(&kind.name, &subnets, zones)?;
    world.printer.detail(&format!("{} is offered in {} of {}", kind.name, zones.join(", "), request.region));
    Ok((kind, places))
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
    request: &Request,
    role: &Role,
    network: &str,
) -> anyhow::Result<(Option<String>, Vec<Change>)> {
    let name = request.name.to_aws_name();
    let found = security_groups::find(&world.fleet.ec2, network, &name).await?;
    let mut changes = Vec::new();
    let there = match &found {
        Some(group) if !is_of(group, &request.name) => {
            let (id, of) = (&group.id, &request.name);
            let tag = format!("Key={GROUP_TAG},Value={of} --region {}", request.region);
            return Err(Refusal::new(format!("there is a security group {name} ({id}) that Fleetkey did not make"))
                .hint(format!("aws ec2 create-tags --resources {id} --tags {tag} lets Fleetkey have it"))
                .hint("or delete or rename it, or give another --namespace")
                .into());
        }
        Some(group) => group.rules.clone(),
        None => {
            changes.push(Change::MakeGroup { name, network: network.to_owned() });
            Rules::new()
        }
    };
    let ssh = world.entry.resolve(&world.fleet, &there).await?;
    let found_changes = ingress::changes(&ingress::wanted(&role.ingress), &there, &ssh);
    changes.extend(Change::of_rules(found_changes));
    Ok((found.map(|group| group.id), changes))
}

/// The instance profile's name, and what gives it the policies that the role says; none for a role without any.
async fn profile_changes(
    world: &World,
    request: &Request,
    role: &Role,
) -> anyhow::Result<(Option<String>, Vec<Change>)> {
    let name = profile::name(&request.name, &request.region);
    let wanted = boot::policies(world, request, role);
    let (iam_role, profile) = tokio::try_join!(
        instance_profiles::find_role(&world.iam, &name),
        instance_profiles::find_profile(&world.iam, &name),
    )?;
    let found = profile::Found { role: iam_role, profile };
    if wanted.is_empty() && found == profile::Found::default() {
        return Ok((None, Vec::new()));
    }
    let changes = profile::changes(&name, &wanted, &found)?;
    Ok((Some(name), changes))
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
