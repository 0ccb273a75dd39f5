//! The settings of the public-key bucket, one call each: read and put. How they should be is not decided here.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketVersioningStatus, LifecycleRule, ObjectOwnership, OwnershipControls,
    OwnershipControlsRule, PublicAccessBlockConfiguration, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule, Tag, Tagging, VersioningConfiguration,
};
use serde_json::Value;

use super::bucket::Bucket;
use super::{CallError, failed};

/// How long a URL is valid that nobody uses.
const SOON: Duration = Duration::from_mins(1);

/// The codes by which S3 says that something was never set.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
const NOT_SET: [&str; 6] = [
    "NoSuchTagSet",
    "NoSuchPublicAccessBlockConfiguration",
    "OwnershipControlsNotFoundError",
    "ServerSideEncryptionConfigurationNotFoundError",
    "NoSuchLifecycleConfiguration",
    "NoSuchBucketPolicy",
];

impl Bucket {
    /// Its tags.
    pub(crate) async fn tags(&self) -> Result<BTreeMap<String, String>, CallError> {
        let call = self.client.get_bucket_tagging().bucket(&self.name);
        let answer =
            self.setting("GetBucketTagging", call.set_expected_bucket_owner(self.owner.clone()).send().await)?;
        let tags = answer.map(|answer| answer.tag_set).unwrap_or_default();
        Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
    }

    /// Puts these in place of all its tags.
    pub(crate) async fn put_tags(&self, tags: &BTreeMap<String, String>) -> Result<(), CallError> {
        const VERB: &str = "PutBucketTagging";
        let tags = tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
        let tags = self.built(VERB, tags.collect::<Result<Vec<_>, _>>())?;
        let tagging = self.built(VERB, Tagging::builder().set_tag_set(Some(tags)).build())?;
        let call = self.client.put_bucket_tagging().bucket(&self.name).tagging(tagging);
        self.done(VERB, call.set_expected_bucket_owner(self.owner.clone()).send().await)
    }

    /// Whether public access is blocked in all four ways.
    pub(crate) async fn public_access_blocked(&self) -> Result<bool, CallError> {
        let call = self.client.get_public_access_block().bucket(&self.name);
        let answer = call.set_expected_bucket_owner(self.owner.clone()).send().await;
        let answer = self.setting("GetPublicAccessBlock", answer)?;
        let block = answer.and_then(|answer| answer.public_access_block_configuration);
        Ok(block.is_some_and(|block| {
            [
                block.block_public_acls,
                block.ignore_public_acls,
                block.block_public_policy,
                block.restrict_public_buckets,
            ]
            .iter()
            .all(|way| *way == Some(true))
        }))
    }

    /// Blocks public access in all four ways.
    pub(crate) async fn block_public_access(&self) -> Result<(), CallError> {
        let block = PublicAccessBlockConfiguration::builder().block_public_acls(true).ignore_public_acls(true);
        let block = block.block_public_policy(true).restrict_public_buckets(true).build();
        let call = self.client.put_public_access_block().bucket(&self.name).public_access_block_configuration(block);
        self.done("PutPublicAccessBlock", call.set_expected_bucket_owner(self.owner.clone()).send().await)
    }

    /// Whether all objects belong to the bucket's owner, and lists of access count for nothing.
    pub(crate) async fn ownership_enforced(&self) -> Result<bool, CallError> {
        let call = self.client.get_bucket_ownership_controls().bucket(&self.name);
        let answer = call.set_expected_bucket_owner(self.owner.clone()).send().await;
        let answer = self.setting("GetBucketOwnershipControls", answer)?;
        let rules = answer.and_then(|answer| answer.ownership_controls).map(|controls| controls.rules);
        Ok(rules.is_some_and(|rules| {
            rules.iter().any(|rule| rule.object_ownership == ObjectOwnership::BucketOwnerEnforced)
        }))
    }

    /// Makes it so.
    pub(crate) async fn enforce_ownership(&self) -> Result<(), CallError> {
        const VERB: &str = "PutBucketOwnershipControls";
        let rule = OwnershipControlsRule::builder().object_ownership(ObjectOwnership::BucketOwnerEnforced).build();
        let controls = OwnershipControls::builder().rules(self.built(VERB, rule)?).build();
        let controls = self.built(VERB, controls)?;
        let call = self.client.put_bucket_ownership_controls().bucket(&self.name).ownership_controls(controls);
        self.done(VERB, call.set_expected_bucket_owner(self.owner.clone()).send().await)
    }

    /// How new objects are encrypted unless they say otherwise, in S3's words.
    pub(crate) async fn encryption(&self) -> Result<Option<String>, CallError> {
        let call = self.client.get_bucket_encryption().bucket(&self.name);
        let answer = call.set_expected_bucket_owner(self.owner.clone()).send().await;
        let answer = self.setting("GetBucketEncryption", answer)?;
        let rules = answer.and_then(|answer| answer.server_side_encryption_configuration).map(|found| found.rules);
        let default =
            rules.unwrap_or_default().into_iter().find_map(|rule| rule.apply_server_side_encryption_by_default);
        Ok(default.map(|default| default.sse_algorithm.as_str().to_owned()))
    }

