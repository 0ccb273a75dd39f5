//! Which region, zone, namespace, bucket and topic a command is about: flags, then the environment, then the AWS
//! configuration.
//!
//! Pure: the environment is handed in. Nothing here asks AWS.

use clap::Args;
use fleetkey_common::aws_names::DEFAULT_NAMESPACE;
use fleetkey_common::names::{NameError, PersonName};
use thiserror::Error;

use crate::reach_settings::ReachSettings;
use crate::zone::region_of;

/// The topic by which agents are told to look, unless another is named.
const DEFAULT_TOPIC: &str = "fleetkey-agent-notifications";

/// The variables that name an availability zone, the first one set counting.
const ZONE_VARIABLES: [&str; 2] = ["FLEETKEY_ZONE", "CGCLOUD_ZONE"];

const BUCKET_VARIABLE: &str = "FLEETKEY_BUCKET";
const NAMESPACE_VARIABLES: [&str; 2] = ["FLEETKEY_NAMESPACE", "CGCLOUD_NAMESPACE"];
const KEY_PAIRS_VARIABLES: [&str; 2] = ["FLEETKEY_KEYPAIRS", "CGCLOUD_KEYPAIRS"];
const INSTANCE_TYPE_VARIABLES: [&str; 2] = ["FLEETKEY_INSTANCE_TYPE", "CGCLOUD_INSTANCE_TYPE"];
const ME_VARIABLES: [&str; 2] = ["FLEETKEY_ME", "CGCLOUD_ME"];

/// The flags that say where things are.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Where things are")]
pub(crate) struct PlaceFlags {
    /// AWS region [default: that of the zone in FLEETKEY_ZONE or CGCLOUD_ZONE, else AWS's own configuration]
    #[arg(long, global = true, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// Availability zone, which implies the region [default: FLEETKEY_ZONE, CGCLOUD_ZONE, else any that EC2 picks]
    #[arg(short, long, global = true, value_name = "ZONE")]
    pub(crate) zone: Option<String>,
    /// Namespace of boxes and images: / or /name/; __me__ in it is your IAM user name [default: FLEETKEY_NAMESPACE,
    /// CGCLOUD_NAMESPACE, else /__me__/]
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Bucket of public keys [default: FLEETKEY_BUCKET, else ACCOUNT_ID-fleetkey]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) bucket: Option<String>,
    /// SNS topic that tells agents to look [default: fleetkey-agent-notifications]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) topic: Option<String>,
}

/// What the flags and the environment come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The region asked for; `None` leaves it to AWS's own configuration.
    pub(crate) region: Option<String>,
    /// The availability zone asked for; `None` leaves it to EC2.
    pub(crate) zone: Option<String>,
    /// The namespace, in which `__me__` may still stand for the caller.
    pub(crate) namespace: String,
    /// Who `__me__` is, where that need not be asked.
    pub(crate) me: Option<PersonName>,
    /// The key specs that new boxes let in where no flag says so: words, separated by blanks.
    pub(crate) key_pairs: Option<String>,
    /// The instance type of new boxes where no flag says so.
    pub(crate) instance_type: Option<String>,
    /// The bucket asked for; `None` is `<account id>-fleetkey`.
    pub(crate) bucket: Option<String>,
    /// The topic's name.
    pub(crate) topic: String,
    /// What is set of the way to boxes.
    pub(crate) reach: ReachSettings,
}

/// A flag or variable has a value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum SettingsError {
    /// Not the name of a zone.
    #[error("{origin} {zone:?} is not an availability zone, such as us-west-2a")]
    Zone {
        /// The flag or variable.
        origin: &'static str,
        /// Its value.
        zone: String,
    },
    /// Zone and region do not go together.
    #[error("--zone {zone} is not in --region {region}; leave --region out: the zone implies it")]
    Elsewhere {
        /// The zone as given.
        zone: String,
        /// The region as given.
        region: String,
    },
    /// Not the name of anybody.
    #[error("{origin} does not name an IAM user")]
    Me {
        /// The variable.
        origin: &'static str,
        /// What is wrong with it.
        #[source]
        source: NameError,
    },
    /// Not a name that AWS would take.
    #[error("{origin} {name:?} is not a valid {kind} name: {rule}")]
    Name {
        /// The flag or variable.
        origin: &'static str,
        /// Its value.
        name: String,
        /// What it should name.
        kind: &'static str,
        /// What such a name is made of.
        rule: &'static str,
    },
}

