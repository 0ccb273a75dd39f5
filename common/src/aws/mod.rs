//! One builder for AWS clients, in two ways: for the agent, where nothing comes from the environment, and for an
//! operator, where everything does.
//!
//! [`for_agent`] must never let an environment variable, a home directory or a proxy setting choose an endpoint, a
//! path or an authority. It is told everything.

use std::path::PathBuf;
use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::imds;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use thiserror::Error;

mod connections;
mod credentials_file;
mod error_text;
mod fetch;
mod trust;

pub use connections::Connections;
pub use credentials_file::{CredentialsFile, CredentialsFileError};
pub use error_text::{error_text, is_no_such_entity, is_no_such_key, is_throttled};
pub use fetch::{FetchError, fetch};
pub use trust::TrustError;

/// Time to open a connection, TLS not counted.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Time from the last byte of a request to the first of its answer.
pub const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for an operator, whose pages are of thousands: EC2 may need more than the agent would wait.
pub const OPERATOR_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for one attempt at a call.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a call with all its attempts and the waits between them. A body that is streamed is not counted.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(25);
/// Attempts at a call, the first included.
pub const MAX_ATTEMPTS: u32 = 3;
/// The longest wait between two attempts.
pub const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// How long SQS may hold a long poll open: its own limit.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html>
pub const LONG_POLL: Duration = Duration::from_secs(20);
/// Idle connections kept per host, and for how long: enough for the next look of a box that polls each minute.
const IDLE_CONNECTIONS: usize = 4;
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// The metadata service is on the same machine: what does not answer soon is not there.
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);
const METADATA_OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

/// The one variable that the SDK obeys whatever it is told: a file of partitions, which name the hosts of endpoints.
const PARTITION_VARIABLE: &str = "SMITHY_CLIENT_SDK_CUSTOM_PARTITION";

/// Pinned, so that a new SDK changes no default unseen.
fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// All that [`for_agent`] goes by.
#[derive(Debug, Clone)]
pub struct AgentAccess {
    /// The region of all clients.
    pub region: String,
    /// One endpoint for all services, for tests and private clouds; `None`: those of AWS.
    pub endpoint_url: Option<String>,
    /// PEM certificates to trust in place of the system's.
    pub ca_bundle: Option<PathBuf>,
    /// Where credentials come from.
    pub credentials: AgentCredentials,
}

/// Where the agent's credentials come from.
#[derive(Debug, Clone)]
pub enum AgentCredentials {
    /// The instance profile, by the metadata service at this URL, version 2 alone.
    Instance {
        /// `http://169.254.169.254` in EC2.
        metadata_url: String,
    },
    /// A file as [`CredentialsFile`] reads it.
    File(PathBuf),
}

