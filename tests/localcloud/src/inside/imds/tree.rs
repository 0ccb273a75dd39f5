//! The tree of values that a box finds in the metadata service.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-metadata.html>

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_sdk_ec2::types::{ArchitectureValues, Instance, InstanceType};
use fleetkey_tests::cloud::Cloud;
use jiff::Timestamp;
use serde_json::json;

use crate::inside::fleet::{Record, RoleKeys};

/// The value at a path below the version, or the names in a folder; `None` when there is neither.
pub(super) fn value(path: &str, record: &Record, role: Option<&str>) -> Option<String> {
    let values = values(record, role);
    if let Some(value) = values.get(path.trim_end_matches('/')) {
        return Some(value.clone());
    }
    listing(&values, path)
}

/// The names directly below a folder, with a slash behind those that are folders again.
fn listing(values: &BTreeMap<String, String>, path: &str) -> Option<String> {
    let path = path.trim_end_matches('/');
    // EC2 shows a key by its number and name.
    if path == "meta-data/public-keys" {
        let name = values.get("meta-data/public-keys/0/name")?;
        return Some(format!("0={name}"));
    }
    let folder = if path.is_empty() { String::new() } else { format!("{path}/") };
    let mut names: Vec<String> = Vec::new();
    for (key, _) in values.range(folder.clone()..) {
        let Some(rest) = key.strip_prefix(&folder) else { break };
        if rest == "0/name" && path.ends_with("public-keys") {
            continue;
        }
        let name = match rest.split_once('/') {
            Some((name, _)) => format!("{name}/"),
            None => rest.to_owned(),
        };
        if names.last() != Some(&name) {
            names.push(name);
        }
    }
    (!names.is_empty()).then(|| names.join("\n"))
}

fn values(record: &Record, role: Option<&str>) -> BTreeMap<String, String> {
    let instance = &record.instance;
    let id = instance.instance_id().unwrap_or_default();
    let mut all = BTreeMap::new();
    let mut put = |path: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            all.insert(format!("meta-data/{path}"), value.to_owned());
        }
    };
    let kind = instance.instance_type().map(InstanceType::as_str);
    let zone = instance.placement().and_then(|placement| placement.availability_zone());
    let host = instance.private_dns_name();
    let groups: Vec<&str> = instance.security_groups().iter().filter_map(|group| group.group_name()).collect();
    for (path, value) in [
        ("ami-id", instance.image_id()),
        ("ami-launch-index", Some(instance.ami_launch_index().unwrap_or(0).to_string().as_str())),
        ("hostname", host),
        ("instance-action", Some("none")),
        ("instance-id", Some(id)),
        ("instance-life-cycle", Some(if instance.instance_lifecycle().is_some() { "spot" } else { "on-demand" })),
        ("instance-type", kind),
        ("local-hostname", host),
        ("local-ipv4", instance.private_ip_address()),
        ("placement/availability-zone", zone),
        ("placement/region", Some(Cloud::REGION)),
        ("public-hostname", instance.public_dns_name()),
        ("public-ipv4", instance.public_ip_address()),
        ("reservation-id", Some("r-0123456789abcdef0")),
        ("security-groups", Some(groups.join("\n").as_str())),
        ("services/domain", Some("amazonaws.com")),
        ("services/partition", Some("aws")),
        ("iam/security-credentials", role),
        ("public-keys/0/openssh-key", record.boot.public_key.as_deref()),
    ] {
        put(path, value);
    }
    if record.boot.public_key.is_some() {
        put("public-keys/0/name", instance.key_name());
    }
    interface(instance, &record.account_id, &mut put);
    if let Some(profile) = instance.iam_instance_profile().filter(|_| role.is_some()) {
        let info = json!({
            "Code": "Success", "LastUpdated": now(), "InstanceProfileArn": profile.arn(),
            "InstanceProfileId": profile.id(),
        });
        put("iam/info", Some(&info.to_string()));
    }
    let shows_tags = instance.metadata_options().and_then(|options| options.instance_metadata_tags());
    if shows_tags.is_some_and(|shows| shows.as_str() == "enabled") {
        for tag in instance.tags() {
            put(&format!("tags/instance/{}", tag.key().unwrap_or_default()), tag.value());
        }
    }
    all.insert("dynamic/instance-identity/document".to_owned(), identity(record));
    all
}

/// The one network interface.
fn interface(instance: &Instance, account_id: &str, put: &mut impl FnMut(&str, Option<&str>)) {
    let Some(interface) = instance.network_interfaces().first() else { return };
    let Some(mac) = interface.mac_address() else { return };
    put("mac", Some(mac));
    let folder = format!("network/interfaces/macs/{mac}");
    for (name, value) in [
        ("device-number", Some("0")),
        ("interface-id", interface.network_interface_id()),
        ("local-hostname", instance.private_dns_name()),
        ("local-ipv4s", instance.private_ip_address()),
        ("mac", Some(mac)),
        ("owner-id", Some(account_id)),
        ("public-hostname", instance.public_dns_name()),
        ("public-ipv4s", instance.public_ip_address()),
        ("subnet-id", instance.subnet_id()),
        ("vpc-id", instance.vpc_id()),
    ] {
        put(&format!("{folder}/{name}"), value);
    }
}

fn identity(record: &Record) -> String {
    let instance = &record.instance;
    let launched = instance.launch_time().and_then(|time| Timestamp::from_second(time.secs()).ok());
    let document = json!({
        "accountId": record.account_id,
        "architecture": instance.architecture().map(ArchitectureValues::as_str),
        "availabilityZone": instance.placement().and_then(|placement| placement.availability_zone()),
        "billingProducts": null, "devpayProductCodes": null, "marketplaceProductCodes": null,
        "imageId": instance.image_id(),
        "instanceId": instance.instance_id(),
        "instanceType": instance.instance_type().map(InstanceType::as_str),
        "kernelId": null, "ramdiskId": null,
        "pendingTime": launched.map(|time| time.to_string()),
        "privateIp": instance.private_ip_address(),
        "region": Cloud::REGION,
        "version": "2017-09-30",
    });
    document.to_string()
}

/// A role's credentials as the service shows them.
pub(super) struct Credentials(pub(super) RoleKeys);

impl Credentials {
    /// Whether they are good for long enough to be given once more.
    pub(super) fn last_well(&self) -> bool {
        const MARGIN: Duration = Duration::from_mins(15);
        SystemTime::now() + MARGIN < self.0.expires
    }

    /// What a box reads.
    pub(super) fn document(&self) -> String {
        let keys = &self.0;
        let time = |time: SystemTime| Timestamp::try_from(time).map(|time| format!("{time:.0}")).unwrap_or_default();
        let document = json!({
            "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": time(keys.given), "Expiration": time(keys.expires),
            "AccessKeyId": keys.access_key_id, "SecretAccessKey": keys.secret_access_key, "Token": keys.session_token,
        });
        document.to_string()
    }
}

fn now() -> String {
    format!("{:.0}", Timestamp::now())
}
