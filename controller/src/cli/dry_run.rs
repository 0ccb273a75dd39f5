//! What a command would do, shown before somebody is asked, or in place of doing it.

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use crate::printer::Printer;
use crate::table::Table;

/// The flag.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct DryRun {
    /// Say what would be done, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// One thing that would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    /// What is done, in a word.
    pub(super) action: &'static str,
    /// To what: an id.
    pub(super) what: String,
    /// What else is known of it.
    pub(super) details: String,
}

/// What is printed with `--output json`.
#[derive(Serialize)]
struct Planned<'a> {
    steps: &'a [Step],
}

/// The steps as a table.
pub(super) fn table(steps: &[Step]) -> Table {
    let mut table = Table::new(&["ACTION", "WHAT", "DETAILS"]);
    for Step { action, what, details } in steps {
        table.row(vec![(*action).to_owned(), what.clone(), details.clone()]);
    }
    table
}

/// Prints what would be done.
pub(super) fn show(steps: &[Step], printer: Printer) -> anyhow::Result<()> {
    printer.data(&table(steps), &Planned { steps }).context("writing to standard output")
}
