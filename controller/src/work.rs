//! Changes to the world as values: planned by pure code, shown to people, then carried out here one after another.
//!
//! Each is done whole or can be done again: carrying out a plan twice comes to the same as once.

use std::collections::{BTreeMap, HashMap, VecDeque};

use fleetkey_common::bucket::{PEOPLE, revoked_key};
use fleetkey_common::names::PersonName;
use fleetkey_common::public_key::Fingerprint;
use serde::Serialize;

use crate::aws::key_pairs::KeyPair;
use crate::aws::{CallError, iam_keys, key_pairs};
use crate::session::Session;
use crate::table::Table;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Work {
    /// Puts an S3 object in place of whatever is there.
    Put { path: String, body: String, metadata: HashMap<String, String> },
    /// Puts a revocation, unless the key is barred already: the first reason stands.
    Bar { fingerprint: Fingerprint, body: String },
    /// Deletes an S3 object.
    Remove { path: String },
    /// Imports an EC2 key pair.
    Import { name: String, line: String, tags: BTreeMap<String, String> },
    /// Deletes an EC2 key pair and imports another key under its name: EC2 cannot do both at once.
    Replace { pair: KeyPair, line: String, tags: BTreeMap<String, String> },
    /// Sets tags of an EC2 key pair and removes those named.
    Tag { pair: KeyPair, tags: BTreeMap<String, String>, remove: Vec<&'static str> },
    /// Deletes an EC2 key pair.
    DeletePair { pair: KeyPair },
    /// Deletes an SSH public key of an IAM user.
    DeleteIamKey { user: PersonName, id: String },
    /// Tells the agents to look.
    Hint,
}

/// A change, and whom it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// The change.
    pub(crate) work: Work,
    /// Whose key, if known.
    pub(crate) person: Option<PersonName>,
    /// Which key, if known.
    pub(crate) fingerprint: Option<Fingerprint>,
}

/// What came of a change that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Done {
    /// The world is different now.
    Changed,
    /// It was so already.
    Already,
    /// A key pair was imported, and EC2 gave it this fingerprint.
    Imported(String),
}

/// How far a step has come, as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// It would be done.
    Planned,
    /// It was done.
    Done,
    /// It was so already.
    Already,
    /// It was tried and failed.
    Failed,
    /// An earlier step failed, so this one was not tried.
    NotTried,
}

impl Outcome {
    /// For a person.
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Done => "done",
            Self::Already => "already so",
            Self::Failed => "failed",
            Self::NotTried => "not tried",
        }
    }
}

/// A step as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    action: &'static str,
    registry: &'static str,
    place: String,
    person: Option<PersonName>,
    fingerprint: Option<Fingerprint>,
    result: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Whether a failure ends the work or only its own step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// Later steps build on earlier ones.
    Stop,
    /// Every step helps by itself.
    GoOn,
}

/// What came of all steps.
#[derive(Debug)]
pub(crate) struct Report {
    /// A row for each step, in order.
    pub(crate) rows: Vec<Row>,
    /// The failures, each with its step.
    pub(crate) failures: Vec<(Step, CallError)>,
}

impl Step {
    /// A step about nobody's key.
    pub(crate) fn new(work: Work) -> Self {
        Self { work, person: None, fingerprint: None }
    }

    /// The step as it is shown.
    pub(crate) fn row(&self, result: Outcome) -> Row {
        let (action, registry, place) = match &self.work {
            Work::Put { path, .. } => ("put", "s3", path.clone()),
            Work::Bar { fingerprint, .. } => ("bar", "s3", revoked_key(*fingerprint)),
            Work::Remove { path } => ("remove", "s3", path.clone()),
            Work::Import { name, .. } => ("import", "ec2", format!("key pair {name}")),
            Work::Replace { pair, .. } => ("replace", "ec2", format!("key pair {}", pair.name)),
            Work::Tag { pair, .. } => ("tag", "ec2", format!("key pair {}", pair.name)),
            Work::DeletePair { pair } => ("remove", "ec2", format!("key pair {}", pair.name)),
            Work::DeleteIamKey { user, id } => ("remove", "iam", format!("{id} of {user}")),
            Work::Hint => ("hint", "sns", "agents".to_owned()),
        };
        let (person, fingerprint) = (self.person.clone(), self.fingerprint);
        Row { action, registry, place, person, fingerprint, result, error: None }
    }
}

