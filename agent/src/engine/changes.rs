//! What the log says of a change: a line for every key let in and for every key taken out.

use std::collections::BTreeMap;

use fleetkey_common::names::AccountName;
use fleetkey_common::public_key::Fingerprint;

use crate::guard::Held;
use crate::key_set::{Entry, KeySet};

/// Logs the difference between two key sets. `serial` is the new one's.
pub(super) fn log(old: &KeySet, new: &KeySet, serial: u64) {
    let accounts: std::collections::BTreeSet<_> = old.accounts.keys().chain(new.accounts.keys()).collect();
    for account in accounts {
        let (had, has) = (by_key(old, account), by_key(new, account));
        for (fingerprint, entry) in has.iter().filter(|(key, _)| !had.contains_key(key)) {
            tracing::info!(
                action = "grant", %account, person = %entry.person, %fingerprint, spec = %entry.spec,
                registry = %entry.registry, serial,
                "{} may log in to {account} with {fingerprint}", entry.person
            );
        }
        for (fingerprint, entry) in had.iter().filter(|(key, _)| !has.contains_key(key)) {
            tracing::info!(
                action = "remove", %account, person = %entry.person, %fingerprint, spec = %entry.spec,
                registry = %entry.registry, serial,
                "{} may no longer log in to {account} with {fingerprint}", entry.person
            );
        }
    }
}

fn by_key<'a>(key_set: &'a KeySet, account: &AccountName) -> BTreeMap<Fingerprint, &'a Entry> {
    let entries = key_set.accounts.get(account).into_iter().flatten();
    entries.map(|entry| (entry.fingerprint(), entry)).collect()
}

/// Logs cuts that began to wait and cuts that wait no more.
pub(super) fn log_held(before: &BTreeMap<AccountName, Held>, now: &BTreeMap<AccountName, Held>) {
    for (account, held) in now.iter().filter(|(account, held)| before.get(*account) != Some(held)) {
        tracing::warn!(
            action = "held", %account, keys = held.keys, of = held.of,
            "{} of {} keys of {account} would go; they stay until a second look agrees: {}", held.keys, held.of, held.why
        );
    }
    for account in before.keys().filter(|account| !now.contains_key(*account)) {
        tracing::info!(action = "held-over", %account, "no cut of {account}'s keys waits any more");
    }
}
