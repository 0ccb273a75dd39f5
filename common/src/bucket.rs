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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn alice() -> PersonName {
        "alice".parse().unwrap()
    }

    #[test]
    fn a_persons_key_is_named_by_person_and_fingerprint_or_as_somebody_liked() {
        let fingerprint: Fingerprint = HEX.parse().unwrap();
        assert_eq!(person_key(&alice(), fingerprint), format!("people/alice/{HEX}.pub"));
        assert_eq!(parse_person_key(&format!("people/alice/{HEX}.pub")), Some((alice(), Some(fingerprint))));
        for by_hand in ["laptop.pub", "laptop", "SHA256:x.pub", &HEX[1..], "a b.pub"] {
            assert_eq!(parse_person_key(&format!("people/alice/{by_hand}")), Some((alice(), None)), "{by_hand}");
        }
    }

    #[test]
    fn r7_every_sign_of_a_persons_name_stands_in_a_key_as_it_is() {
        let person: PersonName = "Al+ice=x,y.z@example-com_".parse().unwrap();
        let fingerprint: Fingerprint = HEX.parse().unwrap();
        let key = person_key(&person, fingerprint);
        assert_eq!(key, format!("people/Al+ice=x,y.z@example-com_/{HEX}.pub"));
        assert_eq!(parse_person_key(&key), Some((person, Some(fingerprint))));
    }

    #[test]
    fn t5_slashes_and_control_characters_cannot_get_into_a_key_nor_out_of_one() {
        for bad in ["a/b", "..\u{0}", "a\nb", "../x", ""] {
            assert!(bad.parse::<PersonName>().is_err(), "{bad:?}");
        }
        for bad in [
            "people/",
            "people/alice",
            "people/alice/",
            "people//x.pub",
            "people/alice/x/y.pub",
            "people/alice/x\n.pub",
            "people/alice/x\0",
            "people/al ice/x.pub",
            "people/al%0Aice/x.pub",
            "/people/alice/x",
            "alice/x",
        ] {
            assert_eq!(parse_person_key(bad), None, "{bad:?}");
        }
        for bad in ["status/.json", "status/a/b.json", "status/i-1", "status/i\n.json"] {
            assert_eq!(parse_status_key(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn keys_of_key_pairs_revocations_and_status_go_both_ways() {
        let md5 = ["1f"; 16].join(":").parse().unwrap();
        assert_eq!(ssh_pubkey_key(&md5), format!("ssh_pubkey:{}", ["1f"; 16].join(":")));
        for fingerprint in [md5, ["ab"; 20].join(":").parse().unwrap(), Ec2Fingerprint::Sha256(HEX.parse().unwrap())] {
            assert_eq!(parse_ssh_pubkey_key(&ssh_pubkey_key(&fingerprint)), Some(fingerprint));
        }
        assert_eq!(parse_ssh_pubkey_key("ssh_pubkey:"), None);
        let barred: Fingerprint = HEX.parse().unwrap();
        assert_eq!(parse_revoked_key(&revoked_key(barred)), Some(barred));
        assert_eq!(parse_revoked_key(&format!("revoked/{}", HEX.to_uppercase())), Some(barred));
        assert_eq!(parse_revoked_key(&format!("revoked/{barred}")), None);
        assert_eq!(parse_status_key(&status_key("i-0123456789abcdef0")), Some("i-0123456789abcdef0"));
        assert_eq!(default_bucket("123456789012"), "123456789012-fleetkey");
    }

    #[test]
    fn metadata_goes_both_ways_and_is_plain_ascii() {
        let metadata = KeyMetadata {
            registered_by: Some("arn:aws:iam::123456789012:user/r\u{e9}n\u{e9}\n".to_owned()),
            registered_at: "2030-01-02T03:04:05Z".parse().ok(),
            expires: "2031-01-02T03:04:05Z".parse().ok(),
        };
        let map = metadata.to_map();
        assert_eq!(map[REGISTERED_BY], "arn:aws:iam::123456789012:user/r?n??");
        assert_eq!(map[EXPIRES], "2031-01-02T03:04:05Z");
        let read = KeyMetadata::from_map(&map).unwrap();
        assert_eq!((read.registered_at, read.expires), (metadata.registered_at, metadata.expires));
        assert_eq!(KeyMetadata::from_map(&HashMap::new()).unwrap(), KeyMetadata::default());
    }

    #[test]
    fn an_expiry_that_cannot_be_read_is_an_error_and_not_for_good() {
        for bad in ["", "never", "2030-01-01", "2030-01-01T00:00:00", "1893456000"] {
            for name in ["expires", "Expires"] {
                let map = HashMap::from([(name.to_owned(), bad.to_owned())]);
                let error = KeyMetadata::from_map(&map).unwrap_err().to_string();
                assert!(error.starts_with(&format!("its metadata expires is {bad:?}, which is no time")), "{error}");
            }
        }
        let map = HashMap::from([("expires".to_owned(), "2030-01-01T01:00:00+01:00".to_owned())]);
        let expires = KeyMetadata::from_map(&map).unwrap().expires.unwrap();
        assert_eq!(expires.to_string(), "2030-01-01T00:00:00Z");
        let map = HashMap::from([("registered-at".to_owned(), "last week".to_owned())]);
        assert_eq!(KeyMetadata::from_map(&map).unwrap().registered_at, None);
    }

    #[test]
    fn a_revocation_is_read_with_fields_of_the_future() {
        let json = r#"{"who":"bob","when":"2030-01-02T03:04:05Z","why":"stolen","person":"alice","more":[1]}"#;
        let revocation: Revocation = serde_json::from_str(json).unwrap();
        assert_eq!((revocation.who.as_str(), revocation.person.clone()), ("bob", Some(alice())));
        let again: Revocation = serde_json::from_str(&serde_json::to_string(&revocation).unwrap()).unwrap();
        assert_eq!(again, revocation);
        assert!(serde_json::from_str::<Revocation>(r#"{"who":"b","when":"2030-01-02T03:04:05Z","why":""}"#).is_ok());
    }

    proptest! {
        #[test]
        fn no_object_key_makes_the_parsers_panic(key in any::<String>()) {
            for prefix in [PEOPLE, SSH_PUBKEY, REVOKED, STATUS, ""] {
                let key = format!("{prefix}{key}");
                let _ = (parse_person_key(&key), parse_ssh_pubkey_key(&key), parse_revoked_key(&key), parse_status_key(&key));
            }
        }
    }
}
