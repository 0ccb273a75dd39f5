//! An AWS account of its own for one test, on a moto server, and helpers that put things into it.
//!
//! The helpers write what the formats in the documentation say, and share no code with the programs under test beyond
//! the key type: what they write is what a stranger would write.

use anyhow::{Context as _, Result, ensure};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

use crate::imds::Role;
use crate::moto::Moto;

mod hints;
mod people;
mod registries;

/// The role that a test acts as in its account; it may do everything.
const ROLE: &str = "fleetkey-tests";

/// Where the credentials come from, for the SDK's messages.
const PROVIDER: &str = "test";

/// A policy that allows everything.
const ALLOW_ALL: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;

/// One AWS account with an empty public-key bucket, and clients to work in it.
#[derive(Debug, Clone)]
pub struct Cloud {
    account_id: String,
    endpoint: String,
    credentials: Credentials,
    ec2: aws_sdk_ec2::Client,
    iam: aws_sdk_iam::Client,
    s3: aws_sdk_s3::Client,
    sns: aws_sdk_sns::Client,
    sqs: aws_sdk_sqs::Client,
}

impl Cloud {
    /// The region of everything.
    pub const REGION: &str = "us-west-2";

    /// A new account on the moto server that all tests of this process share.
    pub async fn new() -> Result<Self> {
        // The first call waits for the server.
        let moto = tokio::task::spawn_blocking(Moto::shared).await??;
        Self::on(moto).await
    }

    /// A new account on this server.
    ///
    /// moto keeps accounts apart by the access key of each request; a role of another account, which need not exist,
    /// yields keys of that account. <https://docs.getmoto.org/en/latest/docs/multi_account.html>
    pub async fn on(moto: &Moto) -> Result<Self> {
        let account_id = fastrand::u64(100_000_000_000..1_000_000_000_000).to_string();
        let anybody = Credentials::new("AKIAIOSFODNN7EXAMPLE", "none", None, None, PROVIDER);
        let sts = aws_sdk_sts::Client::new(&sdk_config(&moto.endpoint(), &anybody));
        let arn = format!("arn:aws:iam::{account_id}:role/{ROLE}");
        let assumed = sts.assume_role().role_arn(arn).role_session_name("test").send().await?;
        let keys = assumed.credentials().context("AssumeRole gives credentials")?;
        let token = Some(keys.session_token().to_owned());
        let credentials = Credentials::new(keys.access_key_id(), keys.secret_access_key(), token, None, PROVIDER);
        let cloud = Self::with(account_id, &moto.endpoint(), credentials);
        let trust = ALLOW_ALL.replace("\"Resource\":\"*\"", "\"Principal\":{\"AWS\":\"*\"}");
        cloud.iam.create_role().role_name(ROLE).assume_role_policy_document(trust).send().await?;
        let policy = cloud.iam.put_role_policy().role_name(ROLE).policy_name("all");
        policy.policy_document(ALLOW_ALL).send().await?;
        cloud.create_bucket(&cloud.bucket()).await?;
        Ok(cloud)
    }

    /// An account that is there, by its number (twelve digits), an endpoint, and credentials of it.
    pub fn with(account_id: String, endpoint: &str, credentials: Credentials) -> Self {
        let config = sdk_config(endpoint, &credentials);
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        Self {
            account_id,
            endpoint: endpoint.to_owned(),
            ec2: aws_sdk_ec2::Client::new(&config),
            iam: aws_sdk_iam::Client::new(&config),
            s3: aws_sdk_s3::Client::from_conf(s3),
            sns: aws_sdk_sns::Client::new(&config),
            sqs: aws_sdk_sqs::Client::new(&config),
            credentials,
        }
    }

    /// The same account, reached by another endpoint: that of a [`crate::proxy::Proxy`].
    #[must_use]
    pub fn through(&self, endpoint: &str) -> Self {
        Self::with(self.account_id.clone(), endpoint, self.credentials.clone())
    }

    /// The same account, with the rights of other credentials.
    #[must_use]
    pub fn with_credentials(&self, credentials: Credentials) -> Self {
        Self::with(self.account_id.clone(), &self.endpoint, credentials)
    }

    /// Twelve digits.
    pub fn account_id(&self) -> &str {
        &self.account_id
    }

    /// The public-key bucket, `<account id>-fleetkey`.
    pub fn bucket(&self) -> String {
        format!("{}-fleetkey", self.account_id)
    }

    /// The endpoint to give to an AWS client.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The credentials.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The configuration for a client that has no helper here.
    pub fn sdk_config(&self) -> SdkConfig {
        sdk_config(&self.endpoint, &self.credentials)
    }

    /// The credentials in the form of `~/.aws/credentials`.
    /// <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>
    pub fn credentials_file(&self) -> String {
        let credentials = &self.credentials;
        let token = credentials.session_token().map(|token| format!("aws_session_token = {token}\n"));
        format!(
            "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n{}",
            credentials.access_key_id(),
            credentials.secret_access_key(),
            token.unwrap_or_default()
        )
    }

    /// The credentials as an instance profile has them, for [`crate::imds::Imds`].
    pub fn instance_role(&self, name: &str) -> Role {
        Role {
            name: name.to_owned(),
            access_key_id: self.credentials.access_key_id().to_owned(),
            secret_access_key: self.credentials.secret_access_key().to_owned(),
            session_token: self.credentials.session_token().unwrap_or_default().to_owned(),
        }
    }

    /// The EC2 client, for what has no helper.
    pub fn ec2(&self) -> &aws_sdk_ec2::Client {
        &self.ec2
    }

    /// The IAM client, for what has no helper.
    pub fn iam(&self) -> &aws_sdk_iam::Client {
        &self.iam
    }

    /// The S3 client, for what has no helper.
    pub fn s3(&self) -> &aws_sdk_s3::Client {
        &self.s3
    }

    /// The SNS client, for what has no helper.
    pub fn sns(&self) -> &aws_sdk_sns::Client {
        &self.sns
    }

    /// The SQS client, for what has no helper.
    pub fn sqs(&self) -> &aws_sdk_sqs::Client {
        &self.sqs
    }

    /// A new IAM user that may do what these policy documents say, and its credentials.
    pub async fn create_limited_user(&self, name: &str, policies: &[&str]) -> Result<Credentials> {
        ensure!(!policies.is_empty(), "a user without a policy may do nothing");
        self.create_user(name).await?;
        for (at, policy) in policies.iter().enumerate() {
            let put = self.iam.put_user_policy().user_name(name).policy_name(format!("policy-{at}"));
            put.policy_document(*policy).send().await?;
        }
        let made = self.iam.create_access_key().user_name(name).send().await?;
        let key = made.access_key().context("CreateAccessKey gives a key")?;
        Ok(Credentials::new(key.access_key_id(), key.secret_access_key(), None, None, PROVIDER))
    }
}

/// Explicit in everything: no environment, no profile, no metadata service.
fn sdk_config(endpoint: &str, credentials: &Credentials) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(Cloud::REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials.clone()))
        .endpoint_url(endpoint)
        .build()
}
