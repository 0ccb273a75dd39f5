//! From what was written to settings that the agent can work with: defaults, bounds, and what goes together.
//!
//! Pure: nothing is looked up. A value that is wrong is told and replaced by its default, so that the rest is checked
//! too; the settings are used only when nothing was told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use fleetkey_common::config_file::{Findings, List, Origin, Text, Written};
use fleetkey_common::names::AccountName;
use fleetkey_common::registry::Registry;

use super::fragment::Fragment;
use super::options::{self, Allowed};
use super::settings::{
    AwsSettings, CredentialsSource, DeleteQueue, GuardSettings, InstanceSettings, MetricsSettings, PathSettings,
    PushSettings, RenderSettings, ReportSettings, Settings, SourceSettings,
};
use super::values::{self, Fault};
use super::{autostop, defaults, grants};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Bounds of `poll_interval`: below, IAM would throttle a fleet; above, the fallback would be none.
const POLL_INTERVAL: (Duration, Duration) = (Duration::from_secs(5), DAY);
/// Bounds of `guard.max_stale`: above, someone who left a month ago would still get in wherever IAM cannot be reached.
const MAX_STALE: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(30 * 24));
/// Bounds of `metrics.interval`: CloudWatch keeps one value a minute.
const METRICS_INTERVAL: (Duration, Duration) = (Duration::from_mins(1), HOUR);

/// The settings, and where each account is named.
pub(super) fn settings(fragment: Fragment, findings: &mut Findings) -> (Settings, BTreeMap<AccountName, Origin>) {
    let mut fragment = fragment;
    let (grants, accounts) = grants::check(fragment.grants.take().unwrap_or_default(), findings);
    let mut check = Checker { findings };
    let source = check.source(&fragment);
    let poll_interval = check.time(fragment.poll_interval.as_ref(), POLL_INTERVAL, defaults::POLL_INTERVAL);
    let settings = Settings {
        grants,
        guard: check.guard(&fragment, poll_interval),
        render: check.render(&fragment),
        push: check.push(&fragment, &source),
        aws: check.aws(&fragment),
        instance: check.instance(&fragment),
        report: report(&fragment, &source),
        metrics: check.metrics(&fragment),
        autostop: autostop::check(&fragment, &mut check),
        paths: check.paths(&fragment),
        source,
        poll_interval,
    };
    (settings, accounts)
}

/// What is found wrong on the way.
pub(super) struct Checker<'f> {
    pub(super) findings: &'f mut Findings,
}

