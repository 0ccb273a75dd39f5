//! Where is looked: the regions, the clients of each, the bucket; and what several kinds need to know.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_config::{Region, SdkConfig};
use fleetkey_common::aws_names::Namespace;
use fleetkey_common::bucket::{STATUS, parse_status_key};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::OnceCell;

use crate::aws::bucket::{Bucket, Listed};
use crate::aws::caller::Caller;
use crate::aws::{CallError, instances};

/// How many calls are under way at once, in all regions together: EC2 throttles by account and region.
pub(super) const AT_ONCE: usize = 8;

/// The ground of one cleanup.
#[derive(Debug)]
pub(crate) struct Ground {
    /// The namespace whose things are swept.
    pub(crate) namespace: Namespace,
    /// Who calls.
    pub(crate) caller: Caller,
    /// The bucket of keys, packages and status.
    pub(crate) bucket: Bucket,
    /// IAM.
    pub(crate) iam: aws_sdk_iam::Client,
    /// The region in which what the account has once is asked about first.
    pub(crate) home: String,
    /// The regions that are swept.
    pub(crate) swept: Vec<String>,
    /// Every region where something may be in use: all that the account can use, but for those that were left out.
    pub(crate) everywhere: Vec<String>,
    /// What is younger stays.
    pub(crate) older_than: SignedDuration,
    /// When all this began.
    pub(crate) now: Timestamp,
    statuses: OnceCell<BTreeMap<String, Listed>>,
    config: SdkConfig,
    ec2: BTreeMap<String, aws_sdk_ec2::Client>,
}

/// What a [`Ground`] is made of, but for its clients.
#[derive(Debug)]
pub(crate) struct Scope {
    /// The regions that are swept.
    pub(crate) swept: Vec<String>,
    /// Every region where something may be in use.
    pub(crate) everywhere: Vec<String>,
    /// What is younger stays.
    pub(crate) older_than: Duration,
}

impl Ground {
    /// Makes the clients. Asks nobody anything.
    pub(crate) fn new(config: &SdkConfig, namespace: Namespace, caller: Caller, bucket: Bucket, scope: Scope) -> Self {
        let Scope { swept, everywhere, older_than } = scope;
        let regions = everywhere.iter().chain(&swept).collect::<BTreeSet<_>>();
        let ec2 = regions.into_iter().map(|region| (region.clone(), aws_sdk_ec2::Client::new(&at(config, region))));
        Self {
            namespace,
            caller,
            bucket,
            iam: aws_sdk_iam::Client::new(config),
            home: swept
                .iter()
                .find(|region| config.region().is_some_and(|home| home.as_ref() == region.as_str()))
                .or(swept.first())
                .cloned()
                .unwrap_or_default(),
            ec2: ec2.collect(),
            statuses: OnceCell::new(),
            // A time that no clock reaches is as good as the longest.
            older_than: SignedDuration::try_from(older_than).unwrap_or(SignedDuration::MAX),
            now: Timestamp::now(),
            config: config.clone(),
            swept,
            everywhere,
        }
    }

    /// EC2 in a region.
    pub(super) fn ec2(&self, region: &str) -> aws_sdk_ec2::Client {
        self.ec2.get(region).cloned().unwrap_or_else(|| aws_sdk_ec2::Client::new(&at(&self.config, region)))
    }

    /// SQS in a region.
    pub(super) fn sqs(&self, region: &str) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&at(&self.config, region))
    }

    /// SNS in a region.
    pub(super) fn sns(&self, region: &str) -> aws_sdk_sns::Client {
        aws_sdk_sns::Client::new(&at(&self.config, region))
    }

    /// Asks every region, and fails if any of them cannot be asked: what one region does not say may be in use there.
    pub(super) async fn everywhere<T>(
        &self,
        ask: impl AsyncFn(&aws_sdk_ec2::Client) -> Result<T, CallError>,
    ) -> Result<Vec<T>, CallError> {
        let ask = &ask;
        let asked = stream::iter(&self.everywhere).map(|region| async move {
            let answer = ask(&self.ec2(region)).await;
            answer.map_err(|error| error.in_region(region))
        });
        asked.buffered(AT_ONCE).try_collect().await
    }

    /// Those of the instances that are in any region: an agent's region need not be that of its instance, and an object
    /// in the bucket has none. `here` is asked first, and the others only about what is not there.
    pub(super) async fn living(&self, ids: &[String], here: &str) -> Result<BTreeSet<String>, CallError> {
        let mut living = instances::there(&self.ec2(here), ids).await?;
        let left: Vec<String> = ids.iter().filter(|id| !living.contains(*id)).cloned().collect();
        if !left.is_empty() {
            living.extend(self.everywhere(async |ec2| instances::there(ec2, &left).await).await?.into_iter().flatten());
        }
        Ok(living)
    }

    /// What agents last said of themselves, by instance; asked once. An agent does so at least once an hour.
    pub(super) async fn statuses(&self) -> Result<&BTreeMap<String, Listed>, CallError> {
        self.statuses.get_or_try_init(|| self.list_statuses()).await
    }

    async fn list_statuses(&self) -> Result<BTreeMap<String, Listed>, CallError> {
        let listed = self.bucket.list_objects(STATUS).await?.into_iter();
        let of_instance = |listed: Listed| {
            let id = parse_status_key(&listed.key).filter(|id| is_instance_id(id))?.to_owned();
            Some((id, listed))
        };
        Ok(listed.filter_map(of_instance).collect())
    }
}

/// Whether a text is the id of an instance: what is called otherwise is no machine of EC2's, and nobody here knows
/// whether it lives.
pub(super) fn is_instance_id(text: &str) -> bool {
    crate::selection::parse_id("i-", text).is_some_and(|id| id == text)
}

fn at(config: &SdkConfig, region: &str) -> SdkConfig {
    config.to_builder().region(Region::new(region.to_owned())).build()
}
