//! `fleetkey start`: a box that is off runs again.

use clap::Args;

use super::dry_run::DryRun;
use super::on_box::{self, WaitFlags};
use crate::fleet::Fleet;
use crate::lifecycle::Wish;
use crate::printer::Printer;
use crate::selection::Selector;
use crate::settings::Settings;

/// Start a box that is stopped, and wait until it runs.
///
/// One that is being stopped is waited for first. Its public address is another one afterwards.
#[derive(Debug, Args)]
pub(super) struct Start {
    #[command(flatten)]
    selector: Selector,
    #[command(flatten)]
    waiting: WaitFlags,
    #[command(flatten)]
    dry: DryRun,
}

impl Start {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let fleet = Fleet::open(settings, printer).await?;
        on_box::change(&fleet, &self.selector, Wish::Start, &self.waiting, self.dry, printer).await
    }
}
