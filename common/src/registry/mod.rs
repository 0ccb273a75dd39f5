//! Registries: where public keys are kept, by person.
//!
//! A registry only looks; it never decides who may log in. Each is one file here and one line in [`open`].
//! An answer that could not be had is a [`RegistryError`], never an empty answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::names::PersonName;
use crate::public_key::{Fingerprint, PublicKey};
use crate::restrictions::Restrictions;

#[cfg(feature = "aws")]
mod access;
#[cfg_attr(not(feature = "aws"), allow(dead_code))]
mod cache;
#[cfg(feature = "aws")]
pub mod ec2;
#[cfg(feature = "aws")]
pub mod iam;
#[cfg(feature = "aws")]
mod key_pairs;
#[cfg(feature = "aws")]
mod place;
#[cfg(feature = "aws")]
pub mod s3;

#[cfg(feature = "aws")]
pub use access::{Access, open};
pub use cache::KeyCache;

/// The kinds of place that hold public keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Registry {
    /// The public-key bucket: `people/<person>/...`, and `ssh_pubkey:<fingerprint>` for the region's key pairs.
    S3,
    /// EC2 key pairs of the region, with the public half that EC2 returns.
    Ec2,
    /// SSH public keys on the IAM user.
    Iam,
    /// A folder on the box's own disk: the `directory` source.
    Directory,
}

impl Registry {
    /// The name used in configuration, logs and state.
    pub fn as_str(self) -> &'static str {
        match self {
            Registry::S3 => "s3",
            Registry::Ec2 => "ec2",
            Registry::Iam => "iam",
            Registry::Directory => "directory",
        }
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Registry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Registry::S3, Registry::Ec2, Registry::Iam, Registry::Directory]
            .into_iter()
            .find(|registry| registry.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not a registry; give s3, ec2 or iam"))
    }
}

/// A public key as a registry holds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RegisteredKey {
    /// The key.
    pub key: PublicKey,
    /// What it may be used for, and until when.
    #[serde(default, skip_serializing_if = "Restrictions::is_none")]
    pub restrictions: Restrictions,
    /// Where exactly it stands, for people: an S3 object key, a key-pair name, an IAM key id, a file name.
    pub place: Arc<str>,
    /// What changes whenever the key at this place changes: an ETag and date, an upload date.
    pub version: Arc<str>,
}

/// What one registry has of one person.
#[derive(Debug, Clone, Default)]
pub struct Lookup {
    /// The keys that were found, whole or, with a `fault`, in part.
    pub keys: Vec<RegisteredKey>,
    /// Keys that are there and were refused, each alone.
    pub rejected: Vec<Rejected>,
    /// Set when the registry could not be asked, or only in part: what is missing then is not known to be gone.
    pub fault: Option<Arc<RegistryError>>,
}

/// A key that a registry holds and Fleetkey does not hand out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Where it stands, as in [`RegisteredKey::place`].
    pub place: Arc<str>,
    /// What is wrong with it, in words.
    pub reason: String,
}

/// A registry could not be asked.
#[derive(Debug, Clone, Error)]
#[error("{registry}: {action} failed: {cause}")]
pub struct RegistryError {
    /// The registry.
    pub registry: Registry,
    /// The call and what it was about, such as `ListObjectsV2 people/alice/`.
    pub action: String,
    /// The AWS error with all its causes, in one line.
    pub cause: String,
}

/// Something that can be asked for the keys of persons.
pub trait KeyRegistry: fmt::Debug + Send + Sync {
    /// Which it is.
    fn kind(&self) -> Registry;

    /// The names of all persons that it has keys of: what a glob is held against.
    fn names(&self) -> BoxFuture<'_, Result<BTreeSet<PersonName>, RegistryError>>;

    /// The keys of each person asked for; every one of them has an entry in the answer. What `cache` holds in
    /// the version that the registry lists is not fetched again.
    fn keys<'a>(
        &'a self,
        people: &'a BTreeSet<PersonName>,
        cache: &'a KeyCache,
    ) -> BoxFuture<'a, BTreeMap<PersonName, Lookup>>;

    /// Which of these keys it holds, whoever they belong to.
    fn known<'a>(&'a self, candidates: &'a [PublicKey]) -> BoxFuture<'a, Result<BTreeSet<Fingerprint>, RegistryError>>;
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// The wire form of RFC 4253, section 5: a length and the bytes.
    fn string(bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).unwrap();
        [length.to_be_bytes().as_slice(), bytes].concat()
    }

    /// An Ed25519 key that nobody has the private half of.
    pub(super) fn ed25519(at: u8) -> PublicKey {
        let blob = [string(b"ssh-ed25519"), string(&[at; 32])].concat();
        PublicKey::from_parts("ssh-ed25519", &STANDARD.encode(blob)).unwrap()
    }

    /// An RSA key of 2048 bits that nobody has the private half of.
    #[cfg(feature = "aws")]
    pub(super) fn rsa(at: u8) -> PublicKey {
        let modulus = [[0].as_slice(), &[0x80 | at; 256]].concat();
        let blob = [string(b"ssh-rsa"), string(&[1, 0, 1]), string(&modulus)].concat();
        PublicKey::from_parts("ssh-rsa", &STANDARD.encode(blob)).unwrap()
    }
}