/// Why no client could be made.
#[derive(Debug, Error)]
pub enum AwsError {
    /// The environment would choose where requests go.
    #[error("the environment variable {0} would change AWS endpoints; unset it, and use endpoint_url if that is meant")]
    Environment(&'static str),
    /// The certificates to trust are not to be had.
    #[error("cannot set up TLS")]
    Trust(#[from] TrustError),
    /// The URL of the metadata service is not one.
    #[error("{url:?} is not the URL of a metadata service; give one such as http://169.254.169.254")]
    MetadataUrl {
        /// As given.
        url: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The configuration of all of the agent's clients, which share connections, also with those of an earlier call.
///
/// Credentials are not fetched here but by the first call. A credentials file is looked at then, too.
pub async fn for_agent(access: &AgentAccess, connections: &Connections) -> Result<SdkConfig, AwsError> {
    if std::env::var_os(PARTITION_VARIABLE).is_some() {
        return Err(AwsError::Environment(PARTITION_VARIABLE));
    }
    let plain_http = access.endpoint_url.as_deref().is_some_and(|url| url.starts_with("http://"));
    let http_client = connections.trusting(access.ca_bundle.clone(), plain_http).await?;
    let credentials = match &access.credentials {
        AgentCredentials::Instance { metadata_url } => {
            SharedCredentialsProvider::new(instance_credentials(metadata_url, &http_client)?)
        }
        AgentCredentials::File(path) => SharedCredentialsProvider::new(CredentialsFile::new(path.clone())),
    };
    let mut config = SdkConfig::builder()
        .behavior_version(behavior())
        .region(Region::new(access.region.clone()))
        .credentials_provider(credentials)
        .identity_cache(IdentityCache::lazy().load_timeout(METADATA_OPERATION_TIMEOUT).build())
        .http_client(http_client)
        .sleep_impl(TokioSleep::new())
        .retry_config(RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS).with_max_backoff(MAX_BACKOFF))
        .timeout_config(timeouts(READ_TIMEOUT, ATTEMPT_TIMEOUT, OPERATION_TIMEOUT))
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(ATTEMPT_TIMEOUT).build());
    config.set_endpoint_url(access.endpoint_url.clone());
    Ok(config.build())
}

/// The same, for a client that holds long polls of up to [`LONG_POLL`] open: SQS.
#[must_use]
pub fn for_long_polls(config: &SdkConfig) -> SdkConfig {
    let attempt = LONG_POLL + READ_TIMEOUT;
    config
        .to_builder()
        .timeout_config(timeouts(attempt, attempt, attempt + OPERATION_TIMEOUT))
        // It wakes ten times a second for as long as an answer is waited for, and here one always is. The messages are
        // small and their limits above hold for the whole answer.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build()
}

/// The configuration of an operator's clients: environment, `~/.aws/config` and the rest of the chain that every AWS
/// tool goes by, `AWS_ENDPOINT_URL` included.
///
/// With a profile named, credentials are that profile's and no other's, as of `aws --profile`: variables with keys in
/// them, which the chain would put first, may be those of another account.
pub async fn for_operator(region: Option<&str>, profile: Option<&str>) -> SdkConfig {
    let mut loader = aws_config::defaults(behavior())
        .retry_config(RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS))
        .timeout_config(
            TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(OPERATOR_READ_TIMEOUT).build(),
        );
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    let Some(profile) = profile else { return loader.load().await };
    let config = loader.profile_name(profile).load().await;
    let provider = ProviderConfig::without_region().with_region(config.region().cloned());
    let credentials = ProfileFileCredentialsProvider::builder().configure(&provider).profile_name(profile).build();
    config.into_builder().credentials_provider(SharedCredentialsProvider::new(credentials)).build()
}

/// An S3 client. Where an endpoint is given, the bucket stands in the path: such an endpoint has no host per bucket.
pub fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let path_style = config.endpoint_url().is_some();
    let config = aws_sdk_s3::config::Builder::from(config).force_path_style(path_style).build();
    aws_sdk_s3::Client::from_conf(config)
}

/// An S3 client for the region where this bucket is, which need not be that of `config`: one bucket serves all regions.
///
/// Asks S3, which names the region also to those whom it refuses: no permission is needed. `None` when it does not say,
/// as when it cannot be reached; this is to be called again then. Where an endpoint is given, that is the only place.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html>
pub async fn s3_of_bucket(config: &SdkConfig, bucket: &str) -> Option<aws_sdk_s3::Client> {
    const REGION_HEADER: &str = "x-amz-bucket-region";
    let client = s3(config);
    if config.endpoint_url().is_some() {
        return Some(client);
    }
    let region = match client.head_bucket().bucket(bucket).send().await {
        Ok(answer) => answer.bucket_region,
        Err(error) => error.raw_response().and_then(|answer| answer.headers().get(REGION_HEADER)).map(str::to_owned),
    };
    let region = Region::new(region?);
    if config.region() == Some(&region) {
        return Some(client);
    }
    Some(s3(&config.to_builder().region(region).build()))
}

