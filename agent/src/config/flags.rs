//! The flags: every field of the file, for one run. What a flag says is laid over the file.
//!
//! Flags are taken as written, so that they are checked by the same rules as the file. None has an environment
//! variable behind it: who can set one for the agent could otherwise say where its keys come from (T10).

use fleetkey_common::config_file::{Origin, Text, Written};

use super::fragment::{Fragment, GrantFragment};

/// Flags that are laid over the configuration file, for every command that reads it: flattened into its arguments.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Configuration, laid over the file")]
#[expect(clippy::struct_excessive_bools, reason = "each is one switch of the command line, or its opposite")]
pub struct Flags {
    /// Where the key set comes from: iam or directory
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    /// A registry that holds public keys: s3, ec2 or iam; repeat it or separate several by commas
    #[arg(long, value_name = "REGISTRY", value_delimiter = ',')]
    pub registry: Vec<String>,
    /// Folder of the directory source
    #[arg(long, value_name = "FOLDER")]
    pub directory: Option<String>,
    /// Time between two full looks, such as 60s
    #[arg(long, value_name = "TIME")]
    pub poll_interval: Option<String>,
    /// Who may log in to an account; repeatable, and in place of all grants of the file
    #[arg(long, value_name = "ACCOUNT=SPEC,SPEC[:MODE]")]
    pub grant: Vec<String>,
    /// The share of an account's keys that may go at once, such as 50%
    #[arg(long, value_name = "PERCENT")]
    pub max_removed: Option<String>,
    /// File of keys that are let in to every managed account
    #[arg(long, value_name = "FILE")]
    pub break_glass: Option<String>,
    /// How long the last good key set serves when the source cannot be reached, such as 72h
    #[arg(long, value_name = "TIME")]
    pub max_stale: Option<String>,
    /// Take hints by push
    #[arg(long, overrides_with = "no_push")]
    pub push: bool,
    /// Take no hints by push
    #[arg(long, overrides_with = "push")]
    pub no_push: bool,
    /// The SNS topic of the hints, by name or ARN
    #[arg(long, value_name = "TOPIC")]
    pub push_topic: Option<String>,
    /// When the agent deletes its queue: poweroff, exit or never
    #[arg(long, value_name = "WHEN")]
    pub delete_queue: Option<String>,
    /// The AWS region, in place of the instance's own
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// The public-key bucket, in place of ACCOUNT-ID-fleetkey
    #[arg(long, value_name = "BUCKET")]
    pub bucket: Option<String>,
    /// One endpoint for all AWS services
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// PEM certificates to trust in place of the system's
    #[arg(long, value_name = "FILE")]
    pub ca_bundle: Option<String>,
    /// AWS credentials, in place of the instance profile's
    #[arg(long, value_name = "FILE")]
    pub credentials_file: Option<String>,
    /// The instance id, where there is no metadata service
    #[arg(long, value_name = "ID")]
    pub instance_id: Option<String>,
    /// The AWS account id, where there is no metadata service
    #[arg(long, value_name = "ID")]
    pub account_id: Option<String>,
    /// The instance metadata service
    #[arg(long, value_name = "URL")]
    pub metadata_url: Option<String>,
    /// An option that registered keys may carry beside those that only take away, such as command; repeatable
    #[arg(long, value_name = "OPTION")]
    pub allow_option: Vec<String>,
    /// Write expiry-time= into the lines of keys that expire
    #[arg(long, overrides_with = "no_expiry_time")]
    pub expiry_time: bool,
    /// Write no expiry-time=, for an sshd before 7.7
    #[arg(long, overrides_with = "expiry_time")]
    pub no_expiry_time: bool,
    /// Keep a status object in the bucket
    #[arg(long, overrides_with = "no_status_object")]
    pub status_object: bool,
    /// Keep no status object in the bucket
    #[arg(long, overrides_with = "status_object")]
    pub no_status_object: bool,
    /// Report memory and disk use to CloudWatch
    #[arg(long, overrides_with = "no_metrics")]
    pub metrics: bool,
    /// Report nothing to CloudWatch
    #[arg(long, overrides_with = "metrics")]
    pub no_metrics: bool,
    /// Time between two reports to CloudWatch, such as 5m
    #[arg(long, value_name = "TIME")]
    pub metrics_interval: Option<String>,
    /// The CloudWatch namespace of the reports
    #[arg(long, value_name = "NAMESPACE")]
    pub metrics_namespace: Option<String>,
    /// Power the box off after that long without a session and with little load, such as 2h
    #[arg(long, value_name = "TIME")]
    pub autostop: Option<String>,
    /// What EC2 does with the box when it powers off, for people to know: stop or terminate
    #[arg(long, value_name = "ACTION")]
    pub autostop_action: Option<String>,
    /// The load, averaged over five minutes, above which the box counts as busy, such as 0.5
    #[arg(long, value_name = "LOAD")]
    pub autostop_max_load: Option<String>,
    /// The longest that one call of stay holds the box on, such as 24h
    #[arg(long, value_name = "TIME")]
    pub autostop_max_stay: Option<String>,
    /// Folder of what outlives a restart
    #[arg(long, value_name = "FOLDER")]
    pub state_folder: Option<String>,
    /// Folder of what does not
    #[arg(long, value_name = "FOLDER")]
    pub runtime_folder: Option<String>,
    /// Folder of the key files of system mode
    #[arg(long, value_name = "FOLDER")]
    pub system_keys: Option<String>,
}

