//! What an account has, as AWS tells it, and runs of `init` against it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use aws_sdk_iam::types::PolicyScopeType;
use aws_sdk_s3::types::{LifecycleRule, Tag};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::policy::decoded;
use serde_json::Value;

use super::super::fleetkey::{Operator, Ran};

/// What is set on the bucket.
#[derive(Debug, PartialEq)]
pub(super) struct BucketState {
    pub(super) blocked: [Option<bool>; 4],
    pub(super) ownership: String,
    pub(super) encryption: String,
    pub(super) versioning: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) rules: Vec<LifecycleRule>,
}

/// An account in which nobody has set up anything.
pub(super) async fn bare() -> Result<Operator> {
    let operator = Operator::new("alice").await?;
    operator.cloud.s3().delete_bucket().bucket(operator.cloud.bucket()).send().await?;
    Ok(operator)
}

/// `init --yes --output json` and more.
pub(super) async fn init(operator: &Operator, more: &[&str]) -> Result<Ran> {
    operator.run(&[&["init", "--yes", "--output", "json"], more].concat()).await
}

/// What became of each part: `action what: result`.
pub(super) fn results(ran: &Ran) -> Result<Vec<String>> {
    let json: Value = serde_json::from_str(&ran.stdout).with_context(|| format!("stdout is JSON: {}", ran.stdout))?;
    let text = |step: &Value, name: &str| step[name].as_str().unwrap_or_default().to_owned();
    let steps = json["steps"].as_array().context("there are steps")?.iter();
    Ok(steps.map(|step| format!("{} {}: {}", text(step, "action"), text(step, "what"), text(step, "result"))).collect())
}

/// Those that were not as they should be.
pub(super) fn changed(ran: &Ran) -> Result<Vec<String>> {
    let results = results(ran)?.into_iter();
    Ok(results.filter(|line| !line.ends_with(": already") && !line.ends_with(": left-out")).collect())
}

pub(super) async fn bucket(cloud: &Cloud) -> Result<BucketState> {
    let (s3, name) = (cloud.s3(), cloud.bucket());
    let block = s3.get_public_access_block().bucket(&name).send().await?;
    let block = block.public_access_block_configuration.context("public access is blocked")?;
    let controls = s3.get_bucket_ownership_controls().bucket(&name).send().await?;
    let controls = controls.ownership_controls.context("ownership is controlled")?;
    let encryption = s3.get_bucket_encryption().bucket(&name).send().await?;
    let encryption = encryption.server_side_encryption_configuration.context("it is encrypted")?;
    let default = encryption.rules[0].apply_server_side_encryption_by_default.as_ref().context("there is a default")?;
    let versioning = s3.get_bucket_versioning().bucket(&name).send().await?;
    let rules = s3.get_bucket_lifecycle_configuration().bucket(&name).send().await?.rules.unwrap_or_default();
    let tags = s3.get_bucket_tagging().bucket(&name).send().await?.tag_set;
    Ok(BucketState {
        blocked: [
            block.block_public_acls,
            block.ignore_public_acls,
            block.block_public_policy,
            block.restrict_public_buckets,
        ],
        ownership: controls.rules[0].object_ownership.as_str().to_owned(),
        encryption: default.sse_algorithm.as_str().to_owned(),
        versioning: versioning.status.map(|status| status.as_str().to_owned()).unwrap_or_default(),
        tags: tags.into_iter().map(|Tag { key, value, .. }| (key, value)).collect(),
        rules,
    })
}

/// The account's managed policies: name to path and document.
pub(super) async fn policies(cloud: &Cloud) -> Result<BTreeMap<String, (String, Value)>> {
    let listed = cloud.iam().list_policies().scope(PolicyScopeType::Local).send().await?;
    let mut found = BTreeMap::new();
    for policy in listed.policies() {
        let version = policy.default_version_id().context("a version counts")?;
        let arn = policy.arn().context("it has an ARN")?;
        let answer = cloud.iam().get_policy_version().policy_arn(arn).version_id(version).send().await?;
        let document = answer.policy_version.and_then(|version| version.document).context("it says something")?;
        let name = policy.policy_name().context("it has a name")?;
        found.insert(name.to_owned(), (policy.path().unwrap_or_default().to_owned(), decoded(&document)?));
    }
    Ok(found)
}

/// The policies of this repository that `init` makes, sorted: all but that which it needs itself.
pub(super) fn files() -> Result<Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/iam");
    let names = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names: Vec<String> = names.collect::<Result<_>>()?;
    let mut files: Vec<String> = names.iter().filter_map(|name| Some(name.strip_suffix(".json")?.to_owned())).collect();
    files.retain(|file| file != "controller-init");
    files.sort();
    Ok(files)
}

/// What a policy of this repository says for the account, with the variables of IAM as they are.
pub(super) fn shipped(file: &str, cloud: &Cloud) -> Result<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/iam").join(file).with_extension("json");
    let text = std::fs::read_to_string(path)?;
    let words = [
        ("PARTITION", "aws"),
        ("ACCOUNT_ID", cloud.account_id()),
        ("REGION", Cloud::REGION),
        ("BUCKET", &cloud.bucket()),
        ("TOPIC", Cloud::TOPIC),
        ("NAMESPACE", "CGCloud"),
    ];
    Ok(serde_json::from_str(&words.into_iter().fold(text, |text, (word, value)| text.replace(word, value)))?)
}

/// The topics of a region.
pub(super) async fn topics(cloud: &Cloud, region: &str) -> Result<Vec<String>> {
    let config = cloud.sdk_config().to_builder().region(aws_config::Region::new(region.to_owned())).build();
    let listed = aws_sdk_sns::Client::new(&config).list_topics().send().await?;
    let arns = listed.topics().iter().filter_map(|topic| topic.topic_arn());
    Ok(arns.map(|arn| arn.rsplit(':').next().unwrap_or_default().to_owned()).collect())
}
