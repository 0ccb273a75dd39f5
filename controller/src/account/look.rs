//! What an account has of what Fleetkey needs. Reads, and changes nothing.

use std::collections::BTreeMap;

use aws_config::{Region, SdkConfig};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use super::bucket;
use crate::aws::bucket::Bucket;
use crate::aws::caller::Caller;
use crate::aws::instance_profiles::PATH;
use crate::aws::managed_policies::{self, ManagedPolicy};
use crate::aws::{CallError, topics};

/// How many policies are read at a time.
const READS: usize = 8;

/// Whom to ask.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    /// What clients are made of.
    pub(crate) config: SdkConfig,
    /// Who calls.
    pub(crate) caller: Caller,
    /// The public-key bucket, there or not.
    pub(crate) bucket: Bucket,
    /// The topic's name.
    pub(crate) topic: String,
}

impl Ground {
    /// IAM.
    pub(crate) fn iam(&self) -> aws_sdk_iam::Client {
        aws_sdk_iam::Client::new(&self.config)
    }

    /// SNS in a region.
    pub(crate) fn sns(&self, region: &str) -> aws_sdk_sns::Client {
        aws_sdk_sns::Client::new(&self.config.to_builder().region(Region::new(region.to_owned())).build())
    }

    /// The bucket's ARN.
    pub(crate) fn bucket_arn(&self) -> String {
        bucket_arn(&self.caller, &self.bucket)
    }
}

/// The ARN of a bucket.
pub(crate) fn bucket_arn(caller: &Caller, bucket: &Bucket) -> String {
    format!("arn:{}:s3:::{}", caller.partition(), bucket.name())
}

/// What is there.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Found {
    /// What is set on the bucket, and whether it is empty; `None` if there is no bucket.
    pub(crate) bucket: Option<(bucket::Found, bool)>,
    /// Whether the bucket is spoken to without TLS.
    pub(crate) in_the_clear: bool,
    /// The topic, by region.
    pub(crate) topics: BTreeMap<String, bool>,
    /// The account's policies of the names asked for.
    pub(crate) policies: BTreeMap<String, FoundPolicy>,
}

/// A managed policy that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundPolicy {
    /// Its ARN.
    pub(crate) arn: String,
    /// Where it was made.
    pub(crate) path: String,
    /// What it says; `Null` for one that Fleetkey did not make.
    pub(crate) document: Value,
}

/// Looks at all of it.
pub(crate) async fn look(ground: &Ground, regions: &[String], policies: &[String]) -> Result<Found, CallError> {
    let (bucket, in_the_clear, topics, policies) = tokio::try_join!(
        found_bucket(&ground.bucket),
        ground.bucket.in_the_clear(),
        found_topics(ground, regions),
        found_policies(ground, policies),
    )?;
    Ok(Found { bucket, in_the_clear, topics, policies })
}

async fn found_bucket(bucket: &Bucket) -> Result<Option<(bucket::Found, bool)>, CallError> {
    if !bucket.exists() {
        return Ok(None);
    }
    let (tags, private, owned, encryption, versioned, rules, policy, empty) = tokio::try_join!(
        bucket.tags(),
        bucket.public_access_blocked(),
        bucket.ownership_enforced(),
        bucket.encryption(),
        bucket.versioned(),
        bucket.lifecycle(),
        bucket.policy(),
        bucket.is_empty(),
    )?;
    Ok(Some((bucket::Found { tags, private, owned, encryption, versioned, rules, policy }, empty)))
}

async fn found_topics(ground: &Ground, regions: &[String]) -> Result<BTreeMap<String, bool>, CallError> {
    let mut found = BTreeMap::new();
    for region in regions {
        let there = topics::exists(&ground.sns(region), &ground.caller, region, &ground.topic).await?;
        found.insert(region.clone(), there);
    }
    Ok(found)
}

async fn found_policies(ground: &Ground, names: &[String]) -> Result<BTreeMap<String, FoundPolicy>, CallError> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let iam = ground.iam();
    let there = managed_policies::list(&iam).await?;
    let there = there.into_iter().filter(|(name, _)| names.contains(name));
    let found = stream::iter(there).map(async |(name, policy)| {
        let document = if policy.path == PATH { managed_policies::document(&iam, &policy).await? } else { Value::Null };
        let ManagedPolicy { arn, path, .. } = policy;
        Ok::<_, CallError>((name, FoundPolicy { arn, path, document }))
    });
    found.buffered(READS).try_collect().await
}
