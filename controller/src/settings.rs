//! Which region, bucket and topic a command is about: flags, then the environment, then the AWS configuration.
//!
//! Pure: the environment is handed in. Nothing here asks AWS.

use clap::Args;
use thiserror::Error;

/// The topic by which agents are told to look, unless another is named.
const DEFAULT_TOPIC: &str = "fleetkey-agent-notifications";

/// The variables that name an availability zone, the first one set counting.
const ZONE_VARIABLES: [&str; 2] = ["FLEETKEY_ZONE", "CGCLOUD_ZONE"];

const BUCKET_VARIABLE: &str = "FLEETKEY_BUCKET";

/// The flags that say where things are.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Where things are")]
pub(crate) struct PlaceFlags {
    /// AWS region [default: that of the zone in FLEETKEY_ZONE or CGCLOUD_ZONE, else AWS's own configuration]
    #[arg(long, global = true, value_name = "REGION")]
    pub(crate) region: Option<String>,
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
    /// The bucket asked for; `None` is `<account id>-fleetkey`.
    pub(crate) bucket: Option<String>,
    /// The topic's name.
    pub(crate) topic: String,
}

/// A flag or variable has a value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum SettingsError {
    /// Not the name of a zone.
    #[error("{variable}={zone:?} is not an availability zone, such as us-west-2a")]
    Zone {
        /// The environment variable.
        variable: &'static str,
        /// Its value.
        zone: String,
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
        let variable = |name: &str| env(name).filter(|value| !value.is_empty());
        let region = match &flags.region {
            Some(region) => Some(checked(&REGION, "--region", region)?),
            None => zone_from(variable)?,
        };
        let bucket = match (&flags.bucket, variable(BUCKET_VARIABLE)) {
            (Some(bucket), _) => Some(checked(&BUCKET, "--bucket", bucket)?),
            (None, Some(bucket)) => Some(checked(&BUCKET, BUCKET_VARIABLE, &bucket)?),
            (None, None) => None,
        };
        let topic = checked(&TOPIC, "--topic", flags.topic.as_deref().unwrap_or(DEFAULT_TOPIC))?;
        Ok(Self { region, bucket, topic })
    }
}

fn zone_from(variable: impl Fn(&str) -> Option<String>) -> Result<Option<String>, SettingsError> {
    for name in ZONE_VARIABLES {
        if let Some(zone) = variable(name) {
            let region = region_of(&zone).ok_or(SettingsError::Zone { variable: name, zone })?;
            return Ok(Some(region));
        }
    }
    Ok(None)
}

/// The region of an availability, local or wavelength zone: what stands up to and with its first number.
///
/// `us-west-2a`, `us-west-2-lax-1a` -> `us-west-2`. A region's own name is not a zone.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-regions-availability-zones.html>
fn region_of(zone: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let number = zone.find(|c: char| c.is_ascii_digit())?;
    let digits = zone[number..].chars().take_while(char::is_ascii_digit).count();
    let (region, rest) = zone.split_at(number + digits);
    let named = region.matches('-').count() >= 2 && zone.chars().all(plain) && zone[..number].ends_with('-');
    let letter = rest.len() == 1 && rest.chars().all(|c| c.is_ascii_lowercase());
    let local = rest.starts_with('-') && rest.len() > 1;
    (named && (letter || local)).then(|| region.to_owned())
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
    fn a_zone_of_every_kind_implies_its_region() {
        for (zone, region) in [
            ("us-west-2a", Some("us-west-2")),
            ("us-gov-west-1b", Some("us-gov-west-1")),
            ("us-west-2-lax-1a", Some("us-west-2")),
            ("us-east-1-wl1-bos-wlz-1", Some("us-east-1")),
            ("us-west-2", None),
            ("us-west-2ab", None),
            ("us-west-2-", None),
            ("uswest2a", None),
            ("us-west2a", None),
            ("us-west-a", None),
            ("US-west-2a", None),
            ("evil.example/us-west-2a", None),
        ] {
            assert_eq!(region_of(zone).as_deref(), region, "{zone}");
        }
    }

    #[test]
    fn flags_count_before_variables_and_fleetkeys_variable_before_cgclouds() {
        let flags = PlaceFlags { region: Some("eu-west-1".into()), bucket: Some("flag".into()), topic: None };
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
        assert_eq!(error.to_string(), "FLEETKEY_ZONE=\"us-west-2\" is not an availability zone, such as us-west-2a");
    }
}
