//! `fleetkey cleanup`: what nobody uses any more is gone, in all regions.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::asking::{self, Consent};
use super::on_box::told;
use crate::aws::regions;
use crate::fleet::Fleet;
use crate::interrupt;
use crate::printer::Printer;
use crate::progress::Progress;
use crate::refusal::Refusal;
use crate::session::find_own_bucket;
use crate::settings::Settings;
use crate::sweep::course::{self, Failure, Fate, Survey, Swept};
use crate::sweep::ground::{Ground, Scope};
use crate::sweep::report::{self, FailedPart, Row};
use crate::sweep::{KINDS, Thing};
use crate::wait::{WaitError, Waiter, parse_timeout};

/// Delete what nobody uses any more, in all regions: snapshots, volumes, security groups, instance profiles, queues,
/// keys, packages, status.
///
/// Only what is Fleetkey's by its tags or its name, and of the namespace where it has one. Shows what would go, and
/// asks. What cannot be looked at whole stays. Without --region, all regions that the account can use.
#[derive(Debug, Args)]
pub(super) struct Cleanup {
    /// Only these kinds; data-volumes are swept only where they are named
    #[arg(long, value_name = "KIND", num_args = 1.., value_delimiter = ',', value_parser = kind_parser())]
    only: Vec<String>,
    /// Only what has been of no use, or been there, for longer than this
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = humantime::parse_duration)]
    older_than: Duration,
    /// Leave a region out, and take it that nothing in it is in use: for one that nobody may ask; repeatable
    #[arg(long, value_name = "REGION")]
    skip_region: Vec<String>,
    #[command(flatten)]
    consent: Consent,
    /// How long to look at most
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout, default_value = "15m",
        help_heading = "Waiting")]
    timeout: Duration,
}

/// What is printed with `--output json`.
#[derive(Serialize)]
struct Report<'a> {
    namespace: &'a str,
    regions: &'a [String],
    things: &'a [Row<'a>],
    /// How many were looked at and stay.
    kept: usize,
    /// What could not be looked at.
    failures: Vec<FailedPart<'a>>,
}

fn kind_parser() -> PossibleValuesParser {
    PossibleValuesParser::new(KINDS.iter().map(|sweep| sweep.about().kind))
}

impl Cleanup {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let asks = self.consent.asks();
        if asks {
            asking::needs_a_terminal("cleaning up", "--dry-run shows what would go")?;
        }
        let interrupted = interrupt::listen().context("listening for Ctrl-C")?;
        let waiter = Waiter::new(printer, interrupted.clone(), self.timeout);
        let ground = waiter.act("find out where to look", Box::pin(self.open(settings, printer))).await??;
        let Survey { things, failures } = self.survey(&ground, &waiter, printer).await?;
        let (go, stay): (Vec<_>, Vec<_>) = things.into_iter().partition(Thing::goes);
        for thing in &stay {
            let region = thing.region.as_deref().unwrap_or("the account");
            printer.detail(&format!("{} {} in {region} stays: {}", thing.kind, thing.id, thing.why()));
        }
        for failure in &failures {
            printer.warn(&format!("{} stay as they are: {}", part(failure), failure.error));
        }
        let print = |rows: &[Row<'_>]| {
            let report = Report {
                namespace: ground.namespace.as_str(),
                regions: &ground.swept,
                things: rows,
                kept: stay.len(),
                failures: failures.iter().map(FailedPart::from).collect(),
            };
            printer.data(&report::table(rows, ground.now), &report).context("writing to standard output")
        };
        let stays = format!("{} are in use or too young (-v names them)", stay.len());
        if go.is_empty() || self.consent.dry.dry_run {
            let rows: Vec<_> = go.iter().map(Row::planned).collect();
            print(&rows)?;
            let goes = if go.is_empty() { "nothing".to_owned() } else { report::sum(&go) };
            printer.note(&format!("would go: {goes}; {stays}"));
            return finish(failures, &[], ground.bucket.name());
        }
        if asks {
            let rows: Vec<_> = go.iter().map(Row::planned).collect();
            let question = format!("Delete for good: {}?", report::sum(&go));
            asking::confirm(report::table(&rows, ground.now), question).await?;
        }
        let swept = sweep(&ground, go, &interrupted, printer).await;
        let rows: Vec<_> = swept.iter().map(Row::swept).collect();
        print(&rows)?;
        for one in &swept {
            if let Some(error) = &one.error {
                printer.warn(&format!("{} {}: {error}", one.thing.kind, one.thing.id));
            }
        }
        let deleted = swept.iter().filter(|one| one.fate == Fate::Deleted).map(|one| &one.thing);
        printer.note(&format!(
            "deleted: {}; {stays}",
            Some(report::sum(deleted)).filter(|sum| !sum.is_empty()).unwrap_or("nothing".into())
        ));
        finish(failures, &swept, ground.bucket.name())
    }

    /// Looks at what there is, and shows how far it is.
    async fn survey(&self, ground: &Ground, waiter: &Waiter, printer: Printer) -> anyhow::Result<Survey> {
        let parts = course::parts(ground, &course::kinds(&self.only));
        let regions = match &ground.swept[..] {
            [region] => region.clone(),
            regions => format!("{} regions", regions.len()),
        };
        let progress = Progress::new(printer, &format!("looking in {regions}"), parts.len());
        let looking = Box::pin(course::survey(ground, parts, || progress.step()));
        waiter.act("look at what there is", looking).await.map_err(WaitError::into_anyhow)
    }

    /// Finds out the regions, and who calls.
    async fn open(&self, settings: &Settings, printer: Printer) -> anyhow::Result<Ground> {
        let fleet = Fleet::open(settings, printer).await?;
        let caller = fleet.caller().await?.clone();
        let enabled = regions::enabled(&fleet.ec2).await.map_err(told)?;
        for region in &self.skip_region {
            check(region, "--skip-region", &enabled)?;
        }
        let everywhere: Vec<String> =
            enabled.iter().filter(|region| !self.skip_region.contains(region)).cloned().collect();
        let swept = match &settings.only_region {
            Some(region) => {
                check(region, "--region", &enabled)?;
                if self.skip_region.contains(region) {
                    return Err(
                        Refusal::usage(format!("--skip-region leaves out {region}, which is to be swept")).into()
                    );
                }
                vec![region.clone()]
            }
            None => everywhere.clone(),
        };
        // Of another account's bucket, nobody here knows what is in use.
        let bucket = find_own_bucket(&fleet.config, settings, &fleet.region, &caller).await?;
        let scope = Scope { swept, everywhere, older_than: self.older_than };
        Ok(Ground::new(&fleet.config, fleet.namespace.clone(), caller, bucket, scope))
    }
}

