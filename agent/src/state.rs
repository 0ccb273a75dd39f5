//! What the agent knows across restarts: the last good key set and what it needs to stand by it.
//!
//! Bytes in, bytes out; where they are kept is the engine's business. A state of another box is refused: an image of
//! a box must not let in whom the box let in.

use std::collections::{BTreeMap, BTreeSet};

use fleetkey_common::names::AccountName;
use fleetkey_common::public_key::Fingerprint;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::clock::Moment;
use crate::config::settings::{Grant, Mode};
use crate::instance::HostIdentity;
use crate::key_set::KeySet;
use crate::resolve::Part;

/// The version of the format. A state of another version is not read: the next look at the source makes a new one.
const VERSION: u32 = 1;

/// Everything kept on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    version: u32,
    /// The box that this is the state of.
    pub host: HostIdentity,
    /// Counts the changes of the key set, for logs and status.
    pub serial: u64,
    /// When the source was last reached.
    pub reached: Moment,
    /// The last good key set.
    pub key_set: KeySet,
    /// The barred keys, as last read.
    pub revoked: BTreeSet<Fingerprint>,
    /// Every key that was ever let in here, or that a registry was seen to hold: what the grants govern wherever it
    /// stands, also after all registries have forgotten it.
    pub governed: BTreeSet<Fingerprint>,
    /// The accounts that carry the agent's keys, and in which kinds of file, so that what a new configuration leaves
    /// behind is cleaned.
    pub managed: BTreeMap<AccountName, BTreeSet<Mode>>,
    /// The parts of the source that fail, and when each was last reached.
    #[serde(with = "pairs")]
    pub failing: BTreeMap<Part, Moment>,
}

/// Why bytes are not this box's state.
#[derive(Debug, Error)]
pub enum StateError {
    /// Not JSON of this form.
    #[error("the state file is damaged")]
    Damaged(#[source] serde_json::Error),
    /// Another version of the format.
    #[error("the state file has version {0}; this agent reads version {VERSION}")]
    Version(u32),
    /// It came here with an image or a copied disk.
    #[error("the state file belongs to another box; it came with an image or a copied disk")]
    OtherBox,
}

impl State {
    /// The state of a box that knows nothing yet, not even that nobody may log in.
    pub fn new(host: HostIdentity, now: Moment) -> Self {
        Self {
            version: VERSION,
            host,
            serial: 0,
            reached: now,
            key_set: KeySet::default(),
            revoked: BTreeSet::new(),
            governed: BTreeSet::new(),
            managed: BTreeMap::new(),
            failing: BTreeMap::new(),
        }
    }

    /// The state of a box that was made of an image of another: what stands in the key files came with the image, and
    /// nobody of it is let in before the source was asked.
    pub fn letting_nobody_in(host: HostIdentity, now: Moment, grants: &[Grant]) -> Self {
        let accounts = grants.iter().map(|grant| (grant.account.clone(), Vec::new())).collect();
        Self { key_set: KeySet { accounts }, ..Self::new(host, now) }
    }

    /// Reads a state that must be this box's.
    pub fn parse(bytes: &[u8], host: &HostIdentity) -> Result<Self, StateError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_slice(bytes).map_err(StateError::Damaged)?;
        if version != VERSION {
            return Err(StateError::Version(version));
        }
        let state: Self = serde_json::from_slice(bytes).map_err(StateError::Damaged)?;
        if !state.host.same_host(host) {
            return Err(StateError::OtherBox);
        }
        Ok(state)
    }

    /// The bytes to keep: one line of JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("a state has no value that JSON lacks: its map keys are text");
        bytes.push(b'\n');
        bytes
    }
}

/// A map whose keys are no strings, as JSON pairs.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S, K, V>(map: &BTreeMap<K, V>, serializer: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
        K: Serialize,
        V: Serialize,
    {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        D: Deserializer<'de>,
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
