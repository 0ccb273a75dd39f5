//! `fleetkey reset-security`: the security groups of a role let in what the role says.

use anyhow::Context as _;
use clap::Args;
use clap_complete::ArgValueCandidates;
use serde::Serialize;

use super::asking::Consent;
use super::converge::{Row, agree, finish, looked, table};
use super::create::parse_vpc;
use super::role::RolePath;
use crate::complete;
use crate::fleet::Fleet;
use crate::launch::Hands;
use crate::launch::converge::{self, Step};
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::selection;
use crate::settings::Settings;

/// Bring the security groups of a role to what the role says now: rules that it lacks are added, others are removed.
///
/// In all VPCs of the region where the role has a group. What boxes run in a group has it at once; connections that are
/// open go on. Asks before a rule is removed.
#[derive(Debug, Args)]
pub(super) struct ResetSecurity {
    /// Role of the boxes, in the namespace unless it begins with a slash
    #[arg(add = ArgValueCandidates::new(complete::roles_with_boxes))]
    role: String,
    /// Only the group in this VPC
    #[arg(long, value_name = "ID", value_parser = parse_vpc)]
    vpc: Option<String>,
    #[command(flatten)]
    role_path: RolePath,
    #[command(flatten)]
    consent: Consent,
}

/// What is printed with `--output json`.
#[derive(Serialize)]
struct Report<'a> {
    name: &'a str,
    region: &'a str,
    groups: Vec<&'a str>,
    steps: &'a [Row],
}

impl ResetSecurity {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let fleet = Fleet::open(settings, printer).await?;
        let name = selection::name(&fleet.namespace, &self.role)?;
        let role = self.role_path.of(&name)?;
        let groups = converge::groups(&fleet, &name, &role, self.vpc.as_deref()).await;
        let groups = groups.map_err(looked)?;
        if groups.is_empty() {
            let place = self.vpc.as_deref().unwrap_or(&fleet.region);
            return Err(Refusal::new(format!("there is no security group of {name} in {place}"))
                .hint(
                    "fleetkey create makes it together with the first box; --namespace and --region say where to look",
                )
                .into());
        }
        let print = |steps: &[(String, Step)]| {
            let rows: Vec<_> = steps.iter().map(|(of, step)| Row::new(step, of)).collect();
            let groups = groups.iter().map(|group| group.id.as_str()).collect();
            let report = Report { name: name.as_str(), region: &fleet.region, groups, steps: &rows };
            printer.data(&table(&rows), &report).context("writing to standard output")
        };
        let planned = || {
            let of = |group: &converge::Group| format!("{} of {}", group.id, group.network);
            let steps = groups.iter().flat_map(move |group| {
                group.changes.iter().map(move |change| (of(group), Step::planned(change.clone())))
            });
            steps.collect::<Vec<_>>()
        };
        if self.consent.dry.dry_run || planned().is_empty() {
            print(&planned())?;
            if planned().is_empty() {
                printer.note(&format!("the security group of {name} is as the role says"));
            }
            return Ok(());
        }
        if !self.consent.yes {
            let rows: Vec<_> = planned().iter().map(|(of, step)| Row::new(step, of)).collect();
            let changes = groups.iter().flat_map(|group| &group.changes);
            agree(&rows, changes, "removing rules", format!("Let {name} in as the role says, and no more?")).await?;
        }
        let (iam, caller) = (fleet.iam(), fleet.caller().await?);
        let hands = Hands { ec2: &fleet.ec2, iam: &iam, partition: caller.partition() };
        let mut done = Vec::new();
        for group in &groups {
            let steps = converge::make(hands, &name, group.changes.clone(), Some(&group.id)).await;
            done.extend(steps.into_iter().map(|step| (format!("{} of {}", group.id, group.network), step)));
        }
        print(&done)?;
        let steps: Vec<_> = done.into_iter().map(|(_, step)| step).collect();
        finish(&steps, &format!("security group of {name}"), printer)
    }
}
