//! The key set: what the grants resolve to. For each account the keys, each with where it came from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleetkey_common::key_spec::KeySpec;
use fleetkey_common::names::{AccountName, PersonName};
use fleetkey_common::public_key::{Fingerprint, PublicKey};
use fleetkey_common::registry::{RegisteredKey, Registry};
use fleetkey_common::restrictions::Restrictions;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One reason for which one key is let in: a key can have several.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Who holds the key.
    pub person: PersonName,
    /// The key spec of the grant that names the person.
    pub spec: Arc<KeySpec>,
    /// The registry that has the key.
    pub registry: Registry,
    /// The key, where it stands there, and its restrictions.
    #[serde(flatten)]
    pub registered: Arc<RegisteredKey>,
}

impl Entry {
    /// The key's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        self.registered.key.fingerprint()
    }
}

/// For each account that has a grant, the reasons for which keys are let in. An account without reasons lets nobody in;
/// of one that is not there at all, nobody could say yet who may log in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySet {
    /// By account; sorted by person, fingerprint, spec, registry.
    pub accounts: BTreeMap<AccountName, Vec<Entry>>,
}

/// A key to be let in, with all that its reasons say put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedKey {
    /// Who holds it: the first by name, should two persons share one key.
    pub person: PersonName,
    /// The key.
    pub key: PublicKey,
    /// The restrictions of every entry of it, together.
    pub restrictions: Restrictions,
}

impl KeySet {
    /// The keys of an account at `now`: each once, by person and fingerprint, without those that have expired and
    /// those whose entries contradict each other: no line could be as strict as both.
    pub fn granted(&self, account: &AccountName, now: Timestamp) -> Vec<GrantedKey> {
        let mut keys: BTreeMap<Fingerprint, GrantedKey> = BTreeMap::new();
        for entry in self.accounts.get(account).into_iter().flatten() {
            let registered = &entry.registered;
            keys.entry(entry.fingerprint())
                .and_modify(|granted| {
                    granted.restrictions = granted.restrictions.and(&registered.restrictions);
                    if entry.person < granted.person {
                        granted.person = entry.person.clone();
                    }
                })
                .or_insert_with(|| GrantedKey {
                    person: entry.person.clone(),
                    key: registered.key.clone(),
                    restrictions: registered.restrictions.clone(),
                });
        }
        let usable = |granted: &GrantedKey| !granted.restrictions.expired(now) && !granted.restrictions.contradictory();
        let mut keys: Vec<_> = keys.into_values().filter(usable).collect();
        keys.sort_by(|a, b| (&a.person, a.key.fingerprint()).cmp(&(&b.person, b.key.fingerprint())));
        keys
    }

    /// The fingerprints of an account's keys, expired ones too.
    pub fn fingerprints(&self, account: &AccountName) -> BTreeSet<Fingerprint> {
        self.accounts.get(account).into_iter().flatten().map(Entry::fingerprint).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An Ed25519 key made of one byte.
    pub(crate) fn key(byte: u8) -> PublicKey {
        use base64::Engine as _;
        let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
        blob.extend([byte; 32]);
        PublicKey::from_parts("ssh-ed25519", &base64::engine::general_purpose::STANDARD.encode(blob)).unwrap()
    }

    /// A key of a person, let in by a spec, from s3.
    pub(crate) fn entry(person: &str, spec: &str, byte: u8) -> Entry {
        let registered = RegisteredKey {
            key: key(byte),
            restrictions: Restrictions::default(),
            place: format!("place {byte}").into(),
            version: "1".into(),
        };
        Entry {
            person: person.parse().unwrap(),
            spec: Arc::new(spec.parse().unwrap()),
            registry: Registry::S3,
            registered: Arc::new(registered),
        }
    }

    fn set(entries: Vec<Entry>) -> (KeySet, AccountName) {
        let account: AccountName = "ubuntu".parse().unwrap();
        (KeySet { accounts: BTreeMap::from([(account.clone(), entries)]) }, account)
    }

    fn restricted(mut entry: Entry, option: &str, expires: &str) -> Entry {
        let restrictions =
            Restrictions { options: BTreeSet::from([option.to_owned()]), expires: Some(expires.parse().unwrap()) };
        entry.registered = Arc::new(RegisteredKey { restrictions, ..(*entry.registered).clone() });
        entry
    }

    #[test]
    fn a_key_with_several_reasons_is_let_in_once_with_the_restrictions_of_all() {
        let (set, account) = set(vec![
            entry("bob", "@@dev", 1),
            restricted(entry("alice", "alice", 1), "no-pty", "2030-01-01T00:00:00Z"),
            restricted(entry("alice", "@@ops", 1), "no-user-rc", "2029-01-01T00:00:00Z"),
        ]);
        let granted = set.granted(&account, "2026-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(granted.len(), 1);
        assert_eq!(granted[0].person.as_str(), "alice");
        assert_eq!(granted[0].restrictions.options.len(), 2);
        assert_eq!(granted[0].restrictions.expires, Some("2029-01-01T00:00:00Z".parse().unwrap()));
    }

    #[test]
    fn a_key_past_its_expiry_is_not_let_in_though_another_registry_knows_no_expiry() {
        let (set, account) = set(vec![
            entry("alice", "alice", 1),
            restricted(entry("alice", "alice", 1), "no-pty", "2026-01-01T00:00:00Z"),
        ]);
        assert_eq!(set.granted(&account, "2025-12-31T23:59:59Z".parse().unwrap()).len(), 1);
        assert_eq!(set.granted(&account, "2026-01-01T00:00:00Z".parse().unwrap()).len(), 0);
    }
}
