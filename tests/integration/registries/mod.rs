//! The registries and the `iam` source against a moto server, and against stand-ins where moto has no pages.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use aws_sdk_s3::primitives::ByteStream;
use fleetkey_agent::source::iam::{IamSource, open};
use fleetkey_agent::source::{Findings, Membership, Source};
use fleetkey_common::bucket;
use fleetkey_common::key_spec::KeySpec;
use fleetkey_common::names::PersonName;
use fleetkey_common::public_key::{Fingerprint, PublicKey};
use fleetkey_common::registry::{self, Access, KeyCache, KeyRegistry, Lookup, Registry};

use self::cloud::{BUCKET, Cloud, access, key, rsa_key};
use self::stub::Stub;

mod clients;
mod cloud;
mod policies;
mod stub;

/// The most that listing ten thousand persons may take, of our own time, in a debug build.
const LISTING_LIMIT: Duration = Duration::from_secs(10);

fn person(name: &str) -> PersonName {
    name.parse().expect("a valid name")
}

fn people(names: &[&str]) -> BTreeSet<PersonName> {
    names.iter().map(|name| person(name)).collect()
}

fn specs(texts: &[&str]) -> BTreeSet<KeySpec> {
    texts.iter().map(|text| text.parse().expect("a valid spec")).collect()
}

fn registry(kind: Registry, access: &Access) -> Box<dyn KeyRegistry> {
    registry::open(&[kind], access).pop().expect("a registry of that kind")
}

fn fingerprints(lookup: &Lookup) -> BTreeSet<Fingerprint> {
    lookup.keys.iter().map(|key| key.key.fingerprint()).collect()
}

fn of(keys: &[&PublicKey]) -> BTreeSet<Fingerprint> {
    keys.iter().map(|key| key.fingerprint()).collect()
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
    let cloud = Cloud::start().await;
    let (laptop, phone, shared) = (key("laptop"), key("phone"), rsa_key("shared"));
    cloud.put_person_key("alice", &laptop).await;
    cloud.put("people/alice/by-hand.pub", &format!("# mine\n{phone} alice@phone\n{shared}\n")).await;
    cloud.import_key_pair("bob", &shared).await;
    cloud.put(&bucket::ssh_pubkey_key(&shared.ec2_fingerprint()), &format!("{shared} bob@work\n")).await;

    let s3 = registry(Registry::S3, &cloud.access);
    let asked = people(&["alice", "bob", "nobody"]);
    let found = s3.keys(&asked, &KeyCache::default()).await;
    assert_eq!(found.len(), 3);
    assert_eq!(fingerprints(&found[&person("alice")]), of(&[&laptop, &phone, &shared]));
    assert_eq!(fingerprints(&found[&person("bob")]), of(&[&shared]));
    assert!(found[&person("nobody")].keys.is_empty() && found[&person("nobody")].fault.is_none());
    assert_eq!(cloud.object_reads(), 3);

    let again = s3.keys(&asked, &cache_of(Registry::S3, &found)).await;
    assert_eq!(cloud.object_reads(), 3, "what has not changed is not fetched again");
    for name in asked {
        assert_eq!(again[&name].keys, found[&name].keys);
    }

    cloud.put_person_key("alice", &laptop).await;
    s3.keys(&people(&["alice"]), &cache_of(Registry::S3, &found)).await;
    assert_eq!(cloud.object_reads(), 4, "what was put anew is fetched again, and nothing else");

    assert_eq!(s3.names().await.unwrap(), people(&["alice", "bob"]));
    let stranger = key("stranger");
    let known = s3.known(&[laptop.clone(), shared.clone(), stranger]).await.unwrap();
    assert_eq!(known, of(&[&laptop, &shared]));
}

#[tokio::test]
async fn r8_one_bad_key_in_the_bucket_costs_itself_and_is_told_each_time() {
    let cloud = Cloud::start().await;
    let (good, other, pair, until) = (key("good"), key("other"), rsa_key("pair"), key("until"));
    cloud.put_person_key("alice", &good).await;
    cloud.put(&bucket::person_key(&person("alice"), pair.fingerprint()), &other.to_string()).await;
    cloud.put("people/alice/large.pub", &"#".repeat(70_000)).await;
    cloud.put("people/alice/command.pub", &format!("command=\"sh\" {other}\n")).await;
    cloud.put("people/alice/mixed.pub", &format!("{good}\nrubbish\n")).await;
    cloud.put_with_expiry("people/alice/until.pub", &until.to_string(), "2027-01-01T00:00:00Z").await;
    cloud.put_with_expiry("people/alice/whenever.pub", &other.to_string(), "whenever").await;
    cloud.import_key_pair("bob", &pair).await;
    cloud.put(&bucket::ssh_pubkey_key(&pair.ec2_fingerprint()), &other.to_string()).await;

    let s3 = registry(Registry::S3, &cloud.access);
    let found = s3.keys(&people(&["alice", "bob"]), &KeyCache::default()).await;
    let alice = &found[&person("alice")];
    assert_eq!(fingerprints(alice), of(&[&good, &until]));
    let expiring = alice.keys.iter().find(|key| key.key == until).unwrap();
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
    let cloud = Cloud::start().await;
    let access = Access { bucket: "there-is-none".to_owned(), ..cloud.access.clone() };
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
    assert!(s3.known(&[key("any")]).await.is_err());
    assert!(registry::s3::revoked(&access.s3, &access.bucket).await.is_err());
}

