//! Customer managed policies of IAM below [`super::instance_profiles::PATH`]: looked at, made, given a new version.

use std::collections::BTreeMap;

use aws_sdk_iam::Client;
use aws_sdk_iam::types::PolicyScopeType;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::instance_profiles::PATH;
use super::{CallError, failed};

/// How many versions IAM keeps of a policy.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const VERSIONS: usize = 5;

/// A policy as IAM lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ManagedPolicy {
    /// Its ARN.
    pub(crate) arn: String,
    /// Where it was made.
    pub(crate) path: String,
    /// The version that counts: `v3`.
    version: String,
}

/// All policies of the account by name, which no two of them share, whatever their path.
pub(crate) async fn list(client: &Client) -> Result<BTreeMap<String, ManagedPolicy>, CallError> {
    let mut pages = client.list_policies().scope(PolicyScopeType::Local).into_paginator().send();
    let mut found = BTreeMap::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(failed("iam ListPolicies"))?;
        found.extend(page.policies.unwrap_or_default().into_iter().filter_map(|policy| {
            let (path, version) = (policy.path.unwrap_or_default(), policy.default_version_id?);
            Some((policy.policy_name?, ManagedPolicy { arn: policy.arn?, path, version }))
        }));
    }
    Ok(found)
}

/// What a policy says; `Null` for what is no JSON.
pub(crate) async fn document(client: &Client, policy: &ManagedPolicy) -> Result<Value, CallError> {
    let answer = client.get_policy_version().policy_arn(&policy.arn).version_id(&policy.version).send().await;
    let answer = answer.map_err(failed(format!("iam GetPolicyVersion {} of {}", policy.version, policy.arn)))?;
    let encoded = answer.policy_version.and_then(|version| version.document).unwrap_or_default();
    // <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetPolicyVersion.html>
    let text = percent_decode_str(&encoded).decode_utf8_lossy();
    Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// Makes a policy.
pub(crate) async fn create(client: &Client, name: &str, description: &str, document: &Value) -> Result<(), CallError> {
    let call = client.create_policy().policy_name(name).path(PATH).description(description);
    let answer = call.policy_document(document.to_string()).send().await;
    answer.map_err(failed(format!("iam CreatePolicy {name}")))?;
    Ok(())
}

/// Gives a policy a new version, which counts from now on. Where IAM keeps no more of them, the oldest goes.
pub(crate) async fn change(client: &Client, arn: &str, document: &Value) -> Result<(), CallError> {
    let answer = client.list_policy_versions().policy_arn(arn).send().await;
    let answer = answer.map_err(failed(format!("iam ListPolicyVersions of {arn}")))?;
    let versions = answer.versions.unwrap_or_default();
    if versions.len() >= VERSIONS {
        let spare = versions.iter().filter(|version| !version.is_default_version);
        if let Some(oldest) = spare.filter_map(|version| version.version_id.as_deref()).min_by_key(|id| number(id)) {
            let call = client.delete_policy_version().policy_arn(arn).version_id(oldest);
            call.send().await.map_err(failed(format!("iam DeletePolicyVersion {oldest} of {arn}")))?;
        }
    }
    let call = client.create_policy_version().policy_arn(arn).policy_document(document.to_string());
    let answer = call.set_as_default(true).send().await;
    answer.map_err(failed(format!("iam CreatePolicyVersion of {arn}")))?;
    Ok(())
}

/// `v12` comes after `v9`.
fn number(version: &str) -> u32 {
    version.trim_start_matches('v').parse().unwrap_or(u32::MAX)
}
