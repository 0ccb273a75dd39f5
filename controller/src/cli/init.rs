//! `fleetkey init`: sets an account up for Fleetkey.

use anyhow::Context as _;
use aws_config::SdkConfig;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use fleetkey_common::aws::for_operator;
use fleetkey_common::bucket::default_bucket;
use serde::Serialize;

use super::asking::{self, Consent};
use crate::account::bucket::strangers;
use crate::account::carry::{self, Outcome, Report};
use crate::account::look::{self, Ground};
use crate::account::plan::{self, Part, Plan, Step, Wanted};
use crate::account::sheet::Sheet;
use crate::account::shipped::{Audience, Shipped};
use crate::account::{cloudformation, terraform};
use crate::aws::CallError;
use crate::aws::bucket::Bucket;
use crate::aws::caller;
use crate::fleet::Fleet;
use crate::interrupt;
use crate::printer::{self, Printer};
use crate::refusal::Refusal;
use crate::settings::{Settings, region_list};
use crate::table::Table;

/// What is said where something is left to do.
const AGAIN: &str = "the same command goes on where this one stopped";

/// Whose policies are made unless told otherwise.
const AUDIENCES: [Audience; 5] =
    [Audience::Operators, Audience::Revokers, Audience::Publishers, Audience::Cleaners, Audience::Agents];

/// Set an account up: the bucket, the topic of the hints, and IAM policies to attach to people and boxes.
///
/// Shows what it would make and change, and asks. Run again, it changes only what is not as it should be. What others
/// set on the bucket beside it, rules and statements and tags, stays; policies of Fleetkey's names become as they are
/// shipped. Nothing is ever deleted, and no policy is attached to anybody.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// Regions to set up; the bucket, if there is none, is made in the first [default: the region of --region, --zone or
    /// the AWS configuration]
    #[arg(long, value_name = "REGION", value_delimiter = ',')]
    regions: Vec<String>,
    /// A region that policies are to allow no more; the topic there stays
    #[arg(long, value_name = "REGION", value_delimiter = ',', conflicts_with_all = ["print", "no_policies"])]
    drop_region: Vec<String>,
    /// Whose policies to make [default: all]
    #[arg(long = "for", value_name = "WHO", value_parser = audience_parser(), value_delimiter = ',')]
    audiences: Vec<Audience>,
    /// Make no policies
    #[arg(long, conflicts_with = "audiences")]
    no_policies: bool,
    /// Take over a bucket that does not say that it is Fleetkey's
    #[arg(long, conflicts_with = "print")]
    adopt: bool,
    /// Print all of it for another tool, and neither ask AWS nor change anything
    #[arg(long, value_enum, value_name = "TOOL", conflicts_with_all = ["yes", "dry_run"])]
    print: Option<Tool>,
    #[command(flatten)]
    consent: Consent,
}

/// A tool that can make it all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tool {
    /// Terraform, in its JSON syntax: a file `fleetkey.tf.json`
    Terraform,
    /// CloudFormation: a template in JSON
    #[value(name = "cloudformation")]
    CloudFormation,
}

/// What is printed with `--output json`.
#[derive(Serialize)]
struct SetUp<'a> {
    account: &'a str,
    bucket: &'a str,
    regions: &'a [String],
    steps: &'a [Row],
}

