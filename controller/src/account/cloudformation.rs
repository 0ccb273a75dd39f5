//! The account's parts as a CloudFormation template, in JSON. Pure.
//!
//! A stack is in one region. What there is once, the bucket and the policies, is made by the stack in the first region;
//! the same template makes the topic in the others. Without the stack the bucket stays: who may log in stands in it.

use serde_json::{Map, Value, json};

use super::bucket::{MARK, RULES, Rule, tls_only};
use super::sheet::{Dialect, Sheet};
use crate::aws::instance_profiles::PATH;

/// How CloudFormation's templates are written, in `Fn::Sub`.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-sub.html>
const CLOUDFORMATION: Dialect =
    Dialect { partition: "${AWS::Partition}", account: "${AWS::AccountId}", literal: "${!" };

/// The condition that holds in the first region alone.
const HOME: &str = "Home";

/// The whole template.
pub(crate) fn print(sheet: &Sheet<'_>) -> String {
    let mut resources = Map::new();
    resources.insert("Bucket".to_owned(), bucket(sheet));
    let statement = tls_only(&sheet.bucket_arn(CLOUDFORMATION));
    let policy = json!({"Version": "2012-10-17", "Statement": [substituted(statement)]});
    let policy = json!({"Bucket": {"Ref": "Bucket"}, "PolicyDocument": policy});
    resources.insert("BucketPolicy".to_owned(), at_home("AWS::S3::BucketPolicy", &policy));
    let topic = json!({"Type": "AWS::SNS::Topic", "Properties": {"TopicName": sheet.topic}});
    resources.insert("Topic".to_owned(), topic);
    resources.extend(sheet.policies(CLOUDFORMATION).map(|(shipped, document)| {
        let properties = json!({
            "ManagedPolicyName": shipped.name(),
            "Path": PATH,
            "Description": format!("Fleetkey: {}", shipped.purpose),
            "PolicyDocument": substituted(document),
        });
        (logical(shipped.file), at_home("AWS::IAM::ManagedPolicy", &properties))
    }));
    let head = json!({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Fleetkey: bucket, topic and policies. Made by `fleetkey init --print cloudformation`.",
        "Conditions": {HOME: {"Fn::Equals": [{"Ref": "AWS::Region"}, sheet.home()]}},
    });
    let head = head.as_object().map(|head| lines(head, 2)).unwrap_or_default();
    format!("{{\n{head},\n  \"Resources\": {{\n{}\n  }}\n}}\n", lines(&resources, 4))
}

/// An entry a line, so that versions can be told apart, and no blanks beside: CloudFormation takes 51,200 bytes.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>
fn lines(entries: &Map<String, Value>, indent: usize) -> String {
    let line = |(name, value): (&String, &Value)| format!("{:indent$}{}: {value}", "", json!(name));
    entries.iter().map(line).collect::<Vec<_>>().join(",\n")
}

fn at_home(kind: &str, properties: &Value) -> Value {
    json!({"Type": kind, "Condition": HOME, "Properties": properties})
}

fn bucket(sheet: &Sheet<'_>) -> Value {
    let rule = |rule: &Rule| {
        json!({
            "Id": rule.id,
            "Status": "Enabled",
            "Prefix": rule.prefix,
            "ExpiredObjectDeleteMarker": true,
            "NoncurrentVersionExpiration": {"NoncurrentDays": rule.noncurrent_days},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": rule.abort_days},
        })
    };
    let rules: Vec<Value> = RULES.iter().map(rule).collect();
    let encrypted = json!([{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]);
    let properties = json!({
        "BucketName": substituted(json!(sheet.bucket(CLOUDFORMATION))),
        "Tags": [{"Key": MARK.0, "Value": MARK.1}],
        "PublicAccessBlockConfiguration": {"BlockPublicAcls": true, "IgnorePublicAcls": true,
            "BlockPublicPolicy": true, "RestrictPublicBuckets": true},
        "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
        "BucketEncryption": {"ServerSideEncryptionConfiguration": encrypted},
        "VersioningConfiguration": {"Status": "Enabled"},
        "LifecycleConfiguration": {"Rules": rules},
    });
    let mut bucket = at_home("AWS::S3::Bucket", &properties);
    bucket["DeletionPolicy"] = json!("Retain");
    bucket["UpdateReplacePolicy"] = json!("Retain");
    bucket
}

/// Each string that has something to be put in, as CloudFormation puts it in.
fn substituted(value: Value) -> Value {
    match value {
        // With nothing to put in, what is to be left alone is written as it is.
        Value::String(text) if !text.replace(CLOUDFORMATION.literal, "").contains("${") => {
            Value::String(text.replace(CLOUDFORMATION.literal, "${"))
        }
        Value::String(text) => json!({"Fn::Sub": text}),
        Value::Array(items) => Value::Array(items.into_iter().map(substituted).collect()),
        Value::Object(entries) => {
            Value::Object(entries.into_iter().map(|(key, value)| (key, substituted(value))).collect())
        }
        other => other,
    }
}

/// `controller-register-key` as `ControllerRegisterKey`: names in a template are letters and digits.
fn logical(file: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    file.split('-').map(word).collect()
}
