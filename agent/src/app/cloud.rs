//! AWS, as this instance reaches it: who it is, its clients, and the tasks that live by them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use fleetkey_common::aws::{self, AgentAccess, AgentCredentials, Connections, error_text};
use fleetkey_common::bucket;
use fleetkey_common::error_text::one_line;
use fleetkey_common::registry::Registry;
use fleetkey_common::restrictions::AllowedOptions;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::config::settings::{CredentialsSource, Settings, SourceSettings};
use crate::instance::{InstanceIdentity, identify};
use crate::metrics;
use crate::source::directory::DirectorySource;
use crate::source::iam::{self, IamSource};
use crate::source::{Fault, Source};
use crate::trigger::push::{Health, Push};

/// The least time between two writes of the status object: a fleet that changes at once does not write at once for long.
const STATUS_GAP: Duration = Duration::from_secs(10);

/// How often the status object is written when nothing changes, so that a box that died can be told.
const STATUS_HEARTBEAT: Duration = Duration::from_hours(1);

/// How soon it is tried again when it could not be written.
const STATUS_RETRY: Duration = Duration::from_mins(1);

/// A way to AWS.
#[derive(Debug, Clone)]
pub struct Cloud {
    /// This instance.
    pub identity: InstanceIdentity,
    /// The public-key bucket.
    pub bucket: String,
    /// Whether S3 said in which region that is. If it did not, the instance's own is as good a guess as any.
    pub(super) bucket_found: bool,
    s3: aws_sdk_s3::Client,
    config: SdkConfig,
}

/// Finds out which instance this is and makes its clients. Asks the metadata service, and of AWS one thing alone, which
/// may fail: where the bucket is.
pub async fn connect(settings: &Settings, connections: &Connections) -> Result<Cloud, Fault> {
    let fault = |text: String| Fault(text.into());
    let identity = identify(&settings.instance, &settings.aws, Path::new("/"));
    let identity = identity.await.map_err(|error| fault(one_line(&error)))?;
    let access = AgentAccess {
        region: settings.aws.region.clone().unwrap_or_else(|| identity.region.clone()),
        endpoint_url: settings.aws.endpoint_url.clone(),
        ca_bundle: settings.aws.ca_bundle.clone(),
        credentials: match &settings.aws.credentials {
            CredentialsSource::Instance => {
                AgentCredentials::Instance { metadata_url: settings.instance.metadata_url.clone() }
            }
            CredentialsSource::File(path) => AgentCredentials::File(path.clone()),
        },
    };
    let config = aws::for_agent(&access, connections).await.map_err(|error| fault(one_line(&error)))?;
    let bucket = settings.aws.bucket.clone().unwrap_or_else(|| bucket::default_bucket(&identity.account_id));
    let found = aws::s3_of_bucket(&config, &bucket).await;
    Ok(Cloud { identity, bucket, bucket_found: found.is_some(), s3: found.unwrap_or_else(|| aws::s3(&config)), config })
}

/// The options that registered keys may carry.
fn allowed_options(settings: &Settings) -> AllowedOptions {
    // The configuration was refused if it named an option that there is not.
    AllowedOptions::with(&settings.render.allowed_options).unwrap_or_default()
}

/// The source that needs no cloud, if that is the one.
pub fn source_of(settings: &Settings, cloud: Option<&Cloud>) -> Option<Arc<dyn Source>> {
    match (&settings.source, cloud) {
        (SourceSettings::Directory { path }, _) => {
            Some(Arc::new(DirectorySource::new(path.clone(), allowed_options(settings))))
        }
        (SourceSettings::Iam { registries }, Some(cloud)) => Some(Arc::new(cloud.iam_source(settings, registries))),
        (SourceSettings::Iam { .. }, None) => None,
    }
}

impl Cloud {
    fn iam_source(&self, settings: &Settings, registries: &[Registry]) -> IamSource {
        let access = fleetkey_common::registry::Access {
            s3: self.s3.clone(),
            ec2: aws_sdk_ec2::Client::new(&self.config),
            iam: aws_sdk_iam::Client::new(&self.config),
            bucket: self.bucket.clone(),
            allowed: allowed_options(settings),
        };
        let keeps_revocations = registries.contains(&Registry::S3) || settings.aws.bucket.is_some();
        iam::open(registries, &access, keeps_revocations)
    }

