//! What revoking comes to, for every way in which registries can hold a key.

use fleetkey_common::bucket::{person_key, revoked_key, ssh_pubkey_key};
use fleetkey_common::public_key::PublicKey;

use super::*;
use crate::work::Outcome;

const ALICE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJcqWYodY0gyb5IvG5gmbH+STkPFE6zhSgRMTi+fCI4n";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJcqWYodY0gyb5IvG5gmbH+STkPFE6zhSgRMTi+fCI4m";

fn key(line: &str) -> PublicKey {
    line.parse().unwrap()
}

fn name(text: &str) -> PersonName {
    text.parse().unwrap()
}

fn person_file(person: &str, lines: &[&str]) -> PersonFile {
    let keys: Vec<_> = lines.iter().map(|line| key(line).fingerprint()).collect();
    let path = if lines.len() == 1 { person_key(&name(person), keys[0]) } else { format!("people/{person}/mixed.pub") };
    PersonFile { path, person: name(person), keys }
}

/// Alice's key in every registry, bob holding it too, and keys of others beside it.
fn facts() -> Facts {
    let alice = key(ALICE);
    let named = |line: &str| {
        let key = key(line);
        NamedFile { path: ssh_pubkey_key(&key.ec2_fingerprint()), keys: vec![key.fingerprint()] }
    };
    let pair = |person: &str, line: &str| KeyPair {
        id: format!("key-{person}"),
        name: person.to_owned(),
        fingerprint: key(line).ec2_fingerprint().to_string(),
        key: Some(key(line)),
        ..KeyPair::default()
    };
    let iam = |user: &str, line: &str| IamKey { user: name(user), id: format!("APKA{user}"), key: Some(key(line)) };
    Facts {
        people: vec![
            person_file("alice", &[ALICE]),
            person_file("bob", &[ALICE]),
            person_file("carol", &[OTHER]),
            person_file("dave", &[ALICE, OTHER]),
        ],
        named: vec![named(ALICE), named(OTHER)],
        pairs: vec![pair("alice", ALICE), pair("not a person", ALICE), pair("carol", OTHER)],
        iam: vec![iam("alice", ALICE), IamKey { key: Some(alice), ..iam("bob", OTHER) }, iam("carol", OTHER)],
        ..Facts::default()
    }
}

fn planned(target: &Target, facts: &Facts) -> Plan {
    let reason = Reason {
        who: "arn:aws:iam::123456789012:user/root".to_owned(),
        when: "2026-11-21T10:00:00Z".parse().unwrap(),
        why: "lost \"laptop\"".to_owned(),
    };
    plan(target, facts, &reason)
}

fn actions(plan: &Plan) -> Vec<String> {
    let rows = plan.steps.iter().map(|step| serde_json::to_value(step.row(Outcome::Planned)).unwrap());
    rows.map(|row| format!("{} {}", row["action"].as_str().unwrap(), row["place"].as_str().unwrap())).collect()
}

#[test]
fn a_key_is_barred_first_and_leaves_every_registry_with_the_persons_folders_last() {
    let alice = key(ALICE).fingerprint();
    let plan = planned(&Target::Key(alice), &facts());
    let expected = [
        format!("bar {}", revoked_key(alice)),
        "hint agents".to_owned(),
        format!("remove {}", ssh_pubkey_key(&key(ALICE).ec2_fingerprint())),
        "remove key pair alice".to_owned(),
        "remove key pair not a person".to_owned(),
        "remove APKAalice of alice".to_owned(),
        "remove APKAbob of bob".to_owned(),
        format!("remove {}", person_key(&name("alice"), alice)),
        format!("remove {}", person_key(&name("bob"), alice)),
        "hint agents".to_owned(),
    ];
    assert_eq!(actions(&plan), expected);
    assert_eq!(plan.kept, ["people/dave/mixed.pub"]);
}

#[test]
fn the_revocation_says_who_when_why_and_whose() {
    let plan = planned(&Target::Key(key(ALICE).fingerprint()), &facts());
    let Work::Bar { body, .. } = &plan.steps[0].work else { panic!("{plan:?}") };
    let revocation: Revocation = serde_json::from_str(body).unwrap();
    assert_eq!(revocation.who, "arn:aws:iam::123456789012:user/root");
    assert_eq!(revocation.why, "lost \"laptop\"");
    assert_eq!(revocation.person, Some(name("alice")));
    assert_eq!(revocation.when.to_string(), "2026-11-21T10:00:00Z");
}

