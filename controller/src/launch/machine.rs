//! On what a box runs: architecture, instance type and volumes. Pure: what EC2 offers is handed in.

use std::collections::BTreeMap;

use super::kept::Takeover;
use crate::aws::launch::Disk;
use crate::aws::places::Kind;
use crate::image::Image;
use crate::refusal::Refusal;
use crate::role::{Arch, Role, Volume};

/// The least memory of a type that is picked where neither operator nor role names one, in MiB: with less, package
/// managers are ended for want of it.
const LEAST_MEMORY: i64 = 2048;

/// Who named the instance type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// The operator, by flag or variable.
    Operator(String),
    /// The role.
    Role(String),
    /// Nobody.
    Nobody,
}

impl Named {
    /// The instance type, if somebody named one.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Named::Operator(name) | Named::Role(name) => Some(name),
            Named::Nobody => None,
        }
    }
}

/// The architecture of a box from a role's base image: the one asked for, else the first that type and role have.
///
/// # Errors
/// When the type does not run it.
pub(crate) fn architecture(
    asked: Option<Arch>,
    named: &Named,
    kind: Option<&Kind>,
    role: &Role,
) -> Result<Arch, Refusal> {
    let runs = |arch: Arch| kind.is_none_or(|kind| kind.architectures.iter().any(|runs| runs == arch.as_str()));
    match asked {
        // The role's type is a default, which gives way.
        Some(arch) if runs(arch) || !matches!(named, Named::Operator(_)) => Ok(arch),
        Some(arch) => Err(does_not_run(kind, arch.as_str())),
        None => {
            let has = role.base_images.keys().copied();
            let words: Vec<_> = role.base_images.keys().map(|arch| arch.as_str()).collect();
            has.clone().find(|arch| runs(*arch)).ok_or_else(|| match kind {
                Some(_) if !words.is_empty() => does_not_run(kind, &words.join(" or ")),
                _ => Refusal::new(format!("role {} has no base image", role.name))
                    .hint("--image names one; fleetkey role show prints the role"),
            })
        }
    }
}

/// Refuses a type that does not run an image's architecture.
pub(crate) fn check_architecture(kind: &Kind, architecture: &str) -> Result<(), Refusal> {
    if kind.architectures.iter().any(|runs| runs == architecture) {
        return Ok(());
    }
    Err(does_not_run(Some(kind), architecture))
}

fn does_not_run(kind: Option<&Kind>, architecture: &str) -> Refusal {
    let (name, runs) = kind.map_or(("it", String::new()), |kind| (&kind.name, kind.architectures.join(", ")));
    Refusal::usage(format!("instance type {name} runs {runs}, and the image is for {architecture}"))
        .hint(format!("--instance-type names a type for {architecture}, or --arch another architecture"))
}

/// The smallest of these types that has enough memory for package managers and is offered somewhere.
pub(crate) fn smallest<'a>(
    kinds: &'a [Kind],
    offers: &BTreeMap<String, Vec<String>>,
    zones: &[&str],
) -> Option<&'a Kind> {
    let offered =
        |kind: &&Kind| offers.get(&kind.name).is_some_and(|at| at.iter().any(|at| zones.contains(&at.as_str())));
    let enough = kinds.iter().filter(|kind| kind.memory >= LEAST_MEMORY);
    // Of two alike, the one whose name comes later is the newer.
    enough.filter(offered).min_by_key(|kind| (kind.memory, kind.processors, std::cmp::Reverse(&kind.name)))
}

/// The volumes of a box, the root volume first.
///
/// The root volume is as large as the image's unless role or operator say more.
///
/// # Errors
/// When the operator says less than the image has, or when a volume of the role is in the root volume's place.
pub(crate) fn disks(
    image: &Image,
    role: &Role,
    root_gib: Option<u32>,
    found: &[Takeover],
) -> Result<Vec<Disk>, Refusal> {
    let least = image.root_gib();
    if let Some((asked, least)) = root_gib.zip(least).filter(|(asked, least)| asked < least) {
        return Err(Refusal::usage(format!(
            "--root-volume {asked} is less than the {least} GiB of image {}",
            image.id
        ))
        .hint("leave it out for the image's own size"));
    }
    let from_role = role.root_volume.as_ref();
    let gib = root_gib.or_else(|| from_role.and_then(|root| root.gib)).max(least);
    let kind = from_role.and_then(|root| root.kind).map(|kind| kind.as_str().to_owned());
    let mut disks = Vec::new();
    if !image.root_device.is_empty() {
        disks.push(Disk { gib, kind, none: false, ..Disk::none(image.root_device.clone()) });
    }
    for volume in &role.volumes {
        if Volume::same_device(&volume.device, &image.root_device) {
            return Err(in_the_way(volume, role, image, &image.root_device, "the root volume"));
        }
        // An image of such a box brings the volume's content along.
        let there = image.volumes.iter().find(|there| Volume::same_device(&there.device, &volume.device));
        if let Some(there) = there.filter(|there| there.device != volume.device) {
            return Err(in_the_way(volume, role, image, &there.device, "a volume"));
        }
        // The volume itself is newer than any copy of it.
        if found.iter().any(|found| found.label == volume.name) {
            disks.extend(there.map(|there| Disk::none(there.device.clone())));
            continue;
        }
        disks.push(Disk {
            device: volume.device.clone(),
            gib: Some(volume.gib.max(there.map_or(0, |there| there.gib))),
            kind: Some(volume.kind.as_str().to_owned()),
            iops: volume.iops,
            throughput: volume.throughput,
            // A copy is encrypted if its snapshot is.
            encrypted: volume.encrypted && there.is_none(),
            snapshot: there.map(|there| there.snapshot.clone()),
            keep: volume.keep,
            none: false,
        });
    }
    Ok(disks)
}

fn in_the_way(volume: &Volume, role: &Role, image: &Image, device: &str, what: &str) -> Refusal {
    let (name, role, at, image) = (&volume.name, &role.name, &volume.device, &image.id);
    Refusal::new(format!("volume {name} of role {role} is {at}, and image {image} has {what} at {device}"))
        .hint("give it another device name, such as /dev/sdf")
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
