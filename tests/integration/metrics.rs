//! Memory and disk use as it is sent to CloudWatch. moto does not speak the protocol that the SDK uses for CloudWatch
//! (Smithy RPC v2, CBOR), so a server here takes one report and shows what is in it.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_cloudwatch::config::{BehaviorVersion, Region};
use fleetkey_agent::config::settings::MetricsSettings;
use fleetkey_agent::metrics;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(20);

/// Reads one request, answers that all is well, and gives its head and its body.
async fn take_report(mut stream: TcpStream) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let answer = "HTTP/1.1 200 OK\r\nsmithy-protocol: rpc-v2-cbor\r\ncontent-type: application/cbor\r\n\
                  content-length: 1\r\nconnection: close\r\n\r\n";
    stream.write_all(&[answer.as_bytes(), b"\xa0"].concat()).await.unwrap();
    (head, body)
}

#[tokio::test]
async fn memory_use_is_reported_in_percent_by_instance_id_as_cgcloud_did() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = aws_sdk_cloudwatch::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .endpoint_url(format!("http://{}", listener.local_addr().unwrap()))
        .region(Region::new("us-west-2"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"));
    let client = aws_sdk_cloudwatch::Client::from_conf(config.build());
    let settings = MetricsSettings { interval: Duration::from_mins(5), namespace: "CGCloud".to_owned() };
    let cancel = CancellationToken::new();
    let task = tokio::spawn(metrics::run(client, settings, "i-0abc12345678def90".to_owned(), cancel.clone()));

    let (stream, _) = timeout(SOON, listener.accept()).await.expect("the first report comes at once").unwrap();
    let (head, body) = timeout(SOON, take_report(stream)).await.expect("the report is whole");
    assert!(head.contains("/operation/putmetricdata"), "{head}");
    let text = String::from_utf8_lossy(&body);
    for part in ["CGCloud", "MemUsage", "Percent", "InstanceId", "i-0abc12345678def90"] {
        assert!(text.contains(part), "{part} is not in {text:?}");
    }

    cancel.cancel();
    timeout(Duration::from_secs(1), task).await.expect("it stops at once").unwrap();
}

#[tokio::test]
async fn a_cloudwatch_that_refuses_connections_does_not_end_the_reports() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let config = aws_sdk_cloudwatch::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .endpoint_url(format!("http://{address}"))
        .region(Region::new("us-west-2"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"));
    let client = aws_sdk_cloudwatch::Client::from_conf(config.build());
    let settings = MetricsSettings { interval: Duration::from_secs(1), namespace: "CGCloud".to_owned() };
    let cancel = CancellationToken::new();
    let task = tokio::spawn(metrics::run(client, settings, "i-0abc12345678def90".to_owned(), cancel.clone()));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let listener = TcpListener::bind(address).await.unwrap();
    let (stream, _) = timeout(2 * SOON, listener.accept()).await.expect("a later report comes").unwrap();
    take_report(stream).await;
    cancel.cancel();
    timeout(Duration::from_secs(1), task).await.expect("it stops at once").unwrap();
}
