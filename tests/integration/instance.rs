//! Which instance this is, asked of a small metadata service that is made to lie.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use fleetkey_agent::config::settings::{AwsSettings, CredentialsSource, InstanceSettings};
use fleetkey_agent::instance::{IdentityError, InstanceIdentity, identify};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const SELF: &str = "i-0abc12345678def90";
const OTHER: &str = "i-0fff12345678def90";

/// An instance metadata service, version 2; it ends with the test's runtime.
struct Imds {
    url: String,
    server: JoinHandle<()>,
}

/// What it answers.
#[derive(Clone)]
struct Answers {
    token: bool,
    instance_id: String,
    document: String,
}

impl Answers {
    fn of(instance_id: &str) -> Self {
        let document = format!(r#"{{"instanceId":"{instance_id}","region":"us-west-2","accountId":"123456789012"}}"#);
        Self { token: true, instance_id: instance_id.to_owned(), document }
    }

    fn answer(&self, request: &str) -> (u16, &str) {
        let mut words = request.split(' ');
        let has_token = request.to_lowercase().contains("x-aws-ec2-metadata-token: secret");
        match (words.next(), words.next()) {
            (Some("PUT"), Some("/latest/api/token")) if self.token => (200, "secret"),
            (Some("GET"), _) if !has_token => (401, ""),
            (Some("GET"), Some("/latest/meta-data/instance-id")) => (200, &self.instance_id),
            (Some("GET"), Some("/latest/dynamic/instance-identity/document")) => (200, &self.document),
            _ => (404, ""),
        }
    }
}

impl Imds {
    async fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answers.clone()));
            }
        });
        Self { url, server }
    }
}

impl Drop for Imds {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(mut stream: TcpStream, answers: Answers) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        request.push(byte);
    }
    let request = String::from_utf8(request).unwrap();
    let (status, body) = answers.answer(&request);
    let ttl = "x-aws-ec2-metadata-token-ttl-seconds: 21600";
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{ttl}\r\nconnection: close\r\n\r\n");
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
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
        self.instance.account_id = Some("123456789012".to_owned());
        self.aws.region = Some("us-west-2".to_owned());
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
    let imds = Imds::start(Answers::of(SELF)).await;
    let identity = Question::of(&imds.url).board(SELF).ask().await.unwrap();
    assert_eq!(identity.instance_id, SELF);
    assert_eq!(identity.region, "us-west-2");
    assert_eq!(identity.account_id, "123456789012");
    assert_eq!(identity.partition, "aws");
}

#[tokio::test]
async fn t16_an_answer_that_is_not_this_instances_is_refused() {
    let imds = Imds::start(Answers::of(OTHER)).await;
    let lying = Imds::start(Answers { instance_id: OTHER.to_owned(), ..Answers::of(SELF) }).await;
    let board = Question::of(&imds.url).board(SELF);
    let configured = Question::of(&imds.url).configured(SELF);
    let itself = Question::of(&lying.url);
    for (question, other_place) in [(board, "the board"), (configured, "the configuration"), (itself, "the metadata")] {
        let error = question.ask().await.unwrap_err();
        let IdentityError::Mismatch { what, other_place: named, .. } = &error else { panic!("{error}") };
        assert_eq!((*what, *named), ("instance id", other_place));
    }
}

#[tokio::test]
async fn t16_the_account_must_be_the_configured_one() {
    let imds = Imds::start(Answers::of(SELF)).await;
    let mut question = Question::of(&imds.url);
    question.instance.account_id = Some("210987654321".to_owned());
    let error = question.ask().await.unwrap_err();
    assert!(matches!(error, IdentityError::Mismatch { what: "account id", .. }), "{error}");
}

#[tokio::test]
async fn t16_a_service_without_version_2_is_not_asked_for_more() {
    let imds = Imds::start(Answers { token: false, ..Answers::of(SELF) }).await;
    let error = Question::of(&imds.url).ask().await.unwrap_err();
    assert!(matches!(error, IdentityError::NoAnswer { .. }), "{error}");
}

#[tokio::test]
async fn r15_garbage_is_not_an_identity_even_where_one_is_configured() {
    for document in ["", "<html>Log in to the guest network</html>", "{}"] {
        let imds = Imds::start(Answers { document: document.to_owned(), ..Answers::of(SELF) }).await;
        let error = Question::of(&imds.url).configured(SELF).ask().await.unwrap_err();
        assert!(matches!(error, IdentityError::Document { .. }), "{error}");
    }
    let hostile = Answers::of(SELF).document.replace("us-west-2", "us-west-2.evil.example");
    let imds = Imds::start(Answers { document: hostile, ..Answers::of(SELF) }).await;
    let error = Question::of(&imds.url).ask().await.unwrap_err();
    assert!(matches!(error, IdentityError::Malformed { what: "region", .. }), "{error}");
}

#[tokio::test]
async fn r15_a_service_that_hangs_costs_a_few_seconds_and_the_configuration_serves() {
    // Connections are taken by the kernel and never answered.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let start = Instant::now();
    let error = Question::of(&url).ask().await.unwrap_err();
    assert!(matches!(error, IdentityError::NoAnswer { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(Question::of(&url).configured(SELF).ask().await.unwrap().instance_id, SELF);
    let error = Question::of(&url).configured(SELF).board(OTHER).ask().await.unwrap_err();
    assert!(matches!(error, IdentityError::Mismatch { other_place: "the board", .. }), "{error}");
}

#[tokio::test]
async fn outside_of_ec2_the_metadata_service_is_not_asked() {
    let imds = Imds::start(Answers::of(OTHER)).await;
    let mut question = Question::of(&imds.url).configured("build-host-7");
    question.aws.credentials = CredentialsSource::File(Path::new("/etc/fleetkey/credentials").to_owned());
    assert_eq!(question.ask().await.unwrap().instance_id, "build-host-7");
}
