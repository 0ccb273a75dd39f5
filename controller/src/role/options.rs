//! The options of a role: what there is to choose, and what was chosen.
//!
//! What is chosen becomes tags of the instance, so names and values keep to what EC2 takes for tags.

use std::collections::BTreeMap;

use fleetkey_common::did_you_mean::did_you_mean;
use serde::Serialize;

use super::fields::{Findings, find};
use super::model::Role;
use super::node::{Node, Value};
use super::problem::RoleError;

/// The longest name, in characters. A tag's key has at most 128.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions>
const LONGEST_NAME: usize = 64;

/// The longest value of a tag, in characters.
const LONGEST_VALUE: usize = 256;

/// Tags that boxes have beside their options.
const RESERVED: [&str; 4] = ["name", "generation", "cluster_name", "cluster_ordinal"];

const TYPES: [&str; 5] = ["string", "int", "bool", "choice", "size"];

/// Something that the operator can choose by `-O NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct OptionSpec {
    /// What values it takes.
    #[serde(flatten)]
    pub(crate) kind: OptionKind,
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) help: String,
    /// The value where none is given; with neither the option is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<OptionValue>,
    /// Whether a value must be given.
    pub(crate) required: bool,
}

/// The type of an option.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum OptionKind {
    /// Any text.
    String,
    /// A whole number.
    Int {
        /// The least.
        #[serde(skip_serializing_if = "Option::is_none")]
        min: Option<i64>,
        /// The greatest.
        #[serde(skip_serializing_if = "Option::is_none")]
        max: Option<i64>,
    },
    /// `true` or `false`.
    Bool,
    /// One of a few words.
    Choice {
        /// The words.
        choices: Vec<String>,
    },
    /// A number of bytes, such as `512M` or `20G`.
    Size,
}

/// The value of an option.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum OptionValue {
    /// Of a string, choice or size; a size as it was written.
    Text(String),
    /// Of a whole number.
    Int(i64),
    /// Of a switch.
    Bool(bool),
}

/// The options of a role that are set, checked, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct OptionValues(pub(crate) BTreeMap<String, OptionValue>);

impl OptionValues {
    /// The tags that the instance gets: each option that is set.
    pub(crate) fn tags(&self) -> BTreeMap<String, String> {
        self.0.iter().map(|(name, value)| (name.clone(), value.to_text())).collect()
    }
}

impl OptionValue {
    /// The value as it is given on the command line.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Int(number) => number.to_string(),
            Self::Bool(on) => on.to_string(),
        }
    }
}

impl OptionKind {
    /// The type in words, such as `int, 1 to 9`.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::String => "string".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::Size => "size".to_owned(),
            Self::Choice { choices } => choices.join("|"),
            Self::Int { min: None, max: None } => "int".to_owned(),
            Self::Int { min: Some(min), max: None } => format!("int from {min}"),
            Self::Int { min: None, max: Some(max) } => format!("int up to {max}"),
            Self::Int { min: Some(min), max: Some(max) } => format!("int {min} to {max}"),
        }
    }

    /// Reads a value of this type. What is wrong with it is said in words that end a message.
    fn value(&self, text: &str) -> Result<OptionValue, String> {
        if text.chars().count() > LONGEST_VALUE {
            return Err(format!("has more than {LONGEST_VALUE} characters, the most that a tag of EC2 has"));
        }
        if text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
            return Err("has a control character".to_owned());
        }
        match self {
            Self::String => Ok(OptionValue::Text(text.to_owned())),
            Self::Bool => text.parse().map(OptionValue::Bool).map_err(|_| format!("is {text:?}; give true or false")),
            Self::Int { min, max } => {
                let number: i64 = text.parse().map_err(|_| format!("is {text:?}, which is no whole number"))?;
                let bounds = min.unwrap_or(i64::MIN)..=max.unwrap_or(i64::MAX);
                if bounds.contains(&number) {
                    return Ok(OptionValue::Int(number));
                }
                Err(format!("is {number}, which is out of range: {}", self.words()))
            }
            Self::Choice { choices } => {
                let known: Vec<&str> = choices.iter().map(String::as_str).collect();
                if known.contains(&text) {
                    return Ok(OptionValue::Text(text.to_owned()));
                }
                Err(format!("is {text:?}; give {}{}", known.join(", "), did_you_mean(text, &known)))
            }
            Self::Size => match bytes(text) {
                Some(_) => Ok(OptionValue::Text(text.to_owned())),
                None => Err(format!("is {text:?}, which is no size; give a number and K, M, G or T, such as 20G")),
            },
        }
    }
}

/// The bytes that a size stands for: `512` bytes, `20G`; the units are powers of 1024.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let power = match &text[digits.len()..] {
        "" | "B" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return None,
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1024_u64.checked_pow(power)?)
}

