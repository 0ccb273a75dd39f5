//! Agent packages as files: what one holds is read from the package itself, never from its name.
//!
//! Everything about it is checked that a package lets one check without installing it: what is published runs as root on
//! every new box.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::role::{Arch, PackageFormat};

mod deb;
mod index;
mod rpm;

pub(crate) use index::{FOLDER, Index, IndexError, PublishedPackage, digest_of_key};

/// The package that boxes install.
const AGENT: &str = "fleetkey-agent";

/// The largest file that is read, in bytes: a debugging build of the agent is a fifth of it.
const MAX_FILE: u64 = 512 * 1024 * 1024;

/// The longest version, in characters.
const MAX_VERSION: usize = 64;

/// A package of the agent, read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AgentPackage {
    /// The version that it says it is, in the words of its format.
    pub(crate) version: String,
    /// Its kind.
    pub(crate) format: PackageFormat,
    /// What it runs on.
    pub(crate) arch: Arch,
    /// Its SHA-256: 64 hex digits.
    pub(crate) sha256: String,
    /// The whole file.
    pub(crate) bytes: Vec<u8>,
}

/// Why a file is not taken for a package of the agent.
#[derive(Debug, Error)]
pub(crate) enum PackageError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// No package, or none of this program's.
    #[error("{} {why}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        why: Unfit,
    },
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Unfit {
    /// Larger than any package.
    #[error("has more than {} MiB: no package of {AGENT} is that large", MAX_FILE / 1024 / 1024)]
    TooLarge,
    /// Neither kind.
    #[error("is neither a Debian package nor an RPM")]
    NoPackage,
    /// A part is missing or altered.
    #[error("is damaged: {0}")]
    Damaged(String),
    /// A package made by other means, of which not everything can be checked.
    #[error("cannot be checked: {0}; packages that `make packages` makes can")]
    Foreign(String),
    /// Another program's.
    #[error("is the package {0:?}, not {AGENT}")]
    OtherPackage(String),
    /// For machines that EC2 does not have.
    #[error("is for {0:?}; boxes are x86_64 (amd64) or arm64 (aarch64)")]
    OtherArch(String),
    /// A version that no name could hold.
    #[error(
        "has the version {0:?}; a version is at most {MAX_VERSION} of 0-9 A-Z a-z . + ~ : - and begins with a digit"
    )]
    Version(String),
}

/// What a package says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Claims {
    name: String,
    version: String,
    arch: String,
}

impl AgentPackage {
    /// Reads a file and checks it.
    ///
    /// # Errors
    /// When it is no package of the agent, or not a whole one.
    pub(crate) fn read(path: &Path) -> Result<Self, PackageError> {
        let failed = |source| PackageError::Read { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)).map_err(failed)?;
        Self::parse(bytes).map_err(|why| PackageError::Unfit { path: path.to_owned(), why })
    }

    fn parse(bytes: Vec<u8>) -> Result<Self, Unfit> {
        if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE) {
            return Err(Unfit::TooLarge);
        }
        let (format, claims) = if bytes.starts_with(deb::MAGIC) {
            (PackageFormat::Deb, deb::claims(&bytes)?)
        } else if bytes.starts_with(rpm::MAGIC) {
            (PackageFormat::Rpm, rpm::claims(&bytes)?)
        } else {
            return Err(Unfit::NoPackage);
        };
        if claims.name != AGENT {
            return Err(Unfit::OtherPackage(claims.name));
        }
        let arch = match (format, claims.arch.as_str()) {
            (PackageFormat::Deb, "amd64") | (PackageFormat::Rpm, "x86_64") => Arch::X86_64,
            (PackageFormat::Deb, "arm64") | (PackageFormat::Rpm, "aarch64") => Arch::Arm64,
            _ => return Err(Unfit::OtherArch(claims.arch)),
        };
        if !is_version(&claims.version) {
            return Err(Unfit::Version(claims.version));
        }
        let sha256 = hex::encode(Sha256::digest(&bytes));
        Ok(Self { version: claims.version, format, arch, sha256, bytes })
    }

    /// The name that the package's format gives such a file, whatever the file was called.
    fn file_name(&self) -> String {
        // A colon stands for an epoch, which file names leave out.
        let version = self.version.rsplit(':').next().unwrap_or_default();
        match (self.format, self.arch) {
            (PackageFormat::Deb, Arch::X86_64) => format!("{AGENT}_{version}_amd64.deb"),
            (PackageFormat::Deb, Arch::Arm64) => format!("{AGENT}_{version}_arm64.deb"),
            (PackageFormat::Rpm, Arch::X86_64) => format!("{AGENT}-{version}.x86_64.rpm"),
            (PackageFormat::Rpm, Arch::Arm64) => format!("{AGENT}-{version}.aarch64.rpm"),
        }
    }

    /// Where it is in the bucket: `agent/<sha256>/<file name>`.
    pub(crate) fn key(&self) -> String {
        format!("{}{}/{}", index::FOLDER, self.sha256, self.file_name())
    }
}

/// Whether both Debian and RPM would take it for a version, and a name or a terminal can hold it.
fn is_version(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".+~:-".contains(c);
    text.len() <= MAX_VERSION && text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(allowed)
}

#[cfg(test)]
mod tests;
