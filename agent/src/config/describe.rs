//! The settings in words, for whoever asks what the agent would do: one aligned line for each thing.
//!
//! For people only: nothing parses it.

use std::fmt::{self, Write};
use std::time::Duration;

use super::settings::{AutostopSettings, CredentialsSource, Grant, Settings, SourceSettings};
use super::values::{AUTOSTOP_ACTIONS, DELETE_QUEUE, MODES, name_of};

/// What these settings make the agent do: lines of a heading and what holds, ending in a newline.
pub fn describe(settings: &Settings) -> String {
    let mut page = Page::default();
    page.line("source", source(&settings.source));
    page.line("poll interval", time(settings.poll_interval));
    grants(&mut page, &settings.grants);
    page.line("max removed", format!("{}% of an account's keys at once", percent(settings.guard.max_removed)));
    page.line("max stale", time(settings.guard.max_stale));
    page.line("break glass", settings.guard.break_glass.display());
    page.line("push", push(settings));
    aws(&mut page, settings);
    page.line("expiry-time", if settings.render.expiry_time { "written into lines" } else { "not written into lines" });
    let options = &settings.render.allowed_options;
    page.line("extra options", if options.is_empty() { "none".to_owned() } else { options.join(", ") });
    page.line("status object", if settings.report.status_object { "kept in the bucket" } else { "off" });
    page.line(
        "metrics",
        settings.metrics.as_ref().map_or_else(
            || "off".to_owned(),
            |metrics| format!("every {} to CloudWatch namespace {}", time(metrics.interval), metrics.namespace),
        ),
    );
    page.line("autostop", settings.autostop.as_ref().map_or_else(|| "off".to_owned(), autostop));
    page.line("state", settings.paths.state.display());
    page.line("runtime", settings.paths.runtime.display());
    page.line("system keys", settings.paths.system_keys.display());
    page.0
}

/// Lines with a heading each.
#[derive(Default)]
struct Page(String);

impl Page {
    /// The width of the headings, with the gap behind them.
    const HEADING: usize = 15;

    fn line(&mut self, heading: &str, text: impl fmt::Display) {
        // To write into a string cannot fail.
        let _ = writeln!(self.0, "{heading:<width$}{text}", width = Self::HEADING);
    }
}

fn time(span: Duration) -> impl fmt::Display {
    humantime::format_duration(span)
}

/// A share as a percentage to two places, without what binary fractions add.
fn percent(share: f64) -> f64 {
    (share * 10_000.0).round() / 100.0
}

fn source(source: &SourceSettings) -> String {
    match source {
        SourceSettings::Directory { path } => format!("directory {}", path.display()),
        SourceSettings::Iam { registries } => {
            let names: Vec<_> = registries.iter().map(|registry| registry.as_str()).collect();
            format!("iam, with keys from {}", names.join(", "))
        }
    }
}

fn grants(page: &mut Page, grants: &[Grant]) {
    if grants.is_empty() {
        page.line("grants", "none: no account is managed");
    }
    let width = grants.iter().map(|grant| grant.account.as_str().len()).max().unwrap_or_default();
    for (index, grant) in grants.iter().enumerate() {
        let keys: Vec<_> = grant.keys.iter().map(ToString::to_string).collect();
        let keys = if keys.is_empty() { "nobody".to_owned() } else { keys.join(", ") };
        let mode = name_of(&grant.mode, MODES);
        let heading = if index == 0 { "grants" } else { "" };
        page.line(heading, format!("{:<width$}  {mode:<9}  {keys}", grant.account));
    }
}

fn push(settings: &Settings) -> String {
    let Some(push) = &settings.push else { return "off".to_owned() };
    let delete = match name_of(&push.delete_queue, DELETE_QUEUE) {
        "never" => "queue never deleted".to_owned(),
        when => format!("queue deleted at {when}"),
    };
    format!("topic {}, {delete}", push.topic)
}

fn autostop(settings: &AutostopSettings) -> String {
    let AutostopSettings { after, action, max_load, max_stay } = settings;
    let (after, max_stay, action) = (time(*after), time(*max_stay), name_of(action, AUTOSTOP_ACTIONS));
    format!("{action} after {after} without a session and with a load of at most {max_load}; stay up to {max_stay}")
}

fn aws(page: &mut Page, settings: &Settings) {
    let (aws, instance) = (&settings.aws, &settings.instance);
    page.line("region", aws.region.as_deref().unwrap_or("the instance's own"));
    page.line("bucket", aws.bucket.as_deref().unwrap_or("<account id>-fleetkey"));
    if let Some(url) = &aws.endpoint_url {
        page.line("endpoint", url);
    }
    if let Some(bundle) = &aws.ca_bundle {
        page.line("trusted CAs", bundle.display());
    }
    match &aws.credentials {
        CredentialsSource::Instance => page.line("credentials", "the instance profile"),
        CredentialsSource::File(path) => page.line("credentials", path.display()),
    }
    page.line("instance id", instance.id.as_deref().unwrap_or("from the metadata service"));
    page.line("account id", instance.account_id.as_deref().unwrap_or("from the metadata service"));
    page.line("metadata", &instance.metadata_url);
}
