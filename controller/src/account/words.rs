//! The words that stand in shipped policies for what differs between accounts, and policies for several regions. Pure.

use serde_json::{Map, Value, json};

/// The condition by which a statement is held to regions.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-requestedregion>
const REQUESTED_REGION: &str = "aws:RequestedRegion";

/// The word for the region.
const REGION: &str = "REGION";

/// The namespace of metrics in CloudWatch, unless the agent is told another: CGCloud's.
const METRICS_NAMESPACE: &str = "CGCloud";

/// The most characters that IAM takes in a managed policy, blanks between words not counted.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
pub(crate) const LONGEST: usize = 6144;

/// What is put for the words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    /// `aws`, `aws-cn`, `aws-us-gov`, or what stands for it in a template.
    pub(crate) partition: String,
    /// Twelve digits, or what stands for them in a template.
    pub(crate) account: String,
    /// The regions, at least one.
    pub(crate) regions: Vec<String>,
    /// The bucket's name.
    pub(crate) bucket: String,
    /// The topic's name.
    pub(crate) topic: String,
}

/// The partition that a region is in.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>
pub(crate) fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

impl Words {
    /// Those of an account in one region, for tests of what is made of them.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        Self {
            partition: "aws".to_owned(),
            account: "123456789012".to_owned(),
            regions: vec!["us-west-2".to_owned()],
            bucket: "b".to_owned(),
            topic: "t".to_owned(),
        }
    }

    /// A policy with the words filled in, within strings alone: what is put in cannot change the document's form.
    ///
    /// For one region it is the policy as it is shipped. For several, a policy with each ARN once for each region would
    /// soon be longer than IAM takes: there the ARNs hold for any region, and a condition holds the statement to those.
    pub(crate) fn fill(&self, mut document: Value) -> Value {
        if self.regions.len() > 1 {
            for statement in document.get_mut("Statement").and_then(Value::as_array_mut).into_iter().flatten() {
                self.spread(statement);
            }
        }
        let region = self.regions.first().map_or("", String::as_str);
        let words = [
            ("PARTITION", self.partition.as_str()),
            ("ACCOUNT_ID", &self.account),
            (REGION, region),
            ("BUCKET", &self.bucket),
            ("NAMESPACE", METRICS_NAMESPACE),
            ("TOPIC", &self.topic),
        ];
        map_strings(document, &|text| words.iter().fold(text, |text, (word, value)| text.replace(word, value)))
    }

    fn spread(&self, statement: &mut Value) {
        let bound = statement["Resource"].to_string().contains(REGION);
        if bound {
            let resource = statement["Resource"].take();
            statement["Resource"] = map_strings(resource, &|text| text.replace(REGION, "*"));
        }
        let conditions = statement.get_mut("Condition").and_then(Value::as_object_mut);
        for values in conditions.into_iter().flat_map(Map::values_mut) {
            for value in values.as_object_mut().into_iter().flat_map(Map::values_mut) {
                let each = |text: &str| self.regions.iter().map(|region| text.replace(REGION, region)).collect();
                let spread: Option<Vec<String>> = value.as_str().filter(|text| text.contains(REGION)).map(each);
                if let Some(spread) = spread {
                    *value = json!(spread);
                }
            }
        }
        if bound {
            statement["Condition"]["StringEquals"][REQUESTED_REGION] = json!(self.regions);
        }
    }
}

/// The regions that a filled-in policy allows anything in.
pub(crate) fn regions_of(document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for statement in document["Statement"].as_array().into_iter().flatten() {
        let resources = statement["Resource"].as_array().map_or(&[][..], Vec::as_slice);
        let named = resources.iter().filter_map(|arn| arn.as_str()?.split(':').nth(3));
        found.extend(named.filter(|region| !["", "*"].contains(region)).map(str::to_owned));
        let value = &statement["Condition"]["StringEquals"][REQUESTED_REGION];
        found.extend(value.as_str().map(str::to_owned));
        let listed = value.as_array().map_or(&[][..], Vec::as_slice);
        found.extend(listed.iter().filter_map(Value::as_str).map(str::to_owned));
    }
    found.sort();
    found.dedup();
    found
}

