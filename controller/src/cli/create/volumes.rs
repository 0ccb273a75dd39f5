//! The flags of `create` and `recreate` about volumes, and about the place in a cluster by which they are found again.

use clap::Args;

use crate::launch::kept::Wishes;
use crate::refusal::Refusal;
use crate::role::{RoleName, VolumeFlag};
use crate::selection::parse_id;
use crate::volume::Node;

/// What is wanted of volumes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Volumes and clusters")]
pub(super) struct VolumeFlags {
    /// EBS volume beside those of the role, or one of those changed, with the fields of a role's volume:
    /// data=100,mount=/srv/data,file_system=xfs,owner=admin,kind=gp3,keep; repeatable
    #[arg(long, value_name = "NAME=GIB[,FIELD=VALUE]...", value_parser = VolumeFlag::parse)]
    volume: Vec<VolumeFlag>,
    /// Take this volume over from an earlier box, where it is not clear which; repeatable
    #[arg(long, value_name = "VOLUME", value_parser = parse_volume, conflicts_with = "new_volumes")]
    reuse: Vec<String>,
    /// Take no volume over from an earlier box: all are made
    #[arg(long)]
    new_volumes: bool,
    /// Make it part of this cluster
    #[arg(short, long, value_name = "NAME", value_parser = parse_cluster, requires = "cluster_ordinal")]
    cluster_name: Option<String>,
    /// Its place in the cluster, from 0
    #[arg(long, value_name = "N", requires = "cluster_name")]
    cluster_ordinal: Option<u32>,
}

fn parse_volume(text: &str) -> Result<String, String> {
    parse_id("vol-", text).ok_or_else(|| "a volume's id is vol- and 8 or 17 hexadecimal digits".to_owned())
}

/// Clusters have names of the same letters as roles: they become part of the names of volumes.
fn parse_cluster(text: &str) -> Result<String, String> {
    let name = text.parse::<RoleName>();
    name.map(String::from).map_err(|_| "a cluster has a name of 0-9 a-z . _ -, at most 48 of them".to_owned())
}

impl VolumeFlags {
    /// What the flags come to.
    pub(super) fn wishes(&self) -> Result<Wishes, Refusal> {
        let reuse: std::collections::BTreeSet<_> = self.reuse.iter().cloned().collect();
        if reuse.len() < self.reuse.len() {
            return Err(Refusal::usage("--reuse names a volume twice"));
        }
        let node = self.cluster_name.clone().zip(self.cluster_ordinal);
        Ok(Wishes {
            volumes: self.volume.clone(),
            reuse,
            blank: self.new_volumes,
            node: node.map(|(cluster, ordinal)| Node { cluster, ordinal }),
        })
    }
}
