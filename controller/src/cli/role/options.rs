//! `fleetkey role options`, and CGCloud's `list-options`.

use clap::Args;

use super::RolePath;
use crate::printer::Printer;
use crate::role::{OptionValue, RoleName};
use crate::table::Table;

/// List the options of a role, which `-O NAME=VALUE` sets.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The role
    role: RoleName,
    #[command(flatten)]
    path: RolePath,
}

impl Options {
    pub(in crate::cli) fn run(self, printer: Printer) -> anyhow::Result<()> {
        let role = self.path.load(&self.role)?;
        let mut table = Table::new(&["OPTION", "TYPE", "DEFAULT", "HELP"]);
        for (name, spec) in &role.options {
            let default = spec.default.as_ref().map(OptionValue::to_text).unwrap_or_default();
            let default = if spec.required { "required".to_owned() } else { default };
            table.row(vec![name.clone(), spec.kind.words(), default, spec.help.clone()]);
        }
        printer.data(&table, &role.options)?;
        Ok(())
    }
}