/// The value with every string in it, names of fields excepted, changed.
pub(crate) fn map_strings(value: Value, change: &impl Fn(String) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(change(text)),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| map_strings(item, change)).collect()),
        Value::Object(entries) => {
            Value::Object(entries.into_iter().map(|(key, value)| (key, map_strings(value, change))).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::shipped::SHIPPED;

    /// As many regions as an account is likely to be used in.
    const MANY: &str = "us-east-1 us-east-2 us-west-1 us-west-2 ap-south-1 ap-northeast-1 ap-southeast-1 ap-southeast-2 \
         eu-central-1 eu-west-1";

    fn words(regions: &[&str]) -> Words {
        Words {
            partition: "aws-us-gov".to_owned(),
            account: "123456789012".to_owned(),
            regions: regions.iter().map(ToString::to_string).collect(),
            bucket: "b".repeat(63),
            topic: "fleetkey-agent-notifications".to_owned(),
        }
    }

    #[test]
    fn no_word_is_left_and_iam_takes_every_policy_for_one_region_and_for_ten() {
        let many: Vec<&str> = MANY.split_whitespace().collect();
        for regions in [&["us-west-2"][..], &many] {
            for shipped in SHIPPED {
                let text = words(regions).fill(shipped.document()).to_string();
                for word in ["PARTITION", "ACCOUNT_ID", "REGION", "BUCKET", "TOPIC", "NAMESPACE"] {
                    assert!(!text.contains(word), "{}: {word} is left in {text}", shipped.file);
                }
                assert!(text.len() <= LONGEST, "{}: {} characters", shipped.file, text.len());
            }
        }
    }

    #[test]
    fn a_policy_for_several_regions_holds_each_statement_that_was_bound_to_one_to_those() {
        let shipped = json!({"Statement": [
            {"Resource": ["arn:PARTITION:ec2:REGION:ACCOUNT_ID:instance/*"], "Condition": {"StringEquals": {"a": "b"}}},
            {"Resource": "*", "Condition": {"StringEquals": {"aws:RequestedRegion": "REGION"}}},
            {"Resource": ["arn:PARTITION:s3:::BUCKET"]},
            {"Resource": ["arn:PARTITION:sns:REGION:ACCOUNT_ID:TOPIC"],
             "Condition": {"StringLike": {"sns:Endpoint": "arn:PARTITION:sqs:REGION:ACCOUNT_ID:x"}}},
        ]});
        let filled = words(&["eu-west-1", "us-west-2"]).fill(shipped.clone());
        let both = json!(["eu-west-1", "us-west-2"]);
        let statement = |at: usize| &filled["Statement"][at];
        assert_eq!(statement(0)["Resource"], json!(["arn:aws-us-gov:ec2:*:123456789012:instance/*"]));
        assert_eq!(statement(0)["Condition"]["StringEquals"], json!({"a": "b", "aws:RequestedRegion": both}));
        assert_eq!(statement(1)["Condition"]["StringEquals"]["aws:RequestedRegion"], both);
        assert_eq!(statement(2).get("Condition"), None);
        let endpoints =
            json!(["arn:aws-us-gov:sqs:eu-west-1:123456789012:x", "arn:aws-us-gov:sqs:us-west-2:123456789012:x"]);
        assert_eq!(statement(3)["Condition"]["StringLike"]["sns:Endpoint"], endpoints);
        assert_eq!(regions_of(&filled), ["eu-west-1", "us-west-2"]);
        assert_eq!(regions_of(&words(&["us-west-2"]).fill(shipped)), ["us-west-2"]);
    }

    #[test]
    fn the_variable_that_iam_fills_in_is_left_to_it() {
        let text = words(&["us-west-2"]).fill(crate::account::shipped::document("controller-register-key")).to_string();
        assert!(text.contains("/people/${aws:username}/*"), "{text}");
    }
}
