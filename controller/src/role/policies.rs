//! The IAM policies that the agent on a box needs: those of `packaging/iam`, filled in.

use std::collections::BTreeMap;

use fleetkey_common::registry::Registry;
use serde_json::Value;

use crate::account::shipped;
use crate::account::words::{Words, partition};

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
        Registry::Ec2 => Some("agent-registry-ec2"),
        Registry::Iam => Some("agent-registry-iam"),
    };
    let always = ["agent-source-iam", "agent-registry-s3", "agent-push", "agent-report"];
    let words = Words {
        partition: partition(region).to_owned(),
        account: account_id.to_owned(),
        regions: vec![region.to_owned()],
        bucket: bucket.to_owned(),
        topic: topic.to_owned(),
    };
    let filled = |file| (format!("fleetkey-{file}"), words.fill(shipped::document(file)));
    always.into_iter().chain(registries.iter().filter_map(registry)).map(filled).collect()
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
