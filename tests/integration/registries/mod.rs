//! The registries and the `iam` source against moto, and against stand-ins where moto has no pages.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleetkey_agent::source::iam::open;
use fleetkey_agent::source::{Membership, Source};
use fleetkey_common::bucket;
use fleetkey_common::key_spec::KeySpec;
use fleetkey_common::names::PersonName;
use fleetkey_common::public_key::{Fingerprint, PublicKey};
use fleetkey_common::registry::{self, Access, KeyCache, KeyRegistry, Lookup, Registry};
use fleetkey_tests::keys::TestKey;

use self::fixture::Fixture;

mod answers;
mod clients;
mod faults;
mod fixture;
mod policies;

fn person(name: &str) -> PersonName {
    name.parse().expect("a valid name")
}

fn people(names: &[&str]) -> BTreeSet<PersonName> {
    names.iter().map(|name| person(name)).collect()
}

fn specs(texts: &[&str]) -> BTreeSet<KeySpec> {
    texts.iter().map(|text| text.parse().expect("a valid spec")).collect()
}

fn key(comment: &str) -> TestKey {
    TestKey::new(comment).unwrap()
}

fn publics(keys: &[&TestKey]) -> Vec<PublicKey> {
    keys.iter().map(|key| key.public().clone()).collect()
}

fn registry(kind: Registry, access: &Access) -> Box<dyn KeyRegistry> {
    registry::open(&[kind], access).pop().expect("a registry of that kind")
}

fn fingerprints(lookup: &Lookup) -> BTreeSet<Fingerprint> {
    lookup.keys.iter().map(|key| key.key.fingerprint()).collect()
}

fn of(keys: &[&TestKey]) -> BTreeSet<Fingerprint> {
    keys.iter().map(|key| key.fingerprint()).collect()
}

fn only(key: &PublicKey) -> BTreeSet<Fingerprint> {
    BTreeSet::from([key.fingerprint()])
}

fn cache_of(registry: Registry, found: &BTreeMap<PersonName, Lookup>) -> KeyCache {
    KeyCache::new(found.values().flat_map(|lookup| lookup.keys.iter().map(|key| (registry, key.clone()))))
}

fn reasons(lookup: &Lookup) -> String {
    let lines: Vec<_> =
        lookup.rejected.iter().map(|rejected| format!("{}: {}", rejected.place, rejected.reason)).collect();
    lines.join("\n")
}

#[tokio::test]
async fn s3_finds_what_people_registered_and_fetches_no_body_twice() {
    let fixture = Fixture::new().await;
    let (laptop, phone, shared) = (key("laptop"), key("phone"), TestKey::rsa().unwrap());
    fixture.put_person_key("alice", &laptop).await;
    fixture.put("people/alice/by-hand.pub", &format!("# mine\n{}\n{}\n", phone.line(), shared.public())).await;
    fixture.import_key_pair("bob", &shared).await;
    fixture.put(&bucket::ssh_pubkey_key(&shared.public().ec2_fingerprint()), shared.line()).await;

    let s3 = registry(Registry::S3, &fixture.clients.access);
    let asked = people(&["alice", "bob", "nobody"]);
    let found = s3.keys(&asked, &KeyCache::default()).await;
    assert_eq!(found.len(), 3);
    assert_eq!(fingerprints(&found[&person("alice")]), of(&[&laptop, &phone, &shared]));
    assert_eq!(fingerprints(&found[&person("bob")]), of(&[&shared]));
    assert!(found[&person("nobody")].keys.is_empty() && found[&person("nobody")].fault.is_none());
    assert_eq!(fixture.object_reads(), 3);

    let again = s3.keys(&asked, &cache_of(Registry::S3, &found)).await;
    assert_eq!(fixture.object_reads(), 0, "what has not changed is not fetched again");
    for name in asked {
        assert_eq!(again[&name].keys, found[&name].keys);
    }

    // S3 tells when an object was put by the second; the same content twice within one is one version.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    fixture.put_person_key("alice", &laptop).await;
    s3.keys(&people(&["alice"]), &cache_of(Registry::S3, &found)).await;
    assert_eq!(fixture.object_reads(), 1, "what was put anew is fetched again, and nothing else");

    assert_eq!(s3.names().await.unwrap(), people(&["alice", "bob"]));
    let known = s3.known(&publics(&[&laptop, &shared, &key("stranger")])).await.unwrap();
    assert_eq!(known, of(&[&laptop, &shared]));
}

