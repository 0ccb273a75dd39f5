//! What a create will do, as values: planned by pure code, shown to people, then carried out one after another.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::aws::places::Subnet;
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
    /// Where the instance is tried, one after another while EC2 has no room.
    pub(crate) places: Vec<Subnet>,
    /// What is launched.
    pub(crate) machine: Machine,
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
    /// The instance type.
    pub(crate) instance_type: String,
    /// The size of the root volume in GiB, if known.
    pub(crate) root_gib: Option<u32>,
    /// The further volumes: device to GiB, if known.
    pub(crate) volumes: BTreeMap<String, Option<u32>>,
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
        let what = format!(
            "{} of {} ({}){disk} in {}",
            machine.instance_type,
            machine.image,
            machine.image_name,
            machine.zones.join(", else ")
        );
        let launch = Row { action: "launch", what };
        let after = after.iter().map(|step| Row { action: step, what: "the box".to_owned() });
        changes.chain([launch]).chain(after).collect()
    }
}

/// The rows as a table.
pub(crate) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["ACTION", "WHAT"]);
    for row in rows {
        table.row(vec![row.action.to_owned(), row.what.clone()]);
    }
    table
}
