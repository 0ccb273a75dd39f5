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
            // That a key is there says less than what it has to be; and where it must be absent (`true`), the request
            // has none.
            if operator == "Null" {
                if texts(value) != ["false"] {
                    continue;
                }
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
    use crate::account::shipped::SHIPPED;
    use crate::account::words::Words;

    /// The statements of a policy that is shipped, as they are and as they are read.
    fn shipped(file: &str) -> Vec<(Value, Statement)> {
        let document = Words::example().fill(SHIPPED.iter().find(|shipped| shipped.file == file).unwrap().document());
        let whole = document["Statement"].as_array().unwrap().iter().cloned();
        whole.zip(statements(&document)).collect()
    }

    /// Whether a text is like a pattern with `*` in it.
    fn like(pattern: &str, text: &str) -> bool {
        let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
        let rest = text.strip_prefix(head);
        rest.is_some_and(|rest| rest.char_indices().any(|(at, _)| like(tail, &rest[at..])) || tail.is_empty())
    }

    /// Whether a request with these values of a key meets a condition.
    fn meets(operator: &str, wanted: &Value, values: Option<&Vec<String>>) -> bool {
        let any = |value: &String| texts(wanted).iter().any(|pattern| like(pattern, value));
        match operator {
            "Null" => values.is_none() == (wanted == "true"),
            "StringEquals" | "StringLike" => values.is_some_and(|values| values.len() == 1 && any(&values[0])),
            "ForAllValues:StringEquals" => values.into_iter().flatten().all(any),
            other => panic!("the condition {other} is not known here"),
        }
    }

    #[test]
    fn what_is_asked_of_each_shipped_statement_meets_its_own_conditions() {
        for file in SHIPPED.iter().map(|shipped| shipped.file) {
            for (whole, read) in shipped(file) {
                for (operator, keys) in whole["Condition"].as_object().into_iter().flatten() {
                    for (key, wanted) in keys.as_object().unwrap() {
                        let values = read.context.get(key);
                        assert!(meets(operator, wanted, values), "{file}: {operator} {key} {wanted}: {values:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_user_below_any_path_may_ask_about_herself_and_about_nobody_else() {
        let document = shipped("controller-doctor");
        let (_, ask) = document.iter().find(|(whole, _)| whole["Sid"] == "AskWhatIsAllowed").unwrap();
        let of = |path: &str| {
            let arn = format!("arn:aws:iam::123456789012:user{path}");
            ask.resources.iter().any(|resource| like(&resource.replace("${aws:username}", "alice"), &arn))
        };
        assert!(of("/alice") && of("/team/alice") && of("/team/web/alice"));
        assert!(!of("/bob") && !of("/alice/bob") && !of("/malice"));
    }

    #[test]
    fn a_statement_tells_what_a_request_is_like_that_it_allows() {
        let document = json!({"Statement": [
            {"Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::b"],
             "Condition": {"StringLike": {"s3:prefix": ["people/*", "agent/*"]}}},
            {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/agent/*"},
            {"Action": ["ec2:CreateTags"], "Resource": "*", "Condition": {
                "Null": {"aws:TagKeys": "false", "aws:ResourceTag/generation": "false",
                    "aws:ResourceTag/keep": "true"},
                "ForAllValues:StringEquals": {"aws:TagKeys": ["Name", "x"]}}},
        ]});
        let read = statements(&document);
        assert_eq!(read[0].prefix(), "people/");
        assert_eq!(read[1].prefix(), "agent/");
        assert_eq!(read[1].actions, ["s3:GetObject"]);
        let values = |key: &str| read[2].context[key].clone();
        assert_eq!(values("aws:ResourceTag/generation"), ["x"]);
        assert_eq!(values("aws:TagKeys"), ["Name", "x"]);
        assert!(!read[2].context.contains_key("aws:ResourceTag/keep"));
    }
}
