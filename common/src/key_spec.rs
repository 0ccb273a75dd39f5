//! Key specs: the words by which a grant says who may log in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::names::{GroupName, NameError, PersonName};

/// Who may log in.
///
/// | text | meaning |
/// | --- | --- |
/// | `alice` | the keys of the key pair or person of that name |
/// | `dev-*`, `ops-?` | everyone whose name matches |
/// | `@alice` | the IAM user of that name, who must exist |
/// | `@@developers` | every user in that IAM group |
/// | `__me__` | the caller; only the controller resolves it |
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum KeySpec {
    /// `alice`
    Name(PersonName),
    /// `dev-*`
    Glob(NameGlob),
    /// `@alice`
    User(PersonName),
    /// `@@developers`
    Group(GroupName),
    /// `__me__`
    Me,
}

/// A pattern over names: `*` stands for any run of characters, `?` for one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameGlob(Box<str>);

/// Why a text is not a key spec.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeySpecError {
    /// The text is empty, or only `@` signs.
    #[error("key spec {0:?} names nobody; write alice, dev-*, @alice or @@group")]
    Empty(String),
    /// The name in it is not valid.
    #[error("key spec {text:?}: {source}")]
    Name {
        /// The spec as given.
        text: String,
        /// What is wrong with the name.
        source: NameError,
    },
    /// A glob behind `@` or `@@`: IAM users and groups are named in full.
    #[error("key spec {0:?} has a pattern behind an @; users and groups are named in full")]
    GlobInIam(String),
}

const ME: &str = "__me__";

fn is_glob(text: &str) -> bool {
    text.contains(['*', '?'])
}

impl FromStr for KeySpec {
    type Err = KeySpecError;

    fn from_str(text: &str) -> Result<Self, KeySpecError> {
        let name_error = |source| KeySpecError::Name { text: text.to_owned(), source };
        let bare = text.trim_start_matches('@');
        if bare.is_empty() {
            return Err(KeySpecError::Empty(text.to_owned()));
        }
        if text.starts_with('@') && is_glob(text) {
            return Err(KeySpecError::GlobInIam(text.to_owned()));
        }
        if let Some(group) = text.strip_prefix("@@") {
            return group.parse().map(KeySpec::Group).map_err(name_error);
        }
        if let Some(user) = text.strip_prefix('@') {
            return user.parse().map(KeySpec::User).map_err(name_error);
        }
        if text == ME {
            return Ok(KeySpec::Me);
        }
        if is_glob(text) {
            return NameGlob::new(text).map(KeySpec::Glob).map_err(name_error);
        }
        text.parse().map(KeySpec::Name).map_err(name_error)
    }
}

impl fmt::Display for KeySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySpec::Name(name) => write!(f, "{name}"),
            KeySpec::Glob(glob) => f.write_str(&glob.0),
            KeySpec::User(name) => write!(f, "@{name}"),
            KeySpec::Group(name) => write!(f, "@@{name}"),
            KeySpec::Me => f.write_str(ME),
        }
    }
}

impl TryFrom<String> for KeySpec {
    type Error = KeySpecError;

    fn try_from(text: String) -> Result<Self, KeySpecError> {
        text.parse()
    }
}

impl From<KeySpec> for String {
    fn from(spec: KeySpec) -> Self {
        spec.to_string()
    }
}

impl NameGlob {
    /// Takes a pattern whose fixed characters are those of a person's name.
    fn new(text: &str) -> Result<Self, NameError> {
        // A valid name with its wildcards put in as a letter is a valid pattern.
        let _: PersonName = text.replace(['*', '?'], "x").parse()?;
        Ok(Self(text.into()))
    }

    /// Whether the whole of `name` fits the pattern. Takes time in proportion to pattern times name.
    pub fn matches(&self, name: &PersonName) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_str().as_bytes());
        let (mut p, mut n) = (0, 0);
        // Where to go back to: the last `*`, and the character that it would swallow next.
        let mut star: Option<(usize, usize)> = None;
        while n < name.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p, n));
                    p += 1;
                }
                Some(&c) if c == b'?' || c == name[n] => {
                    p += 1;
                    n += 1;
                }
                _ => match star {
                    Some((at, swallowed)) => {
                        star = Some((at, swallowed + 1));
                        p = at + 1;
                        n = swallowed + 1;
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|&c| c == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> KeySpec {
        text.parse().unwrap()
    }

    #[test]
    fn every_form_is_read_and_printed_back() {
        for text in ["alice", "dev-*", "?", "@alice", "@@developers", "__me__", "a+b=c,d.e@f-g_h"] {
            assert_eq!(spec(text).to_string(), text);
        }
        assert!(matches!(spec("@@a"), KeySpec::Group(_)));
        assert!(matches!(spec("@a"), KeySpec::User(_)));
    }

    #[test]
    fn what_names_nobody_is_refused_with_a_reason() {
        for text in ["", "@", "@@", "@@@"] {
            assert_eq!(text.parse::<KeySpec>(), Err(KeySpecError::Empty(text.to_owned())));
        }
        assert_eq!("@dev-*".parse::<KeySpec>(), Err(KeySpecError::GlobInIam("@dev-*".to_owned())));
        let error = "al ice".parse::<KeySpec>().unwrap_err().to_string();
        assert!(error.contains("' '") && error.contains("al ice"), "{error}");
    }

    #[test]
    fn a_glob_matches_whole_names_only() {
        let matches = |pattern: &str, name: &str| match spec(pattern) {
            KeySpec::Glob(glob) => glob.matches(&name.parse().unwrap()),
            other => panic!("{other:?} is no glob"),
        };
        assert!(matches("dev-*", "dev-"));
        assert!(matches("dev-*", "dev-alice"));
        assert!(!matches("dev-*", "my-dev-alice"));
        assert!(matches("*", "x"));
        assert!(matches("*a*b*c", "xxaybzzc"));
        assert!(!matches("*a*b*c", "xxaybzz"));
        assert!(matches("o?s", "ops"));
        assert!(!matches("o?s", "os"));
        assert!(!matches(&"*a".repeat(20), &"a".repeat(10)));
    }
}
