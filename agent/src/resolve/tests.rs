use fleetkey_common::public_key::PublicKey;
use fleetkey_common::registry::{Lookup, RegisteredKey, RegistryError, Rejected};

use super::*;
use crate::config::settings::Mode;

/// An Ed25519 key made of one byte.
fn key(byte: u8) -> PublicKey {
    crate::key_set::tests::key(byte)
}

fn registered(byte: u8, place: &str) -> RegisteredKey {
    RegisteredKey { key: key(byte), restrictions: Restrictions::default(), place: place.into(), version: "1".into() }
}

fn found(bytes: &[u8]) -> Lookup {
    let keys = bytes.iter().map(|&byte| registered(byte, &format!("place {byte}"))).collect();
    Lookup { keys, ..Lookup::default() }
}

fn failed(bytes: &[u8]) -> Lookup {
    let error = RegistryError { registry: Registry::S3, action: "GetObject".into(), cause: "throttled".into() };
    Lookup { fault: Some(Arc::new(error)), ..found(bytes) }
}

fn person(name: &str) -> PersonName {
    name.parse().unwrap()
}

fn fault() -> Fault {
    Fault("no answer".into())
}

fn grants(specs: &[&str]) -> Vec<Grant> {
    let keys = specs.iter().map(|spec| spec.parse().unwrap()).collect();
    vec![Grant { account: "ubuntu".parse().unwrap(), keys, mode: Mode::Shared }]
}

/// What a source found: groups with their members, and what s3 has of each person.
fn findings(groups: &[(&str, Result<&[&str], ()>)], keys: &[(&str, Lookup)]) -> Findings {
    let membership = |members: &Result<&[&str], ()>| match members {
        Ok(members) => Ok(Membership::Of(members.iter().map(|name| person(name)).collect())),
        Err(()) => Err(fault()),
    };
    Findings {
        groups: groups.iter().map(|(name, members)| (name.parse().unwrap(), membership(members))).collect(),
        keys: keys
            .iter()
            .map(|(name, lookup)| (person(name), BTreeMap::from([(Registry::S3, lookup.clone())])))
            .collect(),
        revoked: Some(Ok(BTreeSet::new())),
        ..Findings::default()
    }
}

/// Resolves on top of what was resolved before.
fn resolve_after(before: &Resolution, specs: &[&str], findings: &Findings) -> Resolution {
    let known = Known { key_set: &before.key_set, revoked: &before.revoked, stale: &BTreeSet::new() };
    resolve(&grants(specs), findings, known)
}

fn first(specs: &[&str], findings: &Findings) -> Resolution {
    resolve_after(&Resolution::default(), specs, findings)
}

/// Who is let in, with which keys, as `alice:1`.
fn let_in(resolution: &Resolution) -> Vec<String> {
    let entries = resolution.key_set.accounts.values().flatten();
    let byte = |entry: &Entry| (0..=255).find(|&byte| key(byte) == entry.registered.key).unwrap();
    let mut names: Vec<_> = entries.map(|entry| format!("{}:{}", entry.person, byte(entry))).collect();
    names.sort();
    names
}

#[test]
fn a_group_lets_all_its_members_in_with_all_their_keys() {
    let findings = findings(&[("dev", Ok(&["alice", "bob"]))], &[("alice", found(&[1, 2])), ("bob", found(&[3]))]);
    let resolution = first(&["@@dev"], &findings);
    assert_eq!(let_in(&resolution), ["alice:1", "alice:2", "bob:3"]);
    assert!(resolution.faults.is_empty() && resolution.notices.is_empty());
}

#[test]
fn r1_and_r2_an_empty_group_really_lets_nobody_in() {
    let before = first(&["@@dev"], &findings(&[("dev", Ok(&["alice"]))], &[("alice", found(&[1]))]));
    let now = resolve_after(&before, &["@@dev"], &findings(&[("dev", Ok(&[]))], &[]));
    assert_eq!(let_in(&now), [""; 0]);
    assert!(now.faults.is_empty() && now.doubtful.is_empty());
}

#[test]
fn r2_a_group_that_is_gone_lets_nobody_in_but_is_in_doubt() {
    let before = first(&["@@dev"], &findings(&[("dev", Ok(&["alice"]))], &[("alice", found(&[1]))]));
    let mut gone = findings(&[], &[]);
    gone.groups.insert("dev".parse().unwrap(), Ok(Membership::NoSuchGroup));
    let now = resolve_after(&before, &["@@dev"], &gone);
    assert_eq!(let_in(&now), [""; 0]);
    assert_eq!(now.doubtful.len(), 1);
    assert_eq!(now.notices, BTreeSet::from([Notice::NoSuchGroup("dev".parse().unwrap())]));
}

