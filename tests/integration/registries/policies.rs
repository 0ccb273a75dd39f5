//! The IAM policies that are shipped for the agent: enough for what it asks of the registries, and for no more.

use aws_sdk_s3::primitives::ByteStream;
use fleetkey_agent::source::iam::open;
use fleetkey_agent::source::{Membership, Source};
use fleetkey_common::aws::error_text;
use fleetkey_common::registry::{KeyCache, Registry};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::policy::ShippedPolicy;

use super::fixture::Clients;
use super::{fingerprints, key, of, people, person, publics, specs};

/// Clients of a new IAM user who has the shipped policies of these names.
async fn clients_with(cloud: &Cloud, user: &str, names: &[&str]) -> Clients {
    let policies = names.iter().map(|name| ShippedPolicy::read(name, cloud, user).unwrap().for_moto());
    let policies: Vec<String> = policies.collect();
    let policies: Vec<&str> = policies.iter().map(String::as_str).collect();
    let credentials = cloud.create_limited_user(user, &policies).await.unwrap();
    Clients::of(&cloud.with_credentials(credentials)).await
}

#[tokio::test]
async fn the_agents_policies_allow_what_it_does_and_nothing_else() {
    let moto = tokio::task::spawn_blocking(Moto::start).await.unwrap().unwrap();
    let cloud = Cloud::on(&moto).await.unwrap();
    let keys = [key("s3"), key("ec2"), TestKey::rsa().unwrap()];
    cloud.create_user("alice").await.unwrap();
    cloud.create_group("developers").await.unwrap();
    cloud.add_to_group("alice", "developers").await.unwrap();
    cloud.put_person_key("alice", &keys[0]).await.unwrap();
    cloud.import_key_pair("alice", &keys[1]).await.unwrap();
    cloud.upload_iam_key("alice", &keys[2]).await.unwrap();
    let every = ["agent-source-iam", "agent-registry-s3", "agent-registry-ec2", "agent-registry-iam", "agent-report"];
    let clients = clients_with(&cloud, "agent", &every).await;
    let lesser_clients = clients_with(&cloud, "lesser", &["agent-registry-ec2"]).await;
    let (agent, lesser) = (&clients.access, &lesser_clients.access);
    moto.enforce_iam(0).unwrap();

    let kinds = [Registry::S3, Registry::Ec2, Registry::Iam];
    let asked = specs(&["@@developers", "@alice", "al*"]);
    let source = open(&kinds, agent, true);
    let findings = source.fetch(&asked, &KeyCache::default()).await;
    assert_eq!(findings.groups.into_values().next(), Some(Ok(Membership::Of(people(&["alice"])))));
    assert_eq!(findings.users[&person("alice")], Ok(true));
    assert!(findings.names.values().all(Result::is_ok), "{:?}", findings.names);
    assert!(matches!(&findings.revoked, Some(Ok(revoked)) if revoked.is_empty()), "{:?}", findings.revoked);
    let found = &findings.keys[&person("alice")];
    for (kind, key) in kinds.into_iter().zip(&keys) {
        assert_eq!(fingerprints(&found[&kind]), of(&[key]), "{:?}", found[&kind].fault);
    }
    assert_eq!(source.known(&publics(&keys.each_ref())).await.unwrap(), of(&keys.each_ref()));

    let put = |key: &str| {
        let body = ByteStream::from_static(b"{}");
        agent.s3.put_object().bucket(cloud.bucket()).key(key).body(body).send()
    };
    put("status/i-1.json").await.unwrap();
    for forbidden in ["people/alice/mine.pub", "revoked/x"] {
        let error = put(forbidden).await.unwrap_err();
        assert!(error_text(&error).starts_with("AccessDenied"), "{forbidden}: {}", error_text(&error));
    }
    assert!(agent.iam.create_user().user_name("mallory").send().await.is_err());

    let object = Cloud::person_object("alice", &keys[0]);
    assert!(lesser.s3.get_object().bucket(cloud.bucket()).key(&object).send().await.is_err());
    let findings = open(&kinds, lesser, true).fetch(&asked, &KeyCache::default()).await;
    assert!(findings.groups.values().all(Result::is_err), "what is not allowed is a fault, and no empty group");
    assert!(findings.users.values().all(Result::is_err));
    assert!(findings.revoked.is_some_and(|revoked| revoked.is_err()));
    assert!(findings.names[&Registry::Ec2].is_ok());
    assert!(findings.names[&Registry::S3].is_err() && findings.names[&Registry::Iam].is_err());
}
