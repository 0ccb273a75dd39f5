//! An AWS account played by a moto server of its own, which ends with it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_ec2::primitives::Blob;
use aws_sdk_ec2::types::KeyType;
use aws_sdk_iam::types::StatusType;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use fleetkey_common::aws;
use fleetkey_common::bucket::{self, KeyMetadata};
use fleetkey_common::public_key::PublicKey;
use fleetkey_common::registry::Access;
use fleetkey_common::restrictions::AllowedOptions;
use tempfile::TempDir;

use super::stub::{agent_config, agent_config_as};

pub(super) const BUCKET: &str = "123456789012-fleetkey";
/// How many calls moto takes before it looks at who makes them, until [`Cloud::enforce`] says otherwise.
const NO_LIMIT: &str = "inf";
const START_LIMIT: Duration = Duration::from_mins(1);

/// A moto server.
pub(super) struct Server {
    process: Child,
    folder: TempDir,
    port: u16,
}

/// The account.
pub(super) struct Cloud {
    server: Server,
    pub(super) access: Access,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts it with `more` arguments and waits until it listens.
    pub(super) async fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = File::create(folder.path().join("log")).unwrap();
        let process = Command::new("moto_server")
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .args(more)
            .env("INITIAL_NO_AUTH_ACTION_COUNT", NO_LIMIT)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("moto_server is on the PATH");
        let server = Self { process, folder, port };
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < START_LIMIT, "moto does not start: {}", server.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

/// A new Ed25519 key; `name` is its comment.
pub(super) fn key(name: &str) -> PublicKey {
    generate(&["-t", "ed25519"], name)
}

/// A new RSA key: what IAM takes, and what EC2 has an MD5 fingerprint of.
pub(super) fn rsa_key(name: &str) -> PublicKey {
    generate(&["-t", "rsa", "-b", "2048"], name)
}

fn generate(kind: &[&str], name: &str) -> PublicKey {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let made = Command::new("ssh-keygen").args(kind).args(["-q", "-N", "", "-C", name, "-f"]).arg(&path).status();
    assert!(made.unwrap().success());
    std::fs::read_to_string(path.with_extension("pub")).unwrap().parse().unwrap()
}

/// A policy without what moto cannot hold a call against: conditions, and resources outside S3.
fn as_moto_reads(policy: &str) -> String {
    let mut policy: serde_json::Value = serde_json::from_str(policy).unwrap();
    for statement in policy["Statement"].as_array_mut().unwrap() {
        statement.as_object_mut().unwrap().remove("Condition");
        if !statement["Resource"].to_string().contains(":s3:") {
            statement["Resource"] = "*".into();
        }
    }
    policy.to_string()
}

/// Clients by this configuration, and the bucket.
pub(super) fn access(config: &SdkConfig) -> Access {
    Access {
        s3: aws::s3(config),
        ec2: aws_sdk_ec2::Client::new(config),
        iam: aws_sdk_iam::Client::new(config),
        bucket: BUCKET.to_owned(),
        allowed: AllowedOptions::default(),
    }
}

impl Cloud {
    pub(super) async fn start() -> Self {
        let server = Server::start(&[]).await;
        let config = agent_config(&format!("http://127.0.0.1:{}", server.port), server.folder.path()).await;
        let cloud = Self { server, access: access(&config) };
        let here = CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::UsWest2).build();
        let bucket = cloud.access.s3.create_bucket().bucket(BUCKET).create_bucket_configuration(here);
        bucket.send().await.unwrap();
        cloud
    }

    /// A new IAM user with the shipped policies of these names; a configuration with an access key of that user.
    pub(super) async fn user_with_policies(&self, name: &str, policies: &[&str]) -> SdkConfig {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/iam");
        self.create_user(name).await;
        for policy in policies {
            let text = std::fs::read_to_string(folder.join(policy).with_extension("json")).unwrap();
            let words =
                [("PARTITION", "aws"), ("ACCOUNT_ID", "123456789012"), ("REGION", "us-west-2"), ("BUCKET", BUCKET)];
            let text = words.into_iter().fold(text, |text, (word, value)| text.replace(word, value));
            let request = self.access.iam.put_user_policy().user_name(name).policy_name(*policy);
            request.policy_document(as_moto_reads(&text)).send().await.unwrap();
        }
        let answer = self.access.iam.create_access_key().user_name(name).send().await.unwrap();
        let key = answer.access_key.unwrap();
        let folder = self.server.folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let endpoint = format!("http://127.0.0.1:{}", self.server.port);
        agent_config_as(&endpoint, &folder, &key.access_key_id, &key.secret_access_key).await
    }

