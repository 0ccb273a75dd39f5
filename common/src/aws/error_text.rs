//! AWS errors in words: one line for people, and the few kinds that the program must tell apart.
//!
//! A line never holds a secret. It is made of what errors say of themselves, never of their debug form, and of an
//! answer by AWS the first line alone: one that refuses a signature goes on with the signed request, token included.

use std::error::Error;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// The longest text made of an error, in characters.
const MAX_TEXT: usize = 400;

/// What AWS answers when it is asked too often.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html>
const THROTTLING_CODES: [&str; 8] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "SlowDown",
];

/// An error of a call with all its causes, in one line of at most 400 characters without control characters.
///
/// An answer by AWS reads `AccessDenied: the reason (HTTP 403)`; a call without one, `dispatch failure: ...` down to
/// what the system said.
pub fn error_text<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let status = error.raw_response().map(HttpResponse::status);
    let mut text = match error.as_service_error() {
        Some(answer) => match (answer.code(), answer.message()) {
            (Some(code), Some(message)) => format!("{code}: {}", first_line(message)),
            (Some(code), None) => code.to_owned(),
            (None, Some(message)) => first_line(message).to_owned(),
            (None, None) if status.is_some_and(StatusCode::is_success) => "an answer that makes no sense".to_owned(),
            (None, None) => "an answer that says nothing".to_owned(),
        },
        None => chain(error),
    };
    text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT).collect();
    match status {
        Some(status) => format!("{text} (HTTP {})", status.as_u16()),
        None => text,
    }
}

fn first_line(text: &str) -> &str {
    text.trim_start().lines().next().unwrap_or_default()
}

/// An error and its causes, joined with `: `; what a cause says that the line already ends with is left out.
fn chain(error: &dyn Error) -> String {
    let mut text = first_line(&error.to_string()).to_owned();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        let words = first_line(&words);
        if !text.ends_with(words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

/// Whether IAM says that what was asked about does not exist. No other failure counts, a bare 404 neither.
pub fn is_no_such_entity<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    code(error) == Some("NoSuchEntity")
}

/// Whether S3 says that there is no such object, in a bucket that is there.
pub fn is_no_such_key<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    match code(error) {
        // A HEAD request is answered without a body, so that its 404 is all there is.
        Some(code) => matches!(code, "NoSuchKey" | "NotFound"),
        None => false,
    }
}

/// Whether AWS asks to be asked less often.
pub fn is_throttled<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    code(error).is_some_and(|code| THROTTLING_CODES.contains(&code))
        || error.raw_response().is_some_and(|response| response.status().as_u16() == 429)
}

fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

#[cfg(test)]
mod tests {
    use aws_sdk_iam::operation::get_group::GetGroupError;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;

    fn answer(status: u16, code: &str, message: &str) -> SdkError<GetGroupError, HttpResponse> {
        let metadata = ErrorMetadata::builder().code(code).message(message).build();
        let response = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
        SdkError::service_error(GetGroupError::generic(metadata), response)
    }

    #[test]
    fn an_answer_by_aws_is_told_in_one_line() {
        let error = answer(403, "AccessDenied", "you may\tnot");
        assert_eq!(error_text(&error), "AccessDenied: you may not (HTTP 403)");
        assert!(error_text(&answer(500, "X", &"long ".repeat(1000))).chars().count() < 450);
    }

    #[test]
    fn r15_garbage_is_told_apart_from_silence() {
        let without_words = |status: u16| {
            let response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from("<<{"));
            SdkError::service_error(GetGroupError::generic(ErrorMetadata::builder().build()), response)
        };
        assert_eq!(error_text(&without_words(200)), "an answer that makes no sense (HTTP 200)");
        assert_eq!(error_text(&without_words(500)), "an answer that says nothing (HTTP 500)");
    }

    #[test]
    fn t9_a_refused_signature_is_told_without_the_signed_request() {
        let message = "The request signature does not match.\n\nThe Canonical String for this request should have \
                       been\n'POST\n/\nx-amz-security-token:topsecret'";
        let text = error_text(&answer(403, "SignatureDoesNotMatch", message));
        assert_eq!(text, "SignatureDoesNotMatch: The request signature does not match. (HTTP 403)");
    }

    #[test]
    fn a_call_without_an_answer_is_told_down_to_its_root() {
        let error: SdkError<GetGroupError, HttpResponse> =
            SdkError::timeout_error(std::io::Error::other("no answer in 10 s"));
        assert_eq!(error_text(&error), "request has timed out: no answer in 10 s");
    }

    #[test]
    fn r2_only_iams_own_word_says_that_something_does_not_exist() {
        assert!(is_no_such_entity(&answer(404, "NoSuchEntity", "")));
        assert!(!is_no_such_entity(&answer(404, "NotFound", "")));
        assert!(!is_no_such_key(&answer(404, "NoSuchBucket", "")));
        assert!(is_no_such_key(&answer(404, "NoSuchKey", "")));
        assert!(is_throttled(&answer(400, "Throttling", "")));
        assert!(is_throttled(&answer(503, "SlowDown", "")));
        assert!(!is_throttled(&answer(503, "ServiceUnavailable", "")));
    }
}
