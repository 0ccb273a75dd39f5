//! The IAM policies that are shipped: enough for what the agent does, and for no more.
//!
//! moto looks at actions, and at the ARNs of S3 buckets and objects; of conditions and other ARNs it knows too little.
//! Before 5.2.5 it takes every signature of a request with encoded characters for a wrong one, that of AWS's own signer
//! too; listings are left out here, and tried with the whole agent in `least_privilege`.

use aws_sdk_s3::primitives::ByteStream;
use fleetkey_agent::source::iam::open;
use fleetkey_agent::source::{Membership, Source};
use fleetkey_common::aws::error_text;
use fleetkey_common::bucket;
use fleetkey_common::registry::{KeyCache, Registry};

use super::cloud::{BUCKET, Cloud, access, key, rsa_key};
use super::{fingerprints, of, people, person, specs};

#[tokio::test]
async fn the_agents_policies_allow_what_it_does_and_nothing_else() {
    let cloud = Cloud::start().await;
    let keys = [key("s3"), key("ec2"), rsa_key("iam")];
    cloud.create_user("alice").await;
    cloud.create_group("developers", &["alice"]).await;
    cloud.put_person_key("alice", &keys[0]).await;
    cloud.import_key_pair("alice", &keys[1]).await;
    cloud.upload_iam_key("alice", &keys[2]).await;
    let every = ["agent-source-iam", "agent-registry-s3", "agent-registry-ec2", "agent-registry-iam", "agent-report"];
    let agent = cloud.user_with_policies("agent", &every).await;
    let lesser = cloud.user_with_policies("lesser", &["agent-registry-ec2"]).await;
    cloud.enforce();

    let kinds = [Registry::Ec2, Registry::Iam];
    let asked = specs(&["@@developers", "@alice", "al*"]);
    let agent = access(&agent);
    let source = open(&kinds, &agent, false);
    let findings = source.fetch(&asked, &KeyCache::default()).await;
    assert_eq!(findings.groups.into_values().next(), Some(Ok(Membership::Of(people(&["alice"])))));
    assert_eq!(findings.users[&person("alice")], Ok(true));
    assert!(findings.names.values().all(Result::is_ok), "{:?}", findings.names);
    let found = &findings.keys[&person("alice")];
    for (kind, key) in kinds.into_iter().zip(&keys[1..]) {
        assert_eq!(fingerprints(&found[&kind]), of(&[key]), "{:?}", found[&kind].fault);
    }
    assert_eq!(source.known(&keys).await.unwrap(), of(&[&keys[1], &keys[2]]));

    let object = bucket::person_key(&person("alice"), keys[0].fingerprint());
    agent.s3.get_object().bucket(BUCKET).key(&object).send().await.unwrap();
    let put = |key: &str| agent.s3.put_object().bucket(BUCKET).key(key).body(ByteStream::from_static(b"{}")).send();
    put("status/i-1.json").await.unwrap();
    for forbidden in ["people/alice/mine.pub", "revoked/x"] {
        let error = put(forbidden).await.unwrap_err();
        assert!(error_text(&error).starts_with("AccessDenied"), "{forbidden}: {}", error_text(&error));
    }
    assert!(agent.iam.create_user().user_name("mallory").send().await.is_err());

    let lesser = access(&lesser);
    assert!(lesser.s3.get_object().bucket(BUCKET).key(&object).send().await.is_err());
    let findings = open(&kinds, &lesser, false).fetch(&asked, &KeyCache::default()).await;
    assert!(findings.groups.values().all(Result::is_err), "what is not allowed is a fault, and no empty group");
    assert!(findings.users.values().all(Result::is_err));
    assert!(findings.names[&Registry::Ec2].is_ok());
    assert!(findings.names[&Registry::Iam].is_err());
}
