//! A statement of a policy, as somebody would have to hold it against a caller: actions, on what, and in which
//! circumstances. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

/// A statement that allows something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// `ec2:StartInstances`
    pub(super) actions: Vec<String>,
    /// ARNs, `*` in them.
    pub(super) resources: Vec<String>,
    /// What holds of a request that the statement allows: key to values.
    pub(super) context: BTreeMap<String, Vec<String>>,
}

/// The statements of a filled-in policy.
pub(super) fn statements(document: &Value) -> Vec<Statement> {
    document["Statement"].as_array().into_iter().flatten().map(read).collect()
}

fn read(statement: &Value) -> Statement {
    let mut context: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (operator, keys) in statement["Condition"].as_object().into_iter().flatten() {
        for (key, value) in keys.as_object().into_iter().flatten() {
            // That a key is there says less than what it has to be.
            if operator == "Null" {
                context.entry(key.clone()).or_insert_with(|| vec!["x".to_owned()]);
                continue;
            }
            let whole = operator.starts_with("ForAllValues");
            let values = texts(value).into_iter().take(if whole { usize::MAX } else { 1 });
            context.insert(key.clone(), values.map(|text| text.replace('*', "x")).collect());
        }
    }
    Statement { actions: texts(&statement["Action"]), resources: texts(&statement["Resource"]), context }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

impl Statement {
    /// What the keys of objects begin with that the statement is about.
    pub(super) fn prefix(&self) -> String {
        if let Some(prefix) = self.context.get("s3:prefix").and_then(|values| values.first()) {
            return prefix.trim_end_matches('x').to_owned();
        }
        let object = self.resources.iter().find_map(|arn| arn.split_once(":::")?.1.split_once('/'));
        object.map(|(_, key)| key.trim_end_matches('*').to_owned()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_statement_tells_what_a_request_is_like_that_it_allows() {
        let document = json!({"Statement": [
            {"Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::b"],
             "Condition": {"StringLike": {"s3:prefix": ["people/*", "agent/*"]}}},
            {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/agent/*"},
            {"Action": ["ec2:CreateTags"], "Resource": "*", "Condition": {
                "Null": {"aws:TagKeys": "false", "aws:ResourceTag/generation": "false"},
                "ForAllValues:StringEquals": {"aws:TagKeys": ["Name", "x"]}}},
        ]});
        let read = statements(&document);
        assert_eq!(read[0].prefix(), "people/");
        assert_eq!(read[1].prefix(), "agent/");
        assert_eq!(read[1].actions, ["s3:GetObject"]);
        let values = |key: &str| read[2].context[key].clone();
        assert_eq!(values("aws:ResourceTag/generation"), ["x"]);
        assert_eq!(values("aws:TagKeys"), ["Name", "x"]);
    }
}
