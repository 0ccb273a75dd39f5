//! Which instance this is, asked of a metadata service, and of one that is made to lie.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use fleetkey_agent::config::settings::{AwsSettings, CredentialsSource, InstanceSettings};
use fleetkey_agent::instance::{IdentityError, InstanceIdentity, identify};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::imds::{Identity, Imds, Mood};
use fleetkey_tests::stub::{Answer, Request, Stub};
use tempfile::TempDir;

const SELF: &str = "i-0abc12345678def90";
const OTHER: &str = "i-0fff12345678def90";
const ACCOUNT: &str = "123456789012";

/// The metadata service of an instance.
fn imds_of(instance_id: &str) -> Imds {
    let identity = Identity {
        instance_id: instance_id.to_owned(),
        account_id: ACCOUNT.to_owned(),
        region: Cloud::REGION.to_owned(),
        role: None,
    };
    Imds::start(identity).unwrap()
}

/// The answers of a metadata service that is not what it should be.
struct Lies {
    token: bool,
    instance_id: String,
    document: String,
}

impl Lies {
    /// No lies yet.
    fn of(instance_id: &str) -> Self {
        let document =
            format!(r#"{{"instanceId":"{instance_id}","region":"{}","accountId":"{ACCOUNT}"}}"#, Cloud::REGION);
        Self { token: true, instance_id: instance_id.to_owned(), document }
    }

    fn start(self) -> Stub {
        Stub::start(move |request| self.answer(request)).unwrap()
    }

    fn answer(&self, request: &Request) -> Answer {
        let text = |status, body: &str| Answer::new(status, "text/plain", body);
        let has_token = request.header("x-aws-ec2-metadata-token") == Some("secret");
        match (request.method(), request.target()) {
            ("PUT", "/latest/api/token") if self.token => {
                text(200, "secret").with_header("x-aws-ec2-metadata-token-ttl-seconds", "21600")
            }
            ("GET", _) if self.token && !has_token => text(401, ""),
            ("GET", "/latest/meta-data/instance-id") => text(200, &self.instance_id),
            ("GET", "/latest/dynamic/instance-identity/document") => text(200, &self.document),
            _ => text(404, ""),
        }
    }
}

/// What is asked, and with what settings.
struct Question {
    instance: InstanceSettings,
    aws: AwsSettings,
    root: TempDir,
}

impl Question {
    fn of(url: &str) -> Self {
        let instance = InstanceSettings { id: None, account_id: None, metadata_url: url.to_owned() };
        let aws = AwsSettings {
            region: None,
            bucket: None,
            endpoint_url: None,
            ca_bundle: None,
            credentials: CredentialsSource::Instance,
        };
        Self { instance, aws, root: TempDir::new().unwrap() }
    }

    fn configured(mut self, id: &str) -> Self {
        self.instance.id = Some(id.to_owned());
        self.instance.account_id = Some(ACCOUNT.to_owned());
        self.aws.region = Some(Cloud::REGION.to_owned());
        self
    }

    fn board(self, tag: &str) -> Self {
        let folder = self.root.path().join("sys/class/dmi/id");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("board_asset_tag"), format!("{tag}\n")).unwrap();
        self
    }

    async fn ask(&self) -> Result<InstanceIdentity, IdentityError> {
        identify(&self.instance, &self.aws, self.root.path()).await
    }
}

#[tokio::test]
async fn the_metadata_service_says_who_the_instance_is() {
    let imds = imds_of(SELF);
    let identity = Question::of(&imds.url()).board(SELF).ask().await.unwrap();
    assert_eq!(identity.instance_id, SELF);
    assert_eq!(identity.region, Cloud::REGION);
    assert_eq!(identity.account_id, ACCOUNT);
    assert_eq!(identity.partition, "aws");
}

#[tokio::test]
async fn t16_an_answer_that_is_not_this_instances_is_refused() {
    let imds = imds_of(OTHER);
    let lying = Lies { instance_id: OTHER.to_owned(), ..Lies::of(SELF) }.start();
    let board = Question::of(&imds.url()).board(SELF);
    let configured = Question::of(&imds.url()).configured(SELF);
    let itself = Question::of(&lying.endpoint());
    for (question, other_place) in [(board, "the board"), (configured, "the configuration"), (itself, "the metadata")] {
        let error = question.ask().await.unwrap_err();
        let IdentityError::Mismatch { what, other_place: named, .. } = &error else { panic!("{error}") };
        assert_eq!((*what, *named), ("instance id", other_place));
    }
}

#[tokio::test]
async fn t16_the_account_must_be_the_configured_one() {
    let imds = imds_of(SELF);
    let mut question = Question::of(&imds.url());
    question.instance.account_id = Some("210987654321".to_owned());
    let error = question.ask().await.unwrap_err();
    assert!(matches!(error, IdentityError::Mismatch { what: "account id", .. }), "{error}");
}

#[tokio::test]
async fn t16_a_service_without_version_2_is_not_asked_for_more() {
    // It answers whoever asks without a token, as version 1 did.
    let stub = Lies { token: false, ..Lies::of(SELF) }.start();
    let error = Question::of(&stub.endpoint()).ask().await.unwrap_err();
    assert!(matches!(error, IdentityError::NoAnswer { .. }), "{error}");
}

#[tokio::test]
async fn r15_garbage_is_not_an_identity_even_where_one_is_configured() {
    for document in ["", "<html>Log in to the guest network</html>", "{}"] {
        let stub = Lies { document: document.to_owned(), ..Lies::of(SELF) }.start();
        let error = Question::of(&stub.endpoint()).configured(SELF).ask().await.unwrap_err();
        assert!(matches!(error, IdentityError::Document { .. }), "{error}");
    }
    let hostile = Lies::of(SELF).document.replace("us-west-2", "us-west-2.evil.example");
    let stub = Lies { document: hostile, ..Lies::of(SELF) }.start();
    let error = Question::of(&stub.endpoint()).ask().await.unwrap_err();
    assert!(matches!(error, IdentityError::Malformed { what: "region", .. }), "{error}");
}

#[tokio::test]
async fn r15_a_service_that_hangs_costs_a_few_seconds_and_the_configuration_serves() {
    let imds = imds_of(SELF);
    imds.set_mood(Mood::Hanging);
    let url = imds.url();
    let start = Instant::now();
    let error = Question::of(&url).ask().await.unwrap_err();
    assert!(matches!(error, IdentityError::NoAnswer { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert_eq!(Question::of(&url).configured(SELF).ask().await.unwrap().instance_id, SELF);
    let error = Question::of(&url).configured(SELF).board(OTHER).ask().await.unwrap_err();
    assert!(matches!(error, IdentityError::Mismatch { other_place: "the board", .. }), "{error}");
}

#[tokio::test]
async fn outside_of_ec2_the_metadata_service_is_not_asked() {
    let imds = imds_of(OTHER);
    let mut question = Question::of(&imds.url()).configured("build-host-7");
    question.aws.credentials = CredentialsSource::File(Path::new("/etc/fleetkey/credentials").to_owned());
    assert_eq!(question.ask().await.unwrap().instance_id, "build-host-7");
}