/// A step as it is printed.
#[derive(Serialize)]
struct Row {
    action: &'static str,
    what: String,
    details: String,
    result: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Administrators, whom `doctor` knows, are not among them: no policy is made for them.
fn audience_parser() -> impl TypedValueParser<Value = Audience> {
    let values = PossibleValuesParser::new(AUDIENCES.iter().filter_map(ValueEnum::to_possible_value));
    values.try_map(|name| <Audience as ValueEnum>::from_str(&name, false))
}

impl Init {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let regions = region_list("--regions", &self.regions).map_err(Refusal::usage)?;
        let dropped = region_list("--drop-region", &self.drop_region).map_err(Refusal::usage)?;
        let region = regions.first().map(String::as_str).or(settings.region.as_deref());
        let config = for_operator(region, settings.aws_profile.as_deref()).await;
        let region = config.region().map(ToString::to_string).ok_or_else(Fleet::no_region)?;
        let regions = if regions.is_empty() { vec![region.clone()] } else { regions };
        if let Some(both) = regions.iter().find(|region| dropped.contains(region)) {
            return Err(Refusal::usage(format!("{both} is both to be set up and to be dropped")).into());
        }
        let audiences = self.audiences();
        if let Some(tool) = self.print {
            let sheet = Sheet { regions, bucket: settings.bucket.as_deref(), topic: &settings.topic, audiences };
            let text = match tool {
                Tool::Terraform => terraform::print(&sheet),
                Tool::CloudFormation => cloudformation::print(&sheet),
            };
            return printer::put(&text).context("writing to standard output");
        }
        if self.consent.asks() {
            asking::needs_a_terminal("setting up", "--dry-run shows what would be done")?;
        }
        let mut ground = open(&config, settings, &region).await?;
        printer.detail(&format!("calling as {}", ground.caller.arn));
        let names: Vec<String> = plan::policies(&audiences).map(Shipped::name).collect();
        let found = Box::pin(look::look(&ground, &regions, &names))
            .await
            .map_err(|error| unseen(error, ground.bucket.name()))?;
        let wanted = Wanted {
            account: ground.caller.account.clone(),
            partition: ground.caller.partition().to_owned(),
            regions,
            dropped,
            bucket: ground.bucket.name().to_owned(),
            bucket_region: ground.bucket.region().to_owned(),
            topic: settings.topic.clone(),
            audiences,
            adopt: self.adopt,
        };
        let plan = plan::plan(&wanted, &found)?;
        plan.warnings.iter().for_each(|warning| printer.warn(warning));
        plan.notes.iter().for_each(|note| printer.note(note));
        if self.consent.dry.dry_run || plan.changes() == 0 {
            if plan.changes() == 0 {
                printer.note("everything is as it should be");
            }
            return print(printer, &wanted, &planned(&wanted, &plan));
        }
        if !self.consent.yes {
            let question = format!("Make these {} changes in account {}?", plan.changes(), wanted.account);
            asking::confirm(table(&planned(&wanted, &plan)), question).await?;
        }
        let interrupted = interrupt::listen().context("listening for Ctrl-C")?;
        let report = carry::carry_out(&mut ground, &plan.steps, &interrupted).await;
        print(printer, &wanted, &rows(&wanted, &plan, &report))?;
        let policy = found.bucket.and_then(|(settings, _)| settings.policy);
        conclude(&report, &wanted, &strangers(policy.as_ref()), printer)
    }

    fn audiences(&self) -> Vec<Audience> {
        match (self.no_policies, &self.audiences[..]) {
            (true, _) => Vec::new(),
            (false, []) => AUDIENCES.to_vec(),
            (false, some) => some.to_vec(),
        }
    }
}

/// Finds out who calls, and the bucket, which must be the caller's account's whatever its name.
async fn open(config: &SdkConfig, settings: &Settings, region: &str) -> anyhow::Result<Ground> {
    let caller = caller::identify(config).await.map_err(|error| {
        anyhow::Error::from(error).context(
            Refusal::new("AWS does not say who is calling")
                .hint("check the credentials (AWS_PROFILE, aws configure, aws sso login) and the network"),
        )
    })?;
    let name = settings.bucket.clone().unwrap_or_else(|| default_bucket(&caller.account));
    let bucket = Bucket::find(config, region, &name, Some(caller.account.clone())).await;
    let bucket = bucket.context(Refusal::new(format!("it is not known whether there is a bucket {name}")))?;
    Ok(Ground { config: config.clone(), caller, bucket, topic: settings.topic.clone() })
}

/// Nothing was changed, since something could not be looked at.
fn unseen(error: CallError, bucket: &str) -> anyhow::Error {
    let mut refusal = Refusal::new("nothing was changed").hint_permissions([&error]);
    if error.action.starts_with("s3 ") && error.missing_permission().is_some() {
        refusal = refusal.hint(format!(
            "or the bucket {bucket} is another account's: names of buckets are shared by all; --bucket gives another"
        ));
    }
    anyhow::Error::from(error).context(refusal)
}

