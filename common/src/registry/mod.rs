//! Registries: where public keys are kept, by person.
//!
//! A registry only looks; it never decides who may log in. Each is one file here and one line in [`open`].
//! An answer that could not be had is a [`RegistryError`], never an empty answer.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as StdError;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aws::error_text;
use crate::names::PersonName;
use crate::public_key::{Fingerprint, PublicKey};
use crate::restrictions::{AllowedOptions, Restrictions};

mod cache;
pub mod ec2;
pub mod iam;
mod key_pairs;
mod place;
pub mod s3;

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

impl RegistryError {
    /// A call that AWS failed or refused.
    pub(crate) fn of_call<E>(registry: Registry, action: impl Into<String>, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: StdError + ProvideErrorMetadata + 'static,
    {
        Self { registry, action: action.into(), cause: error_text(error) }
    }

    /// An answer that says there is more and not where: to take it for whole would drop what is missing.
    pub(crate) fn cut_short(registry: Registry, action: impl Into<String>) -> Self {
        let cause = "the answer is said to go on, and does not say where".to_owned();
        Self { registry, action: action.into(), cause }
    }
}

impl Lookup {
    /// Takes in what another place has of the same person. The first fault is kept.
    pub(crate) fn add(&mut self, other: Lookup) {
        self.keys.extend(other.keys);
        self.rejected.extend(other.rejected);
        self.fault = self.fault.take().or(other.fault);
    }

    /// The answer of a registry that could not be asked about anybody.
    pub(crate) fn all_failed(people: &BTreeSet<PersonName>, error: RegistryError) -> BTreeMap<PersonName, Lookup> {
        let fault = Arc::new(error);
        let lookup = |_| Lookup { fault: Some(Arc::clone(&fault)), ..Lookup::default() };
        people.iter().map(|person| (person.clone(), lookup(person))).collect()
    }
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

/// What the registries are asked with.
#[derive(Debug, Clone)]
pub struct Access {
    /// For the bucket.
    pub s3: aws_sdk_s3::Client,
    /// For key pairs; its region is theirs.
    pub ec2: aws_sdk_ec2::Client,
    /// For IAM users.
    pub iam: aws_sdk_iam::Client,
    /// The public-key bucket.
    pub bucket: String,
    /// The options that keys in the bucket may carry.
    pub allowed: AllowedOptions,
}

/// The registries of these kinds, in this order. The directory is no registry to be asked by network and is left out.
pub fn open(kinds: &[Registry], access: &Access) -> Vec<Box<dyn KeyRegistry>> {
    let pairs = key_pairs::KeyPairs::new(access.ec2.clone());
    let open = |kind: &Registry| -> Option<Box<dyn KeyRegistry>> {
        match kind {
            Registry::S3 => Some(Box::new(s3::S3Registry::new(access.clone(), pairs.clone()))),
            Registry::Ec2 => Some(Box::new(ec2::Ec2Registry::new(pairs.clone()))),
            Registry::Iam => Some(Box::new(iam::IamRegistry::new(access.iam.clone()))),
            Registry::Directory => None,
        }
    };
    kinds.iter().filter_map(open).collect()
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
    pub(super) fn rsa(at: u8) -> PublicKey {
        let modulus = [[0].as_slice(), &[0x80 | at; 256]].concat();
        let blob = [string(b"ssh-rsa"), string(&[1, 0, 1]), string(&modulus)].concat();
        PublicKey::from_parts("ssh-rsa", &STANDARD.encode(blob)).unwrap()
    }

    #[test]
    fn a_fault_is_told_in_one_line_with_the_call_and_its_cause() {
        let error = RegistryError::cut_short(Registry::S3, "ListObjectsV2 b/people/");
        assert_eq!(
            error.to_string(),
            "s3: ListObjectsV2 b/people/ failed: the answer is said to go on, and does not say where"
        );
    }
}