    /// From now on every call needs an access key with a policy that allows it.
    pub(super) fn enforce(&self) {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.server.port)).unwrap();
        let head = "POST /moto-api/reset-auth HTTP/1.0\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n0";
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(" 200 "), "{answer}");
    }

    /// How many objects were read so far.
    pub(super) fn object_reads(&self) -> usize {
        let log = self.server.log();
        ["people/", "ssh_pubkey"].map(|folder| log.matches(&format!("\"GET /{BUCKET}/{folder}")).count()).iter().sum()
    }

    /// How many requests were made so far, of any kind.
    pub(super) fn requests(&self) -> usize {
        self.server.log().matches("HTTP/1.1\"").count()
    }

    pub(super) async fn put(&self, key: &str, body: &str) {
        let body = ByteStream::from(body.as_bytes().to_vec());
        self.access.s3.put_object().bucket(BUCKET).key(key).body(body).send().await.unwrap();
    }

    pub(super) async fn put_with_expiry(&self, key: &str, body: &str, expires: &str) {
        let body = ByteStream::from(body.as_bytes().to_vec());
        let request = self.access.s3.put_object().bucket(BUCKET).key(key).body(body);
        request.metadata(bucket::EXPIRES, expires).send().await.unwrap();
    }

    pub(super) async fn put_person_key(&self, person: &str, key: &PublicKey) {
        let object = bucket::person_key(&person.parse().unwrap(), key.fingerprint());
        let metadata = KeyMetadata { registered_by: Some("test".to_owned()), ..KeyMetadata::default() };
        let body = ByteStream::from(format!("{key} {person}\n").into_bytes());
        let request = self.access.s3.put_object().bucket(BUCKET).key(object).body(body);
        request.set_metadata(Some(metadata.to_map())).send().await.unwrap();
    }

    pub(super) async fn import_key_pair(&self, name: &str, key: &PublicKey) {
        let material = Blob::new(format!("{key} {name}"));
        self.access.ec2.import_key_pair().key_name(name).public_key_material(material).send().await.unwrap();
    }

    /// A pair that EC2 makes with RSA; its public half, as EC2 tells it.
    pub(super) async fn create_key_pair(&self, name: &str) -> PublicKey {
        self.access.ec2.create_key_pair().key_name(name).key_type(KeyType::Rsa).send().await.unwrap();
        let (_, key) = self.pair(name).await;
        key
    }

    pub(super) async fn put_under_pair_fingerprint(&self, name: &str, key: &PublicKey) {
        let (fingerprint, _) = self.pair(name).await;
        assert_eq!(fingerprint.len(), 59, "the fingerprint of a pair that EC2 made has 20 bytes: {fingerprint}");
        self.put(&format!("ssh_pubkey:{fingerprint}"), &key.to_string()).await;
    }

    async fn pair(&self, name: &str) -> (String, PublicKey) {
        let request = self.access.ec2.describe_key_pairs().key_names(name).include_public_key(true);
        let pair = request.send().await.unwrap().key_pairs.unwrap().remove(0);
        (pair.key_fingerprint.unwrap(), pair.public_key.unwrap().parse().unwrap())
    }

    pub(super) async fn create_user(&self, name: &str) {
        self.access.iam.create_user().user_name(name).send().await.unwrap();
    }

    pub(super) async fn create_group(&self, name: &str, users: &[&str]) {
        self.access.iam.create_group().group_name(name).send().await.unwrap();
        for user in users {
            self.access.iam.add_user_to_group().group_name(name).user_name(*user).send().await.unwrap();
        }
    }

    /// The id of the uploaded key.
    pub(super) async fn upload_iam_key(&self, user: &str, key: &PublicKey) -> String {
        let request = self.access.iam.upload_ssh_public_key().user_name(user).ssh_public_key_body(key.to_string());
        request.send().await.unwrap().ssh_public_key.unwrap().ssh_public_key_id
    }

    pub(super) async fn deactivate(&self, id: &str, user: &str) {
        let request = self.access.iam.update_ssh_public_key().user_name(user).ssh_public_key_id(id);
        request.status(StatusType::Inactive).send().await.unwrap();
    }
}
