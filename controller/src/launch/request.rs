//! What a create was asked for, as far as it makes one create another.

use std::collections::BTreeMap;

use fleetkey_common::aws_names::AbsoluteName;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::kept::Wishes;
use super::keys::Keys;
use super::spot;
use crate::image::ImageChoice;
use crate::price::Price;
use crate::role::{Arch, Asked};

/// From what a box starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The role's base image.
    Base,
    /// Another image in its place.
    Image(String),
    /// An image that was taken of a box of the role.
    Taken(ImageChoice),
}

/// What was asked for, flags and variables together.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The account.
    pub(crate) account: String,
    /// The region.
    pub(crate) region: String,
    /// The name of the box: namespace and role.
    pub(crate) name: AbsoluteName,
    /// Who may log in.
    pub(crate) keys: Keys,
    /// From what the box starts.
    pub(crate) source: Source,
    /// The architecture.
    pub(crate) arch: Option<Arch>,
    /// The instance types, in the order in which they are tried.
    pub(crate) instance_types: Vec<String>,
    /// The zones, in the order in which they are tried.
    pub(crate) zones: Vec<String>,
    /// The network.
    pub(crate) network: Option<String>,
    /// The subnet.
    pub(crate) subnet: Option<String>,
    /// The size of the root volume in GiB.
    pub(crate) root_gib: Option<u32>,
    /// The options of the role.
    pub(crate) options: BTreeMap<String, String>,
    /// Whether the agent is installed.
    pub(crate) agent: bool,
    /// Whether installed packages are brought up to date at boot.
    pub(crate) upgrade: bool,
    /// Whether an image is taken of it when it is done.
    pub(crate) create_image: bool,
    /// Its volumes, and its place in a cluster.
    pub(crate) volumes: Wishes,
    /// When the box powers itself off, as far as that is said over the role.
    pub(crate) autostop: Asked,
    /// What is asked for of the spot market, if a spot instance is wanted.
    pub(crate) spot: Option<spot::Wish>,
}

/// The parts of a request, in an order that stays.
#[derive(Serialize)]
struct Parts<'a> {
    account: &'a str,
    region: &'a str,
    name: &'a str,
    keys: Vec<String>,
    source: String,
    arch: Option<Arch>,
    instance_types: &'a [String],
    zones: &'a [String],
    network: Option<&'a str>,
    subnet: Option<&'a str>,
    root_gib: Option<u32>,
    options: &'a BTreeMap<String, String>,
    agent: bool,
    upgrade: bool,
    create_image: bool,
    volumes: &'a Wishes,
    autostop: Asked,
    spot: Option<SpotParts<'a>>,
}

/// How long it may take, and whether it is well when it fails, is how the same is gone about.
#[derive(Serialize)]
struct SpotParts<'a> {
    bid: Option<Price>,
    auto_zone: bool,
    launch_group: Option<&'a str>,
}

impl Request {
    /// By which the same request is known again: 64 hexadecimal digits.
    pub(crate) fn digest(&self) -> String {
        let source = match &self.source {
            Source::Base => "base".to_owned(),
            Source::Image(id) => format!("image {id}"),
            Source::Taken(ImageChoice::Id(id)) => format!("taken {id}"),
            Source::Taken(ImageChoice::Ordinal(ordinal)) => format!("taken {ordinal}"),
        };
        let parts = Parts {
            account: &self.account,
            region: &self.region,
            name: self.name.as_str(),
            keys: self.keys.specs.iter().map(ToString::to_string).collect(),
            source,
            arch: self.arch,
            instance_types: &self.instance_types,
            zones: &self.zones,
            network: self.network.as_deref(),
            subnet: self.subnet.as_deref(),
            root_gib: self.root_gib,
            options: &self.options,
            agent: self.agent,
            upgrade: self.upgrade,
            create_image: self.create_image,
            volumes: &self.volumes,
            autostop: self.autostop,
            spot: self.spot.as_ref().map(|wish| SpotParts {
                bid: wish.bid,
                auto_zone: wish.auto_zone,
                launch_group: wish.launch_group.as_deref(),
            }),
        };
        // Text, numbers and maps with text for keys are always JSON.
        hex::encode(Sha256::digest(serde_json::to_vec(&parts).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::launch::keys;
    use crate::role::VolumeFlag;
    use crate::volume::Node;

    fn request() -> Request {
        Request {
            account: "123456789012".into(),
            region: "us-west-2".into(),
            name: "/web".parse().unwrap(),
            keys: keys::read(&["ann".into()], None).unwrap(),
            source: Source::Base,
            arch: None,
            instance_types: Vec::new(),
            zones: Vec::new(),
            network: None,
            subnet: None,
            root_gib: None,
            options: BTreeMap::new(),
            agent: true,
            upgrade: false,
            create_image: false,
            volumes: Wishes::default(),
            autostop: Asked::default(),
            spot: None,
        }
    }

    fn wish() -> spot::Wish {
        let longest = Duration::from_mins(15);
        spot::Wish { bid: None, auto_zone: false, timeout: None, longest, launch_group: None, tentative: false }
    }

    #[test]
    fn every_part_of_a_request_makes_it_another() {
        let change: [fn(&mut Request); 23] = [
            |request| request.account = "1".into(),
            |request| request.region = "eu-west-1".into(),
            |request| request.name = "/prod/web".parse().unwrap(),
            |request| request.keys = keys::read(&["ann".into(), "bob".into()], None).unwrap(),
            |request| request.source = Source::Image("ami-1".into()),
            |request| request.source = Source::Taken(ImageChoice::Ordinal(-1)),
            |request| request.arch = Some(Arch::Arm64),
            |request| request.instance_types = vec!["t3.small".into()],
            |request| request.zones = vec!["us-west-2a".into()],
            |request| request.network = Some("x".into()),
            |request| request.subnet = Some("x".into()),
            |request| request.root_gib = Some(20),
            |request| request.options = BTreeMap::from([("a".into(), "b".into())]),
            |request| (request.agent, request.upgrade, request.create_image) = (false, true, true),
            |request| request.volumes.volumes = vec![VolumeFlag::parse("data=1").unwrap()],
            |request| request.volumes.reuse = ["vol-1".to_owned()].into(),
            |request| request.volumes.blank = true,
            |request| request.volumes.node = Some(Node { cluster: "c".into(), ordinal: 0 }),
            |request| request.autostop.after = Some("2h".parse().unwrap()),
            |request| request.spot = Some(wish()),
            |request| request.spot = Some(spot::Wish { bid: Some(Price::from_millionths(50_000)), ..wish() }),
            |request| request.spot = Some(spot::Wish { auto_zone: true, ..wish() }),
            |request| request.spot = Some(spot::Wish { launch_group: Some("x".into()), ..wish() }),
        ];
        let mut digests = vec![request().digest()];
        for change in change {
            let mut changed = request();
            change(&mut changed);
            digests.push(changed.digest());
        }
        assert_eq!(request().digest(), digests[0]);
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), 24);
    }

    #[test]
    fn a_request_is_the_same_however_long_it_may_take() {
        let with = |wish| Request { spot: Some(wish), ..request() }.digest();
        let (timeout, longest) = (Some(Duration::from_mins(5)), Duration::from_hours(1));
        assert_eq!(with(wish()), with(spot::Wish { timeout, longest, tentative: true, ..wish() }));
    }
}
