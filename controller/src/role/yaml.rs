//! YAML to a tree of [`Node`]s. What a later reader of the same YAML could take for something else is refused.
//!
//! Files are small and written by people: size, depth and aliases are limited, so that no file can take the memory.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DefaultMessageFormatter, DuplicateKeyPolicy, Location, MessageFormatter as _, Spanned};

use super::node::{Key, Node, Place, Value};
use super::problem::Problem;

/// The greatest size of a role file, in bytes. User-data has 16 KB.
pub(super) const LARGEST: usize = 128 * 1024;

/// How deep lists and maps may stand in each other.
const DEEPEST: usize = 24;

/// Reads one file.
///
/// # Errors
/// With the first place at which it is no YAML, or at which it could be taken for something else.
pub(super) fn parse(file: &Arc<str>, bytes: &[u8]) -> Result<Node, Problem> {
    let top = |message: String| Problem { place: Place { file: Arc::clone(file), line: 1, column: 1 }, message };
    if bytes.len() > LARGEST {
        return Err(top(format!("the file has {} bytes; a role has at most {LARGEST}", bytes.len())));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let before = String::from_utf8_lossy(before);
            let line = 1 + before.matches('\n').count() as u64;
            let column = 1 + before.rsplit('\n').next().unwrap_or_default().chars().count() as u64;
            let place = Place { file: Arc::clone(file), line, column };
            return Err(Problem { place, message: "this byte is not UTF-8; save the file as UTF-8".to_owned() });
        }
    };
    let tree: Tree = serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
        let error = error.without_snippet();
        let place = error.location().map_or_else(|| top(String::new()).place, |at| place(file, at));
        let said = match error {
            serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
                Cow::Owned(format!("{key} stands twice in the same map; take one out"))
            }
            serde_saphyr::Error::Budget { breach, .. } => {
                Cow::Owned(format!("this is more than a role file may hold: {breach:?}"))
            }
            error => DefaultMessageFormatter.format_message(error),
        };
        // A parser's hint may go over several lines; what is wrong stands in the first.
        let said = said.lines().next().unwrap_or("this is no YAML");
        let from = text.lines().nth(usize::try_from(place.line - 1).unwrap_or(usize::MAX)).unwrap_or_default();
        let unquoted = said.contains("string scalar") && from.contains("{{");
        let hint = if unquoted { "; a value that begins with a template stands in quotes: \"{{ ... }}\"" } else { "" };
        Problem { place, message: format!("{said}{hint}") }
    })?;
    Reading { file, text }.node(tree)
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 50_000,
            max_aliases: 200,
            max_anchors: 200,
            max_depth: DEEPEST,
            max_documents: 1,
            max_nodes: 20_000,
            max_total_scalar_bytes: 2 * LARGEST,
            max_merge_keys: 200,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 10_000,
            max_replay_stack_depth: 8,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn place(file: &Arc<str>, at: Location) -> Place {
    // A location that is not known is 0:0.
    Place { file: Arc::clone(file), line: at.line().max(1), column: at.column().max(1) }
}

/// A value as the parser tells it.
struct Tree(Spanned<Raw>);

enum Raw {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(Spanned<String>, Tree)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true, false, a list or a map")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Int(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Raw, E> {
        i64::try_from(value).map(Raw::Int).map_err(|_| E::custom(format!("{value} is too large; put it in quotes")))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map: Vec<(Spanned<String>, Tree)> = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Spanned<String>, Tree>()? {
            // `1` and `"1"` are two keys to YAML and one to us.
            if map.iter().any(|(known, _)| known.value == key.value) {
                return Err(A::Error::custom(format!("{} stands twice in the same map; take one out", key.value)));
            }
            map.push((key, value));
        }
        Ok(Raw::Map(map))
    }
}

struct Reading<'a> {
    file: &'a Arc<str>,
    text: &'a str,
}