/// Reads the options of a role.
pub(super) fn read(node: &Node, findings: &mut Findings) -> BTreeMap<String, OptionSpec> {
    let mut options = BTreeMap::new();
    for (key, node) in findings.any_map(node, "options") {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let begins = key.name.starts_with(|c: char| c.is_ascii_lowercase());
        if !begins || !key.name.chars().all(plain) || key.name.len() > LONGEST_NAME {
            findings.error(&key.place, "an option's name is a small letter, then at most 63 of a-z 0-9 _");
        }
        if RESERVED.contains(&key.name.as_str()) {
            findings
                .error(&key.place, format!("{} is a tag that every box has; give the option another name", key.name));
        }
        if let Some(spec) = option(&key.name, node, findings) {
            options.insert(key.name.clone(), spec);
        }
    }
    options
}

fn option(name: &str, node: &Node, findings: &mut Findings) -> Option<OptionSpec> {
    let fields = ["type", "help", "default", "required", "choices", "min", "max"];
    let entries = findings.map(node, &format!("option {name}"), &fields);
    let at = |name: &str| find(&entries, name);
    let kind = match at("type") {
        Some(node) => findings.text(node, "type")?,
        None if at("choices").is_some() => "choice".to_owned(),
        None => "string".to_owned(),
    };
    let mut number = |name: &str| at(name).and_then(|node| findings.number(node, name, i64::MIN..=i64::MAX));
    let (min, max) = (number("min"), number("max"));
    let only = |field: &str, kind: &str, findings: &mut Findings| {
        if let Some(node) = at(field) {
            findings.error(&node.place, format!("only an option of type {kind} has {field}"));
        }
    };
    if kind != "int" {
        only("min", "int", findings);
        only("max", "int", findings);
    }
    if kind != "choice" {
        only("choices", "choice", findings);
    }
    let kind = match kind.as_str() {
        "string" => OptionKind::String,
        "bool" => OptionKind::Bool,
        "size" => OptionKind::Size,
        "int" => OptionKind::Int { min, max },
        "choice" => OptionKind::Choice { choices: choices(node, at("choices"), findings) },
        other => {
            let hint = did_you_mean(other, &TYPES);
            let place = at("type").map_or(&node.place, |node| &node.place);
            findings.error(place, format!("type {other:?} is none of {}{hint}", TYPES.join(", ")));
            return None;
        }
    };
    let default = at("default").and_then(|node| default(&kind, node, findings));
    let required = at("required").and_then(|node| findings.switch(node, "required")).unwrap_or(false);
    if let Some(node) = at("required").filter(|_| required && default.is_some()) {
        findings.error(&node.place, "an option that has a default is never missing; take out required or default");
    }
    let help = at("help").and_then(|node| findings.text(node, "help")).unwrap_or_default();
    Some(OptionSpec { kind, help, default, required })
}

fn choices(option: &Node, node: Option<&Node>, findings: &mut Findings) -> Vec<String> {
    let items = node.map(|node| findings.list(node, "choices")).unwrap_or_default();
    let choices: Vec<String> = items.iter().filter_map(|item| findings.text(item, "choices")).collect();
    if choices.is_empty() {
        findings.missing(&option.place, "choices", "an option of type choice lists its words");
    }
    choices
}

fn default(kind: &OptionKind, node: &Node, findings: &mut Findings) -> Option<OptionValue> {
    let text = match &node.value {
        Value::Bool(on) => on.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        other => {
            findings.error(&node.place, format!("the default is {}, which no option takes", other.kind()));
            return None;
        }
    };
    kind.value(&text).map_err(|fault| findings.error(&node.place, format!("the default {fault}"))).ok()
}

impl Role {
    /// Holds what was given, name to text, against the options of the role, and adds the defaults.
    ///
    /// # Errors
    /// When a name is not that of an option, a value not one of its type, or a required one is missing.
    pub(crate) fn resolve_options(&self, given: &BTreeMap<String, String>) -> Result<OptionValues, RoleError> {
        let known: Vec<&str> = self.options.keys().map(String::as_str).collect();
        let refuse = |message: String, hint: String| RoleError::Option { message, hint };
        let seen = format!("`fleetkey role options {}` says what there is", self.name);
        if let Some(name) = given.keys().find(|name| !known.contains(&name.as_str())) {
            let hint = did_you_mean(name, &known);
            let message = match known.as_slice() {
                [] => format!("role {} has no option {name:?}: it has none", self.name),
                _ => format!("role {} has no option {name:?}{hint}; it has {}", self.name, known.join(", ")),
            };
            return Err(refuse(message, String::new()));
        }
        let mut values = BTreeMap::new();
        for (name, spec) in &self.options {
            let value = match (given.get(name), &spec.default) {
                (Some(text), _) => {
                    spec.kind.value(text).map_err(|fault| refuse(format!("option {name} {fault}"), seen.clone()))?
                }
                (None, Some(default)) => default.clone(),
                (None, None) if spec.required => {
                    let help = if spec.help.is_empty() { String::new() } else { format!(": {}", spec.help) };
                    let message = format!("role {} needs option {name}{help}", self.name);
                    return Err(refuse(message, format!("give -O {name}=VALUE ({})", spec.kind.words())));
                }
                (None, None) => continue,
            };
            values.insert(name.clone(), value);
        }
        Ok(OptionValues(values))
    }
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
