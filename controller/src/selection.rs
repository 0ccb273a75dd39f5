//! Which box a command is about: by role, cluster and ordinal, or by instance id. Pure; the boxes are handed in.
//!
//! A selection that fits none or several boxes is refused with what it would have fitted, never guessed.

use std::collections::BTreeSet;

use clap::Args;
use clap_complete::ArgValueCandidates;
use fleetkey_common::aws_names::{AbsoluteName, AwsNameError, Namespace};

use crate::complete;
use crate::instance::{Instance, State};
use crate::refusal::Refusal;

/// The flags that choose a box of a role.
#[derive(Debug, Clone, Args)]
pub(crate) struct Selector {
    /// Role of the box, in the namespace unless it begins with a slash
    #[arg(add = ArgValueCandidates::new(complete::roles_with_boxes))]
    pub(crate) role: String,
    #[command(flatten)]
    pub(crate) among: Among,
}

/// The flags that choose among the boxes of a role.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which box")]
pub(crate) struct Among {
    /// Only boxes of this cluster
    #[arg(short, long, value_name = "NAME", add = ArgValueCandidates::new(complete::clusters))]
    pub(crate) cluster_name: Option<String>,
    /// The how-manieth of them, from 0 in order of launch; -1 is the newest
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, conflicts_with = "instance_id",
        add = ArgValueCandidates::new(complete::ordinals))]
    pub(crate) ordinal: Option<i64>,
    /// The box with this instance id, which must be of the role
    #[arg(short = 'I', long, value_name = "ID", value_parser = parse_instance_id,
        add = ArgValueCandidates::new(complete::instance_ids))]
    pub(crate) instance_id: Option<String>,
}

/// Takes `i-` and 8 or 17 hexadecimal digits: both lengths exist.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html>
pub(crate) fn parse_instance_id(text: &str) -> Result<String, String> {
    parse_id("i-", text).ok_or_else(|| "an instance id is i- and 8 or 17 hexadecimal digits".to_owned())
}

/// Takes a resource id of EC2 with this prefix: 8 or 17 hexadecimal digits follow it.
pub(crate) fn parse_id(prefix: &str, text: &str) -> Option<String> {
    let digits = text.strip_prefix(prefix)?;
    let hex = digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    (hex && [8, 17].contains(&digits.len())).then(|| text.to_owned())
}

/// The full name of a role's boxes.
pub(crate) fn name(namespace: &Namespace, role: &str) -> Result<AbsoluteName, Refusal> {
    let named = namespace.absolute(role).and_then(|name| match name.base_name() {
        "" => Err(AwsNameError::Empty(role.to_owned())),
        _ => Ok(name),
    });
    named.map_err(|error| Refusal::usage(error).hint("fleetkey list shows the boxes that there are"))
}

/// The order in which ordinals count: by launch, then private address, then id. CGCloud's order.
fn key(instance: &Instance) -> impl Ord + '_ {
    let address = instance.private_address.as_deref().and_then(|text| text.parse::<std::net::Ipv4Addr>().ok());
    (instance.launched, address, instance.id.as_str())
}

/// The boxes with their ordinals: those that are there, of the cluster if one is named; by name, and oldest first.
///
/// Ordinals count the boxes of one name.
pub(crate) fn numbered(mut boxes: Vec<Instance>, cluster: Option<&str>) -> Vec<(usize, Instance)> {
    boxes.retain(|found| State::LIVE.contains(&found.state));
    boxes.retain(|found| cluster.is_none_or(|cluster| found.cluster.as_deref() == Some(cluster)));
    boxes.sort_by(|one, other| (&one.name, key(one)).cmp(&(&other.name, key(other))));
    let mut numbered: Vec<(usize, Instance)> = Vec::with_capacity(boxes.len());
    for found in boxes {
        let ordinal = match numbered.last() {
            Some((ordinal, last)) if last.name == found.name => ordinal + 1,
            _ => 0,
        };
        numbered.push((ordinal, found));
    }
    numbered
}

