//! Memory and disk use to CloudWatch, as CGCloud's agent reported them, so that alarms and dashboards go on working:
//! `MemUsage`, `DiskUsage_root` and `DiskUsage_<mount point>`, in percent, by `InstanceId`.
//!
//! Never holds anything up: a file system that hangs is left out, and a report that fails is logged and forgotten.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::error::DisplayErrorContext;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::config::settings::MetricsSettings;

mod disks;
mod memory;

/// How long a file system may take to say how full it is.
const PROBE_LIMIT: Duration = Duration::from_secs(5);
/// The most disks reported: a metric costs money.
const DISK_LIMIT: usize = 50;

/// Reports memory and disk use every `settings.interval` until cancelled.
pub async fn run(client: Client, settings: MetricsSettings, instance_id: String, cancel: CancellationToken) {
    let report = async {
        let mut ticks = interval(settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut probes = Probes::new(PROBE_LIMIT);
        loop {
            ticks.tick().await;
            let metrics = collect(&mut probes).await;
            send(&client, &settings.namespace, &instance_id, metrics).await;
        }
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = report => {}
    }
}

/// Sends one report. CloudWatch is called once.
async fn send(client: &Client, namespace: &str, instance_id: &str, metrics: BTreeMap<String, f64>) {
    let instance = Dimension::builder().name("InstanceId").value(instance_id).build();
    let data = metrics.into_iter().map(|(name, percent)| {
        MetricDatum::builder()
            .metric_name(name)
            .value(percent)
            .unit(StandardUnit::Percent)
            .dimensions(instance.clone())
            .build()
    });
    match client.put_metric_data().namespace(namespace).set_metric_data(Some(data.collect())).send().await {
        Ok(_) => debug!(namespace, "memory and disk use reported"),
        Err(error) => warn!(
            namespace,
            error = %DisplayErrorContext(&error),
            "cloudwatch:PutMetricData failed; the next report is tried in its turn"
        ),
    }
}

/// All metrics of now: by name, in percent.
async fn collect(probes: &mut Probes) -> BTreeMap<String, f64> {
    // /proc is memory, not disk: reading it never waits for a device.
    let read = tokio::task::spawn_blocking(|| {
        (fs::read_to_string("/proc/meminfo").unwrap_or_default(), fs::read("/proc/self/mountinfo").unwrap_or_default())
    });
    let (meminfo, mountinfo) = read.await.unwrap_or_default();
    let mut metrics = BTreeMap::new();
    if let Some(percent) = memory::used_percent(&meminfo) {
        metrics.insert("MemUsage".to_owned(), percent);
    } else {
        warn!("/proc/meminfo does not say how much memory is in use");
    }
    for mount_point in disks::mount_points(&mountinfo).into_iter().take(DISK_LIMIT) {
        let Some(percent) = probes.used_percent(&mount_point).await else { continue };
        // Two mount points can come to one name, as `/` and `/root` do: the first, shorter one keeps it.
        metrics.entry(disks::metric_name(&mount_point)).or_insert(percent);
    }
    metrics
}

/// Asks file systems how full they are, and remembers those that have not answered yet.
#[derive(Debug)]
struct Probes {
    limit: Duration,
    unanswered: HashMap<PathBuf, oneshot::Receiver<Option<f64>>>,
}

impl Probes {
    /// Waits up to `limit` for each answer.
    fn new(limit: Duration) -> Self {
        Self { limit, unanswered: HashMap::new() }
    }

    /// How full the file system is; `None` when it cannot be had now.
    async fn used_percent(&mut self, mount_point: &Arc<Path>) -> Option<f64> {
        self.ask(mount_point, disks::used_percent).await
    }

    /// As [`Probes::used_percent`], with the question given.
    ///
    /// A file system that hangs holds one thread, however often it is to be asked. The thread is none of the runtime's,
    /// which would wait for it when the agent stops.
    async fn ask(
        &mut self,
        mount_point: &Arc<Path>,
        question: impl FnOnce(&Path) -> Option<f64> + Send + 'static,
    ) -> Option<f64> {
        let unanswered = self.unanswered.remove(&**mount_point);
        let mut answer = unanswered.or_else(|| in_a_thread(Arc::clone(mount_point), question))?;
        let Ok(answered) = timeout(self.limit, &mut answer).await else {
            warn!(mount_point = %mount_point.display(), "the file system does not answer; it is left out");
            self.unanswered.insert(mount_point.to_path_buf(), answer);
            return None;
        };
        answered.ok().flatten()
    }
}

/// Asks in a thread of its own; `None` when there is no thread to be had.
fn in_a_thread(
    mount_point: Arc<Path>,
    question: impl FnOnce(&Path) -> Option<f64> + Send + 'static,
) -> Option<oneshot::Receiver<Option<f64>>> {
    let (sender, receiver) = oneshot::channel();
    let thread = std::thread::Builder::new().name("disk-use".to_owned());
    let started = thread.spawn(move || {
        // Nobody listens any more when the agent has stopped meanwhile.
        let _ = sender.send(question(&mount_point));
    });
    match started {
        Ok(_) => Some(receiver),
        Err(error) => {
            warn!(%error, "no thread to ask for disk use");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_file_system_that_hangs_is_left_out_and_holds_one_thread_only() {
        let mut probes = Probes::new(Duration::from_millis(50));
        let path: Arc<Path> = Path::new("/hung").into();
        let (release, hung) = mpsc::channel::<()>();
        let wait_for_release = move |_: &Path| {
            let _ = hung.recv();
            Some(50.0)
        };
        assert_eq!(probes.ask(&path, wait_for_release).await, None);
        assert_eq!(probes.ask(&path, |_| panic!("it is not asked twice")).await, None);
        release.send(()).unwrap();
        probes.limit = PROBE_LIMIT;
        assert_eq!(probes.ask(&path, |_| panic!("it is not asked twice")).await, Some(50.0));
        assert_eq!(probes.ask(&path, |_| Some(1.0)).await, Some(1.0));
    }

    #[tokio::test]
    async fn this_machine_has_memory_in_use() {
        let metrics = collect(&mut Probes::new(PROBE_LIMIT)).await;
        assert!(metrics["MemUsage"] > 0.0 && metrics.values().all(|percent| (0.0..=100.0).contains(percent)));
    }
}
