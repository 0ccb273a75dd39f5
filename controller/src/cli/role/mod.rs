//! `fleetkey role`: what roles there are, what is in them, and what a box of one would be told. Asks AWS nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use fleetkey_common::aws_names::AbsoluteName;

use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::role::{Library, Role, RoleError, RoleName};
use crate::settings::Settings;

mod check;
mod list;
mod options;
mod render;
mod show;

pub(super) use list::List;
pub(super) use options::Options;

/// Look at roles, the blueprints of boxes.
///
/// A role is a YAML file: built in, in ~/.config/fleetkey/roles, or in a folder named by --role-path.
#[derive(Debug, Args)]
pub(super) struct RoleVerb {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(List),
    Show(show::Show),
    Options(Options),
    Render(render::Render),
    Check(check::Check),
}

/// Where roles are looked for, beside the usual places.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RolePath {
    /// Folder of role files, which go before those of ~/.config/fleetkey/roles and the built-in ones; repeatable
    #[arg(long, value_name = "FOLDER")]
    role_path: Vec<PathBuf>,
}

impl RolePath {
    /// All roles that there are.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub(crate) fn library(&self) -> anyhow::Result<Library> {
        Ok(Library::open(&self.role_path).map_err(Refusal::from)?)
    }

    /// The role of boxes of this name, which must be one that boxes can be made of.
    ///
    /// # Errors
    /// When there is none, it is abstract, or its files have faults.
    pub(crate) fn of(&self, name: &AbsoluteName) -> anyhow::Result<Role> {
        let role: RoleName = name.base_name().parse().map_err(Refusal::usage)?;
        let role = self.load(&role)?;
        if role.abstract_ {
            return Err(Refusal::from(RoleError::Abstract(role.name)).into());
        }
        Ok(role)
    }

    /// One role, merged and checked.
    ///
    /// # Errors
    /// When there is none of that name, or its files have faults.
    pub(crate) fn load(&self, name: &RoleName) -> anyhow::Result<Role> {
        Ok(self.library()?.load(name).map_err(Refusal::from)?)
    }
}

impl RoleVerb {
    pub(super) fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        match self.verb {
            Verb::List(verb) => verb.run(printer),
            Verb::Show(verb) => verb.run(printer),
            Verb::Options(verb) => verb.run(printer),
            Verb::Render(verb) => verb.run(settings, printer),
            Verb::Check(verb) => verb.run(printer),
        }
    }
}

/// An option as it stands on the command line: `NAME=VALUE`.
pub(crate) fn named_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// The options of a command line by name, each given once.
pub(crate) fn named_values(given: &[(String, String)]) -> Result<BTreeMap<String, String>, Refusal> {
    let mut options = BTreeMap::new();
    for (name, value) in given {
        if let Some(before) = options.insert(name.clone(), value.clone()) {
            return Err(Refusal::usage(format!("-O {name} is given twice: {before:?} and {value:?}")));
        }
    }
    Ok(options)
}
