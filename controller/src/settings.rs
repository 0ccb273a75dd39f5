//! Which region, zone, namespace, bucket and topic a command is about, and its other defaults: flags, then Fleetkey's and
//! CGCloud's variables, then the profile of the configuration file, then what that file says for all profiles, then
//! AWS's own configuration.
//!
//! Pure: environment and file are handed in. Nothing here asks AWS.

use clap::Args;
use clap_complete::ArgValueCandidates;
use fleetkey_common::aws_names::DEFAULT_NAMESPACE;
use fleetkey_common::config_file::{Origin, Text, Written};
use fleetkey_common::names::PersonName;
use thiserror::Error;

use crate::complete;
use crate::config::fragment::flag;
use crate::config::{Chosen, Fragment};
use crate::printer::Output;
use crate::ssh::AddressKind;
use crate::zone::{listed, region_of_all};

pub(crate) mod rules;

#[cfg(test)]
mod tests;

/// The topic by which agents are told to look, unless another is named.
pub(crate) const DEFAULT_TOPIC: &str = "fleetkey-agent-notifications";

/// AWS's own variable for a profile of its own configuration.
pub(crate) const AWS_PROFILE_VARIABLE: &str = "AWS_PROFILE";

/// The flags that say where things are.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Where things are")]
pub(crate) struct PlaceFlags {
    /// Profile of Fleetkey's configuration, which may name one of AWS's [default: FLEETKEY_PROFILE, else
    /// default_profile of the configuration]
    #[arg(long, global = true, value_name = "NAME", add = ArgValueCandidates::new(complete::profiles))]
    pub(crate) profile: Option<String>,
    /// AWS region [default: that of the zone in FLEETKEY_ZONE or CGCLOUD_ZONE, that of the configuration, else AWS's own]
    #[arg(long, global = true, value_name = "REGION", add = ArgValueCandidates::new(complete::regions))]
    pub(crate) region: Option<String>,
    /// Availability zone, which implies the region; create tries several, with commas between them, one after another
    /// [default: FLEETKEY_ZONE, CGCLOUD_ZONE, that of the configuration, else any that EC2 picks]
    #[arg(short, long, global = true, value_name = "ZONE", add = ArgValueCandidates::new(complete::zones))]
    pub(crate) zone: Option<String>,
    /// Namespace of boxes and images: / or /name/; __me__ in it is your IAM user name [default: FLEETKEY_NAMESPACE,
    /// CGCLOUD_NAMESPACE, that of the configuration, else /__me__/]
    #[arg(short, long, global = true, value_name = "NAMESPACE", add = ArgValueCandidates::new(complete::namespaces))]
    pub(crate) namespace: Option<String>,
    /// Bucket of public keys [default: FLEETKEY_BUCKET, that of the configuration, else ACCOUNT_ID-fleetkey]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) bucket: Option<String>,
    /// SNS topic that tells agents to look [default: that of the configuration, else fleetkey-agent-notifications]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) topic: Option<String>,
}

impl PlaceFlags {
    fn fragment(&self) -> Fragment {
        Fragment {
            region: flag("--region", self.region.as_ref()),
            zone: flag("--zone", self.zone.as_ref()),
            namespace: flag("--namespace", self.namespace.as_ref()),
            bucket: flag("--bucket", self.bucket.as_ref()),
            topic: flag("--topic", self.topic.as_ref()),
            ..Fragment::default()
        }
    }
}

