//! All that is known of one box: more than a list of many has.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{self, EbsInstanceBlockDevice, InstanceBlockDeviceMapping};
use fleetkey_common::aws_names::Namespace;
use serde::Serialize;

use crate::instance::{AUTOSTOP_TAG, Instance};
use crate::listing::Row;
use crate::table::Table;

/// A box with what hangs on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Details {
    /// The box.
    pub(crate) instance: Instance,
    /// What else its description says.
    pub(crate) more: More,
    /// Its volumes.
    pub(crate) volumes: Vec<Volume>,
}

/// What a description of an instance says beyond what makes it a box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct More {
    /// Why it is in its state, in EC2's words, where EC2 says so.
    reason: Option<String>,
    /// `spot` and the like; none for one on demand.
    market: Option<String>,
    /// The EC2 key pair that it was launched with.
    key_pair: Option<String>,
    /// The ARN of its instance profile.
    instance_profile: Option<String>,
    vpc: Option<String>,
    subnet: Option<String>,
    security_groups: Vec<SecurityGroup>,
}

/// A security group that the box is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SecurityGroup {
    id: String,
    name: String,
}

/// An EBS volume that is attached to a box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Volume {
    /// `vol-...`
    pub(crate) id: String,
    /// The device name, such as `/dev/xvda`.
    pub(crate) device: String,
    /// Its size in GiB.
    pub(crate) gib: u32,
    /// `gp3` and the like.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Whether it is encrypted.
    pub(crate) encrypted: bool,
    /// Whether EC2 deletes it when the box is terminated.
    pub(crate) deleted_with_box: bool,
    /// Its tags.
    pub(crate) tags: BTreeMap<String, String>,
}

impl More {
    /// Reads EC2's description.
    pub(crate) fn read(described: &types::Instance) -> Self {
        let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        let groups = described.security_groups().iter();
        let profile = described.iam_instance_profile();
        Self {
            reason: reason(described),
            market: described.instance_lifecycle().map(|kind| kind.as_str().to_owned()),
            key_pair: text(described.key_name()),
            instance_profile: text(profile.and_then(|profile| profile.arn())),
            vpc: text(described.vpc_id()),
            subnet: text(described.subnet_id()),
            security_groups: groups
                .map(|group| SecurityGroup {
                    id: group.group_id().unwrap_or_default().to_owned(),
                    name: group.group_name().unwrap_or_default().to_owned(),
                })
                .collect(),
        }
    }
}

/// Why an instance is in its state, in EC2's words.
pub(crate) fn reason(described: &types::Instance) -> Option<String> {
    let message = described.state_reason().and_then(|reason| reason.message());
    message.or(described.state_transition_reason()).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The box as `--output json` has it: the fields of a list, and what is known beyond.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    row: Row<'a>,
    #[serde(flatten)]
    more: &'a More,
    volumes: &'a [Volume],
    tags: &'a BTreeMap<String, String>,
}

impl Details {
    /// The box for `--output json`.
    pub(crate) fn json<'a>(&'a self, ordinal: Option<usize>, namespace: &Namespace) -> impl Serialize + use<'a> {
        Shown {
            row: Row::new(ordinal, &self.instance, namespace),
            more: &self.more,
            volumes: &self.volumes,
            tags: &self.instance.tags,
        }
    }

    /// The box for people, a line for each thing.
    pub(crate) fn table(&self, ordinal: Option<usize>, namespace: &Namespace) -> Table {
        let mut table = Table::new(&["WHAT", "VALUE"]);
        let mut line = |what: &str, value: String| table.row(vec![what.to_owned(), value]);
        for (what, value) in Row::new(ordinal, &self.instance, namespace).fields() {
            line(&what.to_lowercase(), value);
        }
        let More { reason, market, key_pair, instance_profile, vpc, subnet, security_groups } = &self.more;
        line("architecture", self.instance.architecture.clone());
        line("market", market.clone().unwrap_or_else(|| "on demand".to_owned()));
        if let Some(autostop) = self.instance.tags.get(AUTOSTOP_TAG) {
            line("autostop", autostop.clone());
        }
        for (what, value) in [
            ("reason", reason),
            ("key pair", key_pair),
            ("instance profile", instance_profile),
            ("vpc", vpc),
            ("subnet", subnet),
        ] {
            line(what, value.clone().unwrap_or_default());
        }
        for group in security_groups {
            line("security group", format!("{} {}", group.id, group.name));
        }
        for volume in &self.volumes {
            let fate = if volume.deleted_with_box { "deleted with the box" } else { "kept when the box goes" };
            line("volume", format!("{}, {fate}", volume.described()));
        }
        for (tag, value) in &self.instance.tags {
            line("tag", format!("{tag}={value}"));
        }
        table
    }
}

impl Volume {
    /// Reads from the description of the box whether it goes with it: a description of volumes does not always say so.
    pub(crate) fn settle(&mut self, described: &types::Instance) {
        let mut attached = described.block_device_mappings().iter().filter_map(InstanceBlockDeviceMapping::ebs);
        let own = attached.find(|ebs| ebs.volume_id() == Some(&self.id));
        if let Some(goes) = own.and_then(EbsInstanceBlockDevice::delete_on_termination) {
            self.deleted_with_box = goes;
        }
    }

    /// Id, device, size and type in one line.
    pub(crate) fn described(&self) -> String {
        let Self { id, device, gib, kind, encrypted, .. } = self;
        let encrypted = if *encrypted { ", encrypted" } else { "" };
        format!("{id}, {device}, {gib} GiB {kind}{encrypted}")
    }
}