#[tokio::test]
async fn ec2_and_iam_find_what_they_hold_rsa_made_by_ec2_included() {
    let cloud = Cloud::start().await;
    let (imported, uploaded, inactive) = (key("imported"), rsa_key("uploaded"), rsa_key("inactive"));
    cloud.import_key_pair("alice", &imported).await;
    cloud.import_key_pair("no person", &key("other")).await;
    let made = cloud.create_key_pair("launch").await;
    cloud.create_user("carol").await;
    cloud.upload_iam_key("carol", &uploaded).await;
    cloud.deactivate(&cloud.upload_iam_key("carol", &inactive).await, "carol").await;

    let ec2 = registry(Registry::Ec2, &cloud.access);
    let found = ec2.keys(&people(&["alice", "launch", "nobody"]), &KeyCache::default()).await;
    assert_eq!(fingerprints(&found[&person("alice")]), of(&[&imported]));
    assert_eq!(fingerprints(&found[&person("launch")]), of(&[&made]));
    assert!(found[&person("nobody")].keys.is_empty());
    assert_eq!(ec2.names().await.unwrap(), people(&["alice", "launch"]));
    let known = ec2.known(&[made.clone(), imported.clone(), uploaded.clone()]).await.unwrap();
    assert_eq!(known, of(&[&made, &imported]), "the key that EC2 made and put on an instance is known");

    // CGCloud keeps the key of such a pair under a fingerprint of its private half.
    cloud.put_under_pair_fingerprint("launch", &made).await;
    let s3 = registry(Registry::S3, &cloud.access);
    let found = s3.keys(&people(&["launch"]), &KeyCache::default()).await;
    assert_eq!(fingerprints(&found[&person("launch")]), of(&[&made]), "{}", reasons(&found[&person("launch")]));
    assert_eq!(s3.known(std::slice::from_ref(&made)).await.unwrap(), of(&[&made]));

    let iam = registry(Registry::Iam, &cloud.access);
    let asked = people(&["carol", "nobody"]);
    let found = iam.keys(&asked, &KeyCache::default()).await;
    assert_eq!(fingerprints(&found[&person("carol")]), of(&[&uploaded]));
    assert!(found[&person("nobody")].fault.is_none(), "a user who does not exist has no keys, for certain");
    let calls = cloud.requests();
    iam.keys(&asked, &cache_of(Registry::Iam, &found)).await;
    assert_eq!(cloud.requests() - calls, 2, "one listing each, and no key fetched again");
    assert_eq!(iam.known(&[uploaded.clone(), made]).await.unwrap(), of(&[&uploaded]));
    assert_eq!(iam.names().await.unwrap(), people(&["carol"]));
}

#[tokio::test]
async fn t14_names_with_every_sign_are_asked_for_as_they_are() {
    let cloud = Cloud::start().await;
    let name = "Az09_+=,.@-";
    let keys = [key("s3"), key("ec2"), rsa_key("iam")];
    cloud.create_user(name).await;
    cloud.create_group(name, &[name]).await;
    cloud.put_person_key(name, &keys[0]).await;
    cloud.import_key_pair(name, &keys[1]).await;
    cloud.upload_iam_key(name, &keys[2]).await;

    let source = open(&[Registry::S3, Registry::Ec2, Registry::Iam], &cloud.access, true);
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
    let cloud = Cloud::start().await;
    let bad = key("bad");
    cloud.create_user("alice").await;
    cloud.create_group("empty", &[]).await;
    cloud.put(&bucket::revoked_key(bad.fingerprint()), "{}").await;
    cloud.put("revoked/not-a-key", "{}").await;

    let source = open(&[Registry::S3], &cloud.access, true);
    let asked = specs(&["@@empty", "@@gone", "@alice", "@nobody", "bob"]);
    let findings = source.fetch(&asked, &KeyCache::default()).await;
    assert_eq!(findings.groups[&"empty".parse().unwrap()], Ok(Membership::Of(BTreeSet::new())));
    assert_eq!(findings.groups[&"gone".parse().unwrap()], Ok(Membership::NoSuchGroup));
    assert_eq!(findings.users[&person("alice")], Ok(true));
    assert_eq!(findings.users[&person("nobody")], Ok(false));
    assert_eq!(findings.keys.keys().cloned().collect::<BTreeSet<_>>(), people(&["alice", "bob"]));
    assert!(findings.names.is_empty(), "no glob, no listing of names");
    assert_eq!(findings.revoked, Some(Ok(of(&[&bad]))));

    let access = cloud.access.clone();
    drop(cloud);
    let findings: Findings = open(&[Registry::S3], &access, true).fetch(&asked, &KeyCache::default()).await;
    let fault = findings.groups[&"empty".parse().unwrap()].as_ref().unwrap_err();
    assert!(fault.to_string().starts_with("iam: GetGroup empty failed: "), "{fault}");
    assert!(findings.users[&person("alice")].is_err());
    assert!(findings.revoked.unwrap().is_err());
    assert!(findings.keys[&person("bob")][&Registry::S3].fault.is_some());
}

