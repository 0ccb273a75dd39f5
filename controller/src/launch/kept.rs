//! Which kept volumes a new box takes over from one that is gone. Pure: what there is is handed in.
//!
//! A box takes over what is its own beyond doubt: a node of a cluster has the volumes of that place in the cluster; a box of
//! no cluster the only one of the name that hangs on nothing. Where it is not clear which, the operator says.

use std::collections::{BTreeMap, BTreeSet};

use fleetkey_common::aws_names::AbsoluteName;
use serde::{Deserialize, Serialize};

use crate::aws::places::Subnet;
use crate::refusal::Refusal;
use crate::role::{Role, VolumeFlag};
use crate::volume::{AVAILABLE, Node, Stored};

/// What the operator says of volumes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Wishes {
    /// Volumes beside those of the role, or other than those.
    pub(crate) volumes: Vec<VolumeFlag>,
    /// Kept volumes that are taken over, by id.
    pub(crate) reuse: BTreeSet<String>,
    /// Whether none is.
    pub(crate) blank: bool,
    /// The node of a cluster that the box is to be.
    pub(crate) node: Option<Node>,
}

/// A volume that is attached to the box once it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Takeover {
    /// The volume.
    pub(crate) id: String,
    /// Its name in the role.
    pub(crate) label: String,
    /// Under which device name.
    pub(crate) device: String,
    /// Its size in GiB.
    pub(crate) gib: u32,
    /// Its zone.
    pub(crate) zone: String,
}

impl Wishes {
    /// Whether kept volumes have to be looked for.
    pub(super) fn look(&self, role: &Role) -> bool {
        !self.reuse.is_empty() || (!self.blank && role.volumes.iter().any(|volume| volume.keep))
    }

    /// The volumes that a new box takes over, of all that are for boxes of its name. `gone` are the instances that are
    /// being terminated: what hangs on one is as good as free.
    ///
    /// # Errors
    /// When it is not clear which, or when what was asked for cannot be had.
    pub(super) fn choose(
        &self,
        of: &AbsoluteName,
        role: &Role,
        there: &[Stored],
        gone: &BTreeSet<String>,
    ) -> Result<Vec<Takeover>, Refusal> {
        let is_free =
            |volume: &Stored| volume.state == AVAILABLE || volume.instance.as_ref().is_some_and(|id| gone.contains(id));
        let own: Vec<_> = there.iter().filter(|volume| volume.node == self.node).collect();
        self.check_reuse(of, role, there, &is_free)?;
        let mut found = Vec::new();
        for volume in role.volumes.iter().filter(|volume| volume.keep) {
            let mut named = own.iter().filter(|own| own.label == volume.name);
            let asked: Vec<_> = named.clone().filter(|own| self.reuse.contains(&own.id)).collect();
            let chosen = match asked[..] {
                [] if self.blank => continue,
                [] => {
                    // A place in a cluster is one box's: what hangs on another is not free for a second.
                    if let (Some(node), Some(busy)) = (&self.node, named.find(|own| !is_free(own))) {
                        return Err(taken(busy, node));
                    }
                    let free: Vec<_> = own.iter().filter(|own| own.label == volume.name && is_free(own)).collect();
                    match free[..] {
                        [] => continue,
                        [only] => only,
                        _ => return Err(which(&volume.name, of, &free)),
                    }
                }
                [only] => only,
                _ => return Err(Refusal::usage(format!("--reuse names {} volumes for {}", asked.len(), volume.name))),
            };
            let (id, zone) = (chosen.id.clone(), chosen.zone.clone());
            let (label, device) = (volume.name.clone(), volume.device.clone());
            found.push(Takeover { id, label, device, gib: chosen.gib, zone });
        }
        one_zone(&found)?;
        Ok(found)
    }

