//! `agent/index.json`: which packages of the agent are in the bucket, in the order in which they were published. Pure.
//!
//! The package for new boxes is the one of its kind that was published last: to go back to an earlier one is to publish
//! it again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{AgentPackage, is_version};
use crate::role::{Arch, PackageFormat};

/// The folder of agent packages in the bucket.
pub(crate) const FOLDER: &str = "agent/";

/// The version of the form that is written here.
const FORM: u32 = 1;

/// How many packages the index remembers, so that it stays well below what is read of an object. Objects of older ones
/// stay in the bucket.
const REMEMBERED: usize = 50;

/// The digest in the key of a package's object, `agent/<sha256>/<file name>`; `None` for any other key.
pub(crate) fn digest_of_key(key: &str) -> Option<&str> {
    let (digest, name) = key.strip_prefix(FOLDER)?.split_once('/')?;
    (is_digest(digest) && is_plain(name)).then_some(digest)
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a file name can become part of a URL in user-data.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "._+~-".contains(c))
}

/// A package in the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Entry")]
pub(crate) struct PublishedPackage {
    /// The object: `agent/<sha256>/<file name>`.
    pub(crate) key: String,
    /// Its SHA-256: 64 hex digits.
    pub(crate) sha256: String,
    /// Its version, in the words of its format.
    pub(crate) version: String,
    /// Its kind.
    pub(crate) format: PackageFormat,
    /// What it runs on.
    pub(crate) arch: Arch,
    /// Its length in bytes.
    pub(crate) size: u64,
    /// When it was published.
    pub(crate) published_at: Timestamp,
    /// Who published it: an IAM ARN.
    pub(crate) published_by: String,
}

/// A package as the index holds it, nothing checked.
#[derive(Deserialize)]
struct Entry {
    key: String,
    sha256: String,
    version: String,
    format: String,
    arch: String,
    size: u64,
    published_at: Timestamp,
    published_by: String,
}

impl TryFrom<Entry> for PublishedPackage {
    type Error = String;

    fn try_from(entry: Entry) -> Result<Self, String> {
        let Entry { key, sha256, version, format, arch, size, published_at, published_by } = entry;
        if digest_of_key(&key) != Some(&sha256) || !is_version(&version) {
            return Err(format!("{key:?}, version {version:?} of digest {sha256:?}, is no package"));
        }
        let (format, arch) = (format.parse()?, arch.parse()?);
        Ok(Self { key, sha256, version, format, arch, size, published_at, published_by })
    }
}

/// The index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    version: u32,
    packages: Vec<PublishedPackage>,
}

/// Why an object is not the index.
#[derive(Debug, Error)]
pub(crate) enum IndexError {
    /// Not JSON of this form.
    #[error("it is no index of packages")]
    Form(#[source] serde_json::Error),
    /// A form of later programs.
    #[error("it is of version {0}, which a later fleetkey wrote")]
    Later(u32),
}

impl Default for Index {
    fn default() -> Self {
        Self { version: FORM, packages: Vec::new() }
    }
}

impl Index {
    /// Where it is in the bucket.
    pub(crate) const KEY: &'static str = "agent/index.json";

    /// The folder of packages, and of the index.
    pub(crate) const FOLDER: &'static str = FOLDER;

    /// Reads the index.
    ///
    /// # Errors
    /// When it is none, or a later program's.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, IndexError> {
        #[derive(Deserialize)]
        struct Form {
            version: u32,
        }
        let Form { version } = serde_json::from_slice(body).map_err(IndexError::Form)?;
        if version > FORM {
            return Err(IndexError::Later(version));
        }
        serde_json::from_slice(body).map_err(IndexError::Form)
    }

    /// The package for new boxes of this kind.
    pub(crate) fn newest(&self, format: PackageFormat, arch: Arch) -> Option<&PublishedPackage> {
        self.packages.iter().rev().find(|package| package.format == format && package.arch == arch)
    }

    /// Whether a package is the one for new boxes of its kind.
    pub(crate) fn is_newest(&self, package: &AgentPackage) -> bool {
        self.newest(package.format, package.arch).is_some_and(|newest| newest.sha256 == package.sha256)
    }

    /// All packages, the last published first.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &PublishedPackage> {
        self.packages.iter().rev()
    }

    /// Since when a package is no longer the one for new boxes of its kind; `None` for one that is.
    pub(crate) fn superseded(&self, package: &PublishedPackage) -> Option<Timestamp> {
        let kind = |other: &&PublishedPackage| (other.format, other.arch) == (package.format, package.arch);
        let mut later = self.packages.iter().skip_while(|known| *known != package).skip(1);
        later.find(kind).map(|next| next.published_at)
    }

    /// Leaves out the package of this digest. Says whether it is out now: the newest of its kind is never left out.
    pub(crate) fn leave_out(&mut self, sha256: &str) -> bool {
        let newest = |package: &PublishedPackage| self.newest(package.format, package.arch) == Some(package);
        if self.packages.iter().any(|package| package.sha256 == sha256 && newest(package)) {
            return false;
        }
        self.packages.retain(|package| package.sha256 != sha256);
        true
    }

    /// Adds packages, each in place of what it was before, unless it is the newest of its kind already. Says whether
    /// that changed anything.
    pub(crate) fn add(&mut self, packages: &[&AgentPackage], who: &str, when: Timestamp) -> bool {
        let new: Vec<_> = packages.iter().filter(|package| !self.is_newest(package)).collect();
        for package in &new {
            self.packages.retain(|known| known.sha256 != package.sha256);
            self.packages.push(PublishedPackage {
                key: package.key(),
                sha256: package.sha256.clone(),
                version: package.version.clone(),
                format: package.format,
                arch: package.arch,
                size: package.bytes.len() as u64,
                published_at: when,
                published_by: who.to_owned(),
            });
        }
        self.forget();
        !new.is_empty()
    }

    /// Leaves out the oldest, but none that is the newest of its kind.
    fn forget(&mut self) {
        while self.packages.len() > REMEMBERED {
            let old = |at: &usize| {
                let package = &self.packages[*at];
                self.newest(package.format, package.arch).is_some_and(|newest| newest != package)
            };
            let Some(oldest) = (0..self.packages.len()).find(old) else { return };
            self.packages.remove(oldest);
        }
    }
}
