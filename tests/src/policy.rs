//! The IAM policies that are shipped, filled in for an account, whole or with a permission taken away.
//!
//! The moto server holds two things against a policy: actions, and the ARNs of S3 buckets and objects. It knows neither
//! policy variables nor conditions, and no other ARNs: the variables are filled in here, and those ARNs widened. What a
//! policy says in them is shown by no test against moto; [`ShippedPolicy::allows`] reads it.

use std::collections::{BTreeMap, BTreeSet};
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

/// The condition keys of a request, such as `aws:RequestTag/Name`, each with its values.
pub type Keys = BTreeMap<String, Vec<String>>;

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

    /// Whether it allows an action on the resource with this ARN, in a request with these condition keys. This knows as
    /// much of IAM's language as the shipped policies speak: they deny nothing.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>
    pub fn allows(&self, action: &str, resource: &str, keys: &Keys) -> bool {
        self.statements().iter().any(|statement| {
            let names = |field: &str, value: &str| words(&statement[field]).any(|pattern| like(pattern, value));
            names("Action", action) && names("Resource", resource) && holds(&statement["Condition"], keys)
        })
    }

    fn statements(&self) -> &[Value] {
        self.document["Statement"].as_array().map_or(&[], Vec::as_slice)
    }
}

/// Whether each operator holds for each of its keys.
fn holds(condition: &Value, keys: &Keys) -> bool {
    condition.as_object().into_iter().flatten().all(|(operator, wanted)| {
        wanted.as_object().into_iter().flatten().all(|(key, wanted)| {
            let given = keys.get(key).map_or(&[][..], Vec::as_slice);
            let equal = |value: &String| words(wanted).any(|word| word == value);
            match operator.as_str() {
                "Null" => words(wanted).any(|word| word == if given.is_empty() { "true" } else { "false" }),
                "StringEquals" => given.iter().any(equal),
                "StringLike" => given.iter().any(|value| words(wanted).any(|pattern| like(pattern, value))),
                // Also of no value at all.
                "ForAllValues:StringEquals" => given.iter().all(equal),
                _ => false,
            }
        })
    })
}

/// The texts of a field that has one or several.
fn words(field: &Value) -> impl Iterator<Item = &str> {
    let several = field.as_array().map_or(std::slice::from_ref(field), Vec::as_slice);
    several.iter().filter_map(Value::as_str)
}

/// Whether a text is as a pattern has it, in which `*` stands for any text.
fn like(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    (0..=text.len()).any(|at| text.is_char_boundary(at) && like(rest, &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_allowed_where_action_resource_and_every_condition_are_as_a_statement_has_them() {
        let document = serde_json::json!({"Statement": [{
            "Action": ["ec2:CreateTags"], "Resource": ["arn:aws:ec2:*:volume/*"],
            "Condition": {
                "Null": {"aws:ResourceTag/Name": "true", "aws:RequestTag/box": "false"},
                "ForAllValues:StringEquals": {"aws:TagKeys": ["Name", "box"]},
                "StringLike": {"aws:RequestTag/box": "/prod/*"},
            },
        }]});
        let policy = ShippedPolicy { document };
        let keys = |given: &[(&str, &str)]| {
            let mut keys = Keys::new();
            for (key, value) in given {
                keys.entry((*key).to_owned()).or_default().push((*value).to_owned());
            }
            keys
        };
        let volume = "arn:aws:ec2:us-west-2:1:volume/vol-1";
        let good = [("aws:RequestTag/box", "/prod/web"), ("aws:TagKeys", "Name"), ("aws:TagKeys", "box")];
        assert!(policy.allows("ec2:CreateTags", volume, &keys(&good)));
        assert!(!policy.allows("ec2:DeleteTags", volume, &keys(&good)));
        assert!(!policy.allows("ec2:CreateTags", "arn:aws:ec2:us-west-2:1:instance/i-1", &keys(&good)));
        assert!(!policy.allows("ec2:CreateTags", volume, &keys(&[("aws:RequestTag/box", "/test/web")])));
        assert!(!policy.allows("ec2:CreateTags", volume, &keys(&[])));
        for more in [("aws:ResourceTag/Name", "db"), ("aws:TagKeys", "token")] {
            assert!(!policy.allows("ec2:CreateTags", volume, &keys(&[&good[..], &[more]].concat())), "{more:?}");
        }
    }
}