#[test]
fn r2_and_r3_a_group_that_cannot_be_asked_stays_as_it_was_and_others_are_kept_current() {
    let alice_and_bob = [("alice", found(&[1])), ("bob", found(&[2]))];
    let both = findings(&[("dev", Ok(&["alice"])), ("ops", Ok(&["bob"]))], &alice_and_bob);
    let before = first(&["@@dev", "@@ops"], &both);
    let now = findings(&[("dev", Err(())), ("ops", Ok(&["carol"]))], &[("carol", found(&[3]))]);
    let now = resolve_after(&before, &["@@dev", "@@ops"], &now);
    assert_eq!(let_in(&now), ["alice:1", "carol:3"]);
    assert_eq!(now.faults.keys().collect::<Vec<_>>(), [&Part::Group("dev".parse().unwrap())]);
}

#[test]
fn t13_a_failed_look_up_of_a_person_lets_nobody_new_in_and_takes_nobody_out() {
    let before = first(&["alice", "bob"], &findings(&[], &[("alice", found(&[1])), ("bob", found(&[2]))]));
    let now = findings(&[], &[("alice", failed(&[])), ("bob", found(&[2]))]);
    let now = resolve_after(&before, &["alice", "bob"], &now);
    assert_eq!(let_in(&now), ["alice:1", "bob:2"]);
    let newcomer = resolve_after(&before, &["carol"], &findings(&[], &[("carol", failed(&[]))]));
    assert_eq!(let_in(&newcomer), [""; 0]);
    assert!(newcomer.notices.is_empty(), "that no key was found is not known");
}

#[test]
fn fault_4_a_key_that_could_not_be_downloaded_stays_and_one_that_could_is_new() {
    let before = first(&["alice"], &findings(&[], &[("alice", found(&[1, 2]))]));
    let now = resolve_after(&before, &["alice"], &findings(&[], &[("alice", failed(&[2, 3]))]));
    assert_eq!(let_in(&now), ["alice:1", "alice:2", "alice:3"]);
}

#[test]
fn a_key_that_was_replaced_at_its_place_does_not_stay_when_another_fails() {
    let before = first(&["alice"], &findings(&[], &[("alice", found(&[1]))]));
    let replaced = Lookup { keys: vec![registered(9, "place 1")], ..failed(&[]) };
    let now = resolve_after(&before, &["alice"], &findings(&[], &[("alice", replaced)]));
    assert_eq!(let_in(&now), ["alice:9"]);
}

#[test]
fn r8_a_refused_key_costs_only_itself_and_is_told_of() {
    let rejected = Rejected { place: "place 7".into(), reason: "damaged".into() };
    let lookup = Lookup { rejected: vec![rejected], ..found(&[1]) };
    let resolution = first(&["alice"], &findings(&[], &[("alice", lookup)]));
    assert_eq!(let_in(&resolution), ["alice:1"]);
    let notices: Vec<_> = resolution.notices.iter().map(ToString::to_string).collect();
    assert_eq!(notices, ["a key of alice was refused (s3, place 7): damaged"]);
}

#[test]
fn a_part_that_has_failed_for_too_long_lets_nobody_in_any_more() {
    let before = first(&["@@dev"], &findings(&[("dev", Ok(&["alice"]))], &[("alice", found(&[1]))]));
    let stale = BTreeSet::from([Part::Group("dev".parse().unwrap())]);
    let known = Known { key_set: &before.key_set, revoked: &before.revoked, stale: &stale };
    let now = resolve(&grants(&["@@dev"]), &findings(&[("dev", Err(()))], &[]), known);
    assert_eq!(let_in(&now), [""; 0]);
}

#[test]
fn a_source_that_cannot_be_asked_at_all_changes_nothing() {
    let all = ["@@dev", "@alice", "bob", "d*"];
    let mut everything =
        findings(&[("dev", Ok(&["alice"]))], &[("alice", found(&[1])), ("bob", found(&[2])), ("dan", found(&[3]))]);
    everything.users.insert(person("alice"), Ok(true));
    everything.names.insert(Registry::S3, Ok(BTreeSet::from([person("dan")])));
    let before = first(&all, &everything);
    for nothing in [Findings::unreachable(fault()), Findings::default()] {
        let now = resolve_after(&before, &all, &nothing);
        assert_eq!(now.key_set, before.key_set);
        assert!(now.faults.contains_key(&Part::Source));
    }
}

