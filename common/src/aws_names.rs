//! Namespaces, and the names of things in AWS: compatible with CGCloud, so that both see the same boxes.
//!
//! | name | in AWS |
//! | --- | --- |
//! | `/sub_ns/foo_bar` | `sub__ns_foo__bar` |
//! | `/g_/` | `g___` |
//! | `/` | the empty text |
//!
//! A name is drawn up of components, `[0-9a-z][0-9a-z._-]*`, with a `/` before each. In AWS the leading `/` is dropped,
//! then `_` becomes `__`, then `/` becomes `_`. No component begins with `_`: its `/_` would be read back as `_/`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::names::PersonName;

/// What stands for the caller in a namespace.
const ME: &str = "__me__";

/// The namespace where none is given, with [`Namespace::of`].
pub const DEFAULT_NAMESPACE: &str = "/__me__/";

/// A namespace, which isolates names: `/`, or components with a `/` before, between and behind them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Box<str>);

/// A full name: `/` and components, such as `/prod/jenkins-master`. With a `/` at its end it names a namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AbsoluteName(Box<str>);

/// Why a text is not a namespace or a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AwsNameError {
    /// A namespace begins and ends with a slash.
    #[error("namespace {0:?} does not begin and end with a slash; write / or /name/")]
    NotANamespace(String),
    /// A full name begins with a slash.
    #[error("name {0:?} is not a full name, which begins with a slash")]
    NotAbsolute(String),
    /// Two slashes in a row, or an empty name.
    #[error("name {0:?} has an empty component; no two slashes may follow each other")]
    Empty(String),
    /// A component begins with something other than a digit or lower-case letter.
    #[error("name {name:?} has the component {component:?}; components begin with a digit or lower-case letter")]
    First {
        /// The name as given.
        name: String,
        /// The component.
        component: String,
    },
    /// A component has a character that names cannot have.
    #[error("name {name:?} has the character {character:?}; allowed are digits, lower-case letters and ._-")]
    Character {
        /// The name as given.
        name: String,
        /// The first character that is not allowed.
        character: char,
    },
    /// The caller's IAM user name cannot be part of a namespace.
    #[error("{ME} cannot stand for IAM user {user:?} in a namespace; name the namespace in full")]
    Me {
        /// The IAM user name.
        user: PersonName,
        /// What is wrong with it.
        #[source]
        cause: Box<AwsNameError>,
    },
    /// A text that no name becomes in AWS.
    #[error("{name:?} is not the AWS name of anything in a namespace")]
    NotAnAwsName {
        /// The AWS name.
        name: String,
        /// What is wrong with what it stands for.
        #[source]
        cause: Box<AwsNameError>,
    },
}

impl Namespace {
    /// The namespace `/`, in which all others are.
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Reads a namespace in which `__me__` stands for the caller: the IAM user name, cut at `@`, in lower case.
    pub fn of(text: &str, me: &PersonName) -> Result<Self, AwsNameError> {
        if !text.contains(ME) {
            return text.parse();
        }
        let name = me.as_str();
        let name = name.split_once('@').map_or(name, |(name, _)| name).to_ascii_lowercase();
        let error = |cause| AwsNameError::Me { user: me.clone(), cause: Box::new(cause) };
        check_component(&name, &name).map_err(error)?;
        text.replace(ME, &name).parse()
    }

    /// The namespace as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The full form of a name: one that begins with `/` is full, any other is put under this namespace.
    pub fn absolute(&self, name: &str) -> Result<AbsoluteName, AwsNameError> {
        if name.is_empty() {
            return Err(AwsNameError::Empty(String::new()));
        }
        if name.starts_with('/') { name.parse() } else { format!("{self}{name}").parse() }
    }

    /// The short form of a name: without this namespace if it is under it, else in full.
    pub fn relative<'a>(&self, name: &'a AbsoluteName) -> &'a str {
        name.0.strip_prefix(&*self.0).filter(|rest| !rest.is_empty()).unwrap_or(&name.0)
    }

    /// Whether the name is in this namespace, or in one below it.
    pub fn contains(&self, name: &AbsoluteName) -> bool {
        name.0.starts_with(&*self.0)
    }
}