/// What Fleetkey's and CGCloud's variables say, the first one set counting. One that is set to nothing counts as not set.
pub(crate) fn variables(env: impl Fn(&str) -> Option<String>) -> Fragment {
    let first = |names: &[&'static str]| {
        names.iter().find_map(|&name| {
            let value = env(name).filter(|value| !value.is_empty())?;
            Some(Written { value, origin: Origin::Variable(name) })
        })
    };
    Fragment {
        zone: first(&["FLEETKEY_ZONE", "CGCLOUD_ZONE"]),
        namespace: first(&["FLEETKEY_NAMESPACE", "CGCLOUD_NAMESPACE"]),
        me: first(&["FLEETKEY_ME", "CGCLOUD_ME"]),
        keypairs: first(&["FLEETKEY_KEYPAIRS", "CGCLOUD_KEYPAIRS"]),
        instance_type: first(&["FLEETKEY_INSTANCE_TYPE", "CGCLOUD_INSTANCE_TYPE"]),
        bucket: first(&["FLEETKEY_BUCKET"]),
        address: first(&["FLEETKEY_ADDRESS"]),
        jump: first(&["FLEETKEY_JUMP"]),
        via: first(&["FLEETKEY_VIA"]),
        ssh_from: first(&["FLEETKEY_SSH_FROM"]),
        ..Fragment::default()
    }
}

/// What flags, variables and the configuration come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The profile of Fleetkey's configuration that counts, whoever chose it.
    pub(crate) profile: Option<String>,
    /// The profile of AWS's configuration to act with; `None` leaves it to AWS's own variables.
    pub(crate) aws_profile: Option<String>,
    /// The region asked for; `None` leaves it to AWS's own configuration.
    pub(crate) region: Option<String>,
    /// The region that a flag names, its own or that of the zone, for what else goes through all of them. A variable or
    /// the configuration only says where to begin.
    pub(crate) only_region: Option<String>,
    /// The availability zone asked for, or several with commas between them; `None` leaves it to EC2.
    pub(crate) zone: Option<String>,
    /// Whether a flag names the zones: those of a variable or the configuration are only a default.
    pub(crate) zones_by_flag: bool,
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
    /// The form of what is printed where no flag says so.
    pub(crate) output: Option<Output>,
    /// Which address of a box is connected to where no flag says so.
    pub(crate) address: Option<AddressKind>,
    /// The box or host that connections go through where no flag says so, as written.
    pub(crate) jump: Option<Text>,
    /// The service that connections go through where no flag says so, as written.
    pub(crate) via: Option<Text>,
    /// From where new boxes are reached by ssh where no flag says so, as written.
    pub(crate) ssh_from: Option<Text>,
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum SettingsError {
    /// It has a value that it cannot have.
    #[error("{origin} {fault}")]
    Value {
        /// The flag or variable.
        origin: Origin,
        /// What is wrong with it.
        fault: String,
    },
    /// Zone and region do not go together.
    #[error("--zone {zone} is not in --region {region}; leave --region out: the zone implies it")]
    Elsewhere {
        /// The zone as given.
        zone: String,
        /// The region as given.
        region: String,
    },
    /// The environment and the file each name a profile of AWS's configuration, and it is not the same.
    #[error(
        "{AWS_PROFILE_VARIABLE} is {variable:?}, but {} says {:?}; unset one of them, or say which profile of Fleetkey's \
         configuration is meant with --profile", .file.origin, .file.value
    )]
    TwoProfiles {
        /// What the variable says.
        variable: String,
        /// What the file says.
        file: Box<Text>,
    },
}

/// What was written of each setting, the upper layers over the lower ones, with the place where each stands.
///
/// A zone counts only in its own region: a layer that names another region leaves out the zones of those below it.
pub(crate) fn laid_over(
    flags: &PlaceFlags,
    variables: &Fragment,
    configured: &Chosen,
) -> Result<Fragment, SettingsError> {
    let flags = flags.fragment();
    for fragment in [&flags, variables] {
        check(fragment)?;
    }
    if let (Some(region), Some(zone)) = (&flags.region, &flags.zone)
        && region_of_all(&zone.value).as_ref() != Some(&region.value)
    {
        return Err(SettingsError::Elsewhere { zone: zone.value.clone(), region: region.value.clone() });
    }
    let layers = [&flags, variables, &configured.own, &configured.top];
    let region = layers.iter().find_map(|layer| region_in(layer));
    let zone = layers.iter().filter_map(|layer| layer.zone.clone()).find(|zone| {
        let implied = region_of_all(&zone.value);
        region.as_ref().is_some_and(|region| implied.as_ref() == Some(&region.value))
    });
    let laid = flags.over(variables).over(&configured.own).over(&configured.top);
    Ok(Fragment { region, zone, ..laid })
}