#[tokio::test]
async fn r8_one_bad_key_in_the_bucket_costs_itself_and_is_told_each_time() {
    let fixture = Fixture::new().await;
    let (good, other, pair, until) = (key("good"), key("other"), TestKey::rsa().unwrap(), key("until"));
    fixture.put_person_key("alice", &good).await;
    fixture.put(&bucket::person_key(&person("alice"), pair.fingerprint()), other.line()).await;
    fixture.put("people/alice/large.pub", &"#".repeat(70_000)).await;
    fixture.put("people/alice/command.pub", &format!("command=\"sh\" {}\n", other.line())).await;
    fixture.put("people/alice/mixed.pub", &format!("{}\nrubbish\n", good.line())).await;
    for (path, key, expires) in
        [("people/alice/until.pub", &until, "2027-01-01T00:00:00Z"), ("people/alice/whenever.pub", &other, "whenever")]
    {
        fixture.cloud.put_object(path, key.line(), &[(bucket::EXPIRES, expires)]).await.unwrap();
    }
    fixture.import_key_pair("bob", &pair).await;
    fixture.put(&bucket::ssh_pubkey_key(&pair.public().ec2_fingerprint()), other.line()).await;

    let s3 = registry(Registry::S3, &fixture.clients.access);
    let found = s3.keys(&people(&["alice", "bob"]), &KeyCache::default()).await;
    let alice = &found[&person("alice")];
    assert_eq!(fingerprints(alice), of(&[&good, &until]));
    let expiring = alice.keys.iter().find(|key| key.key == *until.public()).unwrap();
    assert_eq!(expiring.restrictions.expires, "2027-01-01T00:00:00Z".parse().ok());
    assert_eq!(alice.rejected.len(), 5, "{}", reasons(alice));
    for place in ["large.pub", "command.pub", "mixed.pub", "whenever.pub", &pair.fingerprint().to_hex()] {
        assert!(reasons(alice).contains(place), "{place} is not in {}", reasons(alice));
    }
    assert!(alice.fault.is_none());
    let bob = &found[&person("bob")];
    assert!(bob.keys.is_empty(), "a key under another's fingerprint is never taken");
    assert_eq!(bob.rejected.len(), 1);

    let again = s3.keys(&people(&["alice"]), &cache_of(Registry::S3, &found)).await;
    assert_eq!(again[&person("alice")].rejected.len(), 5);
}

#[tokio::test]
async fn a_bucket_that_cannot_be_listed_is_a_fault_of_everybody_and_no_empty_answer() {
    let fixture = Fixture::new().await;
    let access = Access { bucket: "there-is-none".to_owned(), ..fixture.clients.access.clone() };
    let s3 = registry(Registry::S3, &access);
    let many: Vec<String> = (0..11).map(|at| format!("person{at}")).collect();
    for asked in [people(&["alice"]), many.iter().map(|name| person(name)).collect()] {
        let found = s3.keys(&asked, &KeyCache::default()).await;
        assert_eq!(found.len(), asked.len());
        for lookup in found.values() {
            let fault = lookup.fault.as_ref().expect("a fault");
            assert!(fault.to_string().contains("NoSuchBucket"), "{fault}");
        }
    }
    assert!(s3.names().await.is_err());
    assert!(s3.known(&publics(&[&key("any")])).await.is_err());
    assert!(registry::s3::revoked(&access.s3, &access.bucket).await.is_err());
}

#[tokio::test]
async fn ec2_and_iam_find_what_they_hold_rsa_made_by_ec2_included() {
    let fixture = Fixture::new().await;
    let (imported, uploaded) = (key("imported"), TestKey::rsa().unwrap());
    let inactive = TestKey::new_rsa("inactive").unwrap();
    fixture.import_key_pair("alice", &imported).await;
    fixture.import_key_pair("no person", &key("other")).await;
    let (made_fingerprint, made) = fixture.create_key_pair("launch").await;
    fixture.cloud.create_user("carol").await.unwrap();
    fixture.cloud.upload_iam_key("carol", &uploaded).await.unwrap();
    let id = fixture.cloud.upload_iam_key("carol", &inactive).await.unwrap();
    fixture.cloud.set_iam_key_active("carol", &id, false).await.unwrap();

    let ec2 = registry(Registry::Ec2, &fixture.clients.access);
    let found = ec2.keys(&people(&["alice", "launch", "nobody"]), &KeyCache::default()).await;
    assert_eq!(fingerprints(&found[&person("alice")]), of(&[&imported]));
    assert_eq!(fingerprints(&found[&person("launch")]), only(&made));
    assert!(found[&person("nobody")].keys.is_empty());
    assert_eq!(ec2.names().await.unwrap(), people(&["alice", "launch"]));
    let candidates = [&[made.clone()][..], &publics(&[&imported, &uploaded])].concat();
    let known = ec2.known(&candidates).await.unwrap();
    let wanted = &only(&made) | &of(&[&imported]);
    assert_eq!(known, wanted, "the key that EC2 made and put on an instance is known");

    // CGCloud keeps the key of such a pair under a fingerprint of its private half.
    fixture.put(&format!("ssh_pubkey:{made_fingerprint}"), &made.to_string()).await;
    let s3 = registry(Registry::S3, &fixture.clients.access);
    let found = s3.keys(&people(&["launch"]), &KeyCache::default()).await;
    assert_eq!(fingerprints(&found[&person("launch")]), only(&made), "{}", reasons(&found[&person("launch")]));
    assert_eq!(s3.known(std::slice::from_ref(&made)).await.unwrap(), only(&made));

    let iam = registry(Registry::Iam, &fixture.clients.access);
    let asked = people(&["carol", "nobody"]);
    let found = iam.keys(&asked, &KeyCache::default()).await;
    assert_eq!(fingerprints(&found[&person("carol")]), of(&[&uploaded]));
    assert!(found[&person("nobody")].fault.is_none(), "a user who does not exist has no keys, for certain");
    fixture.requests();
    iam.keys(&asked, &cache_of(Registry::Iam, &found)).await;
    assert_eq!(fixture.requests(), 2, "one listing each, and no key fetched again");
    assert_eq!(iam.known(&candidates).await.unwrap(), of(&[&uploaded]));
    assert_eq!(iam.names().await.unwrap(), people(&["carol"]));
}

