//! `fleetkey config path`.

use clap::Args;
use serde::Serialize;

use super::file;
use crate::printer::{self, Output, Printer};

/// Print where the configuration is, whether or not there is one.
#[derive(Debug, Args)]
pub(super) struct ShowPath {}

/// What is printed with `--output json`.
#[derive(Serialize)]
struct Found {
    path: String,
    exists: bool,
}

impl ShowPath {
    pub(super) fn run(printer: Printer) -> anyhow::Result<()> {
        let path = file()?;
        let found = Found { exists: path.exists(), path: path.display().to_string() };
        match printer.output() {
            Output::Json => printer::put(&(serde_json::to_string_pretty(&found)? + "\n"))?,
            Output::Table => printer::put(&format!("{}\n", found.path))?,
        }
        if !found.exists {
            printer.note("there is no file yet; one begins with a line such as: region = \"us-west-2\"");
        }
        Ok(())
    }
}
