//! The configuration: from a file and flags to [`Settings`], in three steps.
//!
//! Fragments (everything as written, with its place) are laid over one another (flags over the file) and then checked
//! as a whole against defaults, bounds and each other. All that is wrong is told at once, each with its place. No
//! environment variable is ever read, and a broken file never yields half of its settings.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use fleetkey_common::config_file::Findings;
use fleetkey_common::names::AccountName;
use thiserror::Error;

mod autostop;
mod defaults;
mod describe;
mod document;
mod file;
mod flags;
mod fragment;
mod grants;
mod options;
mod schema;
pub mod settings;
mod validate;
mod values;

#[cfg(test)]
mod tests;

pub use describe::describe;
pub use flags::Flags;
pub use fleetkey_common::config_file::{Origin, Problem, Problems};
pub use settings::Settings;

/// Where the configuration file is, unless `--config` names another.
pub const DEFAULT_FILE: &str = "/etc/fleetkey/agent.toml";

/// A configuration that can be used.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// What is odd about the configuration, in the order of the file, then of the flags.
    pub warnings: Vec<Problem>,
    /// Where each account of the grants is first named.
    accounts: BTreeMap<AccountName, Origin>,
}

/// Why there are no settings to be had.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// There is no such file.
    #[error(
        "{}: there is no such file; write one, beginning with source = \"iam\" or source = \"directory\", \
         or name another with --config FILE",
        .path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("{}: cannot read the configuration", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder, FIFO, device or socket stands there.
    #[error("{}: not a regular file; name the configuration file itself with --config FILE", .path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file is larger than any configuration.
    #[error("{}: larger than 1 MiB, so hardly a configuration; name another with --config FILE", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Someone else than root could have written the file.
    #[error(
        "{}: {found}, but the file says who may log in, so root alone may write it; \
         look through it, then chown root and chmod go-w it",
        .path.display()
    )]
    NotRoots {
        /// The file.
        path: PathBuf,
        /// What is wrong with its owner or mode.
        found: String,
    },
    /// The file or the flags say something that cannot be worked with: all of it, one problem a line.
    #[error("{0}")]
    Invalid(Problems),
}

/// Reads the file, lays the flags over it and checks the whole.
///
/// Reads the disk: not to be called on an async thread. Called again for a reload; on an error the caller keeps the
/// settings it has.
pub fn load(file: &Path, flags: &Flags) -> Result<Loaded, ConfigError> {
    let bytes = file::read(file)?;
    interpret(file, &bytes, flags).map_err(ConfigError::Invalid)
}

/// The pure part of [`load`]; `file` is for messages.
fn interpret(file: &Path, bytes: &[u8], flags: &Flags) -> Result<Loaded, Problems> {
    let mut findings = Findings::default();
    let written = document::read(file, bytes, &mut findings).map(|fragment| flags.fragment().over(fragment));
    // Of a file that is not TOML nothing is known: the findings say so, and the defaults go no further.
    let (settings, accounts) = validate::settings(written.unwrap_or_default(), &mut findings);
    Ok(Loaded { settings, warnings: findings.into_result()?, accounts })
}

impl Loaded {
    /// The accounts of the grants that `exists` does not know, each with the place where it is named.
    ///
    /// An error for whoever checks a configuration; only a warning for a running agent, since an account may be made
    /// after the agent starts.
    pub fn unknown_accounts(&self, exists: impl Fn(&AccountName) -> bool) -> Vec<Problem> {
        let unknown = self.settings.grants.iter().filter(|grant| !exists(&grant.account));
        unknown
            .filter_map(|grant| {
                let account = &grant.account;
                let origin = self.accounts.get(account)?.clone();
                let message = format!("account {account} does not exist here; make it, or correct its name");
                Some(Problem { origin, message })
            })
            .collect()
    }
}
