//! Memory and disk use as it is sent to CloudWatch. moto does not speak the protocol that the SDK uses for CloudWatch
//! (Smithy RPC v2, CBOR), so a stand-in takes the reports and shows what is in them.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_cloudwatch::config::{BehaviorVersion, Region};
use fleetkey_agent::config::settings::MetricsSettings;
use fleetkey_agent::metrics;
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::proxy::Proxy;
use fleetkey_tests::stub::{Answer, Request, Stub};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const INSTANCE: &str = "i-0abc12345678def90";
const SOON: Duration = Duration::from_secs(20);

/// A CloudWatch that takes every report: an empty map, in CBOR.
fn cloudwatch() -> Stub {
    Stub::start(|_| Answer::new(200, "application/cbor", b"\xa0").with_header("smithy-protocol", "rpc-v2-cbor"))
        .unwrap()
}

/// The reports of one box, until they are stopped.
struct Reports {
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Reports {
    fn start(endpoint: &str, interval: Duration) -> Self {
        let config = aws_sdk_cloudwatch::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .endpoint_url(endpoint)
            .region(Region::new(Cloud::REGION))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"));
        let client = aws_sdk_cloudwatch::Client::from_conf(config.build());
        let settings = MetricsSettings { interval, namespace: "CGCloud".to_owned() };
        let cancel = CancellationToken::new();
        let task = tokio::spawn(metrics::run(client, settings, INSTANCE.to_owned(), cancel.clone()));
        Self { cancel, task }
    }

    async fn stop(self) {
        self.cancel.cancel();
        timeout(Duration::from_secs(20), self.task).await.expect("it stops").unwrap();
    }
}

fn is_report(request: &Request) -> bool {
    request.target().to_lowercase().contains("/operation/putmetricdata")
}

#[tokio::test]
async fn memory_use_is_reported_in_percent_by_instance_id_as_cgcloud_did() {
    let mut cloudwatch = cloudwatch();
    let reports = Reports::start(&cloudwatch.endpoint(), Duration::from_mins(5));
    let report = timeout(SOON, cloudwatch.next_request()).await.expect("the first report comes at once").unwrap();
    assert!(is_report(&report), "{report:?}");
    let text = report.text();
    for part in ["CGCloud", "MemUsage", "Percent", "InstanceId", INSTANCE] {
        assert!(text.contains(part), "{part} is not in {text:?}");
    }
    reports.stop().await;
}

#[tokio::test]
async fn a_cloudwatch_that_refuses_connections_does_not_end_the_reports() {
    let mut cloudwatch = cloudwatch();
    let proxy = Proxy::start(cloudwatch.address()).unwrap();
    proxy.refuse();
    let reports = Reports::start(&proxy.endpoint(), Duration::from_secs(1));
    let early = timeout(Duration::from_secs(3), cloudwatch.next_request()).await;
    assert!(early.is_err(), "nothing gets through a proxy that refuses: {early:?}");
    proxy.heal();
    let report = timeout(2 * SOON, cloudwatch.next_request()).await.expect("a later report comes").unwrap();
    assert!(is_report(&report), "{report:?}");
    reports.stop().await;
}