fn what(part: &Part, wanted: &Wanted) -> String {
    match part {
        Part::Bucket => format!("bucket {}", wanted.bucket),
        Part::Setting(setting) => format!("{} of the bucket", setting.as_str()),
        Part::Topic { .. } => format!("topic {}", wanted.topic),
        Part::Policy { name, .. } => format!("policy {name}"),
    }
}

fn row(step: &Step, wanted: &Wanted, result: Outcome, error: Option<&CallError>) -> Row {
    let (action, what) = (step.todo.as_str(), what(&step.part, wanted));
    Row { action, what, details: step.details.clone(), result, error: error.map(ToString::to_string) }
}

fn planned(wanted: &Wanted, plan: &Plan) -> Vec<Row> {
    plan.steps.iter().map(|step| row(step, wanted, Outcome::of(step.todo), None)).collect()
}

fn rows(wanted: &Wanted, plan: &Plan, report: &Report) -> Vec<Row> {
    let rows = plan.steps.iter().zip(&report.outcomes);
    rows.map(|(step, (outcome, error))| row(step, wanted, *outcome, error.as_ref())).collect()
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["ACTION", "WHAT", "DETAILS", "RESULT"]);
    for row in rows {
        table.row(vec![row.action.to_owned(), row.what.clone(), row.details.clone(), row.result.as_str().to_owned()]);
    }
    table
}

fn print(printer: Printer, wanted: &Wanted, rows: &[Row]) -> anyhow::Result<()> {
    let json = SetUp { account: &wanted.account, bucket: &wanted.bucket, regions: &wanted.regions, steps: rows };
    printer.data(&table(rows), &json).context("writing to standard output")
}

/// Says what is next, or what is left to do. `strangers` are the statements of others in the bucket's policy.
fn conclude(report: &Report, wanted: &Wanted, strangers: &[String], printer: Printer) -> anyhow::Result<()> {
    let failures: Vec<&CallError> = report.failures().collect();
    if report.interrupted && failures.is_empty() {
        return Err(Refusal::new("interrupted before everything was set up").hint(AGAIN).into());
    }
    if let Some((first, others)) = failures.split_first() {
        for error in others {
            printer.warn(&error.to_string());
        }
        return Err(anyhow::Error::from((*first).clone()).context(unfinished(&failures, wanted, strangers)));
    }
    printer.note(&format!("account {} is set up in {}", wanted.account, wanted.regions.join(", ")));
    if !wanted.audiences.is_empty() {
        let (partition, account) = (&wanted.partition, &wanted.account);
        printer.hint(&format!(
            "attach the policies to people and roles: aws iam attach-user-policy --user-name NAME --policy-arn \
             arn:{partition}:iam::{account}:policy/fleetkey/POLICY"
        ));
    }
    printer.hint("publish the agent for new boxes: fleetkey agent publish FILE");
    Ok(())
}

/// What to do about the parts that failed.
fn unfinished(failures: &[&CallError], wanted: &Wanted, strangers: &[String]) -> Refusal {
    let mut refusal = Refusal::new("not everything is set up").hint(AGAIN);
    if failures.iter().any(|error| error.code.as_deref() == Some("BucketAlreadyExists")) {
        refusal = refusal.hint(format!(
            "the bucket {} is another account's: names of buckets are shared by all; --bucket gives another",
            wanted.bucket
        ));
    }
    // S3 refuses a policy with a public statement in the words with which it refuses whoever lacks the permission.
    let refused = |error: &CallError| {
        error.action.starts_with("s3 PutBucketPolicy ") && error.missing_permission().is_some() && !strangers.is_empty()
    };
    let (public, others): (Vec<&CallError>, Vec<&CallError>) =
        failures.iter().copied().partition(|error| refused(error));
    if !public.is_empty() {
        refusal = refusal.hint(format!(
            "once public access is blocked, S3 takes no policy that lets in everybody: look at {} in aws s3api \
             get-bucket-policy --bucket {}; else the caller lacks s3:PutBucketPolicy",
            strangers.join(", "),
            wanted.bucket
        ));
    }
    refusal.hint_permissions(others)
}
