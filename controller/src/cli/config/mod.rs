//! `fleetkey config`: what the operator's own configuration is, and what it comes to. Asks AWS nothing.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config::{self, Document, FILE_VARIABLE, PROFILE_VARIABLE, Place};
use crate::printer::{Output, Printer};
use crate::refusal::Refusal;
use crate::settings::PlaceFlags;

mod check;
mod path;
mod show;

/// Look at the configuration of this program: its defaults, and profiles of them.
///
/// It is in ~/.config/fleetkey/config.toml, or where FLEETKEY_CONFIG says. Flags and Fleetkey's variables go before it;
/// it goes before AWS's own configuration.
#[derive(Debug, Args)]
pub(super) struct ConfigVerb {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Show(show::Show),
    Check(check::Check),
    Path(path::ShowPath),
}

impl ConfigVerb {
    pub(super) fn run(
        self,
        place: &PlaceFlags,
        output: Option<Output>,
        env: impl Fn(&str) -> Option<String>,
        printer: Printer,
    ) -> anyhow::Result<()> {
        match self.verb {
            Verb::Show(show::Show {}) => show::Show::run(place, output, env, printer),
            Verb::Check(check::Check {}) => check::Check::run(printer),
            Verb::Path(path::ShowPath {}) => path::ShowPath::run(printer),
        }
    }
}

/// Reads the operator's file.
pub(super) fn load() -> Result<Document, Refusal> {
    config::load(Place::find().as_ref()).map_err(Refusal::from)
}

/// Which file it is.
fn file() -> Result<PathBuf, Refusal> {
    let place = Place::find().ok_or_else(|| {
        Refusal::new("there is no place for a configuration")
            .hint(format!("{FILE_VARIABLE} names one, where there is no home or {FILE_VARIABLE} turns it off"))
    });
    Ok(place?.path)
}

/// The variable of the profile, as the program finds it.
fn profile_variable(env: impl Fn(&str) -> Option<String>) -> Option<String> {
    env(PROFILE_VARIABLE)
}
