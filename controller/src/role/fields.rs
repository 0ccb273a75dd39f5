//! Reading typed values off a tree. Every fault is noted with its place, and reading goes on, so that all are told.

use std::fmt::Display;
use std::str::FromStr;

use fleetkey_common::did_you_mean::did_you_mean;

use super::node::{Key, Node, Place, Value};
use super::problem::{Problem, Problems, RoleError};

/// What was found wrong so far.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Problem>);

impl Findings {
    /// Notes a fault.
    pub(super) fn error(&mut self, place: &Place, message: impl Display) {
        self.0.push(Problem { place: place.clone(), message: message.to_string() });
    }

    /// The value, or all faults in reading order.
    pub(super) fn into_result<T>(mut self, value: T) -> Result<T, RoleError> {
        if self.0.is_empty() {
            return Ok(value);
        }
        self.0.sort_by(|a, b| a.place.cmp(&b.place));
        self.0.dedup();
        Err(RoleError::Faulty(Problems(self.0)))
    }

    /// The entries of a map, unknown keys being told; none when it is no map. Entries that are null count as not there.
    pub(super) fn map<'a>(&mut self, node: &'a Node, what: &str, known: &[&str]) -> Vec<(&'a Key, &'a Node)> {
        let entries = self.any_map(node, what);
        for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&key.name.as_str())) {
            let hint = did_you_mean(&key.name, known);
            let hint = if hint.is_empty() { format!("; known are {}", known.join(", ")) } else { hint };
            self.error(&key.place, format!("unknown field {:?} in {what}{hint}", key.name));
        }
        entries
    }

    /// The entries of a map whose keys are free.
    pub(super) fn any_map<'a>(&mut self, node: &'a Node, what: &str) -> Vec<(&'a Key, &'a Node)> {
        let Value::Map(entries) = &node.value else {
            self.wrong::<()>(node, what, "a map");
            return Vec::new();
        };
        let stated = |(_, node): &&(Key, Node)| node.value != Value::Null;
        entries.iter().filter(stated).map(|(key, node)| (key, node)).collect()
    }

    /// The items of a list.
    pub(super) fn list<'a>(&mut self, node: &'a Node, what: &str) -> &'a [Node] {
        let Value::List(items) = &node.value else {
            self.wrong::<()>(node, what, "a list");
            return &[];
        };
        items
    }

    /// A text; a number is taken as it is written, since an account id looks like one.
    pub(super) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Int(number) => Some(number.to_string()),
            _ => self.wrong(node, what, "a text"),
        }
    }

    /// A text that is read to a type.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&mut self, node: &Node, what: &str) -> Option<T> {
        let text = self.text(node, what)?;
        text.parse().map_err(|error| self.error(&node.place, format!("{what}: {error}"))).ok()
    }

    /// A text that is one of a few words.
    pub(super) fn word<T: FromStr<Err: Display>>(&mut self, node: &Node, what: &str, words: &[&str]) -> Option<T> {
        let text = self.text(node, what)?;
        let hint = did_you_mean(&text, words);
        text.parse().map_err(|error| self.error(&node.place, format!("{what}: {error}{hint}"))).ok()
    }

    /// `true` or `false`.
    pub(super) fn switch(&mut self, node: &Node, what: &str) -> Option<bool> {
        match node.value {
            Value::Bool(on) => Some(on),
            _ => self.wrong(node, what, "true or false"),
        }
    }

    /// A whole number within bounds.
    pub(super) fn number(&mut self, node: &Node, what: &str, bounds: std::ops::RangeInclusive<i64>) -> Option<i64> {
        match node.value {
            Value::Int(number) if bounds.contains(&number) => Some(number),
            Value::Int(number) => {
                let (least, most) = (bounds.start(), bounds.end());
                self.error(&node.place, format!("{what}: {number} is out of range; give {least} to {most}"));
                None
            }
            _ => self.wrong(node, what, "a whole number"),
        }
    }

    /// Tells that a field is missing.
    pub(super) fn missing(&mut self, place: &Place, what: &str, hint: &str) {
        self.error(place, format!("{what} is missing; {hint}"));
    }

    fn wrong<T>(&mut self, node: &Node, what: &str, wanted: &str) -> Option<T> {
        self.error(&node.place, format!("{what} is {wanted}, and here stands {}", node.value.kind()));
        None
    }
}

/// The entry of that name.
pub(super) fn find<'a>(entries: &[(&'a Key, &'a Node)], name: &str) -> Option<&'a Node> {
    entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| *node)
}