#[tokio::test]
async fn a_group_of_several_pages_is_told_whole_whatever_its_name() {
    let stub = Stub::start(|request| stub::group_page(request, 250)).await;
    let source = IamSource::new(aws_sdk_iam::Client::new(&stub.config().await), Vec::new(), None);
    let findings = source.fetch(&specs(&["@@developers", "@@any.other"]), &KeyCache::default()).await;
    assert_eq!(findings.groups.len(), 2);
    for membership in findings.groups.values() {
        let Ok(Membership::Of(users)) = membership else { panic!("{membership:?}") };
        assert_eq!(users.len(), 250);
    }
}

#[tokio::test]
async fn r3_a_group_that_fails_on_a_later_page_fails_alone_and_is_not_told_shorter() {
    let stub = Stub::start(|request| {
        let late = request.body.contains("Marker=200");
        if late && request.body.contains("GroupName=broken") {
            return (500, "<ErrorResponse><Error><Code>ServiceFailure</Code></Error></ErrorResponse>".to_owned());
        }
        let (status, page) = stub::group_page(request, 250);
        let aimless = late && request.body.contains("GroupName=aimless");
        (status, if aimless { page.replace("<IsTruncated>false", "<IsTruncated>true") } else { page })
    })
    .await;
    let source = IamSource::new(aws_sdk_iam::Client::new(&stub.config().await), Vec::new(), None);
    let findings = source.fetch(&specs(&["@@broken", "@@aimless", "@@whole"]), &KeyCache::default()).await;
    for bad in ["broken", "aimless"] {
        let group = &findings.groups[&bad.parse().unwrap()];
        assert!(group.is_err(), "{bad}: {group:?}");
    }
    assert!(matches!(&findings.groups[&"whole".parse().unwrap()], Ok(Membership::Of(users)) if users.len() == 250));
}

#[tokio::test]
async fn t13_throttled_and_damaged_answers_of_every_kind_are_faults() {
    let throttled =
        "<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>";
    let answers = [(400, throttled), (200, ""), (200, "garbage"), (200, "<html></html>"), (500, "")];
    futures_util::future::join_all(answers.map(|(status, body)| all_is_fault(status, body))).await;
}

/// Whether an AWS that gives this answer to everything is told as one that cannot be asked.
async fn all_is_fault(status: u16, body: &'static str) {
    let stub = Stub::start(move |_| (status, body.to_owned())).await;
    let source = open(&[Registry::S3, Registry::Ec2, Registry::Iam], &access(&stub.config().await), true);
    let findings = source.fetch(&specs(&["@@group", "@alice", "bob", "dev-*"]), &KeyCache::default()).await;
    let what = format!("{status} {body:?}: {findings:?}");
    assert!(findings.groups.values().all(Result::is_err), "{what}");
    assert!(findings.users.values().all(Result::is_err), "{what}");
    assert!(findings.names.values().all(Result::is_err), "{what}");
    assert!(findings.keys[&person("bob")].values().all(|lookup| lookup.fault.is_some()), "{what}");
    assert!(findings.revoked.as_ref().unwrap().is_err(), "{what}");
    assert!(source.known(&[key("any")]).await.is_err(), "{what}");
}

#[tokio::test]
async fn ten_thousand_people_are_listed_in_a_moment() {
    let stub = Stub::start(|request| stub::bucket_page(request, 10_000)).await;
    let access = access(&stub.config().await);
    let s3 = registry(Registry::S3, &access);
    let start = Instant::now();
    let names = s3.names().await.unwrap();
    assert_eq!(names.len(), 10_000);
    // Every object is the same key under its own name: all are looked at and none is fetched.
    let found = s3.keys(&names, &KeyCache::default()).await;
    assert_eq!(found.len(), 10_000);
    assert!(found.values().all(|lookup| lookup.fault.is_none() && lookup.rejected.len() == 1));
    assert!(start.elapsed() < LISTING_LIMIT, "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_object_that_is_listed_too_large_is_never_fetched() {
    let cloud = Cloud::start().await;
    let large = ByteStream::from(vec![b'#'; 200_000]);
    cloud.access.s3.put_object().bucket(BUCKET).key("people/alice/x.pub").body(large).send().await.unwrap();
    let s3 = registry(Registry::S3, &cloud.access);
    let found = s3.keys(&people(&["alice"]), &KeyCache::default()).await;
    assert!(reasons(&found[&person("alice")]).contains("more than 65536 bytes"));
    assert_eq!(cloud.object_reads(), 0);
}
