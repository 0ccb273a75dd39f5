//! Asking before something is destroyed: what goes is shown, and without a terminal nothing goes unless told so.

use std::io::{self, IsTerminal as _};

use anyhow::Context as _;
use clap::Args;

use super::dry_run::DryRun;
use crate::printer;
use crate::refusal::Refusal;
use crate::table::Table;

/// The flags of a command that asks.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Consent {
    /// Do not ask
    #[arg(short, long)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) dry: DryRun,
}

impl Consent {
    /// Whether somebody is to be asked, if there is anything to do.
    pub(super) fn asks(self) -> bool {
        !self.yes && !self.dry.dry_run
    }
}

/// Refuses where somebody would have to be asked and nobody is there: before anything is looked at.
///
/// `doing` is what would be asked about, such as `revoking`; `instead` is what to do, besides `--yes`.
pub(super) fn needs_a_terminal(doing: &str, instead: &str) -> Result<(), Refusal> {
    if io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Refusal::usage(format!("{doing} asks first, and there is no terminal to ask on"))
        .hint(format!("--yes goes ahead without asking; {instead}")))
}

/// Shows what is to happen and asks. Any answer but yes ends the command.
pub(super) async fn confirm(table: Table, question: String) -> anyhow::Result<()> {
    let answer = tokio::task::spawn_blocking(move || printer::ask(&table, &question)).await;
    if answer.context("asking")?.context("reading the answer")? {
        return Ok(());
    }
    Err(Refusal::new("nothing was changed").into())
}
