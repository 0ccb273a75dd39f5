//! `fleetkey role show`.

use clap::Args;
use clap_complete::ArgValueCandidates;

use super::RolePath;
use crate::complete;
use crate::printer::{self, Output, Printer};
use crate::role::RoleName;

/// Print a role, merged with all that it extends, as YAML.
///
/// What is printed is a role file itself, which extends nothing.
#[derive(Debug, Args)]
pub(super) struct Show {
    /// The role
    #[arg(add = ArgValueCandidates::new(complete::roles))]
    role: RoleName,
    #[command(flatten)]
    path: RolePath,
}

impl Show {
    pub(super) fn run(self, printer: Printer) -> anyhow::Result<()> {
        let role = self.path.load(&self.role)?;
        match printer.output() {
            Output::Json => printer::put(&(serde_json::to_string_pretty(&role)? + "\n"))?,
            Output::Table => printer::put(&role.to_yaml()?)?,
        }
        Ok(())
    }
}
