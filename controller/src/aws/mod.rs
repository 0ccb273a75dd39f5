//! What the controller does to AWS: a thing done is a file here. No policy: callers decide what to do and in which
//! order.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use fleetkey_common::aws::error_text;
use thiserror::Error;

pub(crate) mod agent_package;
pub(crate) mod bucket;
pub(crate) mod bucket_settings;
pub(crate) mod caller;
pub(crate) mod clock;
pub(crate) mod console;
pub(crate) mod hint;
pub(crate) mod iam_keys;
pub(crate) mod images;
pub(crate) mod instance_profiles;
pub(crate) mod instances;
pub(crate) mod key_pairs;
pub(crate) mod launch;
pub(crate) mod managed_policies;
pub(crate) mod network_interfaces;
pub(crate) mod people;
pub(crate) mod places;
pub(crate) mod queues;
pub(crate) mod regions;
pub(crate) mod security_groups;
pub(crate) mod simulate;
pub(crate) mod snapshots;
pub(crate) mod spot;
pub(crate) mod topics;
pub(crate) mod tries;
pub(crate) mod volumes;

/// A call to AWS that failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{action} failed: {cause}")]
pub(crate) struct CallError {
    /// The call and what it was about, such as `ec2 ImportKeyPair alice in us-west-2`: service, operation, the rest.
    pub(crate) action: String,
    /// The service's code and words, or what kept the call from arriving.
    pub(crate) cause: String,
    /// The service's code, if it answered.
    pub(crate) code: Option<String>,
    /// Whether the caller lacks a permission.
    denied: bool,
}

/// The codes by which services say that the caller lacks a permission.
const DENIED: [&str; 4] = ["AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"];

/// The status of such an answer, which counts where no code can be read: an answer to HEAD has none.
const FORBIDDEN: u16 = 403;

impl CallError {
    /// Keeps what an SDK error says.
    pub(crate) fn new<E>(action: impl Into<String>, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let code = error.code().map(str::to_owned);
        let denied = code.as_deref().map_or(status == Some(FORBIDDEN), |code| DENIED.contains(&code));
        Self { action: action.into(), cause: error_text(error), code, denied }
    }

    /// An answer that arrived and cannot be used.
    pub(crate) fn answer(action: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { action: action.into(), cause: cause.into(), code: None, denied: false }
    }

    /// The same, told of a region.
    pub(crate) fn in_region(mut self, region: &str) -> Self {
        self.action = format!("{} in {region}", self.action);
        self
    }

    /// The permission that the caller lacks, as policies name it, if that is why the call failed.
    pub(crate) fn missing_permission(&self) -> Option<String> {
        let mut words = self.action.split(' ');
        let (service, operation) = (words.next()?, words.next()?);
        self.denied.then(|| match (service, operation) {
            // Operations of S3 that have no permission of their own.
            // <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>
            ("s3", "ListObjectsV2" | "HeadBucket") => "s3:ListBucket".to_owned(),
            // To whom may not list, S3 does not say that an object is not there.
            ("s3", "GetObject" | "HeadObject") => "s3:GetObject or s3:ListBucket".to_owned(),
            // Operations whose permission has another name.
            ("s3", "GetPublicAccessBlock") => "s3:GetBucketPublicAccessBlock".to_owned(),
            ("s3", "PutPublicAccessBlock") => "s3:PutBucketPublicAccessBlock".to_owned(),
            ("s3", "GetBucketEncryption") => "s3:GetEncryptionConfiguration".to_owned(),
            ("s3", "PutBucketEncryption") => "s3:PutEncryptionConfiguration".to_owned(),
            ("s3", "GetBucketLifecycleConfiguration") => "s3:GetLifecycleConfiguration".to_owned(),
            ("s3", "PutBucketLifecycleConfiguration") => "s3:PutLifecycleConfiguration".to_owned(),
            _ => format!("{service}:{operation}"),
        })
    }
}

/// Turns an SDK error into a [`CallError`]: `.map_err(failed("s3 PutObject ..."))`.
pub(crate) fn failed<E>(action: impl Into<String>) -> impl FnOnce(SdkError<E, HttpResponse>) -> CallError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    move |error| CallError::new(action, &error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_call_names_the_permission_that_policies_have_for_it() {
        let failed = |action: &str, denied| CallError { denied, ..CallError::answer(action, "no") };
        for (action, permission) in [
            ("s3 ListObjectsV2 people/ in b", "s3:ListBucket"),
            ("s3 PutObject people/alice/x.pub in b", "s3:PutObject"),
            ("s3 GetObject revoked/x in b", "s3:GetObject or s3:ListBucket"),
            ("s3 PutBucketEncryption of b", "s3:PutEncryptionConfiguration"),
            ("ec2 DescribeKeyPairs", "ec2:DescribeKeyPairs"),
        ] {
            let missing = failed(action, true).missing_permission();
            assert_eq!(missing.as_deref(), Some(permission));
            assert_eq!(failed(action, false).missing_permission(), None);
        }
    }
}
