//! Which service and action of AWS a request is for, told from the request alone.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::http::Message;

/// One call to AWS.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    /// The service's signing name, such as `s3`; `unsigned` for a request without a signature.
    pub service: String,
    /// The region that the request is signed for; nothing for a request without a signature.
    pub region: String,
    /// The action as IAM policies name it, such as `GetObject`.
    pub action: String,
    /// The request's path and query, as sent.
    pub target: String,
    /// The account that must own the bucket, where a request to S3 says so.
    pub owner: Option<String>,
    /// The request's body.
    pub body: Vec<u8>,
    /// The status of the answer; `None` when there was none.
    pub status: Option<u16>,
    /// The time from the whole request to the whole answer.
    pub took: Duration,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, region, action, target, body, status, took, .. } = self;
        write!(f, "{service}:{action} {region} {target} + {} bytes -> {status:?} in {took:?}", body.len())
    }
}

/// How often each kind of call was made, by `service:Action`.
pub fn count(calls: &[Call]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in calls {
        *counts.entry(format!("{}:{}", call.service, call.action)).or_default() += 1;
    }
    counts
}

/// Reads what a request is for.
pub fn classify(request: &Message) -> Call {
    let service = credential(request, 3).unwrap_or("unsigned").to_owned();
    let region = credential(request, 2).unwrap_or_default().to_owned();
    let action = match service.as_str() {
        "s3" => s3_action(request),
        _ => action(request).unwrap_or_else(|| request.method().to_owned()),
    };
    let (target, body) = (request.target().to_owned(), request.body.clone());
    let owner = request.header("x-amz-expected-bucket-owner").map(str::to_owned);
    Call { service, region, action, target, owner, body, status: None, took: Duration::ZERO }
}

/// A part, counted from 0, of `Credential=KEY/DATE/REGION/SERVICE/aws4_request`, in the header or a presigned URL.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>
fn credential(request: &Message, part: usize) -> Option<&str> {
    let header = request.header("authorization").and_then(|value| value.split_once("Credential="));
    if let Some((_, credential)) = header {
        return credential.split('/').nth(part);
    }
    let (_, credential) = request.target().split_once("X-Amz-Credential=")?;
    credential.split("%2F").nth(part)
}

/// The action of a query, JSON or RPC service.
fn action(request: &Message) -> Option<String> {
    if let Some(target) = request.header("x-amz-target") {
        return target.rsplit('.').next().map(str::to_owned);
    }
    if let Some((_, operation)) = request.target().split_once("/operation/") {
        return Some(operation.to_owned());
    }
    let (_, query) = request.target().split_once('?').unwrap_or_default();
    let body = std::str::from_utf8(&request.body).unwrap_or_default();
    let mut pairs = body.split('&').chain(query.split('&'));
    pairs.find_map(|pair| pair.strip_prefix("Action=")).map(str::to_owned)
}

/// The settings of a bucket: how a query asks for one, and what policies call it.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>
const SETTINGS: [(&str, &str); 7] = [
    ("tagging", "BucketTagging"),
    ("publicAccessBlock", "BucketPublicAccessBlock"),
    ("ownershipControls", "BucketOwnershipControls"),
    ("encryption", "EncryptionConfiguration"),
    ("versioning", "BucketVersioning"),
    ("lifecycle", "LifecycleConfiguration"),
    ("policy", "BucketPolicy"),
];

/// The action of a path-style S3 request, by its method and the shape of its path.
fn s3_action(request: &Message) -> String {
    let (path, query) = request.target().split_once('?').unwrap_or((request.target(), ""));
    if let Some(named) = query.split('&').find_map(|pair| pair.strip_prefix("x-id=")) {
        return named.to_owned();
    }
    let asks_for = |name: &str| query.split('&').any(|pair| pair == name || pair.starts_with(&format!("{name}=")));
    let setting = SETTINGS.iter().find(|(name, _)| asks_for(name)).map(|(_, setting)| setting);
    if let (Some(setting), Some(verb)) =
        (setting, [("GET", "Get"), ("PUT", "Put")].iter().find(|(method, _)| *method == request.method()))
    {
        return format!("{}{setting}", verb.1);
    }
    let is_object = path.trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
    let action = match (request.method(), is_object) {
        ("POST", false) if asks_for("delete") => "DeleteObjects",
        ("GET", false) if asks_for("list-type") => "ListObjectsV2",
        ("GET", false) if path == "/" => "ListBuckets",
        ("GET", false) => "ListObjects",
        ("HEAD", false) => "HeadBucket",
        ("PUT", false) => "CreateBucket",
        ("DELETE", false) => "DeleteBucket",
        ("GET", true) => "GetObject",
        ("HEAD", true) => "HeadObject",
        ("PUT", true) => "PutObject",
        ("DELETE", true) => "DeleteObject",
        (method, _) => method,
    };
    action.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(start: &str, service: &str, headers: &[(&str, &str)], body: &str) -> String {
        let scope = format!("AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-west-2/{service}/aws4_request, Signature=0");
        let mut message = Message { start: start.to_owned(), body: body.into(), ..Message::default() };
        message.headers.push(("authorization".to_owned(), scope));
        message.headers.extend(headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        let call = classify(&message);
        format!("{}:{}", call.service, call.action)
    }

    #[test]
    fn calls_are_told_apart_by_service_and_action() {
        let target = [("X-Amz-Target", "AmazonSQS.ReceiveMessage")];
        assert_eq!(kind("POST / HTTP/1.1", "sqs", &target, "{}"), "sqs:ReceiveMessage");
        assert_eq!(kind("POST / HTTP/1.1", "iam", &[], "Action=GetGroup&Version=1"), "iam:GetGroup");
        assert_eq!(kind("GET /b?list-type=2&prefix=people%2F HTTP/1.1", "s3", &[], ""), "s3:ListObjectsV2");
        assert_eq!(kind("GET /b/people/a/1.pub?x-id=GetObject HTTP/1.1", "s3", &[], ""), "s3:GetObject");
        assert_eq!(kind("HEAD /b/key HTTP/1.1", "s3", &[], ""), "s3:HeadObject");
        assert_eq!(kind("PUT /b?encryption HTTP/1.1", "s3", &[], ""), "s3:PutEncryptionConfiguration");
        assert_eq!(kind("PUT /b HTTP/1.1", "s3", &[], ""), "s3:CreateBucket");
        let operation = "POST /service/GraniteServiceVersion20100801/operation/PutMetricData HTTP/1.1";
        assert_eq!(kind(operation, "monitoring", &[], ""), "monitoring:PutMetricData");
    }

    #[test]
    fn a_presigned_url_counts_for_its_service() {
        let start = "GET /b/k?X-Amz-Credential=AKIA%2F20260101%2Fus-west-2%2Fs3%2Faws4_request HTTP/1.1".to_owned();
        let call = classify(&Message { start, ..Message::default() });
        assert_eq!((call.service.as_str(), call.action.as_str()), ("s3", "GetObject"));
    }
}