impl Work {
    /// Does it.
    async fn perform(&self, session: &Session) -> Result<Done, CallError> {
        let Session { ec2, iam, bucket, .. } = session;
        match self {
            Work::Put { path, body, metadata } => bucket.put(path, body, metadata.clone()).await?,
            Work::Bar { fingerprint, body } => {
                let barred_now = bucket.put_new(&revoked_key(*fingerprint), body).await?;
                return Ok(if barred_now { Done::Changed } else { Done::Already });
            }
            Work::Remove { path } => bucket.delete(path).await?,
            Work::Import { name, line, tags } => {
                return key_pairs::import(ec2, name, line, tags).await.map(Done::Imported);
            }
            Work::Replace { pair, line, tags } => {
                key_pairs::delete(ec2, pair).await?;
                return key_pairs::import(ec2, &pair.name, line, tags).await.map(Done::Imported);
            }
            Work::Tag { pair, tags, remove } => key_pairs::tag(ec2, pair, tags, remove).await?,
            Work::DeletePair { pair } => key_pairs::delete(ec2, pair).await?,
            Work::DeleteIamKey { user, id } => iam_keys::delete(iam, user, id).await?,
            Work::Hint => session.hint().await?,
        }
        Ok(Done::Changed)
    }
}

/// Carries out steps in order. `follow` may add a step right behind one that is done.
pub(crate) async fn carry_out(
    session: &Session,
    steps: Vec<Step>,
    on_failure: OnFailure,
    follow: impl Fn(&Done) -> Option<Step>,
) -> Report {
    let mut steps = VecDeque::from(steps);
    let mut report = Report { rows: Vec::new(), failures: Vec::new() };
    while let Some(step) = steps.pop_front() {
        if on_failure == OnFailure::Stop && !report.failures.is_empty() {
            report.rows.push(step.row(Outcome::NotTried));
            continue;
        }
        if must_wait(&step, &report.failures) {
            report.rows.push(step.row(Outcome::NotTried));
            continue;
        }
        match step.work.perform(session).await {
            Ok(done) => {
                report.rows.push(step.row(if done == Done::Already { Outcome::Already } else { Outcome::Done }));
                if let Some(next) = follow(&done) {
                    steps.push_front(next);
                }
            }
            Err(error) => {
                report.rows.push(Row { error: Some(error.to_string()), ..step.row(Outcome::Failed) });
                report.failures.push((step, error));
            }
        }
    }
    report
}

/// Whether a step would take away what says whose a key is, while that person's IAM user still has it: the same command
/// could not find it again.
fn must_wait(step: &Step, failures: &[(Step, CallError)]) -> bool {
    let Work::Remove { path } = &step.work else { return false };
    path.starts_with(PEOPLE)
        && failures.iter().any(|(failed, _)| {
            let same_key = failed.fingerprint == step.fingerprint || step.fingerprint.is_none();
            matches!(&failed.work, Work::DeleteIamKey { user, .. } if step.person.as_ref() == Some(user)) && same_key
        })
}

/// The rows as a table.
pub(crate) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["ACTION", "REGISTRY", "PLACE", "PERSON", "RESULT"]);
    for row in rows {
        let person = row.person.as_ref().map(ToString::to_string).unwrap_or_default();
        table.row(vec![
            row.action.into(),
            row.registry.into(),
            row.place.clone(),
            person,
            row.result.in_words().into(),
        ]);
    }
    table
}
