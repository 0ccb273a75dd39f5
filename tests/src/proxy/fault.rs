//! The ways in which the proxy spoils an answer, and what AWS itself says in such a case.

use std::time::Duration;

use crate::http::Message;

/// What happens to a call in place of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The service says that it is asked too often, in its own words: 503 `SlowDown` from S3, 400 `Throttling` elsewhere.
    Throttle,
    /// The service says 500 `InternalError`, in its own form.
    ServerError,
    /// The true answer, its length, half its body, and then the end of the connection.
    HalfBody,
    /// 200, and a body that is no answer to anything.
    Garbage,
    /// No answer as long as this holds; then the connection is cut.
    Hang,
    /// The connection is closed at once.
    Close,
    /// The true answer, this much later.
    Delay(Duration),
    /// The service refuses: 400 with this code and these words, in its own form.
    Refuse(&'static str, &'static str),
}

/// The form in which a service states errors.
enum Form {
    /// `<Error>`: S3. <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
    S3,
    /// `<Response><Errors>`: EC2. <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-error-handling.html>
    Ec2,
    /// A JSON object with `__type`: SQS. <https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html>
    Json,
    /// `<ErrorResponse>`: IAM, SNS, STS and the other query services.
    /// <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>
    Query,
}

impl Form {
    fn of(service: &str) -> Self {
        match service {
            "s3" => Form::S3,
            "ec2" => Form::Ec2,
            "sqs" => Form::Json,
            _ => Form::Query,
        }
    }

    fn error(&self, status: &str, kind: &str, code: &str, message: &str) -> Message {
        match self {
            Form::S3 => xml(status, &format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>")),
            Form::Ec2 => {
                let error = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
                xml(status, &format!("<Response><Errors>{error}</Errors><RequestID>test</RequestID></Response>"))
            }
            Form::Query => {
                let error = format!("<Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message>");
                let id = "<RequestId>test</RequestId>";
                xml(status, &format!("<ErrorResponse><Error>{error}</Error>{id}</ErrorResponse>"))
            }
            Form::Json => {
                let body = serde_json::json!({"__type": format!("com.amazonaws.sqs#{code}"), "message": message});
                Message::response(status, "application/x-amz-json-1.0", body.to_string())
            }
        }
    }
}

/// What `service` says when it is asked too often.
pub(super) fn throttled(service: &str) -> Message {
    let form = Form::of(service);
    let (status, code) = match form {
        Form::S3 => ("503 Slow Down", "SlowDown"),
        Form::Ec2 => ("503 Service Unavailable", "RequestLimitExceeded"),
        Form::Json => ("400 Bad Request", "RequestThrottled"),
        Form::Query => ("400 Bad Request", "Throttling"),
    };
    form.error(status, "Sender", code, "Rate exceeded")
}

/// What `service` says when it fails.
pub(super) fn server_error(service: &str) -> Message {
    Form::of(service).error(
        "500 Internal Server Error",
        "Receiver",
        "InternalError",
        "We encountered an internal error.",
    )
}

/// What `service` says when it refuses.
pub(super) fn refused(service: &str, code: &str, message: &str) -> Message {
    Form::of(service).error("400 Bad Request", "Sender", code, message)
}

/// Neither XML nor JSON, nor text.
pub(super) fn garbage() -> Message {
    Message::response("200 OK", "text/xml", b"\x00\xff<<{not an answer\r\n\x1b[2J".as_slice())
}

fn xml(status: &str, body: &str) -> Message {
    Message::response(status, "text/xml", format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}"))
}
