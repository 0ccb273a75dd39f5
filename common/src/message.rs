//! Messages that tell agents to look: base64 of JSON, `{"version": 1, "type": 1}`, as CGCloud's agent has them.
//!
//! A message is a hint, sent by whoever can reach the queue. Nothing in it may ever be believed, and nothing of it gets
//! into the log but numbers.

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::{alphabet, engine};
use serde_json::{Value, json};
use thiserror::Error;

/// The longest body that is read, in bytes: what SNS and SQS took for years as the longest.
const MAX_BODY: usize = 256 * 1024;

/// The version of messages written here, and the only one read.
const VERSION: u64 = 1;

/// The type of [`Message::KeysChanged`].
const KEYS_CHANGED: u64 = 1;

/// Base64 with its padding or without.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(engine::DecodePaddingMode::Indifferent),
);

/// What a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Message {
    /// Keys or who holds them may have changed: look.
    KeysChanged,
}

/// Why a body is not a message. To be logged and dropped.
#[derive(Debug, Error)]
pub enum MessageError {
    /// Longer than any message.
    #[error("it has {0} bytes, more than {MAX_BODY}")]
    TooLong(usize),
    /// It begins like the JSON that SNS wraps around a message, and is none.
    #[error("its SNS envelope is not JSON")]
    Envelope(#[source] serde_json::Error),
    /// The envelope is not that of a notification, or has no text in it.
    #[error("its SNS envelope holds no notification")]
    NoNotification,
    /// Not base64.
    #[error("it is not base64")]
    Base64(#[source] base64::DecodeError),
    /// The base64 decodes to something other than JSON.
    #[error("it does not decode to JSON")]
    Json(#[source] serde_json::Error),
    /// The field is not there, or is not a number from 0 up.
    #[error("it has no number as its {0}")]
    Field(&'static str),
    /// Written by a program that is newer than this one.
    #[error("its version is {0}; only {VERSION} is known")]
    Version(u64),
    /// A type of message that this program does not know.
    #[error("its type is {0}; only {KEYS_CHANGED} is known")]
    Type(u64),
}

/// The body of a message, as it is published to the topic.
pub fn encode(message: Message) -> String {
    let kind = match message {
        Message::KeysChanged => KEYS_CHANGED,
    };
    STANDARD.encode(json!({ "version": VERSION, "type": kind }).to_string())
}

/// Reads the body of an SQS message: that of [`encode`], as it is delivered raw, or in the JSON envelope of SNS.
/// <https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>
///
/// Fields that are not known are ignored.
pub fn parse(body: &str) -> Result<Message, MessageError> {
    if body.len() > MAX_BODY {
        return Err(MessageError::TooLong(body.len()));
    }
    if !body.trim_start().starts_with('{') {
        return decode(body);
    }
    let envelope: Value = serde_json::from_str(body).map_err(MessageError::Envelope)?;
    match (envelope["Type"].as_str(), envelope["Message"].as_str()) {
        (Some("Notification"), Some(message)) => decode(message),
        _ => Err(MessageError::NoNotification),
    }
}

fn decode(text: &str) -> Result<Message, MessageError> {
    // Some encoders break lines.
    let base64: String = text.split_ascii_whitespace().collect();
    let json = LENIENT.decode(base64).map_err(MessageError::Base64)?;
    let json: Value = serde_json::from_slice(&json).map_err(MessageError::Json)?;
    let number = |field| json[field].as_u64().ok_or(MessageError::Field(field));
    match number("version")? {
        VERSION => {}
        other => return Err(MessageError::Version(other)),
    }
    match number("type")? {
        KEYS_CHANGED => Ok(Message::KeysChanged),
        other => Err(MessageError::Type(other)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn base64(json: &str) -> String {
        STANDARD.encode(json)
    }

    #[test]
    fn a_message_is_read_raw_and_in_the_envelope_of_sns() {
        let body = encode(Message::KeysChanged);
        assert_eq!(parse(&body).unwrap(), Message::KeysChanged);
        let envelope = json!({ "Type": "Notification", "MessageId": "x", "TopicArn": "y", "Message": body });
        assert_eq!(parse(&envelope.to_string()).unwrap(), Message::KeysChanged);
    }

    #[test]
    fn what_cgcloud_sends_is_read_with_line_breaks_and_fields_of_the_future() {
        assert_eq!(parse(&base64(r#"{"version": 1, "type": 1}"#)).unwrap(), Message::KeysChanged);
        let body = base64(r#"{"type": 1, "version": 1, "person": "alice", "more": [1, {}]}"#);
        let (a, b) = body.split_at(20);
        assert_eq!(parse(&format!("{a}\n{b}\n")).unwrap(), Message::KeysChanged);
    }

    #[test]
    fn fault_6_an_unknown_version_is_an_error_that_carries_it() {
        assert!(matches!(parse(&base64(r#"{"version": 2}"#)), Err(MessageError::Version(2))));
        assert!(matches!(parse(&base64(r#"{"version": 1, "type": 7}"#)), Err(MessageError::Type(7))));
        let error = parse(&base64(r#"{"version": 2, "type": {"a": 1}}"#)).unwrap_err();
        assert_eq!(error.to_string(), "its version is 2; only 1 is known");
    }

    #[test]
    fn t11_forged_truncated_and_unknown_messages_are_errors_and_nothing_else() {
        let body = encode(Message::KeysChanged);
        let deep = "[".repeat(10_000);
        for bad in [
            "",
            "{",
            "{}",
            "{\"Type\":\"SubscriptionConfirmation\",\"Message\":\"x\"}",
            "{\"Type\":\"Notification\",\"Message\":7}",
            &body[..body.len() / 2],
            &base64("null"),
            &base64("[]"),
            &base64(r#"{"version": -1, "type": 1}"#),
            &base64(r#"{"version": "1", "type": 1}"#),
            &base64(r#"{"version": 1}"#),
            &base64(&deep),
            "\u{0}",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert!(matches!(parse(&"A".repeat(MAX_BODY + 1)), Err(MessageError::TooLong(_))));
    }

    proptest! {
        #[test]
        fn t11_no_body_makes_the_reader_panic(body in any::<String>(), json in any::<String>()) {
            let _ = parse(&body);
            let _ = parse(&base64(&json));
        }
    }
}
