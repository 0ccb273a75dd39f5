//! An EBS volume of a box that goes by a name, as EC2 describes it: one that hangs on a box, or one that outlived its
//! box. Read, never changed here.
//!
//! What makes a volume one of Fleetkey's is its tags. `Name` alone counts for nothing: anybody's volume may have any.

use std::collections::BTreeMap;
use std::fmt;

use aws_sdk_ec2::types;
use fleetkey_common::aws_names::AbsoluteName;
use jiff::Timestamp;
use serde::Serialize;

use crate::instance::{CLUSTER_NAME_TAG, CLUSTER_ORDINAL_TAG};

/// Tag: the full name of the boxes that a volume, or a security group, is for.
pub(crate) const BOX_TAG: &str = "fleetkey:box";

/// Tag: the name of a volume in its role. The root volume has none.
pub(crate) const VOLUME_TAG: &str = "fleetkey:volume";

/// Tag: whether images of its box have the volume; [`OUT_OF_IMAGES`] if not.
pub(crate) const IN_IMAGES_TAG: &str = "fleetkey:in_images";

/// The value of [`IN_IMAGES_TAG`] of a volume that images leave out.
pub(crate) const OUT_OF_IMAGES: &str = "no";

/// The state of a volume that hangs on nothing.
pub(crate) const AVAILABLE: &str = "available";

/// A node of a cluster: its name and its place from 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Node {
    /// The cluster.
    pub(crate) cluster: String,
    /// The place in it.
    pub(crate) ordinal: u32,
}

impl Node {
    /// The tags that say so.
    pub(crate) fn tags(&self) -> [(String, String); 2] {
        let ordinal = self.ordinal.to_string();
        [(CLUSTER_NAME_TAG.to_owned(), self.cluster.clone()), (CLUSTER_ORDINAL_TAG.to_owned(), ordinal)]
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} of cluster {}", self.ordinal, self.cluster)
    }
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// `vol-...`
    pub(crate) id: String,
    /// Its name in its role.
    pub(crate) label: String,
    /// Namespace and role of the boxes that it is for.
    pub(crate) of: AbsoluteName,
    /// The node that it is for, where it is for one of a cluster.
    pub(crate) node: Option<Node>,
    /// `available`, `in-use` and so on.
    pub(crate) state: String,
    /// Its availability zone, which is that of any box that it can hang on.
    pub(crate) zone: String,
    /// Its size in GiB.
    pub(crate) gib: u32,
    /// `gp3` and the like.
    pub(crate) kind: String,
    /// Whether it is encrypted.
    pub(crate) encrypted: bool,
    /// When it was made, if EC2 says so.
    pub(crate) made: Option<Timestamp>,
    /// The instance that it hangs on.
    pub(crate) instance: Option<String>,
    /// Under which device name.
    pub(crate) device: Option<String>,
}

impl Stored {
    /// Reads EC2's description; `None` for a volume that is none of Fleetkey's, or a root volume.
    pub(crate) fn read(described: types::Volume) -> Option<Self> {
        let tags = described.tags.unwrap_or_default().into_iter();
        let tags: BTreeMap<String, String> = tags.filter_map(|tag| Some((tag.key?, tag.value?))).collect();
        let attached = described.attachments.unwrap_or_default().into_iter().next();
        let ordinal = tags.get(CLUSTER_ORDINAL_TAG).and_then(|text| text.parse().ok());
        let node = tags.get(CLUSTER_NAME_TAG).zip(ordinal);
        Some(Self {
            id: described.volume_id?,
            label: tags.get(VOLUME_TAG)?.clone(),
            of: tags.get(BOX_TAG)?.parse().ok()?,
            node: node.map(|(cluster, ordinal)| Node { cluster: cluster.clone(), ordinal }),
            state: described.state.map(|state| state.as_str().to_owned()).unwrap_or_default(),
            zone: described.availability_zone.unwrap_or_default(),
            gib: described.size.and_then(|gib| u32::try_from(gib).ok()).unwrap_or(0),
            kind: described.volume_type.map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
            encrypted: described.encrypted.unwrap_or(false),
            made: described.create_time.and_then(|time| Timestamp::from_second(time.secs()).ok()),
            instance: attached.as_ref().and_then(|attached| attached.instance_id.clone()),
            device: attached.and_then(|attached| attached.device),
        })
    }

    /// What it is, in a few words.
    pub(crate) fn described(&self) -> String {
        let node = self.node.as_ref().map(|node| format!(", {node}")).unwrap_or_default();
        format!("{} ({} of {}{node}, {} GiB, {})", self.id, self.label, self.of, self.gib, self.zone)
    }
}
