//! The account's parts for Terraform, in its JSON syntax: what is printed is read by any JSON reader, so that nothing has
//! to be escaped by rules of HCL, and tests see it as Terraform does. Pure.
//! <https://developer.hashicorp.com/terraform/language/syntax/json>

use serde_json::{Map, Value, json};

use super::bucket::{MARK, RULES, tls_only};
use super::sheet::{Dialect, Sheet};
use crate::aws::instance_profiles::PATH;

/// How Terraform's templates are written. `%{` would be a directive too; no policy has one.
const TERRAFORM: Dialect = Dialect {
    partition: "${data.aws_partition.current.partition}",
    account: "${data.aws_caller_identity.current.account_id}",
    literal: "$${",
};

/// What every other resource names the bucket by.
const BUCKET: &str = "${aws_s3_bucket.fleetkey.id}";

/// The whole file, `fleetkey.tf.json`.
pub(crate) fn print(sheet: &Sheet<'_>) -> String {
    let mut resources = bucket(sheet);
    resources.insert("aws_sns_topic".to_owned(), topics(sheet));
    let policies: Map<String, Value> = sheet
        .policies(TERRAFORM)
        .map(|(shipped, document)| {
            let policy = json!({
                "name": shipped.name(),
                "path": PATH,
                "description": format!("Fleetkey: {}", shipped.purpose),
                "policy": document.to_string(),
            });
            (shipped.file.to_owned(), policy)
        })
        .collect();
    if !policies.is_empty() {
        resources.insert("aws_iam_policy".to_owned(), Value::Object(policies));
    }
    let file = json!({
        "//": "Made by `fleetkey init --print terraform`; save as fleetkey.tf.json.",
        "terraform": {"required_providers": {"aws": {"source": "hashicorp/aws", "version": ">= 5.0"}}},
        "provider": {"aws": providers(sheet)},
        "data": {"aws_caller_identity": {"current": {}}, "aws_partition": {"current": {}}},
        "resource": resources,
    });
    format!("{file:#}\n")
}

/// The first region's is the one that counts where none is named.
fn providers(sheet: &Sheet<'_>) -> Vec<Value> {
    let provider = |(at, region): (usize, &String)| match at {
        0 => json!({"region": region}),
        _ => json!({"alias": region, "region": region}),
    };
    sheet.regions.iter().enumerate().map(provider).collect()
}

fn topics(sheet: &Sheet<'_>) -> Value {
    let topic = |(at, region): (usize, &String)| {
        let topic = match at {
            0 => json!({"name": sheet.topic}),
            _ => json!({"name": sheet.topic, "provider": format!("aws.{region}")}),
        };
        (region.clone(), topic)
    };
    Value::Object(sheet.regions.iter().enumerate().map(topic).collect())
}

/// The bucket: a resource for each setting, as the provider has them.
fn bucket(sheet: &Sheet<'_>) -> Map<String, Value> {
    let rule = |rule: &super::bucket::Rule| {
        json!({
            "id": rule.id,
            "status": "Enabled",
            "filter": {"prefix": rule.prefix},
            "expiration": {"expired_object_delete_marker": true},
            "noncurrent_version_expiration": {"noncurrent_days": rule.noncurrent_days},
            "abort_incomplete_multipart_upload": {"days_after_initiation": rule.abort_days},
        })
    };
    let rules: Vec<Value> = RULES.iter().map(rule).collect();
    let statement = tls_only(&sheet.bucket_arn(TERRAFORM));
    let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
    let encrypted = json!({"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}});
    let parts = [
        (
            "aws_s3_bucket",
            json!({"bucket": sheet.bucket(TERRAFORM), "tags": {MARK.0: MARK.1}, "lifecycle": {"prevent_destroy": true}}),
        ),
        (
            "aws_s3_bucket_public_access_block",
            json!({"bucket": BUCKET, "block_public_acls": true, "ignore_public_acls": true,
                "block_public_policy": true, "restrict_public_buckets": true}),
        ),
        (
            "aws_s3_bucket_ownership_controls",
            json!({"bucket": BUCKET, "rule": {"object_ownership": "BucketOwnerEnforced"}}),
        ),
        ("aws_s3_bucket_server_side_encryption_configuration", json!({"bucket": BUCKET, "rule": encrypted})),
        ("aws_s3_bucket_versioning", json!({"bucket": BUCKET, "versioning_configuration": {"status": "Enabled"}})),
        (
            "aws_s3_bucket_policy",
            json!({"bucket": BUCKET, "policy": policy, "depends_on": ["aws_s3_bucket_public_access_block.fleetkey"]}),
        ),
        (
            "aws_s3_bucket_lifecycle_configuration",
            json!({"bucket": BUCKET, "rule": rules, "depends_on": ["aws_s3_bucket_versioning.fleetkey"]}),
        ),
    ];
    parts.into_iter().map(|(kind, body)| (kind.to_owned(), json!({"fleetkey": body}))).collect()
}