/// The region that a layer names, itself or by a zone.
fn region_in(layer: &Fragment) -> Option<Text> {
    let implied = |zone: &Text| Some(Written { value: region_of_all(&zone.value)?, origin: zone.origin.clone() });
    layer.region.clone().or_else(|| layer.zone.as_ref().and_then(implied))
}

/// Checks flags or variables; the file was checked when it was read. What only some verbs need, those check.
fn check(fragment: &Fragment) -> Result<(), SettingsError> {
    let checks: [(&Option<Text>, rules::Check); 6] = [
        (&fragment.region, rules::region),
        (&fragment.zone, rules::zone),
        (&fragment.me, rules::person),
        (&fragment.bucket, rules::bucket),
        (&fragment.topic, rules::topic),
        (&fragment.address, rules::address),
    ];
    for (written, rule) in checks {
        if let Some(Written { value, origin }) = written {
            rule(value).map_err(|fault| SettingsError::Value { origin: origin.clone(), fault })?;
        }
    }
    Ok(())
}

/// The regions of a flag that takes several, each once, in the order given.
pub(crate) fn region_list(origin: &'static str, regions: &[String]) -> Result<Vec<String>, SettingsError> {
    let mut list: Vec<String> = Vec::new();
    for region in regions {
        let told = |fault| SettingsError::Value { origin: Origin::Flag(origin.to_owned()), fault };
        rules::region(region).map_err(told)?;
        if !list.contains(region) {
            list.push(region.clone());
        }
    }
    Ok(list)
}

impl Settings {
    /// The availability zones asked for, in the order in which they are tried; none leaves it to EC2.
    pub(crate) fn zones(&self) -> Vec<String> {
        self.zone.iter().flat_map(|zones| listed(zones)).map(str::to_owned).collect()
    }

    /// Puts flags, environment and configuration together.
    pub(crate) fn new(
        flags: &PlaceFlags,
        env: impl Fn(&str) -> Option<String>,
        configured: &Chosen,
    ) -> Result<Self, SettingsError> {
        let laid = laid_over(flags, &variables(&env), configured)?;
        let variable = env(AWS_PROFILE_VARIABLE).filter(|profile| !profile.is_empty());
        match (&laid.aws_profile, variable) {
            (Some(file), Some(variable)) if file.value != variable && !configured.is_asked_for() => {
                return Err(SettingsError::TwoProfiles { variable, file: Box::new(file.clone()) });
            }
            _ => {}
        }
        let text = |written: Option<Text>| written.map(|written| written.value);
        let by_flag = |region: &Text| matches!(region.origin, Origin::Flag(_));
        Ok(Self {
            profile: text(configured.profile.clone()),
            aws_profile: text(laid.aws_profile),
            only_region: text(laid.region.clone().filter(by_flag)),
            region: text(laid.region),
            zones_by_flag: laid.zone.as_ref().is_some_and(by_flag),
            zone: text(laid.zone),
            namespace: text(laid.namespace).unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
            // All were checked above, or with the file.
            me: text(laid.me).and_then(|me| me.parse().ok()),
            key_pairs: text(laid.keypairs),
            instance_type: text(laid.instance_type),
            bucket: text(laid.bucket),
            topic: text(laid.topic).unwrap_or_else(|| DEFAULT_TOPIC.to_owned()),
            output: text(laid.output).and_then(|form| rules::one_of(&form).ok()),
            address: text(laid.address).and_then(|which| rules::one_of(&which).ok()),
            jump: laid.jump,
            via: laid.via,
            ssh_from: laid.ssh_from,
        })
    }
}
