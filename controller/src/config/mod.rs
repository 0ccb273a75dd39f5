//! The operator's configuration file: `~/.config/fleetkey/config.toml`.
//!
//! What it says counts below flags and Fleetkey's variables, and above AWS's own configuration. It may choose account,
//! region and the way to boxes, so what others than the caller could have written is not taken.

use std::io;
use std::path::{Path, PathBuf};

use fleetkey_common::config_file::{Origin, Problems, Text, Written};
use fleetkey_common::did_you_mean::did_you_mean;
use fleetkey_common::trusted_file::{self, TrustError};
use thiserror::Error;

use crate::folders;
use crate::refusal::Refusal;

mod document;
pub(crate) mod fragment;
mod schema;

#[cfg(test)]
mod tests;

pub(crate) use document::Document;
pub(crate) use fragment::Fragment;

/// The variable that names another file.
pub(crate) const FILE_VARIABLE: &str = "FLEETKEY_CONFIG";
/// The variable that names a profile.
pub(crate) const PROFILE_VARIABLE: &str = "FLEETKEY_PROFILE";
/// The flag that does.
pub(crate) const PROFILE_FLAG: &str = "--profile";

/// What stands for no file at all.
const NONE: &str = "/dev/null";

/// Which file it is, and whether it must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file.
    pub(crate) path: PathBuf,
    /// Whether somebody named it.
    pub(crate) named: bool,
}

impl Place {
    /// The file of this caller; `None` for one who has no home, or wants none.
    pub(crate) fn find() -> Option<Self> {
        match std::env::var_os(FILE_VARIABLE).filter(|path| !path.is_empty()) {
            Some(path) if path == NONE => None,
            Some(path) => Some(Self { path: path.into(), named: true }),
            None => Some(Self { path: folders::config()?.join("fleetkey/config.toml"), named: false }),
        }
    }
}

/// Why the file cannot be used.
#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    /// One that was named is not there.
    #[error("{}: there is no such file", .0.display())]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("{}: cannot read the configuration", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a file, or none that anybody would write.
    #[error("{}: {found}, so it is hardly a configuration", path.display())]
    Odd {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// Somebody else can have written it.
    #[error("{}: {found}, but the file says which account is worked on and by which way", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with its owner or mode.
        found: String,
        /// The command that mends it.
        mend: String,
    },
    /// It says something that cannot be worked with: all of it, one problem a line.
    #[error("{0}")]
    Invalid(Problems),
}

impl From<ConfigError> for Refusal {
    fn from(error: ConfigError) -> Self {
        let refusal = Refusal::usage(&error);
        match error {
            ConfigError::Missing(_) => refusal.hint(format!("check {FILE_VARIABLE}, or unset it")),
            ConfigError::Foreign { mend, .. } => refusal.hint(format!("look through it, then run: {mend}")),
            ConfigError::Invalid(_) => refusal.hint("fleetkey config check looks at it again"),
            ConfigError::Unreadable { .. } | ConfigError::Odd { .. } => {
                refusal.hint(format!("{FILE_VARIABLE}={NONE} goes without it"))
            }
        }
    }
}

/// Reads the file and checks it. One that nobody named need not be there.
pub(crate) fn load(place: Option<&Place>) -> Result<Document, ConfigError> {
    let Some(Place { path, named }) = place else { return Ok(Document::default()) };
    match read(path)? {
        Some(bytes) => Document::parse(path, &bytes).map_err(ConfigError::Invalid),
        None if *named => Err(ConfigError::Missing(path.clone())),
        None => Ok(Document::default()),
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, ConfigError> {
    let here = || path.to_owned();
    trusted_file::read(path).map_err(|error| match error {
        TrustError::Io { source, .. } => ConfigError::Unreadable { path: here(), source },
        TrustError::Kind { .. } => ConfigError::Odd { path: here(), found: "not a regular file" },
        TrustError::Large { .. } => ConfigError::Odd { path: here(), found: "larger than 1 MiB" },
        TrustError::Owner { uid, .. } => ConfigError::Foreign {
            path: here(),
            found: format!("it belongs to user id {uid}"),
            mend: format!("chown \"$(id -un)\" {}", path.display()),
        },
        TrustError::Writable { mode, .. } => ConfigError::Foreign {
            path: here(),
            found: format!("others can write to it (mode {mode:04o})"),
            mend: format!("chmod go-w {}", path.display()),
        },
    })
}

/// What of the file counts for a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// The profile, and who chose it: a flag, a variable or the file itself.
    pub(crate) profile: Option<Written<String>>,
    /// What the profile says.
    pub(crate) own: Fragment,
    /// What holds for all profiles.
    pub(crate) top: Fragment,
}

impl Document {
    /// The profiles by name: whether it is the file's default, and what it says.
    pub(crate) fn profiles(&self) -> impl Iterator<Item = (&str, bool, &Fragment)> {
        let default = self.default_profile.as_ref().map(|profile| profile.value.as_str());
        self.profiles.iter().map(move |(name, fragment)| (name.as_str(), default == Some(name), fragment))
    }

    /// What is said of one setting, at the top and in each profile.
    pub(crate) fn values(&self, setting: impl Fn(&Fragment) -> Option<&Text>) -> Vec<String> {
        let fragments = std::iter::once(&self.top).chain(self.profiles.values());
        fragments.filter_map(setting).map(|written| written.value.clone()).collect()
    }

    /// Picks the profile: that of the flag, else of the variable, else the file's default, else none.
    pub(crate) fn choose(self, flag: Option<&str>, variable: Option<String>) -> Result<Chosen, Refusal> {
        let flag = flag.map(|name| (name.to_owned(), Origin::Flag(PROFILE_FLAG.to_owned())));
        let variable = variable.filter(|name| !name.is_empty()).map(|name| (name, Origin::Variable(PROFILE_VARIABLE)));
        let asked = flag.or(variable).map(|(value, origin)| Written { value, origin });
        let Some(profile) = asked.or(self.default_profile) else {
            return Ok(Chosen { top: self.top, ..Chosen::default() });
        };
        let Some(own) = self.profiles.get(&profile.value) else {
            let known: Vec<&str> = self.profiles.keys().map(String::as_str).collect();
            let close = did_you_mean(&profile.value, &known);
            let refusal = Refusal::usage(format!("{}: there is no profile {:?}{close}", profile.origin, profile.value));
            return Err(match known.as_slice() {
                [] => {
                    refusal.hint("[profile.NAME] in the configuration makes one; fleetkey config path says where it is")
                }
                known => refusal.hint(format!("profiles of the configuration: {}", known.join(", "))),
            });
        };
        Ok(Chosen { own: own.clone(), profile: Some(profile), top: self.top })
    }
}

impl Chosen {
    /// Whether somebody asked for this profile now, instead of leaving it to the file.
    pub(crate) fn is_asked_for(&self) -> bool {
        let origin = self.profile.as_ref().map(|profile| &profile.origin);
        matches!(origin, Some(Origin::Flag(_) | Origin::Variable(_)))
    }
}
