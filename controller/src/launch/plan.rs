//! What a create will do, as values: planned by pure code, shown to people, then carried out one after another.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::attempts::Attempt;
use super::spot::market::Terms;
use crate::ingress::{Changes, Rule, is_open};
use crate::table::Table;

/// One change before the launch. Doing it twice comes to the same as once.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// Makes the security group.
    MakeGroup { name: String, network: String },
    /// Has the security group let something in, with a text beside it that may be empty.
    Allow { rule: Rule, text: String },
    /// Has the security group say something else beside a rule.
    Describe { rule: Rule, text: String },
    /// Has the security group let something in no more.
    Revoke { rule: Rule },
    /// Makes the IAM role of the boxes.
    MakeIamRole { name: String },
    /// Puts an inline policy of the IAM role.
    PutPolicy { role: String, policy: String, document: Value },
    /// Deletes an inline policy of the IAM role.
    DeletePolicy { role: String, policy: String },
    /// Detaches a managed policy from the IAM role.
    DetachPolicy { role: String, arn: String },
    /// Makes the instance profile.
    MakeProfile { name: String },
    /// Takes a strange IAM role out of the instance profile.
    RemoveRole { profile: String, role: String },
    /// Puts the IAM role into its instance profile, which has the same name.
    AddRole { profile: String },
}

/// All that will be done.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The changes before the launch.
    pub(crate) changes: Vec<Change>,
    /// The security group, if it is there already.
    pub(crate) group: Option<String>,
    /// What the launch is tried with, one after another while EC2 has no room.
    pub(crate) attempts: Vec<Attempt>,
    /// What is launched.
    pub(crate) machine: Machine,
    /// How it is bought on the spot market, if there.
    pub(crate) spot: Option<Terms>,
}

/// What is launched, but for the place and what is yet to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    /// The image.
    pub(crate) image: String,
    /// The image's name.
    pub(crate) image_name: String,
    /// `x86_64` or `arm64`.
    pub(crate) architecture: String,
    /// The instance type, the first of them if there are several.
    pub(crate) instance_type: String,
    /// The instance types with which it is tried, in order.
    pub(crate) instance_types: Vec<String>,
    /// The size of the root volume in GiB, if known.
    pub(crate) root_gib: Option<u32>,
    /// The further volumes.
    pub(crate) volumes: Vec<PlannedVolume>,
    /// How many images lie between it and the role's base image.
    pub(crate) generation: u32,
    /// The key pair whose key EC2 hands to the box.
    pub(crate) key_pair: Option<String>,
    /// Who may log in.
    pub(crate) keys: Vec<String>,
    /// The version of the agent that is installed.
    pub(crate) agent: Option<String>,
    /// The instance profile.
    pub(crate) profile: Option<String>,
    /// The zones in which it is tried, in order.
    pub(crate) zones: Vec<String>,
    /// The subnets in which it is tried, in order.
    pub(crate) subnets: Vec<String>,
    /// How long the user-data is, in bytes.
    pub(crate) user_data_bytes: usize,
    /// What EC2 does with it when it powers itself off, and after how long without use it does that.
    pub(crate) autostop: Option<String>,
}

/// A further volume, as it will be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PlannedVolume {
    /// Its name in the role; none for one that only the image has.
    pub(crate) name: String,
    /// The device name.
    pub(crate) device: String,
    /// Its size in GiB.
    pub(crate) gib: u32,
    /// Where the box mounts it.
    pub(crate) mount: Option<String>,
    /// Whether it outlives the box.
    pub(crate) keep: bool,
    /// The volume that is taken over, or the snapshot that it is made from; none for a blank one.
    pub(crate) from: Option<String>,
}

impl PlannedVolume {
    fn row(&self) -> Row {
        let Self { name, device, gib, mount, keep, from } = self;
        let mount = mount.as_ref().map(|folder| format!(", mounted at {folder}")).unwrap_or_default();
        let (action, what) = match from {
            Some(id) if id.starts_with("vol-") => {
                ("attach", format!("volume {id} ({name}, {gib} GiB) as {device}{mount}"))
            }
            from => {
                let from = from.as_ref().map_or("blank".to_owned(), |snapshot| format!("from {snapshot}"));
                let kept = if *keep { ", kept when the box goes" } else { "" };
                ("make", format!("volume {name} ({gib} GiB, {from}) as {device}{mount}{kept}"))
            }
        };
        Row { action, what }
    }
}

/// A change as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    action: &'static str,
    what: String,
}

