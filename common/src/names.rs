//! The names that Fleetkey takes from outside, each a type that only a valid name can become.
//!
//! Nothing here talks to AWS or to the system: a [`PersonName`] need not exist, it is only well formed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is not a name of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a {kind} name is empty")]
    Empty {
        /// The kind of name, for the message.
        kind: &'static str,
    },
    /// The text is longer than AWS or the system allows.
    #[error("{kind} name {name:?} has {length} characters; at most {limit} are allowed")]
    TooLong {
        /// The kind of name, for the message.
        kind: &'static str,
        /// The text as given, cut to the limit.
        name: String,
        /// Its length in characters.
        length: usize,
        /// The greatest length allowed.
        limit: usize,
    },
    /// The text has a character that such a name cannot have.
    #[error("{kind} name {name:?} has the character {character:?}; allowed are {allowed}")]
    Character {
        /// The kind of name, for the message.
        kind: &'static str,
        /// The text as given.
        name: String,
        /// The first character that is not allowed.
        character: char,
        /// What is allowed, in words.
        allowed: &'static str,
    },
}

/// What a kind of name allows.
struct Grammar {
    kind: &'static str,
    limit: usize,
    allowed: &'static str,
    first: fn(char) -> bool,
    rest: fn(char) -> bool,
}

impl Grammar {
    fn check(&self, text: &str) -> Result<(), NameError> {
        let kind = self.kind;
        let Some(first) = text.chars().next() else {
            return Err(NameError::Empty { kind });
        };
        let length = text.chars().count();
        if length > self.limit {
            let name = text.chars().take(self.limit).collect();
            return Err(NameError::TooLong { kind, name, length, limit: self.limit });
        }
        let bad = if (self.first)(first) { text.chars().skip(1).find(|&c| !(self.rest)(c)) } else { Some(first) };
        match bad {
            None => Ok(()),
            Some(character) => {
                Err(NameError::Character { kind, name: text.to_owned(), character, allowed: self.allowed })
            }
        }
    }
}

/// The characters of IAM user and group names: `[\w+=,.@-]`.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
fn is_iam(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_+=,.@-".contains(c)
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $grammar:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                $grammar.check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                $grammar.check(&text)?;
                Ok(Self(text.into()))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name_type!(
    /// Whoever holds keys, named as in IAM: 1 to 64 of `A-Z a-z 0-9 _ + = , . @ -`. Case counts.
    PersonName,
    Grammar {
        kind: "person",
        limit: 64,
        allowed: "letters, digits and _+=,.@-",
        first: is_iam,
        rest: is_iam,
    }
);

name_type!(
    /// An IAM group: 1 to 128 of `A-Z a-z 0-9 _ + = , . @ -`. Case counts.
    GroupName,
    Grammar {
        kind: "group",
        limit: 128,
        allowed: "letters, digits and _+=,.@-",
        first: is_iam,
        rest: is_iam,
    }
);

name_type!(
    /// A Linux account, as useradd(8) and directory services spell them: a letter or `_`, then up to 31 of
    /// `A-Z a-z 0-9 _ . @ $ -`. It can be part of a path: it is never `.` or `..` and has no `/`.
    AccountName,
    Grammar {
        kind: "account",
        limit: 32,
        allowed: "a letter or _, then letters, digits and _.@$-",
        first: |c| c.is_ascii_alphabetic() || c == '_',
        rest: |c| c.is_ascii_alphanumeric() || "_.@$-".contains(c),
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r7_names_of_64_characters_mixed_case_and_every_sign_are_taken() {
        let signs = "Az09_+=,.@-";
        let long: String = signs.chars().cycle().take(64).collect();
        assert_eq!(long.parse::<PersonName>().unwrap().as_str(), long);
        let error = format!("{long}x").parse::<PersonName>().unwrap_err();
        assert_eq!(error.to_string(), format!("person name {long:?} has 65 characters; at most 64 are allowed"));
    }

    #[test]
    fn t5_line_breaks_nul_percent_and_slash_are_refused_in_every_kind_of_name() {
        for bad in ["a\nb", "a\rb", "a\0b", "a%0Ab", "a/b", "a b", "../a", ""] {
            assert!(bad.parse::<PersonName>().is_err(), "{bad:?}");
            assert!(bad.parse::<GroupName>().is_err(), "{bad:?}");
            assert!(bad.parse::<AccountName>().is_err(), "{bad:?}");
        }
        for bad in [".", "..", "-x", "9x"] {
            assert!(bad.parse::<AccountName>().is_err(), "{bad:?}");
        }
    }
}
