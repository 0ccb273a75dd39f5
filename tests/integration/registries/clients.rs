//! The agent's clients: over TLS as in earnest, and with credentials of the instance.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use fleetkey_common::aws::{AgentAccess, AgentCredentials, error_text, for_agent, s3};

use super::cloud::Server;
use super::stub::{Stub, agent_config};

const TOKEN: &str = "a-token";

/// An authority and a certificate of it for the loopback address: authority, certificate, private key.
fn certificates(folder: &Path) -> [PathBuf; 3] {
    let paths = ["ca.pem", "cert.pem", "key.pem"].map(|name| folder.join(name));
    let [ca, cert, key] = paths.clone();
    let ca_key = folder.join("ca-key.pem");
    let new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let openssl = |command: &mut Command| {
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    openssl(
        Command::new("openssl").args(new).args(["-subj", "/CN=Test CA", "-keyout"]).arg(&ca_key).arg("-out").arg(&ca),
    );
    openssl(
        Command::new("openssl")
            .args(new)
            .args(["-subj", "/CN=localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1", "-CA"])
            .arg(&ca)
            .arg("-CAkey")
            .arg(&ca_key)
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&cert),
    );
    paths
}

#[tokio::test]
async fn tls_goes_by_the_bundle_that_was_given_and_by_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let [ca, cert, key] = certificates(folder.path());
    let paths = [&cert, &key].map(|path| path.to_str().unwrap());
    let server = Server::start(&["-s", "-c", paths[0], "-k", paths[1]]).await;
    agent_config("http://127.0.0.1:1", folder.path()).await;
    let mut access = AgentAccess {
        region: "us-west-2".to_owned(),
        endpoint_url: Some(format!("https://127.0.0.1:{}", server.port())),
        ca_bundle: Some(ca),
        credentials: AgentCredentials::File(folder.path().join("credentials")),
    };
    s3(&for_agent(&access).await.unwrap()).list_buckets().send().await.unwrap();

    access.ca_bundle = None;
    let error = s3(&for_agent(&access).await.unwrap()).list_buckets().send().await.unwrap_err();
    assert!(error_text(&error).contains("invalid peer certificate"), "{}", error_text(&error));
}

/// An instance metadata service, version 2, and S3 behind the same address; writes down the keys that S3 was asked with.
fn instance(asked_with: Arc<Mutex<Vec<String>>>) -> impl Fn(&super::stub::Request) -> (u16, String) {
    const PROFILE: &str = "/latest/meta-data/iam/security-credentials/";
    move |request| {
        let has_token = request.head.to_lowercase().contains(&format!("x-aws-ec2-metadata-token: {TOKEN}"));
        match request.target.as_str() {
            "/latest/api/token" if request.head.starts_with("PUT ") => (200, TOKEN.to_owned()),
            target if target.starts_with("/latest/") && !has_token => (401, String::new()),
            PROFILE => (200, "box".to_owned()),
            target if target == format!("{PROFILE}box") => (
                200,
                r#"{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIAINSTANCE", "SecretAccessKey": "s",
                    "Token": "t", "LastUpdated": "2026-01-01T00:00:00Z", "Expiration": "2099-01-01T00:00:00Z"}"#
                    .to_owned(),
            ),
            _ => {
                asked_with.lock().unwrap().push(request.head.clone());
                (200, "<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>".to_owned())
            }
        }
    }
}

#[tokio::test]
async fn t16_credentials_of_the_instance_come_by_version_2_of_the_metadata_service() {
    let asked_with = Arc::new(Mutex::new(Vec::new()));
    let stub = Stub::start(instance(Arc::clone(&asked_with))).await;
    let access = AgentAccess {
        region: "us-west-2".to_owned(),
        endpoint_url: Some(stub.endpoint().to_owned()),
        ca_bundle: None,
        credentials: AgentCredentials::Instance { metadata_url: stub.endpoint().to_owned() },
    };
    s3(&for_agent(&access).await.unwrap()).list_buckets().send().await.unwrap();
    let asked_with = asked_with.lock().unwrap();
    assert_eq!(asked_with.len(), 1);
    assert!(asked_with[0].contains("Credential=ASIAINSTANCE/"), "{}", asked_with[0]);
}
