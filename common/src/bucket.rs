//! The layout of the public-key bucket: what every object in it is called, both ways.
//!
//! | key | object |
//! | --- | --- |
//! | `people/<person>/<sha256, hex>.pub` | a key of a person, for all regions; [`KeyMetadata`] in its metadata |
//! | `people/<person>/<any name>` | the same, put there by hand: one or more keys |
//! | `ssh_pubkey:<EC2 fingerprint>` | the key of a key pair, as CGCloud keeps it |
//! | `revoked/<sha256, hex>` | bars a key whatever else holds it; [`Revocation`] as its body |
//! | `status/<instance id>.json` | what the agent of an instance has to tell |
//!
//! The keys of objects come from outside: nothing but the functions here takes one apart. They are not escaped, since
//! the SDK encodes requests, and a name that could leave its folder is not a name.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::names::PersonName;
use crate::public_key::{Ec2Fingerprint, Fingerprint};

/// The folder of persons' keys.
pub const PEOPLE: &str = "people/";

/// What the names of key pairs' keys begin with.
pub const SSH_PUBKEY: &str = "ssh_pubkey:";

/// The folder of revocations.
pub const REVOKED: &str = "revoked/";

/// The folder of agents' status.
pub const STATUS: &str = "status/";

/// Metadata of a key: who registered it, an IAM ARN or name.
pub const REGISTERED_BY: &str = "registered-by";

/// Metadata of a key: when it was registered, RFC 3339.
pub const REGISTERED_AT: &str = "registered-at";

/// Metadata of a key: the moment from which it lets nobody in, RFC 3339.
pub const EXPIRES: &str = "expires";

/// The longest value of metadata that is written, in characters: S3 allows 2 KB in all.
const MAX_METADATA: usize = 512;

/// The bucket of an AWS account unless configured otherwise: `<account id>-fleetkey`.
pub fn default_bucket(account_id: &str) -> String {
    format!("{account_id}-fleetkey")
}

/// `people/<person>/`, below which all keys of a person are.
pub fn person_prefix(person: &PersonName) -> String {
    format!("{PEOPLE}{person}/")
}

/// `people/<person>/<sha256, hex>.pub`
pub fn person_key(person: &PersonName, fingerprint: Fingerprint) -> String {
    format!("{PEOPLE}{person}/{}.pub", fingerprint.to_hex())
}

/// The person whose keys an object holds, and the one key that it must hold if its name says so.
///
/// `None` for anything but a file right below a person's folder.
pub fn parse_person_key(key: &str) -> Option<(PersonName, Option<Fingerprint>)> {
    let (person, file) = key.strip_prefix(PEOPLE)?.split_once('/')?;
    if file.is_empty() || file.contains(|c: char| c == '/' || c.is_control()) {
        return None;
    }
    Some((person.parse().ok()?, file.strip_suffix(".pub").and_then(parse_hex)))
}

/// `ssh_pubkey:<EC2 fingerprint>`
pub fn ssh_pubkey_key(fingerprint: &Ec2Fingerprint) -> String {
    format!("{SSH_PUBKEY}{fingerprint}")
}

/// The EC2 fingerprint in the name of a key pair's key.
pub fn parse_ssh_pubkey_key(key: &str) -> Option<Ec2Fingerprint> {
    key.strip_prefix(SSH_PUBKEY)?.parse().ok()
}

/// `revoked/<sha256, hex>`
pub fn revoked_key(fingerprint: Fingerprint) -> String {
    format!("{REVOKED}{}", fingerprint.to_hex())
}

/// The fingerprint that the name of a revocation bars.
pub fn parse_revoked_key(key: &str) -> Option<Fingerprint> {
    key.strip_prefix(REVOKED).and_then(parse_hex)
}

/// `status/<instance id>.json`
pub fn status_key(instance_id: &str) -> String {
    format!("{STATUS}{instance_id}.json")
}

/// The instance whose status an object holds.
pub fn parse_status_key(key: &str) -> Option<&str> {
    let id = key.strip_prefix(STATUS)?.strip_suffix(".json")?;
    (!id.is_empty() && !id.contains(|c: char| c == '/' || c.is_control())).then_some(id)
}

/// 64 hex digits, and no other way of writing a fingerprint.
fn parse_hex(text: &str) -> Option<Fingerprint> {
    text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| text.parse().ok()).flatten()
}

/// What the metadata of a key's object says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyMetadata {
    /// Who registered the key.
    pub registered_by: Option<String>,
    /// When.
    pub registered_at: Option<Timestamp>,
    /// The moment from which the key lets nobody in.
    pub expires: Option<Timestamp>,
}

/// The metadata has an expiry that cannot be read: the key is to be refused, not let in for good.
#[derive(Debug, Clone, Error)]
#[error("its metadata {EXPIRES} is {value:?}, which is no time; write it as in 2030-01-31T00:00:00Z")]
pub struct MetadataError {
    /// The value as given, cut to 100 characters.
    value: String,
    /// What is wrong with it.
    #[source]
    cause: jiff::Error,
}

impl KeyMetadata {
    /// Reads the metadata of an object, names in any case. A registration date that cannot be read counts for none;
    /// an expiry that cannot be read is an error.
    pub fn from_map(map: &HashMap<String, String>) -> Result<Self, MetadataError> {
        let values = |name: &'static str| {
            map.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        let mut expires = None;
        for value in values(EXPIRES) {
            let moment: Timestamp = value.parse().map_err(|cause| {
                let value = value.chars().take(100).collect();
                MetadataError { value, cause }
            })?;
            expires = Some(expires.map_or(moment, |other: Timestamp| other.min(moment)));
        }
        Ok(Self {
            registered_by: values(REGISTERED_BY).next().map(str::to_owned),
            registered_at: values(REGISTERED_AT).next().and_then(|value| value.parse().ok()),
            expires,
        })
    }

    /// The metadata as S3 takes it: ASCII values, where `?` stands for what is not.
    pub fn to_map(&self) -> HashMap<String, String> {
        let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
        let by = self.registered_by.as_deref().map(|by| by.chars().take(MAX_METADATA).map(plain).collect());
        [
            (REGISTERED_BY, by),
            (REGISTERED_AT, self.registered_at.map(|moment| moment.to_string())),
            (EXPIRES, self.expires.map(|moment| moment.to_string())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    }
}

/// The body of a revocation, JSON; unknown fields are ignored.
///
/// It is there for people: the object's name alone bars the key, also if the body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Who revoked the key: an IAM ARN or name.
    pub who: String,
    /// When.
    pub when: Timestamp,
    /// Why, in words.
    pub why: String,
    /// Whose key it was, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<PersonName>,
}