impl Checker<'_> {
    /// The value of a text, or `None` when it is not written, or wrong, which is then told.
    pub(super) fn value<T>(&mut self, text: Option<&Text>, parse: impl FnOnce(&str) -> Result<T, Fault>) -> Option<T> {
        let Written { value, origin } = text?;
        parse(value).map_err(|fault| self.findings.error(origin, fault)).ok()
    }

    fn path(&mut self, text: Option<&Text>, default: &str) -> PathBuf {
        self.value(text, values::path).unwrap_or_else(|| default.into())
    }

    pub(super) fn time(
        &mut self,
        text: Option<&Text>,
        (least, most): (Duration, Duration),
        default: Duration,
    ) -> Duration {
        self.value(text, |text| values::duration(text, least, most)).unwrap_or(default)
    }

    fn source(&mut self, fragment: &Fragment) -> SourceSettings {
        let path = self.path(fragment.directory.as_ref(), defaults::DIRECTORY);
        let directory = SourceSettings::Directory { path };
        let Some(Written { value, origin }) = &fragment.source else {
            self.refuse_registries(fragment, None);
            return directory;
        };
        match source_kind(value) {
            Ok(SourceKind::Iam) => {
                if let Some(unused) = &fragment.directory {
                    self.findings.warn(&unused.origin, "not used: the source is \"iam\", which reads no folder");
                }
                SourceSettings::Iam { registries: self.registries(fragment.registries.as_ref()) }
            }
            Ok(SourceKind::Directory) => {
                self.refuse_registries(fragment, Some(origin));
                directory
            }
            Err(fault) => {
                self.findings.error(origin, fault);
                // What was meant is not known, so the registries are checked by themselves only.
                self.registries(fragment.registries.as_ref());
                directory
            }
        }
    }

    /// Registries beside a directory source are a mistake, unless a flag has put that source over a file for IAM.
    fn refuse_registries(&mut self, fragment: &Fragment, source: Option<&Origin>) {
        let Some(written) = &fragment.registries else { return };
        if source.is_some_and(Origin::is_flag) && !written.origin.is_flag() {
            self.findings.warn(&written.origin, "not used: the source is \"directory\", which asks no registries");
        } else {
            let message = "only the source \"iam\" asks registries; write source = \"iam\", or take registries out";
            self.findings.error(&written.origin, message);
        }
    }

    fn registries(&mut self, list: Option<&List>) -> Vec<Registry> {
        let Some(list) = list else { return defaults::REGISTRIES.to_vec() };
        if list.value.is_empty() {
            self.findings.error(&list.origin, "no registry is named; give at least one of \"s3\", \"ec2\", \"iam\"");
        }
        let words = [Registry::S3, Registry::Ec2, Registry::Iam].map(|registry| (registry.as_str(), registry));
        let mut registries = Vec::with_capacity(words.len());
        for text in &list.value {
            match self.value(Some(text), |text| values::word(text, &words)) {
                Some(registry) if registries.contains(&registry) => {
                    self.findings.warn(&text.origin, format!("{:?} stands twice; take one out", text.value));
                }
                Some(registry) => registries.push(registry),
                None => {}
            }
        }
        registries
    }

    fn guard(&mut self, fragment: &Fragment, poll_interval: Duration) -> GuardSettings {
        let max_stale = self.time(fragment.guard_max_stale.as_ref(), MAX_STALE, defaults::MAX_STALE);
        if let Some(written) = &fragment.guard_max_stale
            && max_stale < poll_interval
        {
            let poll_interval = humantime::format_duration(poll_interval);
            let message = format!(
                "{:?} is less than poll_interval ({poll_interval}): every key set would be stale before the next look",
                written.value
            );
            self.findings.error(&written.origin, message);
        }
        GuardSettings {
            max_removed: self
                .value(fragment.guard_max_removed.as_ref(), values::percent)
                .unwrap_or(defaults::MAX_REMOVED),
            break_glass: self.path(fragment.guard_break_glass.as_ref(), defaults::BREAK_GLASS),
            max_stale,
        }
    }

    fn render(&mut self, fragment: &Fragment) -> RenderSettings {
        let mut allowed_options: Vec<String> = Vec::new();
        for text in fragment.render_allowed_options.iter().flat_map(|list| &list.value) {
            match self.value(Some(text), options::allowed) {
                Some(Allowed::Always) => {
                    let message = format!("{:?} only takes away, and is always allowed; take it out", text.value);
                    self.findings.warn(&text.origin, message);
                }
                Some(Allowed::ByLeave(name)) if !allowed_options.iter().any(|known| known == name) => {
                    allowed_options.push(name.to_owned());
                }
                Some(Allowed::ByLeave(_)) | None => {}
            }
        }
        let expiry_time = fragment.render_expiry_time.as_ref().is_none_or(|written| written.value);
        RenderSettings { allowed_options, expiry_time }
    }

    /// Push is on wherever the source is IAM: it only ever makes the agent look sooner, and the agent does without
    /// when its topic or its permissions are not there.
    fn push(&mut self, fragment: &Fragment, source: &SourceSettings) -> Option<PushSettings> {
        let settings = PushSettings {
            topic: self
                .value(fragment.push_topic.as_ref(), values::topic)
                .unwrap_or_else(|| defaults::TOPIC.to_owned()),
            delete_queue: self
                .value(fragment.push_delete_queue.as_ref(), |text| values::word(text, values::DELETE_QUEUE))
                .unwrap_or(DeleteQueue::Poweroff),
        };
        let has_push = matches!(source, SourceSettings::Iam { .. });
        let enabled = fragment.push_enabled.as_ref();
        let why_off = match enabled {
            Some(written) if written.value && !has_push => {
                let message = "push tells of changes in IAM, and the source \"directory\" is watched on the disk; take \
                               this out, or write source = \"iam\"";
                self.told_unless_overridden(&written.origin, fragment.source.as_ref(), message);
                return None;
            }
            Some(written) if !written.value => "push is off",
            _ if !has_push => "the source \"directory\" is watched on the disk, and takes no push",
            _ => return Some(settings),
        };
        for unused in [&fragment.push_topic, &fragment.push_delete_queue].into_iter().flatten() {
            self.findings.warn(&unused.origin, format!("not used: {why_off}"));
        }
        None
    }

    /// An error, or a warning where the source was put over the file by a flag and the file is right by itself.
    fn told_unless_overridden(&mut self, origin: &Origin, source: Option<&Text>, message: &str) {
        if source.is_some_and(|source| source.origin.is_flag()) && !origin.is_flag() {
            self.findings.warn(origin, message);
        } else {
            self.findings.error(origin, message);
        }
    }

    fn aws(&mut self, fragment: &Fragment) -> AwsSettings {
        let endpoint_url = self.value(fragment.aws_endpoint_url.as_ref(), values::url);
        if let (Some(url), Some(written)) = (&endpoint_url, &fragment.aws_endpoint_url)
            && url.starts_with("http://")
        {
            let message =
                "answers come without TLS: whoever is on the network between can let in anyone; for tests only";
            self.findings.warn(&written.origin, message);
        }
        let credentials = match self.value(fragment.aws_credentials_file.as_ref(), values::path) {
            Some(path) => CredentialsSource::File(path),
            None => CredentialsSource::Instance,
        };
        AwsSettings {
            region: self.value(fragment.aws_region.as_ref(), values::region),
            bucket: self.value(fragment.aws_bucket.as_ref(), values::bucket),
            endpoint_url,
            ca_bundle: self.value(fragment.aws_ca_bundle.as_ref(), values::path),
            credentials,
        }
    }

    fn instance(&mut self, fragment: &Fragment) -> InstanceSettings {
        InstanceSettings {
            id: self.value(fragment.instance_id.as_ref(), values::instance_id),
            account_id: self.value(fragment.instance_account_id.as_ref(), values::account_id),
            metadata_url: self
                .value(fragment.instance_metadata_url.as_ref(), values::url)
                .unwrap_or_else(|| defaults::METADATA_URL.to_owned()),
        }
    }

    fn metrics(&mut self, fragment: &Fragment) -> Option<MetricsSettings> {
        let settings = MetricsSettings {
            interval: self.time(fragment.metrics_interval.as_ref(), METRICS_INTERVAL, defaults::METRICS_INTERVAL),
            namespace: self
                .value(fragment.metrics_namespace.as_ref(), values::namespace)
                .unwrap_or_else(|| defaults::METRICS_NAMESPACE.to_owned()),
        };
        if fragment.metrics_enabled.as_ref().is_some_and(|written| written.value) {
            return Some(settings);
        }
        // Who switched metrics off knows; who set only an interval may think that they are on.
        if fragment.metrics_enabled.is_none() {
            for unused in [&fragment.metrics_interval, &fragment.metrics_namespace].into_iter().flatten() {
                self.findings
                    .warn(&unused.origin, "not used: metrics are off; write enabled = true in [metrics], or --metrics");
            }
        }
        None
    }

    fn paths(&mut self, fragment: &Fragment) -> PathSettings {
        let written = [&fragment.paths_state, &fragment.paths_runtime, &fragment.paths_system_keys];
        let defaults = [defaults::STATE_FOLDER, defaults::RUNTIME_FOLDER, defaults::SYSTEM_KEYS];
        let [state, runtime, system_keys] =
            [0, 1, 2].map(|index: usize| self.path(written[index].as_ref(), defaults[index]));
        let paths = [&state, &runtime, &system_keys];
        for (index, text) in written.into_iter().enumerate() {
            let Some(text) = text else { continue };
            // Of two that are written alike, one is told.
            let twin = (0..paths.len()).find(|&other| {
                other != index && paths[other] == paths[index] && (other < index || written[other].is_none())
            });
            if twin.is_some() {
                let message =
                    format!("{:?} is the folder of another setting of [paths] too; give each its own", text.value);
                self.findings.error(&text.origin, message);
            }
        }
        PathSettings { state, runtime, system_keys }
    }
}

/// The status object goes to the bucket, so by default it is kept where the source has to do with the bucket.
fn report(fragment: &Fragment, source: &SourceSettings) -> ReportSettings {
    let has_bucket = match source {
        SourceSettings::Iam { registries } => registries.contains(&Registry::S3) || fragment.aws_bucket.is_some(),
        SourceSettings::Directory { .. } => false,
    };
    ReportSettings { status_object: fragment.report_status_object.as_ref().map_or(has_bucket, |written| written.value) }
}

#[derive(Clone, Copy)]
enum SourceKind {
    Iam,
    Directory,
}

fn source_kind(text: &str) -> Result<SourceKind, Fault> {
    if text == "snapshot" {
        return Err("the source \"snapshot\" comes with a later release; give \"iam\" or \"directory\"".to_owned());
    }
    values::word(text, &[("iam", SourceKind::Iam), ("directory", SourceKind::Directory)])
}
