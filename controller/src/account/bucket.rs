//! How the public-key bucket should be, and what is missing from one that is there. Pure.
//!
//! Whoever can write in it decides who may log in. So nothing in it is public, its objects are the account's, and what
//! statements of others in its policy allow is told; taking them out is for whoever put them in. Its objects are small,
//! and what is overwritten or deleted is kept; but for two folders, where earlier versions are of use for a while only:
//!
//! - `agent/`: a package stands under its own digest and is never overwritten, so whatever is published stays current,
//!   however old it is, until somebody deletes it (`fleetkey cleanup`). No rule may therefore go by an object's age:
//!   boxes are launched with the newest package of their kind, which may be a year old. What S3 takes away is what was
//!   deleted, and earlier states of the index, both once nobody can want them back.
//! - `status/`: each box overwrites its object once an hour and at each change.
//!
//! Keys (`people/`, `ssh_pubkey:`) and `revoked/` are in no rule: their earlier versions say who could log in when.

use std::collections::BTreeMap;

use aws_sdk_s3::error::BuildError;
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter,
    NoncurrentVersionExpiration,
};
use fleetkey_common::bucket::{PEOPLE, REVOKED, SSH_PUBKEY, STATUS};
use serde_json::{Map, Value, json};

use crate::package::FOLDER as PACKAGES;

/// The tag that says that a bucket is Fleetkey's, and its value.
pub(crate) const MARK: (&str, &str) = ("fleetkey:created-by", "fleetkey");

/// What the ids of Fleetkey's lifecycle rules begin with: those of others are left alone.
const RULE_PREFIX: &str = "fleetkey-";

/// The id of Fleetkey's statement in the bucket's policy: those of others are left alone.
const TLS_SID: &str = "FleetkeyTlsOnly";

/// One thing that is set on the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    /// It carries [`MARK`].
    Mark,
    /// Nothing in it can be made public.
    Private,
    /// Objects are the account's, whoever put them; there are no lists of access.
    Owned,
    /// Objects are encrypted at rest.
    Encrypted,
    /// What is overwritten or deleted is kept.
    Versioned,
    /// It answers over TLS alone.
    TlsOnly,
    /// What is kept is not kept for ever in [`RULES`]' folders.
    Lifecycle,
}

impl Setting {
    /// All of them, in the order in which they are made so: first what says whose the bucket is and shuts it.
    pub(crate) const ALL: [Self; 7] = [
        Setting::Mark,
        Setting::Private,
        Setting::Owned,
        Setting::Encrypted,
        Setting::Versioned,
        Setting::TlsOnly,
        Setting::Lifecycle,
    ];

    /// In a few words.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Setting::Mark => "tag",
            Setting::Private => "public access",
            Setting::Owned => "ownership",
            Setting::Encrypted => "encryption",
            Setting::Versioned => "versions",
            Setting::TlsOnly => "transport",
            Setting::Lifecycle => "lifecycle",
        }
    }

    /// How it should be.
    pub(crate) fn wanted(self) -> &'static str {
        match self {
            Setting::Mark => "fleetkey:created-by=fleetkey",
            Setting::Private => "blocked",
            Setting::Owned => "all objects are the account's",
            Setting::Encrypted => "at rest, AES256",
            Setting::Versioned => "kept",
            Setting::TlsOnly => "TLS alone",
            Setting::Lifecycle => "earlier versions go: of agent/ after 90 days, of status/ after 1",
        }
    }
}

/// A rule by which S3 deletes earlier versions, and never what is current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Its id.
    pub(crate) id: &'static str,
    /// What the keys begin with that it is about.
    pub(crate) prefix: &'static str,
    /// How many days after it ceased to be current a version goes.
    pub(crate) noncurrent_days: i32,
    /// How many days after it was begun an upload in parts goes that was never finished.
    pub(crate) abort_days: i32,
}

/// The rules.
pub(crate) const RULES: [Rule; 2] = [
    Rule { id: "fleetkey-old-packages", prefix: PACKAGES, noncurrent_days: 90, abort_days: 7 },
    Rule { id: "fleetkey-old-status", prefix: STATUS, noncurrent_days: 1, abort_days: 7 },
];

/// What is set on a bucket.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Found {
    /// Its tags.
    pub(crate) tags: BTreeMap<String, String>,
    /// Whether public access is blocked.
    pub(crate) private: bool,
    /// Whether ownership is enforced.
    pub(crate) owned: bool,
    /// How objects are encrypted.
    pub(crate) encryption: Option<String>,
    /// Whether versions are kept.
    pub(crate) versioned: bool,
    /// Its lifecycle rules.
    pub(crate) rules: Vec<LifecycleRule>,
    /// Its policy.
    pub(crate) policy: Option<Value>,
}

impl Found {
    /// Whether a setting is as it should be. Any encryption will do: keys of the account's own are somebody's choice.
    pub(crate) fn has(&self, setting: Setting, bucket_arn: &str) -> bool {
        match setting {
            Setting::Mark => is_marked(&self.tags),
            Setting::Private => self.private,
            Setting::Owned => self.owned,
            Setting::Encrypted => self.encryption.is_some(),
            Setting::Versioned => self.versioned,
            Setting::TlsOnly => is_tls_only(self.policy.as_ref(), bucket_arn),
            Setting::Lifecycle => has_rules(&self.rules),
        }
    }
}

