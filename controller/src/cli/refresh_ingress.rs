//! `fleetkey refresh-ingress`: opens SSH to where the caller is now, and closes it to where they were.

use anyhow::Context as _;
use clap::Args;
use clap_complete::ArgValueCandidates;
use fleetkey_common::aws_names::{AbsoluteName, Namespace};
use serde::Serialize;

use super::dry_run::DryRun;
use super::on_box::told;
use super::ssh_from::SshFromFlag;
use crate::aws::CallError;
use crate::aws::security_groups::{self, Group};
use crate::complete;
use crate::fleet::Fleet;
use crate::ingress::from::SshFrom;
use crate::ingress::{Claim, Ssh, is_open, move_person, owned_by};
use crate::launch::BOX_TAG;
use crate::launch::plan::Change;
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::selection;
use crate::settings::Settings;
use crate::table::Table;

/// Open port 22 of boxes to the address that you have now, in place of the one that you had.
///
/// Your rules are those that say so of themselves: `fleetkey: ssh of` and your name. Other people's, and those of roles,
/// stay as they are. Without a role, boxes that let you in before do so again; with one, they do also if they did not.
#[derive(Debug, Args)]
pub(super) struct RefreshIngress {
    /// Roles of the boxes, in the namespace unless they begin with a slash [default: all that let you in before]
    #[arg(value_name = "ROLE", add = ArgValueCandidates::new(complete::roles_with_boxes))]
    roles: Vec<String>,
    #[command(flatten)]
    ssh_from: SshFromFlag,
    #[command(flatten)]
    dry: DryRun,
}

/// What is printed with `--output json`.
#[derive(Serialize)]
struct Refreshed<'a> {
    region: &'a str,
    person: &'a str,
    addresses: Vec<&'a str>,
    steps: &'a [Row],
}

/// A change, and what came of it.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    group: String,
    action: &'static str,
    what: String,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl RefreshIngress {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let mut entry = self.ssh_from.entry(settings, true)?;
        if self.ssh_from.ssh_from == Some(SshFrom::Any) {
            return Err(Refusal::usage("this opens port 22 to you, not to everybody")
                .hint("fleetkey create --ssh-from any opens it to everybody")
                .into());
        }
        // Settings may say so for boxes that are made.
        entry.asked = entry.asked.filter(|asked| *asked != SshFrom::Any).or(Some(SshFrom::Auto));
        let fleet = Fleet::open(settings, printer).await?;
        let names = self.roles.iter().map(|role| selection::name(&fleet.namespace, role));
        let names: Vec<_> = names.collect::<Result<_, _>>()?;
        let Ssh::Person(claim) = entry.resolve(&fleet, &crate::ingress::Rules::new()).await? else {
            anyhow::bail!("a person is let in by addresses");
        };
        let groups = groups(&fleet, &names).await?;
        let groups = groups
            .into_iter()
            .filter(|(_, group)| !names.is_empty() || !owned_by(&group.rules, &claim.person).is_empty());
        let mut rows = Vec::new();
        for (name, group) in groups {
            if group.rules.keys().any(is_open) {
                printer.note(&format!("{name} ({}): port 22 is open to everybody", group.id));
            }
            rows.extend(self.refresh(&fleet, &name, &group, &claim).await);
        }
        if rows.is_empty() {
            printer.note(&format!("nothing is to be changed for {} at {}", claim.person, addresses(&claim).join(", ")));
            if names.is_empty() {
                printer.hint("fleetkey refresh-ingress ROLE opens port 22 of boxes that did not let you in before");
            }
        }
        let mut table = Table::new(&["BOX", "GROUP", "ACTION", "WHAT", "RESULT"]);
        for row in &rows {
            let cells = [&row.name, &row.group, row.action, &row.what, row.result];
            table.row(cells.map(str::to_owned).to_vec());
        }
        let refreshed =
            Refreshed { region: &fleet.region, person: &claim.person, addresses: addresses(&claim), steps: &rows };
        printer.data(&table, &refreshed).context("writing to standard output")?;
        match rows.iter().filter(|row| row.error.is_some()).count() {
            0 => Ok(()),
            failed => Err(Refusal::new(format!("{failed} of {} changes failed", rows.len()))
                .hint("the same command does what is left to be done")
                .into()),
        }
    }

    /// Changes one group. After a failure the rest of it is left, so that nobody is shut out for want of the first.
    async fn refresh(&self, fleet: &Fleet, name: &AbsoluteName, group: &Group, claim: &Claim) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut failed = false;
        for change in Change::of_rules(move_person(claim, &group.rules)) {
            let outcome = match failed {
                _ if self.dry.dry_run => Ok("planned"),
                true => Ok("not-tried"),
                false => carry_out(fleet, &group.id, &change).await.map(|()| "done"),
            };
            failed |= outcome.is_err();
            let error = outcome.as_ref().err().map(ToString::to_string);
            let (action, what) = (change.action(), change.what());
            let (name, group) = (name.to_string(), group.id.clone());
            rows.push(Row { name, group, action, what, result: outcome.unwrap_or("failed"), error });
        }
        rows
    }
}

fn addresses(claim: &Claim) -> Vec<&str> {
    claim.sources.iter().filter_map(crate::ingress::RuleSource::range).collect()
}

/// The groups of these names, or of all names in the namespace; each with its name.
async fn groups(fleet: &Fleet, names: &[AbsoluteName]) -> anyhow::Result<Vec<(AbsoluteName, Group)>> {
    let values = match names {
        [] => vec![format!("{}*", fleet.namespace)],
        names => names.iter().map(ToString::to_string).collect(),
    };
    let found = security_groups::tagged_as(&fleet.ec2, BOX_TAG, &values).await.map_err(told)?;
    let namespace: &Namespace = &fleet.namespace;
    let found = found.into_iter().filter_map(|group| {
        let name: AbsoluteName = group.tags.get(BOX_TAG)?.parse().ok()?;
        (names.contains(&name) || names.is_empty() && namespace.contains(&name)).then_some((name, group))
    });
    let mut found: Vec<_> = found.collect();
    found.sort_by(|(name, group), (other_name, other)| (name, &group.id).cmp(&(other_name, &other.id)));
    let missing = names.iter().find(|name| !found.iter().any(|(found, _)| found == *name));
    match missing {
        None => Ok(found),
        Some(name) => Err(Refusal::new(format!("no box of {name} was made in {}", fleet.region))
            .hint("fleetkey list shows the boxes that there are; --namespace and --region say where to look")
            .into()),
    }
}

async fn carry_out(fleet: &Fleet, group: &str, change: &Change) -> Result<(), CallError> {
    match change {
        Change::Allow { rule, text } => security_groups::authorize(&fleet.ec2, group, rule, text).await,
        Change::Describe { rule, text } => security_groups::describe(&fleet.ec2, group, rule, text).await,
        Change::Revoke { rule } => security_groups::revoke(&fleet.ec2, group, rule).await,
        _ => Ok(()),
    }
}
