//! `fleetkey register-key`: makes a public key one of a person's keys.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use fleetkey_common::bucket::revoked_key;
use fleetkey_common::names::PersonName;
use fleetkey_common::public_key::Fingerprint;
use jiff::Timestamp;
use serde::Serialize;

use super::dry_run::DryRun;
use crate::aws::{CallError, key_pairs};
use crate::expiry::When;
use crate::holdings;
use crate::key_file::KeyFile;
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::registration::{self, Expiry, Facts, Plan, Request};
use crate::session::Session;
use crate::settings::Settings;
use crate::work::{self, Done, OnFailure, Outcome, Row};

/// Register a public key as one of a person's keys.
///
/// It is put in the public-key bucket, where it counts for all regions, and imported as the EC2 key pair of the
/// person's name in one region; then the agents are told to look. A person may have any number of keys in the bucket,
/// and one EC2 key pair per region. What is registered already is left as it is: an interrupted run is finished by
/// the same command.
#[derive(Debug, Args)]
pub(super) struct RegisterKey {
    /// File with one OpenSSH public key, such as ~/.ssh/id_ed25519.pub; - reads standard input
    file: PathBuf,
    /// Whose key it is [default: FLEETKEY_ME, CGCLOUD_ME, me of the configuration, else the IAM user who calls]
    #[arg(long, value_name = "NAME")]
    person: Option<PersonName>,
    /// When the key ends: 2026-12-31 (through that day, UTC), 2026-12-31T18:00:00Z, 90d, 12h, or never
    ///
    /// A key that has an expiry keeps it unless this is given.
    #[arg(long, value_name = "WHEN")]
    expires: Option<When>,
    /// Take the key from another person who holds it; replace an EC2 key pair that holds another key
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    dry: DryRun,
}

/// What is printed with `--output json`.
#[derive(Serialize)]
struct Registered<'a> {
    person: &'a PersonName,
    fingerprint: Fingerprint,
    expires: Option<Timestamp>,
    steps: &'a [Row],
}

impl RegisterKey {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let now = Timestamp::now();
        let expires = match self.expires.map(|when| when.moment(now)).transpose() {
            Ok(None) => Expiry::Keep,
            Ok(Some(moment)) => Expiry::Set(moment),
            Err(error) => return Err(Refusal::usage(format!("--expires: {error}")).into()),
        };
        let path = self.file;
        let file = tokio::task::spawn_blocking(move || KeyFile::read(&path)).await.context("reading the key")??;
        printer.detail(&format!("{} {}", file.key.algorithm(), file.key.fingerprint()));

        let mut session = Session::open(settings, printer).await?;
        let person = match self.person.or_else(|| settings.me.clone()) {
            Some(person) => person,
            None => session.caller.person()?,
        };
        let by = session.caller.arn.clone();
        let request = Request { person, file, expires, force: self.force, by, now };
        let facts = look(&session, &request).await.map_err(|error| {
            let refusal = Refusal::new("nothing was changed").hint_permissions([&error]);
            anyhow::Error::from(error).context(refusal)
        })?;
        let plan = registration::plan(&request, &facts)?;
        plan.notes.iter().for_each(|note| printer.note(note));
        plan.hints.iter().for_each(|hint| printer.hint(hint));
        if self.dry.dry_run {
            let rows: Vec<Row> = plan.steps.iter().map(|step| step.row(Outcome::Planned)).collect();
            return print(printer, &request, &plan, &rows);
        }
        session.prepare(printer).await?;
        register(&session, &request, plan, printer).await
    }
}

/// Reads all that planning needs.
async fn look(session: &Session, request: &Request) -> Result<Facts, CallError> {
    let revoked_path = revoked_key(request.file.key.fingerprint());
    let (revoked, people, pairs) = tokio::try_join!(
        session.bucket.get(&revoked_path),
        holdings::people(&session.bucket),
        key_pairs::list(&session.ec2),
    )?;
    let mut objects = BTreeMap::new();
    for path in registration::object_keys(request, &pairs) {
        if let Some(object) = session.bucket.get(&path).await? {
            objects.insert(path, object);
        }
    }
    Ok(Facts { revoked: revoked.map(|object| object.body), people, objects, pairs })
}

async fn register(session: &Session, request: &Request, plan: Plan, printer: Printer) -> anyhow::Result<()> {
    let planned = registration::object_keys(request, &[]);
    let follow = |done: &Done| {
        let Done::Imported(fingerprint) = done else { return None };
        let path = registration::named_by_ec2(fingerprint)?;
        if planned.contains(&path) {
            return None;
        }
        printer.detail(&format!("EC2 names the key {fingerprint}: it is put in the bucket under that name too"));
        Some(registration::put(request, plan.expires, path))
    };
    let report = work::carry_out(session, plan.steps.clone(), OnFailure::Stop, follow).await;
    print(printer, request, &plan, &report.rows)?;
    let fingerprint = request.file.key.fingerprint();
    if let Some((_, error)) = report.failures.into_iter().next() {
        let refusal = Refusal::new(format!("{fingerprint} is not registered everywhere"))
            .hint("the same command goes on where this one stopped")
            .hint_permissions([&error]);
        return Err(anyhow::Error::from(error).context(refusal));
    }
    let until = plan.expires.map_or_else(String::new, |moment| format!(" until {moment}"));
    printer.note(&format!("{fingerprint} is registered as {}'s key{until}", request.person));
    printer.detail(&format!(
        "agents that listen to {} in {} look now, all others within their poll interval",
        session.topic(),
        session.region
    ));
    Ok(())
}

fn print(printer: Printer, request: &Request, plan: &Plan, rows: &[Row]) -> anyhow::Result<()> {
    let fingerprint = request.file.key.fingerprint();
    let json = Registered { person: &request.person, fingerprint, expires: plan.expires, steps: rows };
    printer.data(&work::table(rows), &json).context("writing to standard output")
}
