//! `fleetkey stop`: a box is switched off and kept.

use clap::Args;

use super::dry_run::DryRun;
use super::on_box::{self, WaitFlags};
use crate::fleet::Fleet;
use crate::lifecycle::Wish;
use crate::printer::Printer;
use crate::selection::Selector;
use crate::settings::Settings;

/// Stop a box, and wait until it is off.
///
/// One that is about to run is waited for first. A stopped box costs what its volumes cost.
#[derive(Debug, Args)]
pub(super) struct Stop {
    #[command(flatten)]
    selector: Selector,
    /// Pull the plug: for an operating system that does not shut down. What it has not written is lost
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    waiting: WaitFlags,
    #[command(flatten)]
    dry: DryRun,
}

impl Stop {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let fleet = Fleet::open(settings, printer).await?;
        on_box::change(&fleet, &self.selector, Wish::Stop { force: self.force }, &self.waiting, self.dry, printer).await
    }
}