/// Deletes the things, and shows how far it is.
async fn sweep(ground: &Ground, go: Vec<Thing>, interrupted: &CancellationToken, printer: Printer) -> Vec<Swept> {
    let progress = Progress::new(printer, &format!("deleting {}", report::sum(&go)), go.len());
    let heard = async {
        interrupted.cancelled().await;
        printer.note("interrupted: what was begun is brought to its end; once more, and it is not");
        std::future::pending::<()>().await;
    };
    let sweeping = Box::pin(course::carry_out(ground, go, interrupted, || progress.step()));
    tokio::select! {
        swept = sweeping => swept,
        () = heard => Vec::new(),
    }
}

/// Refuses a region that the account does not have.
fn check(region: &str, flag: &str, enabled: &[String]) -> Result<(), Refusal> {
    if enabled.iter().any(|one| one == region) {
        return Ok(());
    }
    Err(Refusal::usage(format!("{flag} {region}: the account cannot use a region of that name"))
        .hint(format!("it can use {}", enabled.join(", "))))
}

fn part(failure: &Failure) -> String {
    match &failure.region {
        Some(region) => format!("{} in {region}", failure.kind),
        None => failure.kind.to_owned(),
    }
}

/// The end of the command: an error if anything failed.
fn finish(failures: Vec<Failure>, swept: &[Swept], bucket: &str) -> anyhow::Result<()> {
    let not_tried = swept.iter().filter(|one| one.fate == Fate::NotTried).count();
    let failed = swept.iter().filter_map(|one| one.error.clone());
    let looks = failures.len();
    let errors: Vec<_> = failures.into_iter().map(|failure| failure.error).chain(failed).collect();
    let words = [
        (looks, "could not be looked at"),
        (errors.len() - looks, "could not be deleted"),
        (not_tried, "were not tried, since the command was interrupted"),
    ];
    let words: Vec<_> =
        words.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if words.is_empty() {
        return Ok(());
    }
    let mut refusal = Refusal::new(words.join(", ")).hint_permissions(&errors);
    // S3 refuses whoever lacks a permission and whoever names the wrong owner in the same words.
    if errors.iter().any(|error| error.action.starts_with("s3 ") && error.missing_permission().is_some()) {
        refusal = refusal.hint(format!("or the bucket {bucket} is another account's, of which nothing is swept"));
    }
    let refusal = if looks > 0 {
        refusal.hint("--only and --region leave kinds and regions out; --skip-region one of which you know that nothing is there")
    } else {
        refusal
    };
    Err(refusal.hint("the same command goes on").into())
}
