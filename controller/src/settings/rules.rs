//! What the values of settings may be, wherever they stand. Nothing is looked up: a region or bucket need not exist.

use std::ops::RangeInclusive;

use clap::ValueEnum;
use fleetkey_common::aws_names::Namespace;
use fleetkey_common::did_you_mean::did_you_mean;
use fleetkey_common::key_spec::KeySpec;
use fleetkey_common::names::PersonName;

use crate::ingress::from::SshFrom;
use crate::printer::Output;
use crate::ssh::AddressKind;
use crate::ssh::route::{Jump, Via};
use crate::zone::{listed, region_of, region_of_all};

/// What is wrong with a value, for people: words that follow the place where it stands.
pub(crate) type Fault = String;

/// A check of a value.
pub(crate) type Check = fn(&str) -> Result<(), Fault>;

/// What a name may be made of.
struct Rule {
    kind: &'static str,
    words: &'static str,
    lengths: RangeInclusive<usize>,
    allowed: fn(char) -> bool,
}

fn checked(rule: &Rule, name: &str) -> Result<(), Fault> {
    if rule.lengths.contains(&name.len()) && name.chars().all(rule.allowed) {
        return Ok(());
    }
    Err(format!("{name:?} is not a valid {} name: {}", rule.kind, rule.words))
}

pub(crate) fn region(name: &str) -> Result<(), Fault> {
    let rule = Rule {
        kind: "region",
        words: "small letters, digits and -, such as us-west-2",
        lengths: 1..=32,
        allowed: |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-',
    };
    checked(&rule, name)
}

/// One, or several with commas between them.
pub(crate) fn zone(names: &str) -> Result<(), Fault> {
    if let Some(name) = listed(names).find(|name| region_of(name).is_none()) {
        return Err(format!("{name:?} is not an availability zone, such as us-west-2a"));
    }
    match region_of_all(names) {
        Some(_) => Ok(()),
        None => Err(format!("{names} is in several regions; a box is in one")),
    }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
pub(crate) fn bucket(name: &str) -> Result<(), Fault> {
    let rule = Rule {
        kind: "bucket",
        words: "3 to 63 of small letters, digits, . and -",
        lengths: 3..=63,
        allowed: |c| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c),
    };
    checked(&rule, name)
}

/// <https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html>
pub(crate) fn topic(name: &str) -> Result<(), Fault> {
    let rule = Rule {
        kind: "topic",
        words: "1 to 256 of letters, digits, _ and -",
        lengths: 1..=256,
        allowed: |c| c.is_ascii_alphanumeric() || "_-".contains(c),
    };
    checked(&rule, name)
}

pub(crate) fn profile(name: &str) -> Result<(), Fault> {
    let rule = Rule {
        kind: "profile",
        words: "1 to 64 of letters, digits, ., _ and -",
        lengths: 1..=64,
        allowed: |c| c.is_ascii_alphanumeric() || "._-".contains(c),
    };
    checked(&rule, name)
}

/// AWS takes nearly any name.
pub(crate) fn aws_profile(name: &str) -> Result<(), Fault> {
    if !name.is_empty() && !name.contains(char::is_control) {
        return Ok(());
    }
    Err(format!("{name:?} is no profile of AWS's configuration"))
}

pub(crate) fn namespace(text: &str) -> Result<(), Fault> {
    // Who stands for `__me__` is not known here, and anybody's name fits in its place.
    let anybody: Option<PersonName> = "me".parse().ok();
    let read = anybody.map_or_else(|| text.parse(), |anybody| Namespace::of(text, &anybody));
    read.map(drop).map_err(|error| error.to_string())
}

pub(crate) fn person(name: &str) -> Result<(), Fault> {
    name.parse::<PersonName>().map(drop).map_err(|error| format!("does not name an IAM user: {error}"))
}

pub(crate) fn key_spec(text: &str) -> Result<(), Fault> {
    text.parse::<KeySpec>().map(drop).map_err(|error| error.to_string())
}

/// Whether it has the form of an instance type: a family and a size.
/// <https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html>
pub(crate) fn is_instance_type(text: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let parts = text.split_once('.').is_some_and(|(family, size)| !family.is_empty() && !size.is_empty());
    parts && text.chars().all(good)
}

pub(crate) fn instance_type(text: &str) -> Result<(), Fault> {
    if is_instance_type(text) {
        return Ok(());
    }
    Err(format!("{text:?} is not an instance type, which has a family and a size, such as t3.small"))
}

pub(crate) fn output(text: &str) -> Result<(), Fault> {
    one_of::<Output>(text).map(drop)
}

pub(crate) fn address(text: &str) -> Result<(), Fault> {
    one_of::<AddressKind>(text).map(drop)
}

pub(crate) fn jump(text: &str) -> Result<(), Fault> {
    text.parse::<Jump>().map(drop).map_err(|fault| format!("{text:?}: {fault}"))
}

pub(crate) fn via(text: &str) -> Result<(), Fault> {
    one_of::<Via>(text).map(drop)
}

pub(crate) fn ssh_from(text: &str) -> Result<(), Fault> {
    text.parse::<SshFrom>().map(drop)
}

/// One word of those that a flag takes.
pub(crate) fn one_of<T: ValueEnum>(text: &str) -> Result<T, Fault> {
    T::from_str(text, false).map_err(|_| {
        let values: Vec<_> = T::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect();
        let names: Vec<&str> = values.iter().map(clap::builder::PossibleValue::get_name).collect();
        let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        format!("{text:?} is not one of {}{}", quoted.join(", "), did_you_mean(text, &names))
    })
}