/// Whether a bucket with these tags is Fleetkey's.
pub(crate) fn is_marked(tags: &BTreeMap<String, String>) -> bool {
    tags.get(MARK.0).map(String::as_str) == Some(MARK.1)
}

/// The tags with the mark among them.
pub(crate) fn marked(mut tags: BTreeMap<String, String>) -> BTreeMap<String, String> {
    tags.insert(MARK.0.to_owned(), MARK.1.to_owned());
    tags
}

/// The statement that refuses whatever comes without TLS.
pub(crate) fn tls_only(bucket_arn: &str) -> Value {
    json!({
        "Sid": TLS_SID,
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket_arn, format!("{bucket_arn}/*")],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    })
}

/// Whether the policy has that statement.
pub(crate) fn is_tls_only(policy: Option<&Value>, bucket_arn: &str) -> bool {
    let wanted = tls_only(bucket_arn);
    statements(policy).contains(&wanted)
}

/// The policy with that statement, and all that others put into it. One without a version stays so: it is of the
/// first, in which a `${...}` of theirs is text.
pub(crate) fn with_tls_only(policy: Option<&Value>, bucket_arn: &str) -> Value {
    let others = statements(policy).into_iter().filter(|statement| statement["Sid"] != TLS_SID);
    let statements: Vec<Value> = others.chain([tls_only(bucket_arn)]).collect();
    let mut whole = policy
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_else(|| Map::from_iter([("Version".to_owned(), json!("2012-10-17"))]));
    whole.insert("Statement".to_owned(), Value::Array(statements));
    Value::Object(whole)
}

/// The Sids of the statements that are not Fleetkey's and allow something: they may let others write in the bucket, and
/// so say who may log in. Who they are is not judged, since a condition may say as much as a principal.
pub(crate) fn strangers(policy: Option<&Value>) -> Vec<String> {
    let allows = |statement: &Value| statement["Effect"] == "Allow" && statement["Sid"] != TLS_SID;
    let found = statements(policy).into_iter().filter(allows);
    found.map(|statement| statement["Sid"].as_str().unwrap_or("without a Sid").to_owned()).collect()
}

/// A policy of one statement may have it without the list around it.
fn statements(policy: Option<&Value>) -> Vec<Value> {
    match policy.map(|policy| &policy["Statement"]) {
        Some(Value::Array(statements)) => statements.clone(),
        Some(statement @ Value::Object(_)) => vec![statement.clone()],
        _ => Vec::new(),
    }
}

impl Rule {
    /// In S3's words.
    ///
    /// # Errors
    /// Never: all that S3 asks for is given.
    pub(crate) fn build(self) -> Result<LifecycleRule, BuildError> {
        LifecycleRule::builder()
            .id(self.id)
            .filter(LifecycleRuleFilter::builder().prefix(self.prefix).build())
            .status(ExpirationStatus::Enabled)
            .expiration(LifecycleExpiration::builder().expired_object_delete_marker(true).build())
            .noncurrent_version_expiration(
                NoncurrentVersionExpiration::builder().noncurrent_days(self.noncurrent_days).build(),
            )
            .abort_incomplete_multipart_upload(
                AbortIncompleteMultipartUpload::builder().days_after_initiation(self.abort_days).build(),
            )
            .build()
    }
}

/// Whether Fleetkey's rules are there as they should be, and no other of that name.
pub(crate) fn has_rules(found: &[LifecycleRule]) -> bool {
    let ours = found.iter().filter(|rule| is_ours(rule)).count();
    let there = |rule: &Rule| rule.build().is_ok_and(|wanted| found.contains(&wanted));
    ours == RULES.len() && RULES.iter().all(there)
}

/// The rules of others, and Fleetkey's.
pub(crate) fn with_rules(found: &[LifecycleRule]) -> Result<Vec<LifecycleRule>, BuildError> {
    let others = found.iter().filter(|rule| !is_ours(rule)).cloned().map(Ok);
    others.chain(RULES.into_iter().map(Rule::build)).collect()
}

fn is_ours(rule: &LifecycleRule) -> bool {
    rule.id().is_some_and(|id| id.starts_with(RULE_PREFIX))
}

/// The ids of rules by which S3 deletes what is current, and that may mean keys, revocations or packages.
pub(crate) fn dangerous(found: &[LifecycleRule]) -> Vec<String> {
    let deletes = |rule: &&LifecycleRule| {
        let expiration = rule.expiration();
        *rule.status() == ExpirationStatus::Enabled
            && expiration.is_some_and(|when| when.days().is_some_and(|days| days > 0) || when.date().is_some())
    };
    let touches = |rule: &&LifecycleRule| {
        let prefix = prefix(rule);
        [PEOPLE, SSH_PUBKEY, REVOKED, PACKAGES].iter().any(|ours| ours.starts_with(prefix) || prefix.starts_with(ours))
    };
    let found = found.iter().filter(deletes).filter(touches);
    found.map(|rule| rule.id().unwrap_or("without an id").to_owned()).collect()
}

fn prefix(rule: &LifecycleRule) -> &str {
    let filter = rule.filter();
    let of_filter = filter.and_then(|filter| filter.prefix().or_else(|| filter.and()?.prefix()));
    #[expect(deprecated, reason = "rules of others may be written as they once were")]
    let of_rule = rule.prefix();
    of_filter.or(of_rule).unwrap_or_default()
}

#[cfg(test)]
#[path = "bucket_tests.rs"]
mod tests;
