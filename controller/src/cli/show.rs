//! `fleetkey show`: all about one box.

use anyhow::Context as _;
use clap::Args;

use super::on_box;
use crate::fleet::Fleet;
use crate::printer::Printer;
use crate::selection::Selector;
use crate::settings::Settings;

/// Show all that is known of one box: its tags and options, volumes, security groups, instance profile.
#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    selector: Selector,
}

impl Show {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let fleet = Fleet::open(settings, printer).await?;
        let (ordinal, chosen) = on_box::find(&fleet, &self.selector.role, &self.selector.among).await?;
        let details = on_box::details(&fleet, chosen).await?;
        let (table, json) = (details.table(ordinal, &fleet.namespace), details.json(ordinal, &fleet.namespace));
        printer.data(&table, &json).context("writing to standard output")
    }
}