#[test]
fn a_key_that_no_registry_knows_is_barred_all_the_same() {
    let alice = key(ALICE).fingerprint();
    let plan = planned(&Target::Key(alice), &Facts::default());
    assert_eq!(actions(&plan), [format!("bar {}", revoked_key(alice)), "hint agents".to_owned()]);
    assert!(!plan.removes());
}

#[test]
fn a_person_loses_the_keys_of_every_registry_and_a_key_without_a_sha256_too() {
    let mut facts = facts();
    let sha1 = "1f:51:ae:28:bf:89:e9:d8:1f:25:5d:37:2d:7d:b8:ca:9f:f5:f1:6f";
    facts.pairs[2] = KeyPair { key: None, fingerprint: sha1.to_owned(), ..facts.pairs[2].clone() };
    facts.named.push(NamedFile { path: format!("ssh_pubkey:{sha1}"), keys: Vec::new() });
    let plan = planned(&Target::Person(name("carol")), &facts);
    let other = key(OTHER).fingerprint();
    let expected = [
        format!("bar {}", revoked_key(other)),
        "hint agents".to_owned(),
        format!("remove {}", ssh_pubkey_key(&key(OTHER).ec2_fingerprint())),
        format!("remove ssh_pubkey:{sha1}"),
        "remove key pair carol".to_owned(),
        "remove APKAcarol of carol".to_owned(),
        format!("remove {}", person_key(&name("carol"), other)),
        "hint agents".to_owned(),
    ];
    assert_eq!(actions(&plan), expected);
    assert_eq!(plan.keys, BTreeMap::from([(other, Some(name("carol")))]));
}

#[test]
fn a_person_of_whom_nothing_is_known_comes_to_no_keys() {
    let plan = planned(&Target::Person(name("Alice")), &facts());
    assert!(plan.keys.is_empty() && !plan.removes());
}

#[test]
fn the_iam_users_asked_are_those_who_hold_the_key_and_the_person_named() {
    let facts = Facts { iam: Vec::new(), ..facts() };
    let names = |target: &Target| holders(target, &facts).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&Target::Key(key(ALICE).fingerprint())), ["alice", "bob", "dave"]);
    assert_eq!(names(&Target::Person(name("erin"))), ["erin"]);
}

#[test]
fn an_ec2_fingerprint_is_resolved_by_its_pair_or_its_object_and_a_sha1_by_its_pair_alone() {
    let md5: Ec2Fingerprint = "cb:62:d3:17:a2:47:cc:b5:6e:95:1d:37:90:8b:12:ff".parse().unwrap();
    let sha1: Ec2Fingerprint = "1f:51:ae:28:bf:89:e9:d8:1f:25:5d:37:2d:7d:b8:ca:9f:f5:f1:6f".parse().unwrap();
    let alice = key(ALICE);
    for (fingerprint, by_object) in [(md5, Some(alice.fingerprint())), (sha1, None)] {
        let named = NamedFile { path: format!("ssh_pubkey:{fingerprint}"), keys: vec![alice.fingerprint()] };
        let facts = Facts { named: vec![named], ..Facts::default() };
        assert_eq!(resolve(&fingerprint, &facts), by_object);
        let pair = KeyPair { fingerprint: fingerprint.to_string(), key: Some(alice.clone()), ..KeyPair::default() };
        let facts = Facts { pairs: vec![pair], ..Facts::default() };
        assert_eq!(resolve(&fingerprint, &facts), Some(alice.fingerprint()));
        assert_eq!(resolve(&fingerprint, &Facts::default()), None);
    }
}

#[test]
fn what_says_whose_key_it_is_stays_while_that_persons_iam_user_cannot_be_asked() {
    let alice = key(ALICE).fingerprint();
    let unseen = BTreeSet::from([name("alice")]);
    let file = person_key(&name("alice"), alice);
    for target in [Target::Key(alice), Target::Person(name("alice"))] {
        let plan = planned(&target, &Facts { iam: Vec::new(), unseen: unseen.clone(), ..facts() });
        assert_eq!(plan.waiting, std::slice::from_ref(&file));
        let actions = actions(&plan);
        assert!(!actions.contains(&format!("remove {file}")), "{actions:?}");
        assert!(actions.contains(&"remove key pair alice".to_owned()), "{actions:?}");
        assert!(actions.contains(&format!("bar {}", revoked_key(alice))), "{actions:?}");
    }
    let pairs_alone = Facts { people: Vec::new(), iam: Vec::new(), unseen, ..facts() };
    assert_eq!(planned(&Target::Key(alice), &pairs_alone).waiting, ["key pair alice"]);
}
