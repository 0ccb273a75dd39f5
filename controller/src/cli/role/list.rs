//! `fleetkey role list`, and CGCloud's `list-roles`.

use clap::Args;
use serde::Serialize;

use super::RolePath;
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::role::{Arch, RoleName};
use crate::table::Table;

/// List the roles there are.
///
/// Those that are abstract are there to be extended by others.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    path: RolePath,
}

/// What is printed with `--output json`.
#[derive(Serialize)]
struct Roles<'a> {
    roles: &'a [Listed],
}

/// A role as it is printed.
#[derive(Serialize)]
struct Listed {
    name: RoleName,
    #[serde(rename = "abstract")]
    abstract_: bool,
    architectures: Vec<Arch>,
    from: String,
    description: String,
}

impl List {
    pub(in crate::cli) fn run(self, printer: Printer) -> anyhow::Result<()> {
        let library = self.path.library()?;
        let mut table = Table::new(&["ROLE", "ARCHITECTURES", "FROM", "DESCRIPTION"]);
        let (mut listed, mut faults) = (Vec::new(), Vec::new());
        for name in library.names() {
            let role = match library.load(&name) {
                Ok(role) => role,
                Err(error) => {
                    faults.push(error.to_string());
                    continue;
                }
            };
            let architectures: Vec<Arch> = role.base_images.keys().copied().collect();
            let words: Vec<&str> = architectures.iter().map(|arch| arch.as_str()).collect();
            let words = if role.abstract_ { "abstract".to_owned() } else { words.join(",") };
            table.row(vec![name.to_string(), words, library.origin(&name), role.description.clone()]);
            let (abstract_, from) = (role.abstract_, library.origin(&name));
            listed.push(Listed { name, abstract_, architectures, from, description: role.description });
        }
        printer.data(&table, &Roles { roles: &listed })?;
        // A role that cannot be read must not look as if it were not there.
        for fault in &faults {
            printer.warn(fault);
        }
        match faults.len() {
            0 => Ok(()),
            1 => Err(Refusal::new("1 role cannot be read").into()),
            count => Err(Refusal::new(format!("{count} roles cannot be read")).into()),
        }
    }
}
