//! `fleetkey update-instance-profile`: boxes of a role may do what the role says.

use anyhow::Context as _;
use clap::Args;
use clap_complete::ArgValueCandidates;
use serde::Serialize;

use super::asking::Consent;
use super::converge::{Row, agree, finish, looked, table};
use super::role::RolePath;
use crate::complete;
use crate::fleet::Fleet;
use crate::launch::World;
use crate::launch::converge::{self, Step};
use crate::launch::plan::Change;
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::selection;
use crate::settings::Settings;

/// Bring the instance profile of a role to what the role says now, for boxes that run: policies that its IAM role lacks
/// are put, others are deleted.
///
/// Boxes need no restart: what they may do changes within seconds. Asks before something is taken from them.
#[derive(Debug, Args)]
pub(super) struct UpdateInstanceProfile {
    /// Role of the boxes, in the namespace unless it begins with a slash
    #[arg(add = ArgValueCandidates::new(complete::roles_with_boxes))]
    role: String,
    /// Detach managed policies too, of which a role of Fleetkey's has none
    #[arg(long)]
    detach: bool,
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
    instance_profile: &'a str,
    /// Managed policies that stay attached.
    attached: &'a [String],
    steps: &'a [Row],
}

impl UpdateInstanceProfile {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let fleet = Fleet::open(settings, printer).await?;
        let name = selection::name(&fleet.namespace, &self.role)?;
        let role = self.role_path.of(&name)?;
        let world = World::open(fleet, settings, printer).await?;
        let found = converge::profile(&world, &name, &role).await;
        let Some(converge::Profile { name: profile, mut changes, mut attached }) = found.map_err(looked)? else {
            return Err(Refusal::new(format!("there is no instance profile of {name} in {}", world.fleet.region))
                .hint("fleetkey create makes it with the first box of a role that has policies; boxes that run without one stay so")
                .into());
        };
        if self.detach {
            let detach = |arn| Change::DetachPolicy { role: profile.clone(), arn };
            changes.extend(std::mem::take(&mut attached).into_iter().map(detach));
        }
        for arn in &attached {
            printer.warn(&format!("somebody attached {arn} to IAM role {profile}; boxes may do what it says"));
        }
        if !attached.is_empty() {
            printer
                .hint("--detach takes such policies away; iam_policies of the role is where to say what boxes may do");
        }
        let print = |steps: &[Step]| {
            let rows: Vec<_> = steps.iter().map(|step| Row::new(step, &profile)).collect();
            let (region, instance_profile) = (world.fleet.region.as_str(), profile.as_str());
            let report = Report { name: name.as_str(), region, instance_profile, attached: &attached, steps: &rows };
            printer.data(&table(&rows), &report).context("writing to standard output")
        };
        let planned: Vec<_> = changes.iter().cloned().map(Step::planned).collect();
        if self.consent.dry.dry_run || changes.is_empty() {
            print(&planned)?;
            if changes.is_empty() {
                printer.note(&format!("instance profile {profile} is as the role says"));
            }
            return Ok(());
        }
        if !self.consent.yes {
            let rows: Vec<_> = planned.iter().map(|step| Row::new(step, &profile)).collect();
            let question = format!("Let boxes {name} do what the role says, and no more?");
            agree(&rows, changes.iter(), "taking policies away", question).await?;
        }
        let steps = converge::make(world.hands(), &name, changes, None).await;
        print(&steps)?;
        finish(&steps, &format!("instance profile {profile}"), printer)
    }
}
