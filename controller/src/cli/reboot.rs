//! `fleetkey reboot`: a box boots again.

use clap::Args;

use super::dry_run::DryRun;
use super::on_box::{self, WaitFlags};
use crate::fleet::Fleet;
use crate::lifecycle::Wish;
use crate::printer::Printer;
use crate::selection::Selector;
use crate::settings::Settings;

/// Reboot a box that runs.
///
/// One that is about to run is waited for first. EC2 calls a box running all along, so that nothing is waited for
/// afterwards.
#[derive(Debug, Args)]
pub(super) struct Reboot {
    #[command(flatten)]
    selector: Selector,
    #[command(flatten)]
    waiting: WaitFlags,
    #[command(flatten)]
    dry: DryRun,
}

impl Reboot {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let fleet = Fleet::open(settings, printer).await?;
        on_box::change(&fleet, &self.selector, Wish::Reboot, &self.waiting, self.dry, printer).await
    }
}