    /// Whether each volume that is named can be taken over.
    fn check_reuse(
        &self,
        of: &AbsoluteName,
        role: &Role,
        there: &[Stored],
        is_free: &impl Fn(&Stored) -> bool,
    ) -> Result<(), Refusal> {
        for id in &self.reuse {
            let Some(found) = there.iter().find(|volume| volume.id == *id) else {
                return Err(Refusal::new(format!("--reuse {id}: there is no such volume of {of} here"))
                    .hint(format!("fleetkey list-volumes {of} shows those that there are"))
                    .hint("a volume is known by its tags fleetkey:box and fleetkey:volume, whatever its name"));
            };
            if found.node != self.node {
                let hint = match &found.node {
                    Some(node) => {
                        format!("--cluster-name {} --cluster-ordinal {} goes with it", node.cluster, node.ordinal)
                    }
                    None => "leave --cluster-name and --cluster-ordinal out".to_owned(),
                };
                return Err(Refusal::new(format!("--reuse: {} is not of that node", found.described())).hint(hint));
            }
            if !role.volumes.iter().any(|volume| volume.keep && volume.name == found.label) {
                let (role, label) = (&role.name, &found.label);
                return Err(Refusal::new(format!("--reuse {id}: role {role} keeps no volume {label}"))
                    .hint(format!("--volume {label}={},keep says that it does", found.gib)));
            }
            if !is_free(found) {
                let on = found.instance.as_deref().unwrap_or("nothing");
                return Err(Refusal::new(format!("--reuse {id}: it is {} and hangs on {on}", found.state))
                    .hint("a volume hangs on one box; terminate that first"));
            }
        }
        Ok(())
    }
}

fn taken(busy: &Stored, node: &Node) -> Refusal {
    let on = busy.instance.as_deref().unwrap_or("nothing");
    Refusal::new(format!("volume {} is {} and hangs on {on}", busy.described(), busy.state))
        .hint(format!("{on} is {node}; terminate it first, or give another --cluster-ordinal"))
        .hint("--new-volumes makes a blank volume")
}

fn which(label: &str, of: &AbsoluteName, free: &[&&Stored]) -> Refusal {
    let described = free.iter().map(|volume| match volume.made {
        Some(made) => format!("{} ({} GiB, {}, made {made})", volume.id, volume.gib, volume.zone),
        None => format!("{} ({} GiB, {})", volume.id, volume.gib, volume.zone),
    });
    Refusal::new(format!("{} volumes are {label} of {of} and hang on nothing; which one?", free.len()))
        .hint("--reuse ID takes that one over, --new-volumes makes a blank one")
        .hint(described.collect::<Vec<_>>().join(", "))
}

/// A volume hangs only on boxes of its zone.
fn one_zone(found: &[Takeover]) -> Result<(), Refusal> {
    let zones: BTreeMap<_, _> = found.iter().map(|volume| (&volume.zone, volume)).collect();
    let mut volumes = zones.values();
    let (Some(one), Some(other)) = (volumes.next(), volumes.next()) else { return Ok(()) };
    let described = |volume: &Takeover| format!("{} ({}) in {}", volume.id, volume.label, volume.zone);
    Err(Refusal::new(format!("no box can have both {} and {}", described(one), described(other)))
        .hint("--reuse ID takes those over that are named; --new-volumes none, and makes blank ones"))
}

/// Those of the places that are in the zone of what is taken over.
///
/// # Errors
/// When there is none.
pub(super) fn places(found: &[Takeover], subnets: Vec<Subnet>) -> Result<Vec<Subnet>, Refusal> {
    let Some(volume) = found.first() else { return Ok(subnets) };
    let (there, elsewhere): (Vec<_>, Vec<_>) = subnets.into_iter().partition(|subnet| subnet.zone == volume.zone);
    if !there.is_empty() {
        return Ok(there);
    }
    let (id, label, zone) = (&volume.id, &volume.label, &volume.zone);
    let zones: BTreeSet<_> = elsewhere.iter().map(|subnet| subnet.zone.as_str()).collect();
    let zones = zones.into_iter().collect::<Vec<_>>().join(", ");
    Err(Refusal::new(format!("volume {id} ({label}) is in {zone}, and the box would be in {zones}"))
        .hint(format!("--zone {zone} puts the box where the volume is, in a subnet of that zone"))
        .hint("--new-volumes leaves the volume where it is, and makes a blank one"))
}

#[cfg(test)]
#[path = "kept_tests.rs"]
mod tests;