impl Change {
    /// What makes a security group let in what it should, in the order in which it is done.
    pub(crate) fn of_rules(changes: Changes) -> impl Iterator<Item = Self> {
        let allow = changes.allow.into_iter().map(|(rule, text)| Change::Allow { rule, text });
        let describe = changes.describe.into_iter().map(|(rule, text)| Change::Describe { rule, text });
        allow.chain(describe).chain(changes.revoke.into_iter().map(|rule| Change::Revoke { rule }))
    }

    /// What is done, in a word.
    pub(crate) fn action(&self) -> &'static str {
        match self {
            Change::MakeGroup { .. } | Change::MakeIamRole { .. } | Change::MakeProfile { .. } => "make",
            Change::Allow { .. } => "allow",
            Change::Describe { .. } => "describe",
            Change::Revoke { .. } => "revoke",
            Change::PutPolicy { .. } => "put",
            Change::DeletePolicy { .. } => "delete",
            Change::DetachPolicy { .. } => "detach",
            Change::RemoveRole { .. } => "remove",
            Change::AddRole { .. } => "add",
        }
    }

    /// What it is done to.
    pub(crate) fn what(&self) -> String {
        match self {
            Change::MakeGroup { name, network } => format!("security group {name} in {network}"),
            Change::Allow { rule, text } if text.is_empty() => rule.to_string(),
            Change::Allow { rule, text } | Change::Describe { rule, text } => format!("{rule} ({text})"),
            Change::Revoke { rule } => rule.to_string(),
            Change::MakeIamRole { name } => format!("IAM role {name}"),
            Change::PutPolicy { role, policy, .. } | Change::DeletePolicy { role, policy } => {
                format!("policy {policy} of IAM role {role}")
            }
            Change::DetachPolicy { role, arn } => format!("policy {arn} from IAM role {role}"),
            Change::MakeProfile { name } => format!("instance profile {name}"),
            Change::RemoveRole { profile, role } => format!("IAM role {role} from instance profile {profile}"),
            Change::AddRole { profile } => format!("IAM role {profile} to its instance profile"),
        }
    }
}

impl Plan {
    /// Whether it opens SSH to everybody.
    pub(crate) fn opens_ssh(&self) -> bool {
        self.changes.iter().any(|change| matches!(change, Change::Allow { rule, .. } if is_open(rule)))
    }

    /// The plan as it is shown, the launch and what follows it included.
    pub(crate) fn rows(&self, after: &[&'static str]) -> Vec<Row> {
        let changes = self.changes.iter().map(|change| Row { action: change.action(), what: change.what() });
        let machine = &self.machine;
        let disk = machine.root_gib.map(|gib| format!(", {gib} GiB")).unwrap_or_default();
        let autostop = machine.autostop.as_ref().map(|autostop| format!(", {autostop}")).unwrap_or_default();
        let what = format!(
            "{} of {} ({}){disk}{autostop} in {}",
            machine.instance_types.join(", else "),
            machine.image,
            machine.image_name,
            machine.zones.join(", else ")
        );
        let launch = [Row { action: "launch", what }].into_iter().chain(self.spot.iter().flat_map(spot_rows));
        let after = after.iter().map(|step| Row { action: step, what: "the box".to_owned() });
        let volumes = machine.volumes.iter().map(PlannedVolume::row);
        changes.chain(launch).chain(volumes).chain(after).collect()
    }
}

/// What is shown of the spot market: what is paid at most, what an hour costs now, and for how long EC2 may take.
fn spot_rows(terms: &Terms) -> Vec<Row> {
    let most = match terms.bid {
        Some(bid) => format!("{bid} USD an hour"),
        None => "the on-demand price".to_owned(),
    };
    let mut rows = vec![Row { action: "pay", what: format!("the spot price, at most {most}") }];
    for (kind, zones) in &terms.prices {
        let zones: Vec<_> = zones.iter().map(|(zone, price)| format!("{price} in {zone}")).collect();
        rows.push(Row { action: "pay", what: format!("now for {kind}: {}", zones.join(", ")) });
    }
    if terms.stays_open {
        let time = terms.timeout_seconds.map(|seconds| humantime::format_duration(Duration::from_secs(seconds)));
        let time = time.map_or("--timeout".to_owned(), |time| time.to_string());
        let group = terms.launch_group.as_ref().map(|group| format!(", in launch group {group}"));
        let what = format!("the spot request, for {time} at most{}", group.unwrap_or_default());
        rows.push(Row { action: "wait for", what });
    }
    rows
}

/// The rows as a table.
pub(crate) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["ACTION", "WHAT"]);
    for row in rows {
        table.row(vec![row.action.to_owned(), row.what.clone()]);
    }
    table
}
