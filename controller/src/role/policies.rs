//! The IAM policies that the agent on a box needs: those of `packaging/iam`, filled in.

use std::collections::BTreeMap;

use fleetkey_common::registry::Registry;
use serde_json::Value;

const SOURCE_IAM: &str = include_str!("../../../packaging/iam/agent-source-iam.json");
const REGISTRY_S3: &str = include_str!("../../../packaging/iam/agent-registry-s3.json");
const REGISTRY_EC2: &str = include_str!("../../../packaging/iam/agent-registry-ec2.json");
const REGISTRY_IAM: &str = include_str!("../../../packaging/iam/agent-registry-iam.json");
const PUSH: &str = include_str!("../../../packaging/iam/agent-push.json");
const REPORT: &str = include_str!("../../../packaging/iam/agent-report.json");

/// The policies by name, for an agent with source `iam`, these registries, push and a status object.
///
/// `topic` is the topic's name. A policy's name is that of its file with `fleetkey-` before it.
pub(crate) fn agent_policies(
    account_id: &str,
    region: &str,
    bucket: &str,
    topic: &str,
    registries: &[Registry],
) -> BTreeMap<String, Value> {
    let registry = |registry: &Registry| match registry {
        // The revocations are in the bucket, whichever registries there are.
        Registry::S3 | Registry::Directory => None,
        Registry::Ec2 => Some(("fleetkey-agent-registry-ec2", REGISTRY_EC2)),
        Registry::Iam => Some(("fleetkey-agent-registry-iam", REGISTRY_IAM)),
    };
    let always = [
        ("fleetkey-agent-source-iam", SOURCE_IAM),
        ("fleetkey-agent-registry-s3", REGISTRY_S3),
        ("fleetkey-agent-push", PUSH),
        ("fleetkey-agent-report", REPORT),
    ];
    let words = [
        ("PARTITION", partition(region)),
        ("ACCOUNT_ID", account_id),
        ("REGION", region),
        ("BUCKET", bucket),
        ("TOPIC", topic),
    ];
    let filled = |(name, text): (&str, &str)| {
        let document: Value = serde_json::from_str(text).ok()?;
        Some((name.to_owned(), fill(document, &words)))
    };
    always.into_iter().chain(registries.iter().filter_map(registry)).filter_map(filled).collect()
}

/// The partition that a region is in.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>
fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// Puts the values for the words, within strings alone: what is put in cannot change the document's form.
fn fill(value: Value, words: &[(&str, &str)]) -> Value {
    match value {
        Value::String(text) => Value::String(words.iter().fold(text, |text, (word, value)| text.replace(word, value))),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| fill(item, words)).collect()),
        Value::Object(entries) => {
            Value::Object(entries.into_iter().map(|(key, value)| (key, fill(value, words))).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_is_left_to_be_filled_in_and_no_key_is_changed() {
        let registries = [Registry::S3, Registry::Ec2, Registry::Iam];
        let policies = agent_policies("123456789012", "cn-north-1", "my-bucket", "my-topic", &registries);
        let names: Vec<&str> = policies.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "fleetkey-agent-push",
                "fleetkey-agent-registry-ec2",
                "fleetkey-agent-registry-iam",
                "fleetkey-agent-registry-s3",
                "fleetkey-agent-report",
                "fleetkey-agent-source-iam",
            ]
        );
        let text = serde_json::to_string(&policies).unwrap();
        for word in ["PARTITION", "ACCOUNT_ID", "REGION", "BUCKET", "TOPIC"] {
            assert!(!text.contains(word), "{word} is left in {text}");
        }
        assert!(text.contains("arn:aws-cn:s3:::my-bucket/status/*"), "{text}");
        assert!(text.contains("\"aws:RequestedRegion\":\"cn-north-1\""), "{text}");
    }

    #[test]
    fn an_agent_gets_the_policies_of_its_registries_and_no_others() {
        let policies = agent_policies("123456789012", "us-west-2", "b", "t", &[Registry::S3]);
        assert!(policies.contains_key("fleetkey-agent-registry-s3"));
        assert!(!policies.keys().any(|name| name.contains("registry-ec2") || name.contains("registry-iam")));
    }
}
