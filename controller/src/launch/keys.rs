//! Who may log in to a new box. Pure.

use std::collections::BTreeSet;

use fleetkey_common::key_spec::KeySpec;
use fleetkey_common::names::PersonName;

use crate::refusal::Refusal;

/// What stands for the caller in a key spec.
const ME: &str = "__me__";

/// The key specs of a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    /// Whose key EC2 hands to the box: the person whom the first spec names.
    pub(crate) primary: PersonName,
    /// All of them, the first included, without `__me__`.
    pub(crate) specs: Vec<KeySpec>,
}

/// Whose keys are where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Registered {
    /// The names of the region's EC2 key pairs.
    pub(crate) pairs: BTreeSet<String>,
    /// Those of the persons asked for who have a key in the bucket.
    pub(crate) people: BTreeSet<PersonName>,
}

/// Whether a spec needs to know who calls.
pub(crate) fn needs_me(specs: &[String]) -> bool {
    specs.iter().any(|spec| spec.contains(ME))
}

/// Reads key specs. `me` stands where `__me__` does, as a whole: CGCloud's rule but for the case, which it lost.
pub(crate) fn read(specs: &[String], me: Option<&PersonName>) -> Result<Keys, Refusal> {
    let specs = specs.iter().map(|spec| {
        let spec = me.map_or_else(|| spec.clone(), |me| spec.replace(ME, me.as_str()));
        spec.parse::<KeySpec>().map_err(|error| Refusal::usage(format!("--keypairs: {error}")))
    });
    let specs = specs.collect::<Result<Vec<_>, _>>()?;
    let primary = match specs.first() {
        Some(KeySpec::Name(name) | KeySpec::User(name)) => name.clone(),
        Some(other) => {
            return Err(Refusal::usage(format!("--keypairs begins with {other}, which is more than one person"))
                .hint("the first names one person, whose key EC2 puts in at launch")
                .hint(format!("put yourself first: --keypairs __me__ {other}")));
        }
        None => return Err(Refusal::usage("--keypairs names nobody").hint("--keypairs __me__ lets yourself in")),
    };
    Ok(Keys { primary, specs })
}

impl Keys {
    /// The persons who are named, and not by pattern or group.
    pub(crate) fn names(&self) -> Vec<&PersonName> {
        let names = self.specs.iter().filter_map(|spec| match spec {
            KeySpec::Name(name) => Some(name),
            _ => None,
        });
        let mut names: Vec<_> = names.collect();
        if !names.contains(&&self.primary) {
            names.push(&self.primary);
        }
        names
    }

    /// The EC2 key pair that the launch names: that of the primary person, if there is one in the region.
    ///
    /// # Errors
    /// When somebody who is named has no key anywhere, and when nobody could log in.
    pub(crate) fn key_pair(
        &self,
        registered: &Registered,
        agent: bool,
        region: &str,
    ) -> Result<Option<String>, Refusal> {
        let has = |name: &PersonName| registered.pairs.contains(name.as_str()) || registered.people.contains(name);
        let register = |name: &PersonName| format!("fleetkey register-key FILE --person {name} --region {region}");
        let missing: Vec<_> = self.names().into_iter().filter(|name| !has(name)).collect();
        if let Some(first) = missing.first() {
            let names: Vec<_> = missing.iter().map(ToString::to_string).collect();
            return Err(Refusal::new(format!(
                "{} {} no registered key: neither an EC2 key pair of {region} nor the bucket has one",
                names.join(", "),
                if names.len() == 1 { "has" } else { "have" }
            ))
            .hint(format!("register it, then try again: {}", register(first)))
            .hint("--keypairs names others; FLEETKEY_KEYPAIRS is its default"));
        }
        if registered.pairs.contains(self.primary.as_str()) {
            return Ok(Some(self.primary.to_string()));
        }
        if agent {
            return Ok(None);
        }
        Err(Refusal::new(format!(
            "{region} has no EC2 key pair {}, and without the agent no other key is put in",
            self.primary
        ))
        .hint(format!("make the key pair, then try again: {}", register(&self.primary)))
        .hint("or leave --no-agent out"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(specs: &[&str]) -> Result<Keys, String> {
        let specs: Vec<String> = specs.iter().map(ToString::to_string).collect();
        read(&specs, Some(&"Ann".parse().unwrap())).map_err(|error| error.to_string())
    }

    fn registered(pairs: &[&str], people: &[&str]) -> Registered {
        Registered {
            pairs: pairs.iter().map(ToString::to_string).collect(),
            people: people.iter().map(|name| name.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn the_first_spec_is_a_person_and_the_caller_stands_for_me_case_and_all() {
        let read = keys(&["__me__", "@@developers", "dev-*", "@__me__"]).unwrap();
        assert_eq!(read.primary.as_str(), "Ann");
        let specs: Vec<_> = read.specs.iter().map(ToString::to_string).collect();
        assert_eq!(specs, ["Ann", "@@developers", "dev-*", "@Ann"]);
        assert_eq!(keys(&["@bob"]).unwrap().primary.as_str(), "bob");
        for (specs, error) in [
            (&["dev-*"][..], "--keypairs begins with dev-*, which is more than one person"),
            (&["@@developers", "Ann"], "--keypairs begins with @@developers, which is more than one person"),
            (&[], "--keypairs names nobody"),
            (&["@"], "--keypairs: key spec \"@\" names nobody; write alice, dev-*, @alice or @@group"),
        ] {
            assert_eq!(keys(specs).unwrap_err(), error);
        }
    }

    #[test]
    fn fault_16_a_person_without_a_key_is_named_before_anything_is_made() {
        let wanted = keys(&["__me__", "bob", "dev-*", "@carol"]).unwrap();
        let pair = |registered: &Registered, agent| {
            wanted.key_pair(registered, agent, "us-west-2").map_err(|error| error.to_string())
        };
        assert_eq!(pair(&registered(&["Ann", "bob"], &[]), false), Ok(Some("Ann".into())));
        assert_eq!(pair(&registered(&["bob"], &["Ann"]), true), Ok(None));
        let none = "has no registered key: neither an EC2 key pair of us-west-2 nor the bucket has one";
        assert_eq!(pair(&registered(&["Ann"], &[]), true), Err(format!("bob {none}")));
        assert_eq!(
            pair(&registered(&[], &[]), true),
            Err(format!("bob, Ann {none}").replace("has no", "have no").replacen("bob, Ann", "Ann, bob", 1))
        );
        let error = pair(&registered(&["bob"], &["Ann"]), false).unwrap_err();
        assert_eq!(error, "us-west-2 has no EC2 key pair Ann, and without the agent no other key is put in");
    }
}