impl AbsoluteName {
    /// The name in full.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The namespace in which the name is: `/prod/` of `/prod/jenkins-master`, and of `/prod/` itself.
    pub fn namespace(&self) -> Namespace {
        let end = self.0.rfind('/').map_or(0, |slash| slash + 1);
        Namespace(self.0[..end].into())
    }

    /// What is behind the namespace: `jenkins-master` of `/prod/jenkins-master`, nothing of a namespace.
    pub fn base_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or("")
    }

    /// The name of the thing in AWS.
    pub fn to_aws_name(&self) -> String {
        let below_root = self.0.strip_prefix('/').unwrap_or(&self.0);
        below_root.replace('_', "__").replace('/', "_")
    }

    /// The name of a thing that in AWS is called `aws_name`. Fails for a name that [`Self::to_aws_name`] never gives.
    pub fn from_aws_name(aws_name: &str) -> Result<Self, AwsNameError> {
        // Pairs of underscores count from the left, since no component begins with one.
        let mut name = String::from("/");
        let mut rest = aws_name.chars().peekable();
        let mut slash = false;
        while let Some(c) = rest.next() {
            slash |= c == '/';
            let single = c == '_' && rest.next_if_eq(&'_').is_none();
            name.push(if single { '/' } else { c });
        }
        let read = if slash {
            Err(AwsNameError::Character { name: aws_name.to_owned(), character: '/' })
        } else {
            name.parse()
        };
        read.map_err(|cause| AwsNameError::NotAnAwsName { name: aws_name.to_owned(), cause: Box::new(cause) })
    }
}

impl FromStr for Namespace {
    type Err = AwsNameError;

    fn from_str(text: &str) -> Result<Self, AwsNameError> {
        if !text.starts_with('/') || !text.ends_with('/') {
            return Err(AwsNameError::NotANamespace(text.to_owned()));
        }
        text.parse().map(|AbsoluteName(text)| Self(text))
    }
}

impl FromStr for AbsoluteName {
    type Err = AwsNameError;

    fn from_str(text: &str) -> Result<Self, AwsNameError> {
        let below_root = text.strip_prefix('/').ok_or_else(|| AwsNameError::NotAbsolute(text.to_owned()))?;
        let components = below_root.strip_suffix('/').unwrap_or(below_root);
        if !components.is_empty() || below_root == "/" {
            components.split('/').try_for_each(|component| check_component(component, text))?;
        }
        Ok(Self(text.into()))
    }
}

/// Holds one component of `name` against the grammar.
fn check_component(component: &str, name: &str) -> Result<(), AwsNameError> {
    let begins = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase();
    let name = || name.to_owned();
    if let Some(character) = component.chars().find(|&c| !begins(c) && !"._-".contains(c)) {
        return Err(AwsNameError::Character { name: name(), character });
    }
    match component.chars().next() {
        None => Err(AwsNameError::Empty(name())),
        Some(first) if !begins(first) => Err(AwsNameError::First { name: name(), component: component.to_owned() }),
        Some(_) => Ok(()),
    }
}

