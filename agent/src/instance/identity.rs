//! Which instance this is to AWS: from the instance metadata service, version 2 only, or from the settings.
//!
//! An answer that is not this instance's is refused (T16): all who know the instance's id must agree on it.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::imds::Client;
use aws_config::provider_config::ProviderConfig;
use serde::Deserialize;
use thiserror::Error;
use tracing::warn;

use super::host::{board_instance_id, is_instance_id};
use crate::config::settings::{AwsSettings, CredentialsSource, InstanceSettings};

/// The instance's id in the metadata.
const INSTANCE_ID: &str = "/latest/meta-data/instance-id";
/// Who the instance is, as JSON.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html>
const DOCUMENT: &str = "/latest/dynamic/instance-identity/document";
/// The service is on the same machine: it answers at once or not at all.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// The limit for one attempt.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(2);
/// The limit for all attempts of one call.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// Attempts for one call.
const ATTEMPTS: u32 = 2;
/// The longest id that goes into a queue's name, of which SQS allows 80 characters.
const CONFIGURED_ID_LIMIT: usize = 64;

/// Which instance this is to AWS. Every field is well formed and safe in an ARN, a URL and a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceIdentity {
    /// `i-` and hex digits; where configured, 1 to 64 of letters, digits and `-`.
    pub instance_id: String,
    /// The region that the instance is in, such as `us-west-2`.
    pub region: String,
    /// The AWS account, 12 digits.
    pub account_id: String,
    /// The first part of its ARNs: `aws`, `aws-cn`, `aws-us-gov`, ...
    pub partition: String,
}

impl InstanceIdentity {
    /// Refuses to be another instance than this was known as before: no instance changes its id while it runs.
    pub fn still_is(&self, known_as: Option<&str>) -> Result<(), IdentityError> {
        agree("instance id", ("an answer of now", &self.instance_id), ("an earlier one", known_as))
    }
}

/// It is not known which instance this is.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The metadata service gave no answer.
    #[error(
        "{url}{path} gave no answer; on EC2 see that the metadata service is on and takes IMDSv2, elsewhere set \
         instance.id, instance.account_id and aws.region"
    )]
    NoAnswer {
        /// The metadata service.
        url: String,
        /// What was asked of it.
        path: &'static str,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The document is not what AWS documents.
    #[error("{url}{DOCUMENT} is not an instance identity document; something other than EC2 answers there")]
    Document {
        /// The metadata service.
        url: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A value does not look as it must.
    #[error("{place} gives {value:?} as the {what}, which it cannot be")]
    Malformed {
        /// What it should be.
        what: &'static str,
        /// Who gives it.
        place: &'static str,
        /// The value, cut to 100 characters.
        value: String,
    },
    /// Two who should know do not agree.
    #[error(
        "{place} gives {value:?} as the {what}, but {other_place} gives {other:?}; somebody else answers for this \
         instance, or the configuration is that of another one"
    )]
    Mismatch {
        /// What they do not agree on.
        what: &'static str,
        /// The one.
        place: &'static str,
        /// What it says.
        value: String,
        /// The other.
        other_place: &'static str,
        /// What that says.
        other: String,
    },
}

/// The part of the instance identity document that matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    instance_id: String,
    region: String,
    account_id: String,
}

/// What the settings say about the instance, when they say all of it.
struct Configured<'a> {
    id: &'a str,
    account_id: &'a str,
    region: &'a str,
}

impl<'a> Configured<'a> {
    fn new(instance: &'a InstanceSettings, aws: &'a AwsSettings) -> Option<Self> {
        let id = instance.id.as_deref()?;
        Some(Self { id, account_id: instance.account_id.as_deref()?, region: aws.region.as_deref()? })
    }

    fn identity(&self) -> Result<InstanceIdentity, IdentityError> {
        checked("the configuration", self.id, self.region, self.account_id, is_configured_id)
    }
}

/// Finds out which instance this is. `root` is `/`, but for tests: the board's asset tag is looked up below it.
///
/// The metadata service is not asked where the settings say everything and credentials come from a file, as on hosts
/// that are not in EC2. Where it gives no answer and the settings say everything, they are believed.
pub async fn identify(
    instance: &InstanceSettings,
    aws: &AwsSettings,
    root: &Path,
) -> Result<InstanceIdentity, IdentityError> {
    let configured = Configured::new(instance, aws);
    if let (Some(configured), CredentialsSource::File(_)) = (&configured, &aws.credentials) {
        return configured.identity();
    }
    let root = root.to_owned();
    let board = tokio::task::spawn_blocking(move || board_instance_id(&root)).await.unwrap_or_default();
    let board = board.as_deref();
    let identity = match ask(&instance.metadata_url, instance.id.as_deref(), board).await {
        Err(error @ IdentityError::NoAnswer { .. }) => {
            let Some(configured) = configured else { return Err(error) };
            warn!(%error, "no metadata service; the instance is taken to be the configured one");
            agree("instance id", ("the configuration", configured.id), ("the board", board))?;
            configured.identity()?
        }
        answer => answer?,
    };
    agree(
        "account id",
        ("the identity document", &identity.account_id),
        ("the configuration", instance.account_id.as_deref()),
    )?;
    Ok(identity)
}

