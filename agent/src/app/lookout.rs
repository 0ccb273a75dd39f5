//! Looking at the source: the way to it, the look that is under way, and the tasks that live by the same way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fleetkey_common::aws::Connections;
use fleetkey_common::key_spec::KeySpec;
use fleetkey_common::registry::KeyCache;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::cloud::{Cloud, connect, source_of};
use crate::config::settings::{Settings, SourceSettings};
use crate::report::Status;
use crate::source::{Fault, Findings, Source};
use crate::trigger::power::removal_is_due;
use crate::trigger::push::Push;

/// The longest that one look, or one question, may take: a source that answers ever so slowly must not keep the agent waiting for good.
pub(super) const LOOK_LIMIT: Duration = Duration::from_mins(5);

/// How long the tasks have to end when the agent stops; the removal of a queue has its own limit within.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// How long to wait before AWS is tried again for tasks that are not the source.
const RECONNECT: Duration = Duration::from_mins(1);

/// What a look came to.
pub(super) struct Looked {
    /// What was found.
    pub(super) findings: Findings,
    /// The way that was made for it, if there was none.
    pub(super) connected: Option<Cloud>,
}

/// The way to the source.
pub(super) struct Lookout {
    settings: Arc<Settings>,
    /// They outlive what they were made for: a reload that changes none of it makes none of them anew.
    connections: Connections,
    source: Option<Arc<dyn Source>>,
    instance_id: Option<String>,
    under_way: Option<BoxFuture<'static, Looked>>,
    pushes: Arc<Notify>,
    push_health: watch::Sender<String>,
    status: watch::Sender<Option<Arc<[u8]>>>,
    /// The status as last sent to the bucket, without what changes by itself.
    shown: Option<Status>,
    tasks: JoinSet<Option<Push>>,
    cancel: CancellationToken,
}

impl Lookout {
    /// A way that is yet to be made. `pushes` is told of every hint.
    pub(super) fn new(settings: Arc<Settings>, pushes: Arc<Notify>) -> Self {
        let mut lookout = Self {
            connections: Connections::default(),
            source: source_of(&settings, None),
            instance_id: settings.instance.id.clone(),
            under_way: None,
            pushes,
            push_health: watch::channel(String::new()).0,
            status: watch::channel(None).0,
            shown: None,
            tasks: JoinSet::new(),
            cancel: CancellationToken::new(),
            settings,
        };
        lookout.begin();
        lookout
    }

    /// What can be begun before AWS was reached.
    fn begin(&mut self) {
        let pushed = if self.settings.push.is_some() { "connecting" } else { "off" };
        self.push_health.send_replace(pushed.to_owned());
        let by_directory = matches!(self.settings.source, SourceSettings::Directory { .. });
        let wants_cloud =
            self.settings.push.is_some() || self.settings.metrics.is_some() || self.settings.report.status_object;
        if by_directory && wants_cloud {
            let (settings, connections) = (Arc::clone(&self.settings), self.connections.clone());
            let serve = self.serving();
            let cancel = self.cancel.clone();
            self.tasks.spawn(async move {
                let cloud = tokio::select! {
                    () = cancel.cancelled() => return None,
                    cloud = connect_at_last(&settings, &connections) => cloud,
                };
                serve(cloud).await
            });
        }
    }