    /// Has new objects encrypted with keys that S3 keeps.
    pub(crate) async fn encrypt(&self) -> Result<(), CallError> {
        const VERB: &str = "PutBucketEncryption";
        let default = ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::Aes256).build();
        let default = self.built(VERB, default)?;
        let rule = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(default).build();
        let wanted = ServerSideEncryptionConfiguration::builder().rules(rule).build();
        let wanted = self.built(VERB, wanted)?;
        let call = self.client.put_bucket_encryption().bucket(&self.name).server_side_encryption_configuration(wanted);
        self.done(VERB, call.set_expected_bucket_owner(self.owner.clone()).send().await)
    }

    /// Whether what is overwritten or deleted is kept as an earlier version.
    pub(crate) async fn versioned(&self) -> Result<bool, CallError> {
        let call = self.client.get_bucket_versioning().bucket(&self.name);
        let answer = call.set_expected_bucket_owner(self.owner.clone()).send().await;
        let answer = answer.map_err(failed(self.about_it("GetBucketVersioning")))?;
        Ok(answer.status == Some(BucketVersioningStatus::Enabled))
    }

    /// Has earlier versions kept.
    pub(crate) async fn keep_versions(&self) -> Result<(), CallError> {
        let wanted = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let call = self.client.put_bucket_versioning().bucket(&self.name).versioning_configuration(wanted);
        self.done("PutBucketVersioning", call.set_expected_bucket_owner(self.owner.clone()).send().await)
    }

    /// The rules by which S3 deletes by itself.
    pub(crate) async fn lifecycle(&self) -> Result<Vec<LifecycleRule>, CallError> {
        let call = self.client.get_bucket_lifecycle_configuration().bucket(&self.name);
        let answer = call.set_expected_bucket_owner(self.owner.clone()).send().await;
        let answer = self.setting("GetBucketLifecycleConfiguration", answer)?;
        Ok(answer.and_then(|answer| answer.rules).unwrap_or_default())
    }

    /// Puts these in place of all such rules.
    pub(crate) async fn put_lifecycle(&self, rules: Vec<LifecycleRule>) -> Result<(), CallError> {
        const VERB: &str = "PutBucketLifecycleConfiguration";
        let wanted = self.built(VERB, BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build())?;
        let call = self.client.put_bucket_lifecycle_configuration().bucket(&self.name);
        let call = call.lifecycle_configuration(wanted).set_expected_bucket_owner(self.owner.clone());
        self.done(VERB, call.send().await)
    }

    /// The bucket's policy; `Null` for one that is no JSON.
    pub(crate) async fn policy(&self) -> Result<Option<Value>, CallError> {
        let call = self.client.get_bucket_policy().bucket(&self.name);
        let answer = call.set_expected_bucket_owner(self.owner.clone()).send().await;
        let text = self.setting("GetBucketPolicy", answer)?.and_then(|answer| answer.policy);
        Ok(text.map(|text| serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// Puts this in place of the bucket's policy.
    pub(crate) async fn put_policy(&self, policy: &Value) -> Result<(), CallError> {
        let call = self.client.put_bucket_policy().bucket(&self.name).policy(policy.to_string());
        self.done("PutBucketPolicy", call.set_expected_bucket_owner(self.owner.clone()).send().await)
    }

    /// Whether anything is in it.
    pub(crate) async fn is_empty(&self) -> Result<bool, CallError> {
        let call = self.client.list_objects_v2().bucket(&self.name).max_keys(1);
        let answer = call.set_expected_bucket_owner(self.owner.clone()).send().await;
        let answer = answer.map_err(failed(self.about_it("ListObjectsV2")))?;
        Ok(answer.contents.unwrap_or_default().is_empty())
    }

    /// Whether requests go out without TLS, as to an endpoint of plain HTTP. Asks S3 nothing: a URL is signed, and not
    /// used.
    pub(crate) async fn in_the_clear(&self) -> Result<bool, CallError> {
        let url = self.presigned("x", SystemTime::now(), SOON).await?;
        Ok(url.starts_with("http://"))
    }

    /// An answer, or `None` where S3 says that nothing was set.
    fn setting<T, E>(&self, verb: &str, answer: Result<T, SdkError<E, HttpResponse>>) -> Result<Option<T>, CallError>
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        match answer.map_err(failed(self.about_it(verb))) {
            Err(error) if error.code.as_deref().is_some_and(|code| NOT_SET.contains(&code)) => Ok(None),
            answer => answer.map(Some),
        }
    }

    fn done<T, E>(&self, verb: &str, answer: Result<T, SdkError<E, HttpResponse>>) -> Result<(), CallError>
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        answer.map(|_| ()).map_err(failed(self.about_it(verb)))
    }

    /// What a builder gives, which fails only where a part that is always given is missing.
    fn built<T>(&self, verb: &str, built: Result<T, BuildError>) -> Result<T, CallError> {
        built.map_err(|error| CallError::answer(self.about_it(verb), error.to_string()))
    }

    fn about_it(&self, verb: &str) -> String {
        format!("s3 {verb} of {}", self.name)
    }
}
