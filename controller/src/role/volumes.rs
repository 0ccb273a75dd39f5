//! The volumes of a role, read from its file and changed by flags. Both have the same fields and the same rules.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::Serialize;

use super::fields::{Findings, find};
use super::model::{Role, RoleName};
use super::node::{Key, Node};
use super::volume::{Mount, Volume, bad_device, bad_folder, bad_owner, free_device};
use super::words::{FileSystem, VolumeKind};

/// The fields of a volume in a role.
const FIELDS: [&str; 12] = [
    "name",
    "size",
    "kind",
    "device",
    "iops",
    "throughput",
    "encrypted",
    "keep",
    "image",
    "mount",
    "file_system",
    "owner",
];

/// The sizes that EBS has for any type, in GiB. <https://docs.aws.amazon.com/ebs/latest/userguide/volume_constraints.html>
const GIB: std::ops::RangeInclusive<i64> = 1..=65_536;

/// Numbers of operations and of MiB in a second: what is good for a type is told with the type.
const RATE: std::ops::RangeInclusive<i64> = 1..=1_000_000;

/// What a volume is said to be beside its name; what is not said is left as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Stated {
    size: Option<u32>,
    kind: Option<VolumeKind>,
    device: Option<String>,
    iops: Option<u32>,
    throughput: Option<u32>,
    encrypted: Option<bool>,
    keep: Option<bool>,
    image: Option<bool>,
    mount: Option<String>,
    file_system: Option<FileSystem>,
    owner: Option<String>,
}

impl Stated {
    /// The volume as it is then.
    ///
    /// # Errors
    /// When parts of it do not go together.
    fn apply(self, mut volume: Volume) -> Result<Volume, String> {
        volume.gib = self.size.unwrap_or(volume.gib);
        if let Some(kind) = self.kind.filter(|kind| *kind != volume.kind) {
            // Speeds are those of a type.
            (volume.kind, volume.iops, volume.throughput) = (kind, None, None);
        }
        volume.iops = self.iops.or(volume.iops);
        volume.throughput = self.throughput.or(volume.throughput);
        volume.encrypted = self.encrypted.unwrap_or(volume.encrypted);
        volume.keep = self.keep.unwrap_or(volume.keep);
        volume.image = self.image.unwrap_or(volume.image);
        volume.device = self.device.unwrap_or(volume.device);
        let before = volume.mount.take();
        let folder = self.mount.or_else(|| before.as_ref().map(|mount| mount.folder.clone()));
        volume.mount = match folder {
            Some(folder) => Some(Mount {
                folder,
                file_system: self.file_system.or(before.as_ref().map(|at| at.file_system)).unwrap_or(FileSystem::Ext4),
                owner: self.owner.or_else(|| before.and_then(|at| at.owner)),
            }),
            None if self.file_system.is_some() || self.owner.is_some() => {
                return Err("file_system and owner are of a volume that is mounted: say mount too".to_owned());
            }
            None => None,
        };
        let faults = [
            volume.mount.as_ref().and_then(|mount| bad_folder(&mount.folder)).map(|fault| format!("mount: {fault}")),
            volume.mount.as_ref().and_then(|mount| bad_owner(mount.owner.as_deref()?)),
            bad_device(&volume.device),
            volume.faults().into_iter().next(),
        ];
        faults.into_iter().flatten().next().map_or(Ok(volume), Err)
    }
}

/// Why a volume cannot stand beside others; `None` if it can.
fn clash(volume: &Volume, others: &[Volume]) -> Option<String> {
    let at = |volume: &Volume| volume.mount.as_ref().map(|mount| mount.folder.clone());
    others.iter().find_map(|other| {
        let (name, device) = (&other.name, &volume.device);
        if Volume::same_device(&other.device, device) {
            return Some(format!("device {device} is that of volume {name} already"));
        }
        at(volume)
            .filter(|folder| at(other).as_ref() == Some(folder))
            .map(|folder| format!("volume {name} is mounted at {folder} already"))
    })
}

/// Why this is no name for a volume; `None` if it is one.
fn bad_name(name: &str) -> Option<String> {
    let bad = name.parse::<RoleName>().is_err();
    bad.then(|| format!("{name:?}: volumes have names of 0-9 a-z . _ -, each its own"))
}

/// Reads a role's `volumes`.
pub(super) fn read(node: &Node, findings: &mut Findings) -> Vec<Volume> {
    let mut volumes: Vec<Volume> = Vec::new();
    for node in findings.list(node, "volumes") {
        let entries = findings.map(node, "a volume", &FIELDS);
        let name = find(&entries, "name").and_then(|node| Some((findings.text(node, "name")?, &node.place)));
        let stated = stated(&entries, findings);
        let (Some((name, place)), true) = (name, find(&entries, "size").is_some()) else {
            findings.error(&node.place, "a volume needs name and size");
            continue;
        };
        if bad_name(&name).is_some() || volumes.iter().any(|volume| volume.name == name) {
            findings.error(place, format!("{name:?}: volumes have names of 0-9 a-z . _ -, each its own"));
        }
        let Some(device) = stated.device.clone().or_else(|| free_device(&volumes)) else {
            findings.error(&node.place, "there are more volumes than free devices, /dev/sdf to /dev/sdp");
            continue;
        };
        // A size that is wrong is told already.
        let new = Volume::new(name, device, stated.size.unwrap_or(125));
        match stated.apply(new) {
            Ok(volume) => {
                if let Some(clash) = clash(&volume, &volumes) {
                    findings.error(&node.place, clash);
                }
                volumes.push(volume);
            }
            Err(fault) => findings.error(&node.place, fault),
        }
    }
    volumes
}

