//! Faults that cost what they concern and nothing else: pages that fail, answers that are none, and how many people may
//! be listed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fleetkey_agent::source::iam::{IamSource, open};
use fleetkey_agent::source::{Membership, Source};
use fleetkey_common::registry::{KeyCache, Registry};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::proxy::{Fault, Proxy};
use fleetkey_tests::stub::Stub;

use super::answers::{bucket_page, group_page, xml};
use super::fixture::Clients;
use super::{key, person, publics, registry, specs};

/// The `iam` source without registries, over what this endpoint says.
fn groups_of(clients: &Clients) -> IamSource {
    IamSource::new(clients.access.iam.clone(), Vec::new(), None)
}

#[tokio::test]
async fn a_group_of_several_pages_is_told_whole_whatever_its_name() {
    let stub = Stub::start(|request| xml(200, group_page(request, 250))).unwrap();
    let clients = Clients::to(&stub.endpoint()).await;
    let findings = groups_of(&clients).fetch(&specs(&["@@developers", "@@any.other"]), &KeyCache::default()).await;
    assert_eq!(findings.groups.len(), 2);
    for membership in findings.groups.values() {
        let Ok(Membership::Of(users)) = membership else { panic!("{membership:?}") };
        assert_eq!(users.len(), 250);
    }
}

#[tokio::test]
async fn r3_a_group_that_fails_on_a_later_page_fails_alone_and_is_not_told_shorter() {
    let stub = Stub::start(|request| {
        let late = request.field("Marker").as_deref() == Some("200");
        let page = group_page(request, 250);
        match request.field("GroupName").as_deref() {
            Some("broken") if late => {
                xml(500, "<ErrorResponse><Error><Code>ServiceFailure</Code></Error></ErrorResponse>")
            }
            Some("aimless") if late => xml(200, page.replace("<IsTruncated>false", "<IsTruncated>true")),
            _ => xml(200, page),
        }
    })
    .unwrap();
    let clients = Clients::to(&stub.endpoint()).await;
    let findings = groups_of(&clients).fetch(&specs(&["@@broken", "@@aimless", "@@whole"]), &KeyCache::default()).await;
    for bad in ["broken", "aimless"] {
        let group = &findings.groups[&bad.parse().unwrap()];
        assert!(group.is_err(), "{bad}: {group:?}");
    }
    assert!(matches!(&findings.groups[&"whole".parse().unwrap()], Ok(Membership::Of(users)) if users.len() == 250));
}

#[tokio::test]
async fn t13_throttled_and_damaged_answers_of_every_kind_are_faults() {
    let spoiled = [Fault::Throttle, Fault::ServerError, Fault::Garbage].map(|fault| async move {
        let proxy = Proxy::start(Moto::shared().unwrap().address()).unwrap();
        proxy.spoil("*", fault);
        let cloud = Cloud::new().await.unwrap().through(&proxy.endpoint());
        all_is_fault(&format!("{fault:?}"), &Clients::of(&cloud).await).await;
    });
    let hollow = [(200, ""), (200, "<html></html>"), (500, "")].map(|(status, body)| async move {
        let stub = Stub::start(move |_| xml(status, body)).unwrap();
        all_is_fault(&format!("{status} {body:?}"), &Clients::to(&stub.endpoint()).await).await;
    });
    tokio::join!(futures_util::future::join_all(spoiled), futures_util::future::join_all(hollow));
}

/// Whether an AWS that answers so to everything is told as one that cannot be asked.
async fn all_is_fault(answers: &str, clients: &Clients) {
    let source = open(&[Registry::S3, Registry::Ec2, Registry::Iam], &clients.access, true);
    let findings = source.fetch(&specs(&["@@group", "@alice", "bob", "dev-*"]), &KeyCache::default()).await;
    let what = format!("{answers}: {findings:?}");
    assert!(findings.groups.values().all(Result::is_err), "{what}");
    assert!(findings.users.values().all(Result::is_err), "{what}");
    assert!(findings.names.values().all(Result::is_err), "{what}");
    assert!(findings.keys[&person("bob")].values().all(|lookup| lookup.fault.is_some()), "{what}");
    assert!(findings.revoked.as_ref().unwrap().is_err(), "{what}");
    assert!(source.known(&publics(&[&key("any")])).await.is_err(), "{what}");
}

#[tokio::test]
async fn ten_thousand_people_are_listed_by_the_page() {
    let asked = Arc::new(AtomicU32::new(0));
    let so_far = Arc::clone(&asked);
    let stub = Stub::start(move |request| {
        so_far.fetch_add(1, Ordering::Relaxed);
        xml(200, bucket_page(request, 10_000))
    })
    .unwrap();
    let clients = Clients::to(&stub.endpoint()).await;
    let s3 = registry(Registry::S3, &clients.access);
    let names = s3.names().await.unwrap();
    assert_eq!(names.len(), 10_000);
    // Every object is too large to be a key: all are looked at and none is fetched.
    let found = s3.keys(&names, &KeyCache::default()).await;
    assert_eq!(found.len(), 10_000);
    assert!(found.values().all(|lookup| lookup.fault.is_none() && lookup.rejected.len() == 1));
    // Twice the pages of a thousand, and what else a look begins with.
    let asked = asked.load(Ordering::Relaxed);
    assert!((20..30).contains(&asked), "{asked} requests");
}
