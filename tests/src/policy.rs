//! The IAM policies that are shipped, filled in for an account, whole or with a permission taken away.
//!
//! The moto server holds two things against a policy: actions, and the ARNs of S3 buckets and objects. It knows neither
//! policy variables nor conditions, and no other ARNs: the variables are filled in here, and those ARNs widened. What a
//! policy says in them is shown by no test against moto.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::cloud::Cloud;

/// A policy as IAM gives it: JSON, percent-encoded.
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetPolicyVersion.html>
pub fn decoded(document: &str) -> Result<Value> {
    let mut bytes = Vec::new();
    let mut rest = document.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| *byte == b'%').and_then(|code| hex::decode(code).ok());
        rest = if code.is_some() { &after[2..] } else { after };
        bytes.push(code.map_or(*byte, |code| code[0]));
    }
    serde_json::from_slice(&bytes).with_context(|| format!("{document} is no JSON"))
}

/// One policy of `packaging/iam`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShippedPolicy {
    document: Value,
}

impl ShippedPolicy {
    /// Reads a policy by its name, without `.json`, and fills it in for this account and the IAM user who will have it.
    pub fn read(name: &str, cloud: &Cloud, user: &str) -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/iam").join(name).with_extension("json");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let words = [
            ("PARTITION", "aws"),
            ("ACCOUNT_ID", cloud.account_id()),
            ("REGION", Cloud::REGION),
            ("BUCKET", &cloud.bucket()),
            ("TOPIC", Cloud::TOPIC),
            ("${aws:username}", user),
        ];
        let text = words.into_iter().fold(text, |text, (word, value)| text.replace(word, value));
        Ok(Self { document: serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))? })
    }

    /// What it allows, such as `s3:GetObject`.
    pub fn actions(&self) -> BTreeSet<String> {
        let actions = self.statements().iter().filter_map(|statement| statement["Action"].as_array());
        actions.flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// The same without one action.
    ///
    /// # Errors
    /// When it does not allow the action anyway.
    pub fn without(mut self, action: &str) -> Result<Self> {
        ensure!(self.actions().contains(action), "the policy has no {action} to be taken away");
        if let Some(statements) = self.document["Statement"].as_array_mut() {
            for statement in statements.iter_mut() {
                if let Some(actions) = statement["Action"].as_array_mut() {
                    actions.retain(|allowed| allowed != action);
                }
            }
            statements.retain(|statement| statement["Action"] != Value::Array(Vec::new()));
        }
        Ok(self)
    }

    /// The policy as the moto server can hold a call against it.
    pub fn for_moto(mut self) -> String {
        for statement in self.document["Statement"].as_array_mut().into_iter().flatten() {
            if !statement["Resource"].to_string().contains(":s3:") {
                statement["Resource"] = "*".into();
            }
            // To IAM a batch is the call that it is a batch of; moto takes it for another.
            if let Some(actions) = statement["Action"].as_array_mut()
                && actions.iter().any(|action| action == "sqs:DeleteMessage")
            {
                actions.push("sqs:DeleteMessageBatch".into());
            }
        }
        self.document.to_string()
    }

    fn statements(&self) -> &[Value] {
        self.document["Statement"].as_array().map_or(&[], Vec::as_slice)
    }
}