    /// Runs what lives by the cloud beside the source, until cancelled: hints, metrics, the status object. Gives the
    /// queue back, for whoever decides whether it is to go.
    pub(super) async fn serve(
        self,
        settings: Arc<Settings>,
        pushes: Arc<Notify>,
        push_health: watch::Sender<String>,
        status: watch::Receiver<Option<Arc<[u8]>>>,
        cancel: CancellationToken,
    ) -> Option<Push> {
        let push = self.push(&settings, &push_health);
        let listening = async {
            if let Some(push) = &push {
                let mut health = push.health();
                let telling = async {
                    loop {
                        push_health.send_replace(describe(&health.borrow_and_update()));
                        if health.changed().await.is_err() {
                            std::future::pending::<()>().await;
                        }
                    }
                };
                tokio::select! {
                    () = push.clone().run(|_| pushes.notify_one(), cancel.clone()) => {}
                    () = telling => {}
                }
            }
        };
        let measuring = async {
            if let Some(metrics_settings) = settings.metrics.clone() {
                let client = aws_sdk_cloudwatch::Client::new(&self.config);
                metrics::run(client, metrics_settings, self.identity.instance_id.clone(), cancel.clone()).await;
            }
        };
        let showing = async {
            if settings.report.status_object {
                self.keep_status_object(status, &cancel).await;
            }
        };
        tokio::join!(listening, measuring, showing);
        push
    }

    fn push(&self, settings: &Settings, health: &watch::Sender<String>) -> Option<Push> {
        let settings = settings.push.as_ref()?;
        let sqs = aws_sdk_sqs::Client::new(&aws::for_long_polls(&self.config));
        let sns = aws_sdk_sns::Client::new(&self.config);
        Push::new(sqs, sns, settings, &self.identity)
            .inspect_err(|error| {
                tracing::error!(action = "push", "no hints are listened for: {}", one_line(error));
                health.send_replace(format!("off: {}", one_line(error)));
            })
            .ok()
    }

    /// Writes the status to the bucket when it changes, and now and then. A failure is logged once, and tried again
    /// in a minute or with the next.
    async fn keep_status_object(&self, mut status: watch::Receiver<Option<Arc<[u8]>>>, cancel: &CancellationToken) {
        let mut client = self.s3.clone();
        let key = bucket::status_key(&self.identity.instance_id);
        let mut complained = false;
        loop {
            let body = status.borrow_and_update().clone();
            if let Some(body) = body {
                let put = client.put_object().bucket(&self.bucket).key(&key).content_type("application/json");
                let put = tokio::select! {
                    // Whoever ends this waits for it: a bucket that hangs must not hold up a reload or a stop.
                    () = cancel.cancelled() => return,
                    put = put.body(body.to_vec().into()).send() => put,
                };
                match put {
                    Ok(_) => complained = false,
                    Err(error) => {
                        if !complained {
                            complained = true;
                            tracing::warn!(action = "status-object", "cannot put {key}: {}", error_text(&error));
                        }
                        // It may be that its region was not to be had when it was last asked for.
                        let found = tokio::select! {
                            () = cancel.cancelled() => return,
                            found = aws::s3_of_bucket(&self.config, &self.bucket) => found,
                        };
                        client = found.unwrap_or(client);
                    }
                }
            }
            let earliest = Instant::now() + STATUS_GAP;
            tokio::select! {
                () = cancel.cancelled() => return,
                () = sleep(if complained { STATUS_RETRY } else { STATUS_HEARTBEAT }) => {}
                changed = status.changed() => if changed.is_err() { return },
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = sleep_until(earliest) => {}
            }
        }
    }
}

/// The health of the push, for the status.
fn describe(health: &Health) -> String {
    match health {
        Health::Connecting => "connecting".to_owned(),
        Health::Connected { queue } => format!("connected by queue {queue}"),
        Health::Down { reason } => format!("down, polling alone: {reason}"),
    }
}
