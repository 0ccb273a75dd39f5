//! The agent's own clients, and an account that they look into; what they ask is counted on the way.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use aws_config::SdkConfig;
use aws_sdk_ec2::types::KeyType;
use fleetkey_common::aws::{self, AgentAccess, AgentCredentials, for_agent};
use fleetkey_common::public_key::PublicKey;
use fleetkey_common::registry::Access;
use fleetkey_common::restrictions::AllowedOptions;
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::proxy::{Proxy, count};
use fleetkey_tests::scratch::Scratch;

/// Clients as the agent makes them, with credentials in a file of root's own.
pub(super) struct Clients {
    pub(super) access: Access,
    // The clients read their credentials from there.
    _folder: Scratch,
}

impl Clients {
    /// Clients with the credentials of this account, that use its bucket and go by its endpoint.
    pub(super) async fn of(cloud: &Cloud) -> Self {
        Self::with(cloud.endpoint(), &cloud.credentials_file(), cloud.bucket()).await
    }

    /// Clients of a stand-in, which looks at no credentials.
    pub(super) async fn to(endpoint: &str) -> Self {
        let anybody = "[default]\naws_access_key_id = AKIATEST\naws_secret_access_key = secret\n";
        Self::with(endpoint, anybody, "123456789012-fleetkey".to_owned()).await
    }

    async fn with(endpoint: &str, credentials: &str, bucket: String) -> Self {
        let folder = Scratch::new().unwrap();
        let file = folder.path().join("credentials");
        let mut written = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file).unwrap();
        written.write_all(credentials.as_bytes()).unwrap();
        let agent = AgentAccess {
            region: Cloud::REGION.to_owned(),
            endpoint_url: Some(endpoint.to_owned()),
            ca_bundle: None,
            credentials: AgentCredentials::File(file),
        };
        let config = for_agent(&agent, &aws::Connections::default()).await.unwrap();
        Self { access: access(&config, bucket), _folder: folder }
    }
}

fn access(config: &SdkConfig, bucket: String) -> Access {
    Access {
        s3: aws::s3(config),
        ec2: aws_sdk_ec2::Client::new(config),
        iam: aws_sdk_iam::Client::new(config),
        bucket,
        allowed: AllowedOptions::default(),
    }
}

/// An account of its own, and clients that look into it.
pub(super) struct Fixture {
    pub(super) cloud: Cloud,
    pub(super) proxy: Proxy,
    pub(super) clients: Clients,
}

impl Fixture {
    pub(super) async fn new() -> Self {
        let cloud = Cloud::new().await.unwrap();
        let proxy = Proxy::start(Moto::shared().unwrap().address()).unwrap();
        let clients = Clients::of(&cloud.through(&proxy.endpoint())).await;
        Self { cloud, proxy, clients }
    }

    /// How many objects the clients have read since they were last asked about.
    pub(super) fn object_reads(&self) -> usize {
        count(&self.proxy.take_calls()).get("s3:GetObject").copied().unwrap_or_default()
    }

    /// How many requests of any kind they have made since.
    pub(super) fn requests(&self) -> usize {
        self.proxy.take_calls().len()
    }

    pub(super) async fn put(&self, key: &str, body: &str) {
        self.cloud.put_object(key, body, &[]).await.unwrap();
    }

    pub(super) async fn put_person_key(&self, person: &str, key: &TestKey) {
        self.cloud.put_person_key(person, key).await.unwrap();
    }

    pub(super) async fn import_key_pair(&self, name: &str, key: &TestKey) {
        self.cloud.import_key_pair(name, key).await.unwrap();
    }

    pub(super) async fn create_group(&self, name: &str, users: &[&str]) {
        self.cloud.create_group(name).await.unwrap();
        for user in users {
            self.cloud.add_to_group(user, name).await.unwrap();
        }
    }

    /// A pair that EC2 makes with RSA: its fingerprint, of 20 bytes, and its public half, as EC2 tells them.
    pub(super) async fn create_key_pair(&self, name: &str) -> (String, PublicKey) {
        let ec2 = self.cloud.ec2();
        ec2.create_key_pair().key_name(name).key_type(KeyType::Rsa).send().await.unwrap();
        let request = ec2.describe_key_pairs().key_names(name).include_public_key(true);
        let pair = request.send().await.unwrap().key_pairs.unwrap().remove(0);
        let fingerprint = pair.key_fingerprint.unwrap();
        assert_eq!(fingerprint.len(), 59, "{fingerprint}");
        (fingerprint, pair.public_key.unwrap().parse().unwrap())
    }
}
