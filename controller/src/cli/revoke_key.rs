//! `fleetkey revoke-key`: bars keys for good and takes them out of every registry.

use anyhow::Context as _;
use clap::{ArgGroup, Args};
use fleetkey_common::names::PersonName;
use fleetkey_common::public_key::{Ec2Fingerprint, Fingerprint};
use jiff::Timestamp;
use serde::Serialize;

use super::asking::{self, Consent};
use crate::aws::{CallError, iam_keys, key_pairs};
use crate::holdings;
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::revocation::{self, Facts, Plan, Reason, Target};
use crate::session::Session;
use crate::settings::Settings;
use crate::work::{self, OnFailure, Outcome, Row};

/// The longest reason, in characters.
const MAX_WHY: usize = 500;

/// Bar keys for good and take them out of every registry.
///
/// The key is barred first, for all regions and whatever else holds it; then it is removed from the bucket, from the
/// EC2 key pairs of one region, and from the IAM users who hold it. It cannot be registered again. When a call
/// fails, the rest is done all the same, and the command that finishes it is named.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["fingerprint", "person"])))]
pub(super) struct RevokeKey {
    /// The key: SHA256:... as ssh-keygen -l prints it, 64 hex digits, or an EC2 fingerprint with colons
    #[arg(value_parser = parse_fingerprint)]
    fingerprint: Option<Given>,
    /// Every key that any registry has of this person
    #[arg(long, value_name = "NAME")]
    person: Option<PersonName>,
    /// Why, kept with the revocation
    #[arg(long, value_name = "TEXT", value_parser = parse_why, default_value = "no reason given")]
    why: String,
    #[command(flatten)]
    consent: Consent,
}

/// A fingerprint as it was given.
#[derive(Debug, Clone, Copy)]
enum Given {
    /// The key's own.
    Key(Fingerprint),
    /// One by which only EC2 names the key.
    Ec2(Ec2Fingerprint),
}

/// What is printed with `--output json`.
#[derive(Serialize)]
struct Revoked<'a> {
    keys: Vec<RevokedKey<'a>>,
    steps: &'a [Row],
}

#[derive(Serialize)]
struct RevokedKey<'a> {
    fingerprint: Fingerprint,
    person: Option<&'a PersonName>,
}

fn parse_fingerprint(text: &str) -> Result<Given, String> {
    if let Ok(fingerprint) = text.parse() {
        return Ok(Given::Key(fingerprint));
    }
    match text.parse() {
        Ok(Ec2Fingerprint::Sha256(fingerprint)) => Ok(Given::Key(fingerprint)),
        Ok(other) => Ok(Given::Ec2(other)),
        Err(error) => Err(format!("{error}, or an EC2 fingerprint; ssh-keygen -lf FILE prints that of a file")),
    }
}

fn parse_why(text: &str) -> Result<String, String> {
    if text.chars().count() > MAX_WHY {
        return Err(format!("a reason has at most {MAX_WHY} characters"));
    }
    if text.contains(char::is_control) {
        return Err("a reason is one line of plain text".to_owned());
    }
    Ok(text.to_owned())
}

impl RevokeKey {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let asks = self.consent.asks();
        if asks {
            asking::needs_a_terminal("revoking", "--dry-run shows what would be done")?;
        }
        let mut session = Session::open(settings, printer).await?;
        let (mut facts, mut faults) = look(&session).await;
        let target = match (self.fingerprint, self.person) {
            (Some(given), _) => Target::Key(resolve(given, &facts, &faults)?),
            (None, Some(person)) => Target::Person(person),
            (None, None) => return Err(Refusal::usage("give a fingerprint or --person NAME").into()),
        };
        look_at_users(&session, &target, &mut facts, &mut faults).await;
        let reason = Reason { who: session.caller.arn.clone(), when: Timestamp::now(), why: self.why };
        let plan = revocation::plan(&target, &facts, &reason);
        explain(&target, &plan, &faults, printer)?;

        let rows: Vec<Row> = plan.steps.iter().map(|step| step.row(Outcome::Planned)).collect();
        if self.consent.dry.dry_run {
            print(printer, &plan, &rows)?;
        } else {
            if asks {
                let question = match plan.keys.len() {
                    1 => "Revoke this key for good?".to_owned(),
                    count => format!("Revoke these {count} keys for good?"),
                };
                asking::confirm(work::table(&rows), question).await?;
            }
            session.prepare(printer).await?;
            faults.extend(revoke(&session, &plan, printer).await?);
        }
        finish(&target, &plan, faults, self.consent.dry.dry_run, printer)
    }
}