impl From<Namespace> for AbsoluteName {
    fn from(namespace: Namespace) -> Self {
        Self(namespace.0)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for AbsoluteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn namespace(text: &str) -> Namespace {
        text.parse().unwrap()
    }

    fn name(text: &str) -> AbsoluteName {
        text.parse().unwrap()
    }

    fn me(user: &str) -> PersonName {
        user.parse().unwrap()
    }

    #[test]
    fn names_are_called_in_aws_as_by_cgcloud() {
        for (ours, aws) in [
            ("/", ""),
            ("/foo", "foo"),
            ("/sub_ns/foo_bar", "sub__ns_foo__bar"),
            ("/g_/", "g___"),
            ("/g__/x", "g_____x"),
            ("/a/b/c.d-e", "a_b_c.d-e"),
            ("/1_", "1__"),
        ] {
            assert_eq!(name(ours).to_aws_name(), aws);
            assert_eq!(AbsoluteName::from_aws_name(aws).unwrap(), name(ours));
        }
    }

    #[test]
    fn a_component_that_begins_with_an_underscore_is_refused() {
        for bad in ["/_", "/_/", "/a/_b", "/a/_b/"] {
            assert!(matches!(bad.parse::<AbsoluteName>(), Err(AwsNameError::First { .. })), "{bad}");
        }
        for bad in ["/.a", "/-a", "/a/..", "/a/../b"] {
            assert!(matches!(bad.parse::<AbsoluteName>(), Err(AwsNameError::First { .. })), "{bad}");
        }
    }

    #[test]
    fn what_no_name_becomes_in_aws_is_not_read_as_one() {
        for bad in ["_", "_foo", "__foo", "a/b", "Foo", "a b", "a\0b", "a\nb", "a_-", "\u{e9}"] {
            assert!(AbsoluteName::from_aws_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn t5_slashes_in_a_row_upper_case_and_control_characters_are_refused() {
        for bad in ["", "a", "//", "/a//b", "/a//", "///", "/A", "/a\n", "/a\0", "/a%0A", "/a b"] {
            assert!(bad.parse::<AbsoluteName>().is_err(), "{bad:?}");
            assert!(bad.parse::<Namespace>().is_err(), "{bad:?}");
        }
        assert!(matches!("/a".parse::<Namespace>(), Err(AwsNameError::NotANamespace(_))));
        assert!(Namespace::root().absolute("").is_err());
    }

    #[test]
    fn a_relative_name_is_put_under_the_namespace_and_taken_from_under_it() {
        let prod = namespace("/prod/");
        assert_eq!(prod.absolute("jenkins").unwrap(), name("/prod/jenkins"));
        assert_eq!(prod.absolute("a/b").unwrap(), name("/prod/a/b"));
        assert_eq!(prod.absolute("/jenkins").unwrap(), name("/jenkins"));
        assert_eq!(prod.relative(&name("/prod/jenkins")), "jenkins");
        assert_eq!(prod.relative(&name("/production")), "/production");
        assert_eq!(prod.relative(&name("/prod/")), "/prod/");
        assert_eq!(Namespace::root().relative(&name("/prod/jenkins")), "prod/jenkins");
        assert!(prod.contains(&name("/prod/x/y")) && !prod.contains(&name("/prod")));
        assert_eq!(name("/prod/jenkins").namespace(), prod);
        assert_eq!(name("/prod/jenkins").base_name(), "jenkins");
        assert_eq!(name("/").base_name(), "");
    }

    #[test]
    fn me_is_the_user_name_cut_at_the_at_sign_in_lower_case() {
        assert_eq!(Namespace::of(DEFAULT_NAMESPACE, &me("Hannes@example.com")).unwrap(), namespace("/hannes/"));
        assert_eq!(Namespace::of("/team/x-__me__/", &me("bob")).unwrap(), namespace("/team/x-bob/"));
        assert_eq!(Namespace::of("/prod/", &me("@")).unwrap(), namespace("/prod/"));
        for bad in ["@example.com", "_bob", "a+b", "a,b", "a=b"] {
            let error = Namespace::of(DEFAULT_NAMESPACE, &me(bad)).unwrap_err();
            assert!(matches!(error, AwsNameError::Me { .. }), "{error}");
        }
    }

    proptest! {
        #[test]
        fn encoding_is_total_on_valid_names_and_decoding_is_its_inverse(
            text in "(/[0-9a-z][0-9a-z._-]{0,6}){0,4}/?",
        ) {
            prop_assume!(!text.is_empty());
            let name: AbsoluteName = text.parse().unwrap();
            prop_assert_eq!(AbsoluteName::from_aws_name(&name.to_aws_name()).unwrap(), name);
        }

        #[test]
        fn whatever_decodes_encodes_to_what_it_was(text in "[0-9a-b_.-]{0,12}") {
            if let Ok(name) = AbsoluteName::from_aws_name(&text) {
                prop_assert_eq!(name.to_aws_name(), text);
            }
        }

        #[test]
        fn every_name_of_a_namespace_comes_back_from_its_short_form(
            space in "/([0-9a-z][0-9a-z._-]{0,4}/){0,3}", short in "[0-9a-z][0-9a-z._-]{0,4}(/[0-9a-z][0-9a-z._-]{0,4}){0,2}",
        ) {
            let space: Namespace = space.parse().unwrap();
            let name = space.absolute(&short).unwrap();
            prop_assert_eq!(space.relative(&name), short);
        }
    }
}
