//! Carries a plan out: each part by itself, so that one that fails stops none that does not need it.
//!
//! Each is done whole or can be done again: what is left when this ends early, the same command finishes.

use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::bucket::{self, Setting};
use super::look::{Ground, bucket_arn};
use super::plan::{Part, Step, Todo};
use crate::aws::bucket::Bucket;
use crate::aws::caller::Caller;
use crate::aws::{CallError, managed_policies, topics};

/// The codes by which S3 says that it has yet to learn of a bucket everywhere.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
const UNSETTLED: [&str; 2] = ["NoSuchBucket", "OperationAborted"];

/// How often a new bucket is tried, and the first pause in between; each is twice as long as the one before.
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// What came of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// It would be done.
    Planned,
    /// It was done.
    Done,
    /// It was so already.
    Already,
    /// It was left out.
    LeftOut,
    /// It was tried and failed.
    Failed,
    /// The program was interrupted meanwhile: nobody knows.
    Unknown,
    /// It was not tried: it needs what failed, or the program was interrupted.
    NotTried,
}

impl Outcome {
    /// In a word or two.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Outcome::Planned => "planned",
            Outcome::Done => "done",
            Outcome::Already => "already so",
            Outcome::LeftOut => "left out",
            Outcome::Failed => "failed",
            Outcome::Unknown => "not known",
            Outcome::NotTried => "not tried",
        }
    }

    /// What comes of a step that has nothing to do, or that is only planned.
    pub(crate) fn of(todo: Todo) -> Self {
        match todo {
            Todo::Make | Todo::Change => Outcome::Planned,
            Todo::Keep => Outcome::Already,
            Todo::Leave => Outcome::LeftOut,
        }
    }
}

/// What came of all parts, in the order of the plan.
#[derive(Debug)]
pub(crate) struct Report {
    /// What came of each.
    pub(crate) outcomes: Vec<(Outcome, Option<CallError>)>,
    /// Whether the program was interrupted.
    pub(crate) interrupted: bool,
}

impl Report {
    /// The failures.
    pub(crate) fn failures(&self) -> impl Iterator<Item = &CallError> {
        self.outcomes.iter().filter_map(|(_, error)| error.as_ref())
    }
}

/// Carries out what the steps say.
pub(crate) async fn carry_out(ground: &mut Ground, steps: &[Step], interrupted: &CancellationToken) -> Report {
    let mut report = Report { outcomes: Vec::new(), interrupted: false };
    for step in steps {
        let outcome = match step.todo {
            Todo::Keep | Todo::Leave => (Outcome::of(step.todo), None),
            // What is set on a bucket needs it.
            _ if matches!(step.part, Part::Setting(_)) && !ground.bucket.exists() => (Outcome::NotTried, None),
            _ if interrupted.is_cancelled() => (Outcome::NotTried, None),
            Todo::Make | Todo::Change => tokio::select! {
                biased;
                () = interrupted.cancelled() => (Outcome::Unknown, None),
                done = perform(ground, step) => match done {
                    Ok(()) => (Outcome::Done, None),
                    Err(error) => (Outcome::Failed, Some(error)),
                },
            },
        };
        report.outcomes.push(outcome);
    }
    report.interrupted = interrupted.is_cancelled();
    report
}

async fn perform(ground: &mut Ground, step: &Step) -> Result<(), CallError> {
    match &step.part {
        Part::Bucket => ground.bucket.create().await,
        Part::Setting(setting) => set(&ground.bucket, *setting, &ground.bucket_arn()).await,
        Part::Topic { region } => topics::create(&ground.sns(region), region, &ground.topic).await.map(|_| ()),
        Part::Policy { document, arn: Some(arn), .. } => managed_policies::change(&ground.iam(), arn, document).await,
        Part::Policy { name, shipped, document, arn: None } => {
            let description = format!("Fleetkey: {}", shipped.purpose);
            managed_policies::create(&ground.iam(), name, &description, document).await
        }
    }
}

/// Makes the bucket as it should be. Where that fails in the middle it is there, and `fleetkey init` goes on.
pub(crate) async fn make_bucket(bucket: &mut Bucket, caller: &Caller) -> Result<(), CallError> {
    bucket.create().await?;
    let in_the_clear = bucket.in_the_clear().await?;
    let wanted = Setting::ALL.into_iter().filter(|setting| *setting != Setting::TlsOnly || !in_the_clear);
    for setting in wanted {
        set(bucket, setting, &bucket_arn(caller, bucket)).await?;
    }
    Ok(())
}

/// Makes a setting as it should be, and keeps what others set beside it.
async fn set(bucket: &Bucket, setting: Setting, arn: &str) -> Result<(), CallError> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS {
        match set_once(bucket, setting, arn).await {
            Err(error) if error.code.as_deref().is_some_and(|code| UNSETTLED.contains(&code)) => {}
            done => return done,
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    set_once(bucket, setting, arn).await
}

/// S3 takes tags, policy and rules each as a whole. What others have of them is read right before: since the plan was
/// made, somebody was asked, and a bucket that was to be made may be there (in us-east-1, to make one's own again is no
/// error).
async fn set_once(bucket: &Bucket, setting: Setting, arn: &str) -> Result<(), CallError> {
    match setting {
        Setting::Mark => bucket.put_tags(&bucket::marked(bucket.tags().await?)).await,
        Setting::Private => bucket.block_public_access().await,
        Setting::Owned => bucket.enforce_ownership().await,
        Setting::Encrypted => bucket.encrypt().await,
        Setting::Versioned => bucket.keep_versions().await,
        Setting::TlsOnly => bucket.put_policy(&bucket::with_tls_only(bucket.policy().await?.as_ref(), arn)).await,
        Setting::Lifecycle => {
            let rules = bucket::with_rules(&bucket.lifecycle().await?);
            let wrong = |error: aws_sdk_s3::error::BuildError| {
                CallError::answer(format!("s3 PutBucketLifecycleConfiguration of {}", bucket.name()), error.to_string())
            };
            bucket.put_lifecycle(rules.map_err(wrong)?).await
        }
    }
}
