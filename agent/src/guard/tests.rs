use std::sync::Arc;

use fleetkey_common::key_spec::KeySpec;

use super::*;
use crate::key_set::Entry;
use crate::key_set::tests::{entry, key};

const NOW: Duration = Duration::from_secs(1000);

fn limits() -> GuardSettings {
    GuardSettings { max_removed: 0.5, break_glass: "/none".into(), max_stale: Duration::from_secs(1) }
}

fn account() -> AccountName {
    "ubuntu".parse().unwrap()
}

/// A key set of one account, of the keys of these bytes.
fn set(bytes: impl IntoIterator<Item = u8>) -> KeySet {
    let entries: Vec<Entry> = bytes.into_iter().map(|byte| entry("alice", "@@dev", byte)).collect();
    KeySet { accounts: BTreeMap::from([(account(), entries)]) }
}

fn resolved(bytes: impl IntoIterator<Item = u8>) -> Resolution {
    Resolution { key_set: set(bytes), ..Resolution::default() }
}

fn kept(decision: &Decision) -> usize {
    decision.key_set.fingerprints(&account()).len()
}

#[test]
fn a_cut_of_five_keys_is_applied_at_once_however_large_a_share_it_is() {
    let decision = guard(&set(0..5), resolved([]), History::new(), &limits(), NOW);
    assert_eq!((kept(&decision), decision.held.len(), decision.confirm_at), (0, 0, None));
}

#[test]
fn a_cut_of_half_is_applied_at_once_and_one_more_is_held() {
    assert_eq!(kept(&guard(&set(0..20), resolved(0..10), History::new(), &limits(), NOW)), 10);
    let held = guard(&set(0..20), resolved(0..9), History::new(), &limits(), NOW);
    assert_eq!(kept(&held), 20);
    assert_eq!((held.held[&account()].keys, held.held[&account()].of), (11, 20));
    assert_eq!(held.confirm_at, Some(NOW + CONFIRM_AFTER));
}

#[test]
fn fault_2_an_empty_answer_takes_all_keys_only_when_a_second_look_ten_seconds_later_agrees() {
    let current = set(0..20);
    let first = guard(&current, resolved([]), History::new(), &limits(), NOW);
    let too_soon = guard(&first.key_set, resolved([]), first.history, &limits(), NOW + CONFIRM_AFTER / 2);
    assert_eq!(kept(&too_soon), 20);
    assert_eq!(too_soon.confirm_at, Some(NOW + CONFIRM_AFTER));
    let agreed = guard(&too_soon.key_set, resolved([]), too_soon.history, &limits(), NOW + CONFIRM_AFTER);
    assert_eq!((kept(&agreed), agreed.held.len()), (0, 0));
}

#[test]
fn a_key_that_comes_back_in_between_is_not_counted_as_missing_from_before() {
    let current = set(0..20);
    let first = guard(&current, resolved([]), History::new(), &limits(), NOW);
    let back = guard(&first.key_set, resolved(0..20), first.history, &limits(), NOW + CONFIRM_AFTER);
    assert!(back.history.is_empty());
    let again = guard(&back.key_set, resolved([]), back.history, &limits(), NOW + 2 * CONFIRM_AFTER);
    assert_eq!(kept(&again), 20);
}

#[test]
fn of_a_cut_that_grew_the_keys_missing_since_the_first_look_go_and_the_rest_wait() {
    let first = guard(&set(0..20), resolved(0..8), History::new(), &limits(), NOW);
    let second = guard(&first.key_set, resolved(0..2), first.history, &limits(), NOW + CONFIRM_AFTER);
    assert_eq!(kept(&second), 8);
    assert_eq!(second.held[&account()].keys, 6);
}

#[test]
fn keys_that_are_revoked_by_name_go_at_once_and_do_not_count() {
    let revoked: BTreeSet<_> = (0..15).map(|byte| key(byte).fingerprint()).collect();
    let resolution = Resolution { revoked, ..resolved(15..20) };
    assert_eq!(kept(&guard(&set(0..20), resolution, History::new(), &limits(), NOW)), 5);
}

#[test]
fn additions_never_wait() {
    let decision = guard(&set(0..20), resolved(100..103), History::new(), &limits(), NOW);
    assert_eq!(kept(&decision), 23);
}

#[test]
fn r2_a_cut_by_a_group_that_is_gone_waits_however_small_it_is() {
    let spec: Arc<KeySpec> = Arc::new("@@dev".parse().unwrap());
    let gone = || Resolution { doubtful: BTreeSet::from([Arc::clone(&spec)]), ..resolved([]) };
    let first = guard(&set([1]), gone(), History::new(), &limits(), NOW);
    assert_eq!(kept(&first), 1);
    let second = guard(&first.key_set, gone(), first.history, &limits(), NOW + CONFIRM_AFTER);
    assert_eq!(kept(&second), 0);
}

#[test]
fn an_account_without_a_grant_is_no_business_of_the_guard() {
    let decision = guard(&set(0..20), Resolution::default(), History::new(), &limits(), NOW);
    assert!(decision.key_set.accounts.is_empty() && decision.held.is_empty());
}
