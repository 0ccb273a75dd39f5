//! What is asked of the registries beside the looks: whose keys stand on people's own lines.
//!
//! Anybody with an account can write such lines, so that neither what is asked nor what is kept of it may grow with them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleetkey_common::public_key::{Fingerprint, PublicKey};

use super::Engine;
use crate::source::Fault;

/// How long a key on somebody's own line counts as unknown before the registries are asked again.
const ASK_AGAIN: Duration = Duration::from_mins(10);

/// The least time between two questions about keys on people's own lines: anybody can write new ones all the time.
const ASK_GAP: Duration = Duration::from_secs(10);

impl Engine {
    /// The keys on people's own lines about which the registries are to be asked now.
    pub fn candidates(&self, now: Duration) -> Vec<PublicKey> {
        if self.answered_at.is_some_and(|answered| now < answered + ASK_GAP) {
            return Vec::new();
        }
        let foreign = self.files.values().flat_map(|file| &file.foreign);
        let mut candidates: BTreeMap<Fingerprint, &PublicKey> = foreign.map(|key| (key.fingerprint(), key)).collect();
        candidates.retain(|key, _| self.unknown.get(key).is_none_or(|asked| now >= *asked + ASK_AGAIN));
        candidates.into_values().cloned().collect()
    }

    /// Something changed in the registries: what was unknown may be known now.
    pub fn forget_unknown(&mut self) {
        self.unknown.clear();
        self.answered_at = None;
    }

    /// Takes the registries' answer about `candidates`; true when the key files have to be passed over again.
    pub fn learn(
        &mut self,
        candidates: &[PublicKey],
        known: Result<BTreeSet<Fingerprint>, Fault>,
        now: Duration,
    ) -> bool {
        self.answered_at = Some(now);
        let known = match known {
            Ok(known) => known,
            Err(fault) => {
                if self.question_fault.as_ref() != Some(&fault) {
                    tracing::warn!(action = "fault", "could not ask whose the other lines' keys are: {fault}");
                }
                self.question_fault = Some(fault);
                return false;
            }
        };
        self.question_fault = None;
        // Of lines that are gone nothing is kept: whoever writes ever new ones does not fill the memory.
        let foreign = self.files.values().flat_map(|file| &file.foreign);
        let standing: BTreeSet<_> = foreign.map(PublicKey::fingerprint).collect();
        self.unknown.retain(|key, _| standing.contains(key));
        for key in candidates.iter().map(PublicKey::fingerprint).filter(|key| !known.contains(key)) {
            self.unknown.insert(key, now);
        }
        let before = self.state.governed.len();
        self.state.governed.extend(known);
        let learned = self.state.governed.len() > before;
        if learned {
            self.saved = None;
        }
        learned
    }
}
