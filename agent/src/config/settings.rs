//! The validated settings: what the rest of the agent sees of its configuration.
//!
//! Only [`super::load`] makes them, and every value here is one that the agent can work with.

use std::path::PathBuf;
use std::time::Duration;

use fleetkey_common::key_spec::KeySpec;
use fleetkey_common::names::AccountName;
use fleetkey_common::registry::Registry;

/// All settings of the agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where the key set comes from.
    pub source: SourceSettings,
    /// Time between two full looks when nothing pushes; every wait is jittered by a tenth.
    pub poll_interval: Duration,
    /// Who may log in where; one per account.
    pub grants: Vec<Grant>,
    /// What protects the box from a wrong answer.
    pub guard: GuardSettings,
    /// How lines are written.
    pub render: RenderSettings,
    /// Hints from SNS by SQS; `None` when off.
    pub push: Option<PushSettings>,
    /// How AWS is reached.
    pub aws: AwsSettings,
    /// This instance, where it is not to be asked of the instance metadata service.
    pub instance: InstanceSettings,
    /// Where status goes beside the box itself.
    pub report: ReportSettings,
    /// Memory and disk use to CloudWatch; `None` when off.
    pub metrics: Option<MetricsSettings>,
    /// When the box powers off by itself; `None`: never.
    pub autostop: Option<AutostopSettings>,
    /// Folders of the agent.
    pub paths: PathSettings,
}

/// Where the key set comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceSettings {
    /// `people/`, `groups/` and `revoked/` below this folder.
    Directory {
        /// The folder.
        path: PathBuf,
    },
    /// IAM groups and users, with keys from these registries.
    Iam {
        /// In the order given, each once; at least one.
        registries: Vec<Registry>,
    },
}

/// One account, and who may log in to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The Linux account.
    pub account: AccountName,
    /// Who; none at all means that nobody but the break-glass key gets in.
    pub keys: Vec<KeySpec>,
    /// How the account's key file is kept.
    pub mode: Mode,
}

/// How an account's key file is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The agent's own block in `~/.ssh/authorized_keys`; other people's lines are kept.
    Shared,
    /// `~/.ssh/authorized_keys` is the key set, and nothing else, as with CGCloud.
    Exclusive,
    /// A file of root's own, `<system_keys>/<account>`, that sshd reads beside the account's.
    System,
}

/// What protects the box from a wrong answer.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardSettings {
    /// The share of an account's keys, 0.0 to 1.0, up to which a cut is applied at once.
    pub max_removed: f64,
    /// Keys for emergencies, let in to every managed account; a file that only root can write.
    pub break_glass: PathBuf,
    /// How long the last good key set serves when the source cannot be reached.
    pub max_stale: Duration,
}

/// How lines are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderSettings {
    /// Options allowed in registered keys beside those that only take away: `command`, `environment`, ...
    pub allowed_options: Vec<String>,
    /// Whether lines of keys that expire carry `expiry-time=`, which sshd before 7.7 does not know.
    pub expiry_time: bool,
}

/// Hints from SNS by SQS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushSettings {
    /// The SNS topic: a name in the instance's own account and region, or an ARN.
    pub topic: String,
    /// When the queue is deleted.
    pub delete_queue: DeleteQueue,
}

/// When the agent deletes its queue and subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeleteQueue {
    /// When it is stopped because the box powers off; a reboot or a restart of the service keeps it.
    Poweroff,
    /// Whenever it stops.
    Exit,
    /// Never.
    Never,
}

/// How AWS is reached. Nothing of this is taken from the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsSettings {
    /// The region; `None`: the instance's own.
    pub region: Option<String>,
    /// The public-key bucket; `None`: `<account id>-fleetkey`.
    pub bucket: Option<String>,
    /// One endpoint for all services, for tests and private clouds; S3 is then addressed path-style.
    pub endpoint_url: Option<String>,
    /// PEM certificates to trust in place of the system's.
    pub ca_bundle: Option<PathBuf>,
    /// Where credentials come from.
    pub credentials: CredentialsSource,
}

/// Where the agent's AWS credentials come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialsSource {
    /// The instance profile, by the instance metadata service, version 2.
    Instance,
    /// A file of root's own in the form of `~/.aws/credentials`, profile `default`: for hosts that are not in EC2.
    File(PathBuf),
}

/// This instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSettings {
    /// The id to use where there is no metadata service, or that its answer must equal.
    pub id: Option<String>,
    /// The AWS account id, where there is no metadata service.
    pub account_id: Option<String>,
    /// The metadata service; `http://169.254.169.254` by default.
    pub metadata_url: String,
}

/// Where status goes beside the box itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportSettings {
    /// Whether a status object is kept in the bucket, `status/<instance id>.json`.
    pub status_object: bool,
}

/// Memory and disk use to CloudWatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsSettings {
    /// Time between two reports.
    pub interval: Duration,
    /// The CloudWatch namespace.
    pub namespace: String,
}

/// When the box powers off by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct AutostopSettings {
    /// After how long without a session and with little load.
    pub after: Duration,
    /// What EC2 does with it then.
    pub action: AutostopAction,
    /// The load, averaged over five minutes, up to which it counts as little.
    pub max_load: f64,
    /// How long one call of `stay` holds the box on at most.
    pub max_stay: Duration,
}

/// What EC2 does with a box that powers off. The launch has set that (`InstanceInitiatedShutdownBehavior`), and the box
/// cannot ask; it is here so that people are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AutostopAction {
    /// Its disks stay, and it can be started again.
    Stop,
    /// It is gone, and its disks with it.
    Terminate,
}

/// Folders of the agent, each owned by root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathSettings {
    /// What outlives a restart: `/var/lib/fleetkey`.
    pub state: PathBuf,
    /// What does not: `/run/fleetkey`.
    pub runtime: PathBuf,
    /// The files of `system` mode: `/etc/ssh/fleetkey/authorized_keys.d`.
    pub system_keys: PathBuf,
}
