//! What the checks share: where and as whom they look. Each question is asked once, also when it fails.

use std::time::Duration;

use aws_config::Region;
use aws_config::SdkConfig;
use fleetkey_common::aws::for_operator;
use fleetkey_common::bucket::default_bucket;
use fleetkey_common::names::PersonName;
use tokio::sync::OnceCell;

use super::Blocked;
use crate::account::shipped::Audience;
use crate::aws::CallError;
use crate::aws::bucket::Bucket;
use crate::aws::caller::{self, Caller};
use crate::settings::Settings;

/// Where one asks who is calling if no region is known: any will do.
const ANY_REGION: &str = "us-east-1";

/// What the checks work with.
#[derive(Debug)]
pub(crate) struct World {
    /// What clients are made of; it has a region, which may be any.
    pub(crate) config: SdkConfig,
    /// The topic's name.
    pub(crate) topic: String,
    /// What the caller means to do.
    pub(crate) audiences: Vec<Audience>,
    region: Option<String>,
    named_bucket: Option<String>,
    person: Option<PersonName>,
    caller: OnceCell<Result<Caller, CallError>>,
    bucket: OnceCell<Result<Bucket, CallError>>,
}

impl World {
    /// Reads the configuration, and asks nobody.
    pub(crate) async fn new(settings: &Settings, person: Option<PersonName>, audiences: Vec<Audience>) -> Self {
        let config = for_operator(settings.region.as_deref(), settings.aws_profile.as_deref()).await;
        let region = config.region().map(ToString::to_string);
        let config = match &region {
            Some(_) => config,
            None => config.to_builder().region(Region::new(ANY_REGION)).build(),
        };
        Self {
            config,
            topic: settings.topic.clone(),
            audiences,
            region,
            named_bucket: settings.bucket.clone(),
            person: person.or_else(|| settings.me.clone()),
            caller: OnceCell::new(),
            bucket: OnceCell::new(),
        }
    }

    /// The region.
    pub(super) fn region(&self) -> Result<&str, Blocked> {
        self.region.as_deref().ok_or(Blocked("region"))
    }

    /// The region, or one that is as good for what is the same in all.
    pub(super) fn any_region(&self) -> &str {
        self.region.as_deref().unwrap_or(ANY_REGION)
    }

    /// Who calls, or why that is not known.
    pub(super) async fn identity(&self) -> &Result<Caller, CallError> {
        self.caller.get_or_init(|| caller::identify(&self.config)).await
    }

    /// Who calls.
    pub(super) async fn caller(&self) -> Result<&Caller, Blocked> {
        self.identity().await.as_ref().map_err(|_| Blocked("credentials"))
    }

    /// The bucket's name.
    pub(super) fn bucket_name(&self, caller: &Caller) -> String {
        self.named_bucket.clone().unwrap_or_else(|| default_bucket(&caller.account))
    }

    /// The bucket, there or not, or why that is not known.
    pub(super) async fn find_bucket(&self) -> Result<&Result<Bucket, CallError>, Blocked> {
        let region = self.region()?;
        let caller = self.caller().await?;
        let name = self.bucket_name(caller);
        // Only that of the default name must be the account's own.
        let owner = (name == default_bucket(&caller.account)).then(|| caller.account.clone());
        Ok(self.bucket.get_or_init(|| async move { Bucket::find(&self.config, region, &name, owner).await }).await)
    }

    /// The bucket, which is there.
    pub(super) async fn bucket(&self) -> Result<&Bucket, Blocked> {
        let found = self.find_bucket().await?.as_ref();
        found.ok().filter(|bucket| bucket.exists()).ok_or(Blocked("bucket"))
    }

    /// The person whose keys are looked at, as far as she is known.
    pub(super) async fn person(&self) -> Option<PersonName> {
        match &self.person {
            Some(person) => Some(person.clone()),
            None => self.caller().await.ok()?.person().ok(),
        }
    }

    /// EC2 in the region.
    pub(super) fn ec2(&self) -> aws_sdk_ec2::Client {
        aws_sdk_ec2::Client::new(&self.config)
    }

    /// IAM.
    pub(super) fn iam(&self) -> aws_sdk_iam::Client {
        aws_sdk_iam::Client::new(&self.config)
    }

    /// SNS in the region.
    pub(super) fn sns(&self) -> aws_sdk_sns::Client {
        aws_sdk_sns::Client::new(&self.config)
    }
}

/// A time for people: whole seconds.
pub(super) fn seconds(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
}