impl Settings {
    /// Puts flags and environment together. A variable that is set to nothing counts as not set.
    pub(crate) fn new(flags: &PlaceFlags, env: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let variable = |name: &'static str| env(name).filter(|value| !value.is_empty()).map(|value| (name, value));
        let first = |names: [&'static str; 2]| names.into_iter().find_map(variable);
        let (region, zone) = place(flags, first(ZONE_VARIABLES))?;
        let bucket = match (&flags.bucket, variable(BUCKET_VARIABLE)) {
            (Some(bucket), _) => Some(checked(&BUCKET, "--bucket", bucket)?),
            (None, Some((origin, bucket))) => Some(checked(&BUCKET, origin, &bucket)?),
            (None, None) => None,
        };
        let topic = checked(&TOPIC, "--topic", flags.topic.as_deref().unwrap_or(DEFAULT_TOPIC))?;
        let value = |names| first(names).map(|(_, value)| value);
        let me = first(ME_VARIABLES)
            .map(|(origin, name)| name.parse().map_err(|source| SettingsError::Me { origin, source }))
            .transpose()?;
        Ok(Self {
            region,
            zone,
            namespace: flags
                .namespace
                .clone()
                .or_else(|| value(NAMESPACE_VARIABLES))
                .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
            me,
            key_pairs: value(KEY_PAIRS_VARIABLES),
            instance_type: value(INSTANCE_TYPE_VARIABLES),
            bucket,
            topic,
            reach: ReachSettings::new(variable),
        })
    }
}

/// Region and zone. A zone that a variable names is only a default: `--region` with another region leaves it out.
fn place(
    flags: &PlaceFlags,
    variable: Option<(&'static str, String)>,
) -> Result<(Option<String>, Option<String>), SettingsError> {
    let implied = |origin, zone: &str| region_of(zone).ok_or(SettingsError::Zone { origin, zone: zone.to_owned() });
    let asked = flags.region.as_deref().map(|region| checked(&REGION, "--region", region)).transpose()?;
    match (asked, &flags.zone, variable) {
        (asked, Some(zone), _) => match (implied("--zone", zone)?, asked) {
            (region, Some(asked)) if region != asked => {
                Err(SettingsError::Elsewhere { zone: zone.clone(), region: asked })
            }
            (region, _) => Ok((Some(region), Some(zone.clone()))),
        },
        (asked, None, Some((origin, zone))) => {
            let region = implied(origin, &zone)?;
            match asked {
                Some(asked) if asked != region => Ok((Some(asked), None)),
                _ => Ok((Some(region), Some(zone))),
            }
        }
        (asked, None, None) => Ok((asked, None)),
    }
}

struct Rule {
    kind: &'static str,
    words: &'static str,
    lengths: std::ops::RangeInclusive<usize>,
    allowed: fn(char) -> bool,
}

const REGION: Rule = Rule {
    kind: "region",
    words: "small letters, digits and -, such as us-west-2",
    lengths: 1..=32,
    allowed: |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-',
};

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
const BUCKET: Rule = Rule {
    kind: "bucket",
    words: "3 to 63 of small letters, digits, . and -",
    lengths: 3..=63,
    allowed: |c| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c),
};

/// <https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html>
const TOPIC: Rule = Rule {
    kind: "topic",
    words: "1 to 256 of letters, digits, _ and -",
    lengths: 1..=256,
    allowed: |c| c.is_ascii_alphanumeric() || "_-".contains(c),
};

fn checked(rule: &Rule, origin: &'static str, name: &str) -> Result<String, SettingsError> {
    if rule.lengths.contains(&name.len()) && name.chars().all(rule.allowed) {
        return Ok(name.to_owned());
    }
    Err(SettingsError::Name { origin, name: name.to_owned(), kind: rule.kind, rule: rule.words })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(flags: &PlaceFlags, env: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let find = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::new(flags, find)
    }

    #[test]
    fn flags_count_before_variables_and_fleetkeys_variable_before_cgclouds() {
        let flags =
            PlaceFlags { region: Some("eu-west-1".into()), bucket: Some("flag".into()), ..PlaceFlags::default() };
        let env = [("FLEETKEY_ZONE", "us-west-2a"), ("CGCLOUD_ZONE", "us-east-1b"), ("FLEETKEY_BUCKET", "variable")];
        let found = settings(&flags, &env).unwrap();
        assert_eq!((found.region.as_deref(), found.bucket.as_deref()), (Some("eu-west-1"), Some("flag")));
        let found = settings(&PlaceFlags::default(), &env).unwrap();
        assert_eq!((found.region.as_deref(), found.bucket.as_deref()), (Some("us-west-2"), Some("variable")));
        let found = settings(&PlaceFlags::default(), &[("FLEETKEY_ZONE", ""), ("CGCLOUD_ZONE", "us-east-1b")]).unwrap();
        assert_eq!((found.region.as_deref(), found.bucket), (Some("us-east-1"), None));
        assert_eq!(found.topic, "fleetkey-agent-notifications");
    }

    #[test]
    fn a_zone_counts_only_in_its_own_region() {
        let flags = |region: Option<&str>, zone: Option<&str>| PlaceFlags {
            region: region.map(str::to_owned),
            zone: zone.map(str::to_owned),
            ..PlaceFlags::default()
        };
        let env = [("FLEETKEY_ZONE", "us-west-2a")];
        let place = |flags: &PlaceFlags| settings(flags, &env).map(|found| (found.region.unwrap(), found.zone));
        let found = |region: &str, zone: Option<&str>| Ok((region.to_owned(), zone.map(str::to_owned)));
        assert_eq!(place(&flags(None, None)), found("us-west-2", Some("us-west-2a")));
        assert_eq!(place(&flags(Some("us-west-2"), None)), found("us-west-2", Some("us-west-2a")));
        assert_eq!(place(&flags(Some("eu-west-1"), None)), found("eu-west-1", None));
        assert_eq!(place(&flags(None, Some("eu-west-1b"))), found("eu-west-1", Some("eu-west-1b")));
        let error = place(&flags(Some("eu-west-1"), Some("us-west-2a"))).unwrap_err();
        assert!(matches!(error, SettingsError::Elsewhere { .. }), "{error}");
    }

    #[test]
    fn the_defaults_of_new_boxes_come_from_fleetkeys_variables_and_then_cgclouds() {
        let env = [
            ("CGCLOUD_NAMESPACE", "/old/"),
            ("CGCLOUD_KEYPAIRS", "__me__ @@developers"),
            ("FLEETKEY_INSTANCE_TYPE", "t3.micro"),
            ("CGCLOUD_INSTANCE_TYPE", "m3.large"),
            ("CGCLOUD_ME", "alice"),
        ];
        let found = settings(&PlaceFlags::default(), &env).unwrap();
        assert_eq!(found.namespace, "/old/");
        assert_eq!(found.key_pairs.as_deref(), Some("__me__ @@developers"));
        assert_eq!(found.instance_type.as_deref(), Some("t3.micro"));
        assert_eq!(found.me.unwrap().as_str(), "alice");
        assert_eq!(settings(&PlaceFlags::default(), &[]).unwrap().namespace, DEFAULT_NAMESPACE);
        let error = settings(&PlaceFlags::default(), &[("FLEETKEY_ME", "a/b")]).unwrap_err();
        assert!(matches!(error, SettingsError::Me { origin: "FLEETKEY_ME", .. }), "{error}");
    }

    #[test]
    fn t5_names_that_would_change_a_request_are_refused() {
        for bad in ["", "us-west-2/x", "evil.example#", "a\nb"] {
            let flags = PlaceFlags { region: Some(bad.into()), ..PlaceFlags::default() };
            assert!(matches!(settings(&flags, &[]), Err(SettingsError::Name { origin: "--region", .. })), "{bad:?}");
        }
        let error = settings(&PlaceFlags { bucket: Some("a/b".into()), ..PlaceFlags::default() }, &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--bucket \"a/b\" is not a valid bucket name: 3 to 63 of small letters, digits, . and -"
        );
        let error = settings(&PlaceFlags::default(), &[("FLEETKEY_ZONE", "us-west-2")]).unwrap_err();
        assert_eq!(error.to_string(), "FLEETKEY_ZONE \"us-west-2\" is not an availability zone, such as us-west-2a");
    }
}