impl Flags {
    /// The flags as a fragment of configuration.
    pub(super) fn fragment(&self) -> Fragment {
        Fragment {
            source: text("--source", self.source.as_ref()),
            registries: list("--registry", &self.registry),
            directory: text("--directory", self.directory.as_ref()),
            poll_interval: text("--poll-interval", self.poll_interval.as_ref()),
            grants: (!self.grant.is_empty()).then(|| self.grant.iter().map(|flag| grant(flag)).collect()),
            guard_max_removed: text("--max-removed", self.max_removed.as_ref()),
            guard_break_glass: text("--break-glass", self.break_glass.as_ref()),
            guard_max_stale: text("--max-stale", self.max_stale.as_ref()),
            push_enabled: switch("push", self.push, self.no_push),
            push_topic: text("--push-topic", self.push_topic.as_ref()),
            push_delete_queue: text("--delete-queue", self.delete_queue.as_ref()),
            aws_region: text("--region", self.region.as_ref()),
            aws_bucket: text("--bucket", self.bucket.as_ref()),
            aws_endpoint_url: text("--endpoint-url", self.endpoint_url.as_ref()),
            aws_ca_bundle: text("--ca-bundle", self.ca_bundle.as_ref()),
            aws_credentials_file: text("--credentials-file", self.credentials_file.as_ref()),
            instance_id: text("--instance-id", self.instance_id.as_ref()),
            instance_account_id: text("--account-id", self.account_id.as_ref()),
            instance_metadata_url: text("--metadata-url", self.metadata_url.as_ref()),
            render_allowed_options: list("--allow-option", &self.allow_option),
            render_expiry_time: switch("expiry-time", self.expiry_time, self.no_expiry_time),
            report_status_object: switch("status-object", self.status_object, self.no_status_object),
            metrics_enabled: switch("metrics", self.metrics, self.no_metrics),
            metrics_interval: text("--metrics-interval", self.metrics_interval.as_ref()),
            metrics_namespace: text("--metrics-namespace", self.metrics_namespace.as_ref()),
            autostop_after: text("--autostop", self.autostop.as_ref()),
            autostop_action: text("--autostop-action", self.autostop_action.as_ref()),
            autostop_max_load: text("--autostop-max-load", self.autostop_max_load.as_ref()),
            autostop_max_stay: text("--autostop-max-stay", self.autostop_max_stay.as_ref()),
            paths_state: text("--state-folder", self.state_folder.as_ref()),
            paths_runtime: text("--runtime-folder", self.runtime_folder.as_ref()),
            paths_system_keys: text("--system-keys", self.system_keys.as_ref()),
        }
    }
}

fn written<T>(flag: &str, value: T) -> Written<T> {
    Written { value, origin: Origin::Flag(flag.to_owned()) }
}

fn text(flag: &str, value: Option<&String>) -> Option<Text> {
    value.map(|value| written(flag, value.clone()))
}

fn list(flag: &str, values: &[String]) -> Option<Written<Vec<Text>>> {
    let items: Vec<_> = values.iter().map(|value| written(flag, value.clone())).collect();
    (!items.is_empty()).then(|| written(flag, items))
}

/// What a switch and its opposite say; clap lets the last of them stand alone.
fn switch(name: &str, on: bool, off: bool) -> Option<Written<bool>> {
    match (on, off) {
        (_, true) => Some(written(&format!("--no-{name}"), false)),
        (true, false) => Some(written(&format!("--{name}"), true)),
        (false, false) => None,
    }
}

/// `ACCOUNT=SPEC,SPEC[:MODE]`. No account has a `=` in its name and no key spec a `:`, but names in IAM can have a
/// comma: those are for the file. Without `=` there are no keys, which is told as such.
fn grant(flag: &str) -> GrantFragment {
    let label = format!("--grant {flag:?}");
    let (account, rest) = flag.split_once('=').map_or((flag, None), |(account, rest)| (account, Some(rest)));
    let (specs, mode) = match rest.and_then(|rest| rest.rsplit_once(':')) {
        Some((specs, mode)) => (Some(specs), Some(mode)),
        None => (rest, None),
    };
    let keys = specs.map(|specs| {
        let specs = specs.split(',').filter(|_| !specs.is_empty());
        written(&label, specs.map(|spec| written(&label, spec.to_owned())).collect())
    });
    GrantFragment {
        origin: Origin::Flag(label.clone()),
        account: Some(written(&label, account.to_owned())),
        keys,
        mode: mode.map(|mode| written(&label, mode.to_owned())),
    }
}