/// IMDSv2 at one URL, by the SDK's provider: it serves the last credentials on when the service fails for a while.
///
/// The SDK lets `AWS_EC2_METADATA_DISABLED` turn this off. That denies, and leads nowhere else.
fn instance_credentials(url: &str, http_client: &SharedHttpClient) -> Result<ImdsCredentialsProvider, AwsError> {
    let provider = ProviderConfig::empty()
        .with_http_client(http_client.clone())
        .with_sleep_impl(TokioSleep::new())
        .with_behavior_version(Some(behavior()));
    let client = imds::Client::builder()
        .configure(&provider)
        .connect_timeout(METADATA_TIMEOUT)
        .read_timeout(METADATA_TIMEOUT)
        .operation_attempt_timeout(METADATA_TIMEOUT)
        .operation_timeout(METADATA_OPERATION_TIMEOUT)
        .endpoint(url)
        .map_err(|source| AwsError::MetadataUrl { url: url.to_owned(), source })?
        .build();
    Ok(ImdsCredentialsProvider::builder().configure(&provider).imds_client(client).build())
}

fn timeouts(read: Duration, attempt: Duration, operation: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(read)
        .operation_attempt_timeout(attempt)
        .operation_timeout(operation)
        .build()
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use aws_smithy_runtime_api::client::http::{
        HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
    };
    use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
    use aws_smithy_types::body::SdkBody;

    use super::*;

    /// An S3 that answers everything with this status, and says that the bucket is in this region.
    #[derive(Debug, Clone, Copy)]
    struct Answering(u16, Option<&'static str>);

    impl HttpConnector for Answering {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            let mut answer = HttpResponse::new(self.0.try_into().unwrap(), SdkBody::empty());
            if let Some(region) = self.1 {
                answer.headers_mut().insert("x-amz-bucket-region", region);
            }
            HttpConnectorFuture::ready(Ok(answer))
        }
    }

    async fn region_of_bucket(s3: Answering) -> Option<String> {
        let config = SdkConfig::builder()
            .behavior_version(behavior())
            .region(Region::new("us-west-2"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new("a", "b", None, None, "test")))
            .http_client(http_client_fn(move |_, _| SharedHttpConnector::new(s3)))
            .retry_config(RetryConfig::disabled())
            .sleep_impl(TokioSleep::new())
            .build();
        let client = s3_of_bucket(&config, "bucket").await?;
        client.config().region().map(ToString::to_string)
    }

    #[tokio::test]
    async fn a_bucket_in_another_region_is_asked_for_there() {
        for status in [200, 301, 403] {
            let region = region_of_bucket(Answering(status, Some("eu-west-1"))).await;
            assert_eq!(region.as_deref(), Some("eu-west-1"), "{status}");
        }
    }

    #[tokio::test]
    async fn a_bucket_of_which_s3_does_not_say_where_it_is_is_not_taken_to_be_anywhere() {
        for status in [404, 500, 503] {
            assert_eq!(region_of_bucket(Answering(status, None)).await, None, "{status}");
        }
    }

    #[tokio::test]
    async fn t10_the_agents_configuration_is_what_it_was_told_and_nothing_else() {
        let access = AgentAccess {
            region: "us-west-2".to_owned(),
            endpoint_url: Some("http://127.0.0.1:1".to_owned()),
            ca_bundle: None,
            credentials: AgentCredentials::Instance { metadata_url: "http://127.0.0.1:1".to_owned() },
        };
        let config = for_agent(&access, &Connections::default()).await.unwrap();
        assert!(config.service_config().is_none(), "no per-service endpoint is looked up in the environment");
        assert_eq!(config.endpoint_url(), Some("http://127.0.0.1:1"));
        assert_eq!(config.timeout_config().unwrap().read_timeout(), Some(READ_TIMEOUT));
        let polling = for_long_polls(&config);
        assert!(polling.timeout_config().unwrap().read_timeout().unwrap() > LONG_POLL);
        assert!(!polling.stalled_stream_protection().unwrap().is_enabled(), "a box at rest stays at rest");
        assert_eq!(polling.region(), config.region());
    }

    #[tokio::test]
    async fn a_metadata_url_that_is_none_is_refused_by_name() {
        let access = AgentAccess {
            region: "us-west-2".to_owned(),
            endpoint_url: Some("http://127.0.0.1:1".to_owned()),
            ca_bundle: None,
            credentials: AgentCredentials::Instance { metadata_url: "not a url".to_owned() },
        };
        let error = for_agent(&access, &Connections::default()).await.unwrap_err();
        assert!(error.to_string().contains("\"not a url\""), "{error}");
    }
}
