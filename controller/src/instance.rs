//! A box, as EC2 describes it. Read, never changed here.
//!
//! What makes an instance a box is its tags: `Name`, the AWS name of its namespace and role, and `generation`. Those of
//! CGCloud carry the same, so that both see the same boxes.

use std::collections::BTreeMap;

use aws_sdk_ec2::types;
use fleetkey_common::aws_names::AbsoluteName;
use jiff::Timestamp;
use serde::Serialize;

/// Tag: the AWS name of namespace and role.
pub(crate) const NAME_TAG: &str = "Name";
/// Tag: how many images lie between the box and its role's base image. Every box has it.
pub(crate) const GENERATION_TAG: &str = "generation";
/// Tag: the cluster that the box belongs to.
pub(crate) const CLUSTER_NAME_TAG: &str = "cluster_name";
/// Tag: the place of the box in its cluster, from 0.
pub(crate) const CLUSTER_ORDINAL_TAG: &str = "cluster_ordinal";

/// Tag: the account that is logged in to where none is named, so that nobody needs the role's file to log in.
pub(crate) const ADMIN_TAG: &str = "fleetkey:admin";

/// Tag: after how long without use the box powers itself off, and what EC2 does then, for people to read.
pub(crate) const AUTOSTOP_TAG: &str = "fleetkey:autostop";

/// The states of an instance.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// It is about to run.
    Pending,
    /// It runs, or boots.
    Running,
    /// It is about to be stopped.
    Stopping,
    /// It is off and can be started.
    Stopped,
    /// It is about to be gone.
    ShuttingDown,
    /// It is gone, and EC2 still tells of it for an hour.
    Terminated,
}

impl State {
    /// The states of boxes that are there: those that ordinals count.
    pub(crate) const LIVE: [State; 4] = [State::Pending, State::Running, State::Stopping, State::Stopped];

    /// EC2's word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Running => "running",
            State::Stopping => "stopping",
            State::Stopped => "stopped",
            State::ShuttingDown => "shutting-down",
            State::Terminated => "terminated",
        }
    }
}

impl TryFrom<&types::InstanceStateName> for State {
    type Error = String;

    fn try_from(name: &types::InstanceStateName) -> Result<Self, String> {
        let states = [State::Pending, State::Running, State::Stopping, State::Stopped];
        let states = states.into_iter().chain([State::ShuttingDown, State::Terminated]);
        states.into_iter().find(|state| state.as_str() == name.as_str()).ok_or_else(|| format!("state {name}"))
    }
}

/// A box.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "EC2's own word, and `type` is one of the language")]
pub(crate) struct Instance {
    /// `i-...`
    pub(crate) id: String,
    /// Namespace and role.
    pub(crate) name: AbsoluteName,
    /// What it does now.
    pub(crate) state: State,
    /// When it was last started.
    pub(crate) launched: Option<Timestamp>,
    /// Its instance type.
    pub(crate) instance_type: String,
    /// Its availability zone.
    pub(crate) zone: String,
    /// The image that it was launched from.
    pub(crate) image: String,
    /// `x86_64` or `arm64`.
    pub(crate) architecture: String,
    /// Its address within its network.
    pub(crate) private_address: Option<String>,
    /// Its address on the internet, if it has one now.
    pub(crate) public_address: Option<String>,
    /// How many images lie between it and its role's base image.
    pub(crate) generation: Option<u32>,
    /// The cluster that it belongs to.
    pub(crate) cluster: Option<String>,
    /// Its place in the cluster.
    pub(crate) cluster_ordinal: Option<u32>,
    /// All its tags, those above included.
    pub(crate) tags: BTreeMap<String, String>,
}

impl Instance {
    /// Reads EC2's description; `None` for an instance that is no box.
    pub(crate) fn read(described: types::Instance) -> Option<Self> {
        let tags: BTreeMap<String, String> = described.tags.unwrap_or_default().into_iter().filter_map(pair).collect();
        tags.get(GENERATION_TAG)?;
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        Some(Self {
            id: described.instance_id?,
            name: AbsoluteName::from_aws_name(tags.get(NAME_TAG)?).ok()?,
            state: State::try_from(&described.state?.name?).ok()?,
            launched: described.launch_time.and_then(|time| Timestamp::from_second(time.secs()).ok()),
            instance_type: described.instance_type.map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
            zone: described.placement.and_then(|placement| placement.availability_zone).unwrap_or_default(),
            image: described.image_id.unwrap_or_default(),
            architecture: described.architecture.map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
            private_address: text(described.private_ip_address),
            public_address: text(described.public_ip_address),
            generation: tags.get(GENERATION_TAG).and_then(|text| text.parse().ok()),
            cluster: tags.get(CLUSTER_NAME_TAG).cloned(),
            cluster_ordinal: tags.get(CLUSTER_ORDINAL_TAG).and_then(|text| text.parse().ok()),
            tags,
        })
    }

    /// Its role: the last part of its name.
    pub(crate) fn role(&self) -> &str {
        self.name.base_name()
    }
}

fn pair(tag: types::Tag) -> Option<(String, String)> {
    Some((tag.key?, tag.value.unwrap_or_default()))
}

#[cfg(test)]
pub(crate) mod tests {
    use aws_sdk_ec2::types::{InstanceState, InstanceStateName, Tag};

    use super::*;

    fn described(tags: &[(&str, &str)]) -> types::Instance {
        let tags = tags.iter().map(|(key, value)| Tag::builder().key(*key).value(*value).build()).collect();
        let state = InstanceState::builder().name(InstanceStateName::ShuttingDown).build();
        types::Instance::builder().instance_id("i-0123456789abcdef0").state(state).set_tags(Some(tags)).build()
    }

    /// A box with this id and full name.
    pub(crate) fn instance(id: &str, name: &str) -> Instance {
        let name: AbsoluteName = name.parse().unwrap();
        let mut described = described(&[("Name", &name.to_aws_name()), ("generation", "0")]);
        described.instance_id = Some(id.to_owned());
        Instance::read(described).unwrap()
    }

    #[test]
    fn a_box_is_what_carries_a_name_and_a_generation() {
        let found = Instance::read(described(&[("Name", "prod_web__1"), ("generation", "2")])).unwrap();
        assert_eq!((found.name.as_str(), found.role()), ("/prod/web_1", "web_1"));
        assert_eq!((found.state, found.generation), (State::ShuttingDown, Some(2)));
        assert_eq!(Instance::read(described(&[("Name", "prod_web")])), None);
        assert_eq!(Instance::read(described(&[("Name", "My Server"), ("generation", "0")])), None);
        assert_eq!(Instance::read(described(&[("generation", "0")])), None);
    }
}
