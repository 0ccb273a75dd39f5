//! What the controller does to AWS: a thing done is a file here. No policy: callers decide what to do and in which
//! order.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use fleetkey_common::aws::error_text;
use thiserror::Error;

pub(crate) mod bucket;
pub(crate) mod caller;
pub(crate) mod hint;
pub(crate) mod iam_keys;
pub(crate) mod key_pairs;

/// A call to AWS that failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{action} failed: {cause}")]
pub(crate) struct CallError {
    /// The call and what it was about, such as `ec2 ImportKeyPair alice in us-west-2`.
    pub(crate) action: String,
    /// The service's code and words, or what kept the call from arriving.
    pub(crate) cause: String,
    /// The service's code, if it answered.
    pub(crate) code: Option<String>,
}

impl CallError {
    /// Keeps what an SDK error says.
    pub(crate) fn new<E>(action: impl Into<String>, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        Self { action: action.into(), cause: error_text(error), code: error.code().map(str::to_owned) }
    }

    /// An answer that arrived and cannot be used.
    pub(crate) fn answer(action: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { action: action.into(), cause: cause.into(), code: None }
    }

    /// Whether the caller lacks a permission.
    pub(crate) fn is_denied(&self) -> bool {
        let denied = ["AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"];
        self.code.as_deref().is_some_and(|code| denied.contains(&code))
    }
}

/// Turns an SDK error into a [`CallError`]: `.map_err(failed("s3 PutObject ..."))`.
pub(crate) fn failed<E>(action: impl Into<String>) -> impl FnOnce(SdkError<E, HttpResponse>) -> CallError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    move |error| CallError::new(action, &error)
}