/// The one box that is meant, of all boxes of the role `name`, in whatever state.
pub(crate) fn one(name: &AbsoluteName, among: &Among, boxes: Vec<Instance>) -> Result<Instance, Refusal> {
    if let Some(id) = &among.instance_id {
        let found = boxes.into_iter().find(|found| found.id == *id);
        return match found {
            Some(found) if among.cluster_name.is_some() && found.cluster != among.cluster_name => {
                Err(Refusal::new(format!("box {id} is not in that cluster"))
                    .hint(format!("it is in cluster {}", found.cluster.as_deref().unwrap_or("none"))))
            }
            Some(found) => Ok(found),
            None => Err(Refusal::new(format!("{id} is no box of role {name}"))
                .hint("fleetkey list shows the boxes that there are; --namespace says where to look")),
        };
    }
    let others = others(&boxes);
    let there = numbered(boxes, among.cluster_name.as_deref());
    let count = there.len();
    let of = match &among.cluster_name {
        Some(cluster) => format!("{name} in cluster {cluster}"),
        None => name.to_string(),
    };
    if count == 0 {
        let refusal = Refusal::new(format!("there is no box {of}"))
            .hint("fleetkey list shows the boxes that there are; --namespace and --region say where to look");
        return Err(others.into_iter().fold(refusal, Refusal::hint));
    }
    let Some(ordinal) = among.ordinal else {
        let mut there = there.into_iter();
        return match (there.next(), there.next()) {
            (Some((_, only)), None) => Ok(only),
            (first, second) => Err(Refusal::new(format!("{count} boxes are {of}; which one?"))
                .hint("-o N picks one by its ordinal, -o -1 the newest, -I ID by its instance id")
                .hint(described(first.into_iter().chain(second).chain(there)))),
        };
    };
    let place = if ordinal < 0 { i64::try_from(count).unwrap_or(i64::MAX) + ordinal } else { ordinal };
    let last = count - 1;
    let found = usize::try_from(place).ok().and_then(|place| there.into_iter().nth(place));
    found.map(|(_, found)| found).ok_or_else(|| {
        Refusal::new(format!("no box {of} has ordinal {ordinal}"))
            .hint(format!("ordinals run from 0 to {last}, or from -1 back to -{count}"))
    })
}

/// What there is of the name that ordinals do not count, or that is in another cluster, in words.
fn others(boxes: &[Instance]) -> Vec<String> {
    let live = boxes.iter().filter(|found| State::LIVE.contains(&found.state));
    let in_cluster =
        |found: &Instance| found.cluster.as_deref().map_or("no cluster".to_owned(), |name| format!("cluster {name}"));
    let clusters: BTreeSet<String> = live.map(in_cluster).collect();
    let clusters: Vec<String> = clusters.into_iter().collect();
    let gone = boxes.iter().filter(|found| !State::LIVE.contains(&found.state));
    let gone: Vec<String> = gone.take(NAMED).map(|found| format!("{} ({})", found.id, found.state.as_str())).collect();
    let in_clusters = (!clusters.is_empty()).then(|| format!("its boxes are in {}", clusters.join(", ")));
    let gone = (!gone.is_empty()).then(|| format!("gone, or about to be: {}; -I ID names one", gone.join(", ")));
    in_clusters.into_iter().chain(gone).collect()
}

/// How many boxes a refusal names.
const NAMED: usize = 8;

fn described(boxes: impl Iterator<Item = (usize, Instance)>) -> String {
    let boxes: Vec<_> = boxes.collect();
    let named = boxes.iter().take(NAMED).map(|(ordinal, found)| {
        let address = found.private_address.as_deref().unwrap_or("no address");
        format!("{ordinal}: {} ({}, {address})", found.id, found.state.as_str())
    });
    let more = boxes.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("{}{more}", named.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
#[path = "selection_tests.rs"]
mod tests;