/// Asks the metadata service, and holds its answers against what else is known of the instance's id.
async fn ask(url: &str, configured: Option<&str>, board: Option<&str>) -> Result<InstanceIdentity, IdentityError> {
    let client = client(url)?;
    let get = async |path| {
        let answer = client.get(path).await;
        answer.map(String::from).map_err(|error| no_answer(url, path, error))
    };
    let instance_id = get(INSTANCE_ID).await?;
    let document = get(DOCUMENT).await?;
    let document: Document =
        serde_json::from_str(&document).map_err(|source| IdentityError::Document { url: url.to_owned(), source })?;
    let place = "the identity document";
    let identity = checked(place, &document.instance_id, &document.region, &document.account_id, is_instance_id)?;
    let stated = (place, identity.instance_id.as_str());
    agree("instance id", stated, ("the metadata", Some(instance_id.trim())))?;
    agree("instance id", stated, ("the configuration", configured))?;
    agree("instance id", stated, ("the board", board))?;
    Ok(identity)
}

/// A client that takes nothing from the environment, goes through no proxy and gives up soon.
fn client(url: &str) -> Result<Client, IdentityError> {
    let http = aws_smithy_http_client::Builder::new().build_http();
    let config =
        ProviderConfig::default().with_behavior_version(Some(BehaviorVersion::v2026_01_12())).with_http_client(http);
    let client = Client::builder()
        .configure(&config)
        .endpoint(url)
        .map_err(|source| IdentityError::NoAnswer { url: url.to_owned(), path: "", source })?
        .max_attempts(ATTEMPTS)
        .connect_timeout(CONNECT_LIMIT)
        .read_timeout(ATTEMPT_LIMIT)
        .operation_attempt_timeout(ATTEMPT_LIMIT)
        .operation_timeout(CALL_LIMIT);
    Ok(client.build())
}

fn no_answer(url: &str, path: &'static str, error: impl Error + Send + Sync + 'static) -> IdentityError {
    IdentityError::NoAnswer { url: url.to_owned(), path, source: error.into() }
}

/// Refuses two values that differ; what is not known agrees with everything.
fn agree(
    what: &'static str,
    (place, value): (&'static str, &str),
    (other_place, other): (&'static str, Option<&str>),
) -> Result<(), IdentityError> {
    match other {
        Some(other) if other != value => {
            Err(IdentityError::Mismatch { what, place, value: cut(value), other_place, other: cut(other) })
        }
        _ => Ok(()),
    }
}

fn checked(
    place: &'static str,
    instance_id: &str,
    region: &str,
    account_id: &str,
    is_id: fn(&str) -> bool,
) -> Result<InstanceIdentity, IdentityError> {
    let take = |what, value: &str, good: bool| {
        if good { Ok(value.to_owned()) } else { Err(IdentityError::Malformed { what, place, value: cut(value) }) }
    };
    Ok(InstanceIdentity {
        instance_id: take("instance id", instance_id, is_id(instance_id))?,
        region: take("region", region, is_region(region))?,
        account_id: take("account id", account_id, is_account_id(account_id))?,
        partition: partition(region).to_owned(),
    })
}

/// What came from outside, for a message.
fn cut(value: &str) -> String {
    value.chars().take(100).collect()
}

/// An id of a host outside of EC2 is whatever its operator calls it, as long as a queue can be named by it.
fn is_configured_id(text: &str) -> bool {
    (1..=CONFIGURED_ID_LIMIT).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_region(text: &str) -> bool {
    let ends_in_number = text.rsplit('-').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    text.len() <= 32
        && text.contains('-')
        && !text.ends_with('-')
        && ends_in_number
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_account_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The partition of a region. <https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html>
fn partition(region: &str) -> &'static str {
    const BY_PREFIX: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
        ("eusc-", "aws-eusc"),
    ];
    BY_PREFIX.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("aws", |(_, partition)| partition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_accounts_and_ids_that_could_break_out_of_a_name_are_refused() {
        for good in ["us-west-2", "us-gov-east-1", "eusc-de-east-1", "ap-southeast-10"] {
            assert!(is_region(good), "{good}");
        }
        for bad in ["", "us", "us-west", "us-west-", "US-WEST-2", "us west-2", "us-west-2\n", "evil.com/-2"] {
            assert!(!is_region(bad), "{bad:?}");
        }
        for bad in ["", "12345678901", "1234567890123", "12345678901x"] {
            assert!(!is_account_id(bad), "{bad:?}");
        }
        for bad in ["i-", "i-0abc", "i-0ABC12345678DEF90", "i-0abc12345678def9/", "x-0abc12345678def90"] {
            assert!(!is_instance_id(bad), "{bad:?}");
        }
        assert!(is_configured_id("build-host-7") && !is_configured_id("a/b") && !is_configured_id(""));
    }

    #[test]
    fn partitions_follow_from_regions() {
        let of = |region| partition(region);
        assert_eq!([of("us-west-2"), of("cn-north-1"), of("us-gov-west-1")], ["aws", "aws-cn", "aws-us-gov"]);
        assert_eq!(
            [of("us-isob-east-1"), of("us-iso-east-1"), of("eusc-de-east-1")],
            ["aws-iso-b", "aws-iso", "aws-eusc"]
        );
    }

    #[test]
    fn t16_two_who_disagree_are_both_named() {
        let error = agree("instance id", ("the identity document", "i-1"), ("the board", Some("i-2"))).unwrap_err();
        assert!(error.to_string().starts_with(
            r#"the identity document gives "i-1" as the instance id, but the board gives "i-2"; somebody else"#
        ));
        assert!(agree("instance id", ("the identity document", "i-1"), ("the board", None)).is_ok());
    }
}