/// Reads the registries, each for itself: one that cannot be read must not keep a key from being barred.
async fn look(session: &Session) -> (Facts, Vec<CallError>) {
    let (people, named, pairs) = tokio::join!(
        holdings::people(&session.bucket),
        holdings::named(&session.bucket),
        key_pairs::list(&session.ec2),
    );
    let mut faults = Vec::new();
    let facts = Facts {
        people: people.unwrap_or_else(|error| note_fault(&mut faults, error)),
        named: named.unwrap_or_else(|error| note_fault(&mut faults, error)),
        pairs: pairs.unwrap_or_else(|error| note_fault(&mut faults, error)),
        ..Facts::default()
    };
    (facts, faults)
}

fn note_fault<T>(faults: &mut Vec<CallError>, error: CallError) -> Vec<T> {
    faults.push(error);
    Vec::new()
}

async fn look_at_users(session: &Session, target: &Target, facts: &mut Facts, faults: &mut Vec<CallError>) {
    for user in revocation::holders(target, facts) {
        match iam_keys::list(&session.iam, &user).await {
            Ok(keys) => facts.iam.extend(keys),
            Err(error) => {
                faults.push(error);
                facts.unseen.insert(user);
            }
        }
    }
}

fn resolve(given: Given, facts: &Facts, faults: &[CallError]) -> Result<Fingerprint, anyhow::Error> {
    let fingerprint = match given {
        Given::Key(fingerprint) => return Ok(fingerprint),
        Given::Ec2(fingerprint) => fingerprint,
    };
    revocation::resolve(&fingerprint, facts).ok_or_else(|| {
        let refusal = Refusal::new(format!(
            "no key pair of this region and no object in the bucket tells which key {fingerprint} is"
        ))
        .hint("give the key's own fingerprint: ssh-keygen -lf FILE prints it, SHA256:...")
        .hint_permissions(faults);
        match faults.first() {
            Some(fault) => anyhow::Error::from(fault.clone()).context(refusal),
            None => refusal.into(),
        }
    })
}

/// Says what the plan does not do, and refuses a person of whom nothing is known.
fn explain(target: &Target, plan: &Plan, faults: &[CallError], printer: Printer) -> anyhow::Result<()> {
    for fault in faults {
        printer.warn(&fault.to_string());
    }
    for path in &plan.kept {
        printer
            .warn(&format!("{path} holds other keys too and is left as it is; the key in it is barred all the same"));
    }
    for place in &plan.waiting {
        printer
            .warn(&format!("{place} stays until IAM can say which keys its owner has there; they are barred already"));
    }
    match target {
        Target::Person(person) if plan.keys.is_empty() && !plan.removes() && plan.waiting.is_empty() => {
            Err(Refusal::new(format!("no registry that could be read has a key of {person}"))
                .hint("names count with their case: aws iam list-users shows those of IAM")
                .into())
        }
        Target::Key(fingerprint) if !plan.removes() && plan.waiting.is_empty() => {
            printer.note(&format!("no registry that was looked at holds {fingerprint}; it is barred all the same"));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Carries the plan out and gives what failed.
async fn revoke(session: &Session, plan: &Plan, printer: Printer) -> anyhow::Result<Vec<CallError>> {
    let report = work::carry_out(session, plan.steps.clone(), OnFailure::GoOn, |_| None).await;
    print(printer, plan, &report.rows)?;
    for (_, error) in &report.failures {
        printer.warn(&error.to_string());
    }
    printer.detail(&format!(
        "key pairs were removed in {} alone; those of other regions are barred by the bucket all the same",
        session.region
    ));
    Ok(report.failures.into_iter().map(|(_, error)| error).collect())
}

fn finish(target: &Target, plan: &Plan, faults: Vec<CallError>, dry_run: bool, printer: Printer) -> anyhow::Result<()> {
    let count = faults.len();
    let refusal = Refusal::new(format!("{count} of the calls to AWS failed, so keys may be left"));
    let mut refusal = refusal.hint_permissions(&faults);
    let Some(first) = faults.into_iter().next() else {
        if !dry_run {
            plan.keys.keys().for_each(|fingerprint| printer.note(&format!("{fingerprint} is revoked")));
        }
        return Ok(());
    };
    // A key that IAM alone has is known by its user only.
    if let Target::Person(person) = target {
        refusal = refusal.hint(format!("run again to finish: fleetkey revoke-key --person {person}"));
    }
    // By fingerprint too, since what said whose key it was may be gone by now.
    for fingerprint in plan.keys.keys() {
        refusal = refusal.hint(format!("run again to finish: fleetkey revoke-key {fingerprint}"));
    }
    Err(anyhow::Error::from(first).context(refusal))
}

fn print(printer: Printer, plan: &Plan, rows: &[Row]) -> anyhow::Result<()> {
    let keys = plan.keys.iter();
    let keys = keys.map(|(fingerprint, person)| RevokedKey { fingerprint: *fingerprint, person: person.as_ref() });
    printer
        .data(&work::table(rows), &Revoked { keys: keys.collect(), steps: rows })
        .context("writing to standard output")
}
