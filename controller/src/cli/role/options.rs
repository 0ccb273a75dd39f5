//! `fleetkey role options`, and CGCloud's `list-options`.

use std::collections::BTreeMap;

use clap::Args;
use clap_complete::ArgValueCandidates;
use serde::Serialize;

use super::RolePath;
use crate::complete;
use crate::printer::Printer;
use crate::role::{OptionSpec, OptionValue, RoleName};
use crate::table::Table;

/// List the options of a role, which `-O NAME=VALUE` sets.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The role
    #[arg(add = ArgValueCandidates::new(complete::roles))]
    role: RoleName,
    #[command(flatten)]
    path: RolePath,
}

/// What is printed with `--output json`.
#[derive(Serialize)]
struct Shown<'a> {
    role: &'a RoleName,
    options: &'a BTreeMap<String, OptionSpec>,
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
        printer.data(&table, &Shown { role: &self.role, options: &role.options })?;
        Ok(())
    }
}
