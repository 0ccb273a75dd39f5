//! What is wrong with a role, or with what was asked of it: said so that whoever wrote it finds the place and knows
//! what to write instead.

use std::fmt;
use std::io;
use std::path::PathBuf;

use fleetkey_common::did_you_mean::did_you_mean;
use thiserror::Error;

use super::model::RoleName;
use super::node::Place;
use super::words::Arch;
use crate::refusal::Refusal;

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where.
    pub(crate) place: Place,
    /// What is wrong, and what to write instead.
    pub(crate) message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// All that is wrong in the files of a role, in reading order; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// A role cannot be had, or not as asked for.
#[derive(Debug, Error)]
pub(crate) enum RoleError {
    /// Its files, or those of what it extends, have faults.
    #[error("{0}")]
    Faulty(Problems),
    /// There is none of that name.
    #[error("there is no role {name}")]
    Unknown {
        /// The name asked for.
        name: RoleName,
        /// The names there are.
        known: Vec<RoleName>,
    },
    /// It is only there to be extended.
    #[error("role {0} is abstract: it is made to be extended, not launched")]
    Abstract(RoleName),
    /// It has no image for the architecture.
    #[error("role {role} has no base image for {arch}")]
    NoImage {
        /// The role.
        role: RoleName,
        /// The architecture asked for.
        arch: Arch,
        /// Those it has images for.
        known: Vec<Arch>,
    },
    /// An option was given that the role does not have, or a value that it does not take, or none where one must be.
    #[error("{message}")]
    Option {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
    /// Something that is to be put into the user-data cannot be.
    #[error("{what} {value:?} cannot stand in user-data: {why}")]
    Value {
        /// What it is.
        what: &'static str,
        /// The value.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The user-data is too long for EC2, compressed too.
    #[error("the user-data has {plain} bytes, {packed} compressed; EC2 takes {limit}")]
    TooLong {
        /// Its length in bytes.
        plain: usize,
        /// Its length in bytes when compressed.
        packed: usize,
        /// What EC2 takes.
        limit: usize,
    },
    /// A folder or file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}

impl RoleError {
    /// What to do about it.
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Unknown { name, known } => {
                let known: Vec<&str> = known.iter().map(RoleName::as_str).collect();
                let close = did_you_mean(name.as_str(), &known);
                vec![format!("`fleetkey role list` names the roles there are{close}")]
            }
            Self::NoImage { known, .. } => {
                let known: Vec<&str> = known.iter().map(|arch| arch.as_str()).collect();
                vec![format!("it has one for {}; base_images of a role says where they are", known.join(", "))]
            }
            Self::Abstract(name) => vec![format!("write a role with `extends: [..., {name}]`, and launch that")],
            Self::TooLong { .. } => {
                vec![
                    "let the box fetch what is long: put it into a bucket or an image, and its address here".to_owned(),
                ]
            }
            Self::Option { hint, .. } if !hint.is_empty() => vec![hint.clone()],
            _ => Vec::new(),
        }
    }
}

impl From<RoleError> for Refusal {
    fn from(error: RoleError) -> Self {
        let hints = error.hints();
        let usage = matches!(error, RoleError::Unknown { .. } | RoleError::Abstract(_) | RoleError::Option { .. });
        let refusal = if usage { Refusal::usage(&error) } else { Refusal::new(&error) };
        hints.into_iter().fold(refusal, Refusal::hint)
    }
}
