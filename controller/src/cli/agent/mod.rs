//! `fleetkey agent`: the packages of the agent that new boxes install.

use anyhow::Error;
use clap::{Args, Subcommand};

use crate::aws::agent_package::PackagesError;
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::settings::Settings;

mod list;
mod publish;
mod url;

/// Publish the agent's packages, from which new boxes install it, and see what is published.
#[derive(Debug, Args)]
pub(super) struct Agent {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(list::List),
    Publish(publish::Publish),
    Url(url::Url),
}

impl Agent {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        match self.verb {
            Verb::List(verb) => verb.run(settings, printer).await,
            Verb::Publish(verb) => verb.run(settings, printer).await,
            Verb::Url(verb) => verb.run(settings, printer).await,
        }
    }
}

/// A failure with what it left undone and, where a permission or the index is the cause, what to do.
fn explain(error: PackagesError, undone: impl std::fmt::Display) -> Error {
    let refusal = Refusal::new(undone).hint_permissions(error.call());
    let refusal = match &error {
        PackagesError::Call(_) => refusal,
        PackagesError::Index { .. } => refusal
            .hint("use the newest fleetkey; an index that is spoilt can be deleted, and packages published again"),
        PackagesError::Crowded { .. } => refusal.hint("try again when nobody else publishes"),
    };
    Error::from(error).context(refusal)
}
