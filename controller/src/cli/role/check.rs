//! `fleetkey role check`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::RolePath;
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::role::{Library, RoleError, RoleName};
use crate::table::Table;

/// Check role files, or every role there is.
///
/// What a file extends is looked for beside it, then in the usual places.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Role files, such as my-box.yaml
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    path: RolePath,
}

/// What is printed with `--output json`.
#[derive(Serialize)]
struct Roles<'a> {
    roles: &'a [Checked],
}

/// What was found of a role.
#[derive(Serialize)]
struct Checked {
    role: RoleName,
    from: String,
    faults: Vec<String>,
}

impl Check {
    pub(super) fn run(self, printer: Printer) -> anyhow::Result<()> {
        let mut checked = Vec::new();
        if self.files.is_empty() {
            let library = self.path.library()?;
            for name in library.names() {
                checked.push(check(&library, name)?);
            }
        }
        for file in &self.files {
            let beside = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            let mut path = self.path.clone();
            path.role_path.push(beside.map_or_else(|| PathBuf::from("."), PathBuf::from));
            let (library, name) = path.library()?.with_file(file).map_err(Refusal::from)?;
            checked.push(check(&library, name)?);
        }
        let mut table = Table::new(&["ROLE", "FROM", "STATE"]);
        for Checked { role, from, faults } in &checked {
            let state = match faults.len() {
                0 => "ok".to_owned(),
                1 => "1 fault".to_owned(),
                count => format!("{count} faults"),
            };
            table.row(vec![role.to_string(), from.clone(), state]);
        }
        printer.data(&table, &Roles { roles: &checked })?;
        let faults: Vec<&String> = checked.iter().flat_map(|checked| &checked.faults).collect();
        for fault in &faults {
            printer.warn(fault);
        }
        match faults.len() {
            0 => Ok(()),
            1 => Err(Refusal::new("1 fault").into()),
            count => Err(Refusal::new(format!("{count} faults")).into()),
        }
    }
}

/// The faults of a role, each with its place.
fn check(library: &Library, role: RoleName) -> anyhow::Result<Checked> {
    let faults = match library.load(&role) {
        Ok(_) => Vec::new(),
        Err(RoleError::Faulty(problems)) => problems.0.iter().map(ToString::to_string).collect(),
        Err(error) => return Err(Refusal::from(error).into()),
    };
    Ok(Checked { from: library.origin(&role), role, faults })
}