impl Reading<'_> {
    fn node(&self, Tree(spanned): Tree) -> Result<Node, Problem> {
        let at = place(self.file, spanned.referenced);
        let value = match spanned.value {
            Raw::Null => Value::Null,
            Raw::Bool(value) => Value::Bool(value),
            Raw::Int(value) => Value::Int(value),
            Raw::Float(value) => Value::Float(value),
            Raw::Text(value) => Value::Text(value),
            Raw::List(items) => Value::List(items.into_iter().map(|item| self.node(item)).collect::<Result<_, _>>()?),
            Raw::Map(entries) => {
                let entry = |(key, value): (Spanned<String>, Tree)| {
                    let place = place(self.file, key.referenced);
                    Ok((Key { name: key.value, place }, self.node(value)?))
                };
                Value::Map(entries.into_iter().map(entry).collect::<Result<_, _>>()?)
            }
        };
        if matches!(value, Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_)) {
            self.unambiguous(spanned.defined, &at)?;
        }
        Ok(Node { value, place: at })
    }

    /// Refuses what cloud-init's YAML 1.1 would take for something else than YAML 1.2 does: `yes`, `0644`.
    fn unambiguous(&self, defined: Location, at: &Place) -> Result<(), Problem> {
        let start = defined.span().byte_offset().and_then(|offset| usize::try_from(offset).ok()).unwrap_or(usize::MAX);
        let rest = self.text.get(start..).unwrap_or_default();
        let written = rest.split(['\n', '#', ',', ']', '}']).next().unwrap_or_default().trim();
        let refuse = |message: String| Err(Problem { place: at.clone(), message });
        if ["yes", "no", "on", "off"].iter().any(|word| written.eq_ignore_ascii_case(word)) {
            return refuse(format!(
                "{written} is a switch to some and a text to others; write true, false or \"{written}\""
            ));
        }
        let digits = written.trim_start_matches(['+', '-']);
        if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return refuse(format!(
                "{written} is octal to some and decimal to others; write it in quotes: \"{written}\""
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: impl AsRef<[u8]>) -> String {
        match parse(&Arc::from("r.yaml"), text.as_ref()) {
            Ok(node) => serde_json::to_string(&node).unwrap(),
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn values_are_read_in_the_order_of_the_file() {
        let text =
            "b: [1, -2, 1.5, true, null, ~]\na: {x: 'yes', y: \"0644\", z: 1.2.3}\nc: |\n  two\n  lines\nd:\n10: ten\n";
        insta::assert_snapshot!(told(text), @r#"{"b":[1,-2,1.5,true,null,null],"a":{"x":"yes","y":"0644","z":"1.2.3"},"c":"two\nlines\n","d":null,"10":"ten"}"#);
    }

    #[test]
    fn what_is_no_yaml_is_told_with_line_and_column() {
        for text in ["a: [1, 2\nb: 3\n", "a: 1\n b: 2\n", "a: 'x\n", "a: *nowhere\n", "a: !!binary x\n", "a: !own x\n"]
        {
            let said = told(text);
            assert!(said.starts_with("r.yaml:"), "{text:?}: {said}");
            assert!(!said.contains("r.yaml:0"), "{text:?}: {said}");
            assert_eq!(said.lines().count(), 1, "{text:?}: {said}");
        }
        insta::assert_snapshot!(told("a: 1\nb: {c: 2}\nb: 3\n"), @"r.yaml:3:1: b stands twice in the same map; take one out");
        insta::assert_snapshot!(told("a: 1\n---\nb: 2\n"), @"r.yaml:2:1: this is more than a role file may hold: Documents { documents: 2 }");
        insta::assert_snapshot!(told("a: *nowhere\n"), @"r.yaml:1:4: alias references unknown anchor");
        insta::assert_snapshot!(told("a: [1, 2\nb: 3\n"), @"r.yaml:2:2: illegal placement of ':' indicator");
    }

    #[test]
    fn what_cloud_init_would_read_otherwise_is_refused() {
        insta::assert_snapshot!(told("x: 1\na: [yes]\n"), @r#"r.yaml:2:5: yes is a switch to some and a text to others; write true, false or "yes""#);
        insta::assert_snapshot!(told("a: {b: Off}\n"), @r#"r.yaml:1:8: Off is a switch to some and a text to others; write true, false or "Off""#);
        insta::assert_snapshot!(told("write_files:\n  - permissions: 0644\n"), @r#"r.yaml:2:18: 0644 is octal to some and decimal to others; write it in quotes: "0644""#);
        assert_eq!(told("a: [0, 0.5, -0, y, n, yes please]\n"), r#"{"a":[0,0.5,0,"y","n","yes please"]}"#);
    }

    #[test]
    fn t5_bytes_that_are_no_text_and_files_that_are_too_large_are_refused() {
        insta::assert_snapshot!(told(b"a: 1\nb: \xff\n"), @"r.yaml:2:4: this byte is not UTF-8; save the file as UTF-8");
        let long = format!("a: {}\n", "x".repeat(LARGEST));
        insta::assert_snapshot!(told(long), @"r.yaml:1:1: the file has 131076 bytes; a role has at most 131072");
    }

    #[test]
    fn t5_no_file_takes_the_memory_by_aliases_or_the_stack_by_depth() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let before = format!("*a{}", level - 1);
            bomb.extend([
                "a",
                &level.to_string(),
                ": &a",
                &level.to_string(),
                " [",
                &[before.as_str(); 9].join(", "),
                "]\n",
            ]);
        }
        assert!(told(&bomb).starts_with("r.yaml:"), "{}", told(&bomb));
        let deep = "[".repeat(5_000) + &"]".repeat(5_000);
        assert!(told(&deep).starts_with("r.yaml:"), "{}", told(&deep));
        let deep: String = (0..200).flat_map(|level| [" ".repeat(level), "a:\n".to_owned()]).collect();
        assert!(told(&deep).starts_with("r.yaml:"), "{}", told(&deep));
    }

    #[test]
    fn an_alias_and_a_merge_key_stand_for_what_they_name() {
        assert_eq!(told("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}\n"), r#"{"a":{"b":1},"c":{"b":1},"d":{"e":2,"b":1}}"#);
    }
}
