//! What is printed for other tools: the same parts that `fleetkey init` makes, with whatever the tool has in place of the
//! account and its partition. Pure; asks nobody.

use serde_json::Value;

use super::plan::policies;
use super::shipped::{Audience, Shipped};
use super::words::{Words, map_strings};

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Sheet<'a> {
    /// The regions, at least one; the bucket is in the first.
    pub(crate) regions: Vec<String>,
    /// The bucket's name; `None` is `<account id>-fleetkey`.
    pub(crate) bucket: Option<&'a str>,
    /// The topic's name.
    pub(crate) topic: &'a str,
    /// Whose policies are made.
    pub(crate) audiences: Vec<Audience>,
}

/// How a tool's templates are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialect {
    /// What stands for the partition.
    pub(crate) partition: &'static str,
    /// What stands for the account id.
    pub(crate) account: &'static str,
    /// What a text has for `${` that the tool is to leave alone: IAM has variables of its own.
    pub(crate) literal: &'static str,
}

impl Sheet<'_> {
    /// The region of the bucket.
    pub(crate) fn home(&self) -> &str {
        self.regions.first().map_or("", String::as_str)
    }

    /// The bucket's name.
    pub(crate) fn bucket(&self, dialect: Dialect) -> String {
        self.bucket.map_or_else(|| fleetkey_common::bucket::default_bucket(dialect.account), str::to_owned)
    }

    /// The bucket's ARN.
    pub(crate) fn bucket_arn(&self, dialect: Dialect) -> String {
        format!("arn:{}:s3:::{}", dialect.partition, self.bucket(dialect))
    }

    /// The policies, and what each says in the tool's words.
    pub(crate) fn policies(&self, dialect: Dialect) -> impl Iterator<Item = (&'static Shipped, Value)> {
        // In the order in which `init` has them: the same policy must read the same.
        let mut regions = self.regions.clone();
        regions.sort();
        let words = Words {
            partition: dialect.partition.to_owned(),
            account: dialect.account.to_owned(),
            regions,
            bucket: self.bucket(dialect),
            topic: self.topic.to_owned(),
        };
        policies(&self.audiences).map(move |shipped| {
            let document = map_strings(shipped.document(), &|text| text.replace("${", dialect.literal));
            (shipped, words.fill(document))
        })
    }
}
