//! The guard stage: what keeps one wrong answer from locking everybody out. A plain function of what it is given.
//!
//! A cut of an account's keys that is large, or that comes of a group that is gone, must be seen by two looks some
//! time apart before it is applied. Keys revoked by name are taken out at once, and additions never wait.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleetkey_common::names::AccountName;
use fleetkey_common::public_key::Fingerprint;
use serde::Serialize;

use crate::config::settings::GuardSettings;
use crate::key_set::KeySet;
use crate::resolve::Resolution;

/// A cut of this many keys or fewer is never large, whatever share of the keys it is.
pub const SMALL_CUT: usize = 5;

/// How far apart the two looks must be that confirm a large cut.
pub const CONFIRM_AFTER: Duration = Duration::from_secs(10);

/// Since when each key of an account has been found missing, by the agent's monotonic clock. In memory alone: an agent
/// that starts anew asks twice anew.
pub type History = BTreeMap<AccountName, BTreeMap<Fingerprint, Duration>>;

/// A cut that waits for its second look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// How many keys stay for now.
    pub keys: usize,
    /// Out of how many.
    pub of: usize,
    /// Why the cut waits.
    pub why: &'static str,
}

/// What may be applied now.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The key set to apply: the resolved one, with the held keys put back.
    pub key_set: KeySet,
    /// The cuts that wait, by account.
    pub held: BTreeMap<AccountName, Held>,
    /// What the next call is to be given.
    pub history: History,
    /// When the next look can confirm something; `None` when nothing waits.
    pub confirm_at: Option<Duration>,
}

/// Holds the resolved key set against the one in force. `now` is the agent's monotonic clock.
pub fn guard(
    current: &KeySet,
    resolution: Resolution,
    mut history: History,
    limits: &GuardSettings,
    now: Duration,
) -> Decision {
    let Resolution { key_set, doubtful, revoked, .. } = resolution;
    let mut decision = Decision { key_set, held: BTreeMap::new(), history: History::new(), confirm_at: None };
    for (account, next) in &mut decision.key_set.accounts {
        let Some(old) = current.accounts.get(account) else { continue };
        let had: BTreeSet<_> = old.iter().map(|entry| entry.fingerprint()).collect();
        let has: BTreeSet<_> = next.iter().map(|entry| entry.fingerprint()).collect();
        let missing: BTreeSet<_> = had.difference(&has).filter(|key| !revoked.contains(key)).copied().collect();
        let in_doubt: BTreeSet<_> =
            old.iter().filter(|entry| doubtful.contains(&entry.spec)).map(|entry| entry.fingerprint()).collect();
        let large = is_large(missing.len(), had.len(), limits.max_removed);

        let mut since = history.remove(account).unwrap_or_default();
        since.retain(|key, _| missing.contains(key));
        for &key in &missing {
            since.entry(key).or_insert(now);
        }
        let held: BTreeSet<_> = since
            .iter()
            .filter(|(key, since)| (large || in_doubt.contains(key)) && now < **since + CONFIRM_AFTER)
            .map(|(&key, _)| key)
            .collect();
        if held.is_empty() {
            continue;
        }
        next.extend(old.iter().filter(|entry| held.contains(&entry.fingerprint())).cloned());
        let why = if large { "a large cut must be seen twice" } else { "a group is gone; this must be seen twice" };
        decision.held.insert(account.clone(), Held { keys: held.len(), of: had.len(), why });
        let first = since.iter().filter(|(key, _)| held.contains(key)).map(|(_, &at)| at + CONFIRM_AFTER).min();
        decision.confirm_at = decision.confirm_at.into_iter().chain(first).min();
        decision.history.insert(account.clone(), since);
    }
    decision
}

/// Whether taking `removed` of `of` keys away is more than may be done at one look.
fn is_large(removed: usize, of: usize, max_removed: f64) -> bool {
    // Counts of keys are far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    let share = removed as f64 / of.max(1) as f64;
    removed > SMALL_CUT && share > max_removed
}

#[cfg(test)]
mod tests;