#[tokio::test]
async fn t14_names_with_every_sign_are_asked_for_as_they_are() {
    let fixture = Fixture::new().await;
    let name = "Az09_+=,.@-";
    let keys = [key("s3"), key("ec2"), TestKey::rsa().unwrap()];
    fixture.cloud.create_user(name).await.unwrap();
    fixture.create_group(name, &[name]).await;
    fixture.put_person_key(name, &keys[0]).await;
    fixture.import_key_pair(name, &keys[1]).await;
    fixture.cloud.upload_iam_key(name, &keys[2]).await.unwrap();

    let source = open(&[Registry::S3, Registry::Ec2, Registry::Iam], &fixture.clients.access, true);
    let asked = specs(&[&format!("@@{name}"), &format!("@{name}"), "Az*@-"]);
    let findings = source.fetch(&asked, &KeyCache::default()).await;
    let found = &findings.keys[&person(name)];
    for (registry, key) in [Registry::S3, Registry::Ec2, Registry::Iam].into_iter().zip(&keys) {
        assert_eq!(fingerprints(&found[&registry]), of(&[key]), "{registry}: {}", reasons(&found[&registry]));
    }
    assert_eq!(findings.users[&person(name)], Ok(true));
    assert_eq!(findings.groups.values().next().unwrap(), &Ok(Membership::Of(people(&[name]))));
}

#[tokio::test]
async fn r2_a_group_that_is_empty_and_one_that_is_gone_and_one_that_cannot_be_asked_are_three_things() {
    let fixture = Fixture::new().await;
    let bad = key("bad");
    fixture.cloud.create_user("alice").await.unwrap();
    fixture.create_group("empty", &[]).await;
    fixture.put(&bucket::revoked_key(bad.fingerprint()), "{}").await;
    fixture.put("revoked/not-a-key", "{}").await;

    let source = open(&[Registry::S3], &fixture.clients.access, true);
    let asked = specs(&["@@empty", "@@gone", "@alice", "@nobody", "bob"]);
    let findings = source.fetch(&asked, &KeyCache::default()).await;
    assert_eq!(findings.groups[&"empty".parse().unwrap()], Ok(Membership::Of(BTreeSet::new())));
    assert_eq!(findings.groups[&"gone".parse().unwrap()], Ok(Membership::NoSuchGroup));
    assert_eq!(findings.users[&person("alice")], Ok(true));
    assert_eq!(findings.users[&person("nobody")], Ok(false));
    assert_eq!(findings.keys.keys().cloned().collect::<BTreeSet<_>>(), people(&["alice", "bob"]));
    assert!(findings.names.is_empty(), "no glob, no listing of names");
    assert_eq!(findings.revoked, Some(Ok(of(&[&bad]))));

    fixture.proxy.refuse();
    let findings = source.fetch(&asked, &KeyCache::default()).await;
    let fault = findings.groups[&"empty".parse().unwrap()].as_ref().unwrap_err();
    assert!(fault.to_string().starts_with("iam: GetGroup empty failed: "), "{fault}");
    assert!(findings.users[&person("alice")].is_err());
    assert!(findings.revoked.unwrap().is_err());
    assert!(findings.keys[&person("bob")][&Registry::S3].fault.is_some());
}

#[tokio::test]
async fn an_object_that_is_listed_too_large_is_never_fetched() {
    let fixture = Fixture::new().await;
    fixture.put("people/alice/x.pub", &"#".repeat(200_000)).await;
    let s3 = registry(Registry::S3, &fixture.clients.access);
    let found = s3.keys(&people(&["alice"]), &KeyCache::default()).await;
    assert!(reasons(&found[&person("alice")]).contains("more than 65536 bytes"));
    assert_eq!(fixture.object_reads(), 0);
}
