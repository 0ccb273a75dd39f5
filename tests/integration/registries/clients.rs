//! The agent's clients: over TLS as in earnest, and with credentials of the instance.

use fleetkey_common::aws::{AgentAccess, AgentCredentials, Connections, error_text, for_agent, s3};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::imds::{Identity, Imds};
use fleetkey_tests::moto::Moto;
use fleetkey_tests::proxy::Proxy;
use fleetkey_tests::tls::TestCa;

/// The metadata service of an instance in this account, with a role that may do everything.
fn imds_in(cloud: &Cloud) -> Imds {
    let identity = Identity {
        instance_id: "i-0abc12345678def90".to_owned(),
        account_id: cloud.account_id().to_owned(),
        region: Cloud::REGION.to_owned(),
        role: Some(cloud.instance_role("box")),
    };
    Imds::start(identity).unwrap()
}

#[tokio::test]
async fn tls_goes_by_the_bundle_that_was_given_and_by_no_other() {
    let cloud = Cloud::new().await.unwrap();
    let ca = TestCa::new().unwrap();
    let proxy = Proxy::start_tls(Moto::shared().unwrap().address(), &ca).unwrap();
    let imds = imds_in(&cloud);
    let mut access = AgentAccess {
        region: Cloud::REGION.to_owned(),
        endpoint_url: Some(proxy.endpoint()),
        ca_bundle: Some(ca.ca_bundle()),
        credentials: AgentCredentials::Instance { metadata_url: imds.url() },
    };
    s3(&for_agent(&access, &Connections::default()).await.unwrap()).list_buckets().send().await.unwrap();

    let stranger = TestCa::new().unwrap();
    for ca_bundle in [None, Some(stranger.ca_bundle())] {
        access.ca_bundle = ca_bundle;
        let error =
            s3(&for_agent(&access, &Connections::default()).await.unwrap()).list_buckets().send().await.unwrap_err();
        assert!(error_text(&error).contains("invalid peer certificate"), "{}", error_text(&error));
    }
}

#[tokio::test]
async fn t16_credentials_of_the_instance_come_by_version_2_of_the_metadata_service() {
    // It answers nobody who has no token.
    let cloud = Cloud::new().await.unwrap();
    let imds = imds_in(&cloud);
    let access = AgentAccess {
        region: Cloud::REGION.to_owned(),
        endpoint_url: Some(cloud.endpoint().to_owned()),
        ca_bundle: None,
        credentials: AgentCredentials::Instance { metadata_url: imds.url() },
    };
    let answer = s3(&for_agent(&access, &Connections::default()).await.unwrap()).list_buckets().send().await.unwrap();
    let names: Vec<_> = answer.buckets().iter().filter_map(|bucket| bucket.name()).collect();
    assert_eq!(names, [cloud.bucket()], "whoever sees this bucket has the role's credentials");
}
