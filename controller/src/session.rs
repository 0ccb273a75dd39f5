//! The world of one command: who calls, which region, the clients and the bucket. Opened once, then only used.

use anyhow::Context as _;
use aws_config::SdkConfig;
use fleetkey_common::aws::for_operator;
use fleetkey_common::bucket::default_bucket;
use fleetkey_common::message::{self, Message};

use crate::account::carry;
use crate::aws::bucket::Bucket;
use crate::aws::caller::{self, Caller};
use crate::aws::{CallError, hint};
use crate::fleet::Fleet;
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::settings::Settings;

/// Finds the public-key bucket. Only that under the default name need not be there: it is made at the first write.
pub(crate) async fn find_bucket(
    config: &SdkConfig,
    settings: &Settings,
    region: &str,
    caller: &Caller,
) -> anyhow::Result<Bucket> {
    let is_default = settings.bucket.as_ref().is_none_or(|name| *name == default_bucket(&caller.account));
    find(config, settings, region, caller, is_default.then(|| caller.account.clone())).await
}

/// The same for what is decided by things of the caller's account, such as which keys are in use: whatever its name, the
/// bucket must be the account's too.
pub(crate) async fn find_own_bucket(
    config: &SdkConfig,
    settings: &Settings,
    region: &str,
    caller: &Caller,
) -> anyhow::Result<Bucket> {
    find(config, settings, region, caller, Some(caller.account.clone())).await
}

async fn find(
    config: &SdkConfig,
    settings: &Settings,
    region: &str,
    caller: &Caller,
    owner: Option<String>,
) -> anyhow::Result<Bucket> {
    let default = default_bucket(&caller.account);
    let name = settings.bucket.clone().unwrap_or_else(|| default.clone());
    let may_make = name == default;
    let bucket = Bucket::find(config, region, &name, owner).await.context(
        Refusal::new(format!("the public-key bucket {name} cannot be used"))
            .hint("--bucket or FLEETKEY_BUCKET names another bucket"),
    )?;
    if !bucket.exists() && !may_make {
        // Only the default is made by itself: a name that was typed may have been mistyped.
        return Err(Refusal::new(format!("there is no bucket {name}"))
            .hint(format!(
                "check --bucket and FLEETKEY_BUCKET, or make it: fleetkey init --bucket {name} --region {region}"
            ))
            .into());
    }
    Ok(bucket)
}

/// What a verb works with.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// EC2 in the region.
    pub(crate) ec2: aws_sdk_ec2::Client,
    /// IAM.
    pub(crate) iam: aws_sdk_iam::Client,
    /// The public-key bucket.
    pub(crate) bucket: Bucket,
    /// Who calls.
    pub(crate) caller: Caller,
    /// The region that the command is about.
    pub(crate) region: String,
    sns: aws_sdk_sns::Client,
    topic: String,
}

impl Session {
    /// Finds out region, caller and bucket. Changes nothing.
    pub(crate) async fn open(settings: &Settings, printer: Printer) -> anyhow::Result<Self> {
        let config = for_operator(settings.region.as_deref(), settings.aws_profile.as_deref()).await;
        let region = config.region().map(ToString::to_string).ok_or_else(Fleet::no_region)?;
        let caller = caller::identify(&config).await.map_err(|error| {
            anyhow::Error::from(error).context(
                Refusal::new("AWS does not say who is calling")
                    .hint("check the credentials (AWS_PROFILE, aws configure, aws sso login) and the network"),
            )
        })?;
        printer.detail(&format!("calling as {} in {region}", caller.arn));
        let bucket = find_bucket(&config, settings, &region, &caller).await?;
        Ok(Self {
            ec2: aws_sdk_ec2::Client::new(&config),
            iam: aws_sdk_iam::Client::new(&config),
            sns: aws_sdk_sns::Client::new(&config),
            topic: settings.topic.clone(),
            bucket,
            caller,
            region,
        })
    }

    /// Makes the bucket as it should be if it is not there yet, before the first write.
    pub(crate) async fn prepare(&mut self, printer: Printer) -> anyhow::Result<()> {
        if !self.bucket.exists() {
            let made = carry::make_bucket(&mut self.bucket, &self.caller).await;
            made.map_err(|error| {
                let name = self.bucket.name();
                let refusal = if self.bucket.exists() {
                    Refusal::new(format!("the bucket {name} was made, and is not yet as it should be"))
                } else {
                    Refusal::new(format!("there is no bucket {name} yet"))
                };
                let refusal = refusal.hint("whoever sets up the account makes it with: fleetkey init");
                anyhow::Error::from(error.clone()).context(refusal.hint_permissions([&error]))
            })?;
            printer.note(&format!("made the public-key bucket {} in {}", self.bucket.name(), self.region));
        }
        Ok(())
    }

    /// Tells the agents of the region to look.
    pub(crate) async fn hint(&self) -> Result<(), CallError> {
        let body = message::encode(Message::KeysChanged);
        hint::publish(&self.sns, &self.caller, &self.region, &self.topic, &body).await
    }

    /// The topic's name.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }
}
