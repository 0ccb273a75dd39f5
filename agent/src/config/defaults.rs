//! What holds where neither the file nor a flag says anything.
//!
//! The packaged file and the pages of the manual say the same, and nothing else in the agent has a default of its own.

use std::time::Duration;

use fleetkey_common::registry::Registry;

/// The folder of the directory source, which is also the default source: it needs no cloud, and grants nothing while
/// the folder is empty.
pub(super) const DIRECTORY: &str = "/etc/fleetkey/directory";
/// The registries of the IAM source. Keys on IAM users are left out: many were uploaded for CodeCommit, and let nobody
/// in to a box until someone says so.
pub(super) const REGISTRIES: &[Registry] = &[Registry::S3, Registry::Ec2];
/// Time between two full looks.
pub(super) const POLL_INTERVAL: Duration = Duration::from_mins(1);
/// The share of an account's keys that may go at once.
pub(super) const MAX_REMOVED: f64 = 0.5;
/// Keys for emergencies.
pub(super) const BREAK_GLASS: &str = "/etc/fleetkey/break_glass.pub";
/// How long the last good key set serves: a long weekend.
pub(super) const MAX_STALE: Duration = Duration::from_hours(72);
/// The topic of the hints.
pub(super) const TOPIC: &str = "fleetkey-agent-notifications";
/// The instance metadata service, at its address in every VPC.
pub(super) const METADATA_URL: &str = "http://169.254.169.254";
/// Time between two reports to CloudWatch, as with CGCloud.
pub(super) const METRICS_INTERVAL: Duration = Duration::from_mins(5);
/// CGCloud's namespace, so that its alarms go on working.
pub(super) const METRICS_NAMESPACE: &str = "CGCloud";
/// The load up to which a box does nothing: half a program that is at work all the time. It is not counted by processor,
/// since a job of one thread is work on a large box too.
pub(super) const AUTOSTOP_MAX_LOAD: f64 = 0.5;
/// How long one call of `stay` holds a box on at most: a night and a day.
pub(super) const AUTOSTOP_MAX_STAY: Duration = Duration::from_hours(24);
/// What outlives a restart.
pub(super) const STATE_FOLDER: &str = "/var/lib/fleetkey";
/// What does not.
pub(super) const RUNTIME_FOLDER: &str = "/run/fleetkey";
/// The files of `system` mode.
pub(super) const SYSTEM_KEYS: &str = "/etc/ssh/fleetkey/authorized_keys.d";