#[test]
fn a_user_who_does_not_exist_lets_nobody_in_whatever_keys_there_are() {
    let mut findings = findings(&[], &[("alice", found(&[1]))]);
    findings.users.insert(person("alice"), Ok(false));
    let resolution = first(&["@alice"], &findings);
    assert_eq!(let_in(&resolution), [""; 0]);
    assert_eq!(resolution.notices, BTreeSet::from([Notice::NoSuchUser(person("alice"))]));
}

#[test]
fn a_glob_takes_the_names_of_every_registry_and_keeps_those_of_one_that_fails() {
    let mut both = findings(&[], &[("dev-a", found(&[1])), ("dev-b", found(&[2]))]);
    both.names.insert(Registry::S3, Ok(BTreeSet::from([person("dev-a"), person("dev-b"), person("ops")])));
    let before = first(&["dev-*"], &both);
    assert_eq!(let_in(&before), ["dev-a:1", "dev-b:2"]);
    let mut failing = findings(&[], &[]);
    failing.names.insert(Registry::S3, Err(fault()));
    assert_eq!(let_in(&resolve_after(&before, &["dev-*"], &failing)), ["dev-a:1", "dev-b:2"]);
}

#[test]
fn a_revoked_key_is_barred_whatever_holds_it() {
    let mut findings = findings(&[("dev", Ok(&["alice"]))], &[("alice", found(&[1, 2]))]);
    findings.revoked = Some(Ok(BTreeSet::from([key(1).fingerprint()])));
    let resolution = first(&["@@dev", "alice"], &findings);
    assert_eq!(let_in(&resolution), ["alice:2", "alice:2"]);
    assert_eq!(resolution.notices.len(), 1);
}

#[test]
fn while_revocations_cannot_be_read_the_last_ones_bar_and_nobody_new_is_let_in() {
    let mut then = findings(&[], &[("alice", found(&[1, 2]))]);
    then.revoked = Some(Ok(BTreeSet::from([key(1).fingerprint()])));
    let before = first(&["alice"], &then);
    let mut now = findings(&[], &[("alice", found(&[1, 2, 3]))]);
    now.revoked = Some(Err(fault()));
    let now = resolve_after(&before, &["alice"], &now);
    assert_eq!(let_in(&now), ["alice:2"]);
    assert_eq!(now.revoked, before.revoked);
}

#[test]
fn a_person_without_a_key_is_told_of() {
    let resolution = first(&["alice"], &findings(&[], &[("alice", Lookup::default())]));
    assert_eq!(resolution.notices, BTreeSet::from([Notice::NoKeys(person("alice"))]));
}

#[test]
fn a_key_registered_with_two_different_hosts_is_left_out_and_told_of() {
    let from = |host: &str, place: &str| RegisteredKey {
        restrictions: Restrictions { options: BTreeSet::from([format!("from=\"{host}\"")]), expires: None },
        ..registered(1, place)
    };
    let lookup = Lookup { keys: vec![from("10.0.0.1", "a"), from("10.0.0.2", "b")], ..Lookup::default() };
    let resolution = first(&["alice"], &findings(&[], &[("alice", lookup)]));
    let account = "ubuntu".parse().unwrap();
    assert!(resolution.key_set.granted(&account, jiff::Timestamp::now()).is_empty());
    let clash = Notice::Clash { person: person("alice"), fingerprint: key(1).fingerprint() };
    assert_eq!(resolution.notices, BTreeSet::from([clash]));
}

#[test]
fn rule_1_of_an_account_that_nobody_was_ever_asked_about_a_failed_look_says_nothing() {
    let account: AccountName = "ubuntu".parse().unwrap();
    let never = Resolution::default();
    let has = |resolution: &Resolution| resolution.key_set.accounts.contains_key(&account);
    let blind = findings(&[("dev", Err(()))], &[]);
    let unsure = Findings { revoked: Some(Err(fault())), ..findings(&[], &[("alice", found(&[1]))]) };
    for (specs, failed) in [(&["@@dev"], &blind), (&["alice"], &unsure), (&["alice"], &Findings::unreachable(fault()))]
    {
        assert!(!has(&resolve_after(&never, specs, failed)), "{specs:?}");
    }
    let nobody = resolve_after(&never, &["@@dev"], &findings(&[("dev", Ok(&[]))], &[]));
    assert!(has(&nobody), "that the group is empty is an answer");
    assert!(has(&resolve_after(&nobody, &["@@dev"], &blind)));
}