    /// What is to be run once there is a way to AWS.
    fn serving(&self) -> impl FnOnce(Cloud) -> BoxFuture<'static, Option<Push>> + Send + use<> {
        let (settings, pushes) = (Arc::clone(&self.settings), Arc::clone(&self.pushes));
        let (health, status) = (self.push_health.clone(), self.status.subscribe());
        let cancel = self.cancel.clone();
        move |cloud| cloud.serve(settings, pushes, health, status, cancel).boxed()
    }

    /// Starts a look; one that is under way is given up.
    pub(super) fn start(&mut self, specs: BTreeSet<KeySpec>, cache: KeyCache) {
        let (settings, source) = (Arc::clone(&self.settings), self.source.clone());
        let (known_as, connections) = (self.instance_id.clone(), self.connections.clone());
        let look = async move {
            let (source, connected) = match source {
                Some(source) => (source, None),
                None => match connect_as(&settings, &connections, known_as.as_deref()).await {
                    Ok(cloud) => match source_of(&settings, Some(&cloud)) {
                        Some(source) => (source, Some(cloud)),
                        None => return unreachable_source(Fault("this source cannot be asked".into())),
                    },
                    Err(fault) => return unreachable_source(fault),
                },
            };
            Looked { findings: source.fetch(&specs, &cache).await, connected }
        };
        let limited =
            timeout(LOOK_LIMIT, look).map(|looked| looked.unwrap_or_else(|_| unreachable_source(no_answer())));
        self.under_way = Some(limited.boxed());
    }

    /// The outcome of the look that is under way; never, when none is.
    pub(super) async fn looked(&mut self) -> Looked {
        match &mut self.under_way {
            Some(look) => {
                let looked = look.await;
                self.under_way = None;
                looked
            }
            None => std::future::pending().await,
        }
    }

    /// Keeps the way that a look made, and begins what lives by it.
    pub(super) fn connected(&mut self, cloud: Cloud) {
        tracing::info!(
            action = "connected", instance = %cloud.identity.instance_id, region = %cloud.identity.region,
            "this is {} in {}", cloud.identity.instance_id, cloud.identity.region
        );
        // Until it is known where the bucket is, each look makes the way anew.
        self.source = source_of(&self.settings, Some(&cloud)).filter(|_| cloud.bucket_found);
        self.instance_id = Some(cloud.identity.instance_id.clone());
        if self.tasks.is_empty() {
            let serve = self.serving();
            self.tasks.spawn(serve(cloud));
        }
    }

    /// The source, once there is a way to it.
    pub(super) fn source(&self) -> Option<Arc<dyn Source>> {
        self.source.clone()
    }

    /// The instance, once it is known.
    pub(super) fn instance_id(&self) -> Option<String> {
        self.instance_id.clone()
    }

    /// How hints reach this box, for the status, and word of every change of it.
    pub(super) fn push_health(&self) -> watch::Receiver<String> {
        self.push_health.subscribe()
    }

    /// Hands the status to whoever keeps the object in the bucket, if it says anything new.
    pub(super) fn show(&mut self, status: &Status) {
        if !self.settings.report.status_object {
            return;
        }
        let lasting = status.without_ages();
        if self.shown.as_ref() == Some(&lasting) {
            return;
        }
        self.shown = Some(lasting);
        match serde_json::to_vec(status) {
            Ok(bytes) => {
                self.status.send_replace(Some(bytes.into()));
            }
            Err(error) => tracing::warn!(action = "status-object", "{error}"),
        }
    }

    /// Takes new settings: the way is made anew, and what is under way is given up. The queue stays.
    pub(super) async fn reconfigure(&mut self, settings: Arc<Settings>) {
        self.end_tasks().await;
        self.cancel = CancellationToken::new();
        self.under_way = None;
        self.shown = None;
        self.source = source_of(&settings, None);
        if settings.instance.id != self.settings.instance.id {
            self.instance_id.clone_from(&settings.instance.id);
        }
        self.settings = settings;
        self.begin();
    }

    /// Ends the tasks, and removes the queue if this is a stop for good.
    pub(super) async fn stop(&mut self) {
        let queues = self.end_tasks().await;
        let Some(push) = &self.settings.push else { return };
        if !removal_is_due(push.delete_queue).await {
            return;
        }
        for queue in queues {
            match queue.remove().await {
                Ok(()) => tracing::info!(action = "push", "the queue and its subscription are removed"),
                Err(error) => tracing::warn!(action = "push", "{}", fleetkey_common::error_text::one_line(&error)),
            }
        }
    }

    async fn end_tasks(&mut self) -> Vec<Push> {
        self.cancel.cancel();
        let mut queues = Vec::new();
        let ended = timeout(STOP_LIMIT, async {
            while let Some(ended) = self.tasks.join_next().await {
                queues.extend(ended.ok().flatten());
            }
        });
        if ended.await.is_err() {
            tracing::warn!(action = "stop", "tasks did not end within {} s", STOP_LIMIT.as_secs());
            self.tasks.abort_all();
        }
        queues
    }
}

/// That [`LOOK_LIMIT`] is over.
pub(super) fn no_answer() -> Fault {
    Fault(format!("the source did not answer within {} s", LOOK_LIMIT.as_secs()).into())
}

fn unreachable_source(fault: Fault) -> Looked {
    Looked { findings: Findings::unreachable(fault), connected: None }
}

/// The way to AWS, if it is still the way of the instance that this was known as.
async fn connect_as(settings: &Settings, connections: &Connections, known_as: Option<&str>) -> Result<Cloud, Fault> {
    let cloud = connect(settings, connections).await?;
    let still = cloud.identity.still_is(known_as);
    still.map_err(|error| Fault(fleetkey_common::error_text::one_line(&error).into()))?;
    Ok(cloud)
}

/// Tries until AWS is reached.
async fn connect_at_last(settings: &Settings, connections: &Connections) -> Cloud {
    loop {
        match connect(settings, connections).await {
            Ok(cloud) => return cloud,
            Err(fault) => tracing::warn!(action = "fault", "AWS is not reached: {fault}; trying again in a minute"),
        }
        sleep(RECONNECT).await;
    }
}
