//! What the box is made of: image, architecture, and the instance types that run it.

use crate::aws::images;
use crate::aws::places::{self, Kind};
use crate::image::{self, Image, ImageChoice};
use crate::launch::request::{Request, Source};
use crate::launch::{World, machine};
use crate::refusal::Refusal;
use crate::role::{Arch, BaseImage, Role};

/// The image, and what the role makes of it.
pub(super) struct Start {
    /// The image.
    pub(super) image: Image,
    /// The architecture of the box.
    pub(super) arch: Arch,
    /// The instance types that somebody named and that run it.
    pub(super) kinds: Vec<Kind>,
}

/// The image, the architecture, and the instance types if somebody named some that run it.
pub(super) async fn find_start(world: &World, request: &Request, role: &Role) -> anyhow::Result<Start> {
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
