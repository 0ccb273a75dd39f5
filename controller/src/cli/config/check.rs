//! `fleetkey config check`.

use anyhow::Context as _;
use clap::Args;
use fleetkey_common::config_file::{Origin, Problem, Problems};
use serde::Serialize;

use super::file;
use crate::config::{self, ConfigError, Document, Place};
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::table::Table;

/// Check the configuration, all profiles of it.
///
/// All that is wrong is told at once, each fault with its line and column.
#[derive(Debug, Args)]
pub(super) struct Check {}

/// What is printed with `--output json`.
#[derive(Serialize)]
struct Checked<'a> {
    path: String,
    exists: bool,
    profiles: Vec<Profile<'a>>,
    faults: Vec<Fault<'a>>,
}

#[derive(Serialize)]
struct Profile<'a> {
    name: &'a str,
    default: bool,
    settings: Vec<&'static str>,
}

#[derive(Serialize)]
struct Fault<'a> {
    line: Option<usize>,
    column: Option<usize>,
    message: &'a str,
}

impl Check {
    pub(super) fn run(printer: Printer) -> anyhow::Result<()> {
        let path = file()?;
        let (document, problems) = match config::load(Place::find().as_ref()) {
            Ok(document) => (document, None),
            Err(ConfigError::Invalid(problems)) => (Document::default(), Some(problems)),
            Err(error) => return Err(Refusal::from(error).into()),
        };
        let faults: Vec<&Problem> = problems.iter().flat_map(Problems::iter).collect();
        let mut table = Table::new(&["PROFILE", "DEFAULT", "SETTINGS"]);
        let profiles: Vec<Profile> = document
            .profiles()
            .map(|(name, default, fragment)| {
                let settings = fragment.fields().filter(|(_, value)| value.is_some()).map(|(name, _)| name).collect();
                Profile { name, default, settings }
            })
            .collect();
        for Profile { name, default, settings } in &profiles {
            let default = if *default { "yes".to_owned() } else { String::new() };
            table.row(vec![(*name).to_owned(), default, settings.join(", ")]);
        }
        let exists = path.exists();
        let checked = Checked {
            path: path.display().to_string(),
            exists,
            profiles,
            faults: faults.iter().copied().map(fault).collect(),
        };
        printer.data(&table, &checked).context("writing to standard output")?;
        // Each as it is told by every other command.
        for problem in &faults {
            printer.warn(&problem.to_string());
        }
        match (faults.len(), exists) {
            (0, true) => printer.note(&format!("{} is sound", checked.path)),
            (0, false) => printer.note(&format!("there is no {}; nothing is wrong with that", checked.path)),
            (1, _) => return Err(Refusal::new("1 fault").into()),
            (count, _) => return Err(Refusal::new(format!("{count} faults")).into()),
        }
        Ok(())
    }
}

fn fault(problem: &Problem) -> Fault<'_> {
    let (line, column) = match &problem.origin {
        Origin::File { line, column, .. } => (Some(*line), Some(*column)),
        Origin::Flag(_) | Origin::Variable(_) => (None, None),
    };
    Fault { line, column, message: &problem.message }
}
