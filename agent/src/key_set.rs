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

/// For each account that has a grant, the reasons for which keys are let in. An account with no entry lets nobody in.
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
        let usable = |restrictions: &Restrictions| !restrictions.expired(now) && !restrictions.contradictory();
        let mut keys: Vec<_> = keys.into_values().filter(|granted| usable(&granted.restrictions)).collect();
        keys.sort_by(|a, b| (&a.person, a.key.fingerprint()).cmp(&(&b.person, b.key.fingerprint())));
        keys
    }

    /// The fingerprints of an account's keys, expired ones too.
    pub fn fingerprints(&self, account: &AccountName) -> BTreeSet<Fingerprint> {
        self.accounts.get(account).into_iter().flatten().map(Entry::fingerprint).collect()
    }
}