fn stated(entries: &[(&Key, &Node)], findings: &mut Findings) -> Stated {
    let at = |name: &str| find(entries, name);
    let number = |node: &Node, what: &str, range, findings: &mut Findings| {
        findings.number(node, what, range).and_then(|number| u32::try_from(number).ok())
    };
    Stated {
        size: at("size").and_then(|node| number(node, "size, in GiB,", GIB, findings)),
        kind: at("kind").and_then(|node| findings.word(node, "kind", VolumeKind::WORDS)),
        device: at("device").and_then(|node| findings.text(node, "device")),
        iops: at("iops").and_then(|node| number(node, "iops", RATE, findings)),
        throughput: at("throughput").and_then(|node| number(node, "throughput", RATE, findings)),
        encrypted: at("encrypted").and_then(|node| findings.switch(node, "encrypted")),
        keep: at("keep").and_then(|node| findings.switch(node, "keep")),
        image: at("image").and_then(|node| findings.switch(node, "image")),
        mount: at("mount").and_then(|node| findings.text(node, "mount")),
        file_system: at("file_system").and_then(|node| findings.word(node, "file_system", FileSystem::WORDS)),
        owner: at("owner").and_then(|node| findings.text(node, "owner")),
    }
}

/// A volume as it stands on the command line: `NAME=GIB`, and fields as a role has them behind commas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct VolumeFlag {
    name: String,
    stated: Stated,
}

impl VolumeFlag {
    /// Reads `data=100,mount=/srv/data,keep`. A field that is true or false may stand without a value: true.
    ///
    /// # Errors
    /// With what is wrong, in words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let form = "write NAME=GIB, then fields as a role has them: data=100,mount=/srv/data,keep";
        let mut words = text.split(',');
        let (name, gib) = words.next().and_then(|word| word.split_once('=')).ok_or(form)?;
        if let Some(fault) = bad_name(name) {
            return Err(fault);
        }
        let mut fields: BTreeMap<&str, &str> = BTreeMap::from([("size", gib)]);
        for word in words {
            let (field, value) = word.split_once('=').unwrap_or((word, "true"));
            let known = FIELDS.into_iter().filter(|known| !["name", "size"].contains(known));
            if !known.clone().any(|known| known == field) {
                return Err(format!("unknown field {field:?}; known are {}", known.collect::<Vec<_>>().join(", ")));
            }
            if fields.insert(field, value).is_some() {
                return Err(format!("{field} is given twice"));
            }
        }
        let text = |field: &str| fields.get(field).map(|value| (*value).to_owned());
        let stated = Stated {
            size: Some(value(&fields, "size", "a whole number of GiB")?.ok_or(form)?),
            kind: value(&fields, "kind", VolumeKind::WORDS.join(", "))?,
            device: text("device"),
            iops: value(&fields, "iops", "a whole number")?,
            throughput: value(&fields, "throughput", "a whole number of MiB/s")?,
            encrypted: value(&fields, "encrypted", "true or false")?,
            keep: value(&fields, "keep", "true or false")?,
            image: value(&fields, "image", "true or false")?,
            mount: text("mount"),
            file_system: value(&fields, "file_system", FileSystem::WORDS.join(", "))?,
            owner: text("owner"),
        };
        Ok(Self { name: name.to_owned(), stated })
    }
}

fn value<T: std::str::FromStr>(
    fields: &BTreeMap<&str, &str>,
    field: &str,
    good: impl Display,
) -> Result<Option<T>, String> {
    let parsed = |value: &&str| value.parse().map_err(|_| format!("{field} is {good}, not {value:?}"));
    fields.get(field).map(parsed).transpose()
}

impl Role {
    /// The role with the volumes of flags beside its own. One that has the name of a volume of the role changes that.
    ///
    /// # Errors
    /// When one is wrong, or does not go with the others.
    pub(crate) fn with_volumes(mut self, flags: &[VolumeFlag]) -> Result<Self, String> {
        for (at, VolumeFlag { name, stated }) in flags.iter().enumerate() {
            if flags[..at].iter().any(|other| other.name == *name) {
                return Err(format!("--volume {name} is given twice"));
            }
            let place = self.volumes.iter().position(|volume| volume.name == *name);
            let old = if let Some(place) = place {
                self.volumes.remove(place)
            } else {
                let device = stated.device.clone().or_else(|| free_device(&self.volumes)).ok_or_else(|| {
                    format!("--volume {name}: there are more volumes than free devices, /dev/sdf to /dev/sdp")
                })?;
                Volume::new(name.clone(), device, 1)
            };
            let volume = stated.clone().apply(old).map_err(|fault| format!("--volume {name}: {fault}"))?;
            if let Some(clash) = clash(&volume, &self.volumes) {
                return Err(format!("--volume {name}: {clash}"));
            }
            self.volumes.insert(place.unwrap_or(self.volumes.len()), volume);
        }
        mounted_twice(&self).map_or(Ok(self), Err)
    }
}

/// Why the volumes cannot be mounted beside the disks of the instance; `None` if they can.
pub(super) fn mounted_twice(role: &Role) -> Option<String> {
    let ephemeral = role.ephemeral.as_ref()?;
    let taken = |folder: &String| ephemeral.mount == *folder || ephemeral.directories.contains(folder);
    let mut mounted = role.volumes.iter().filter_map(|volume| Some((&volume.name, &volume.mount.as_ref()?.folder)));
    let (name, folder) = mounted.find(|(_, folder)| taken(folder))?;
    Some(format!("volume {name} is mounted at {folder}, where the disks of the instance are"))
}

#[cfg(test)]
#[path = "volumes_tests.rs"]
mod tests;
