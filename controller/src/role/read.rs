//! From a merged tree to a [`Role`]. All faults of a role are told at once.

use std::collections::BTreeMap;

use fleetkey_common::key_spec::KeySpec;

use super::cloud_config;
use super::fields::{Findings, find};
use super::model::{BaseImage, Ephemeral, Ingress, ManagedAccount, Role, RoleName, RootVolume};
use super::node::{Key, Node, Place, Value};
use super::options;
use super::problem::RoleError;
use super::words::{AccountMode, Arch, FileSystem, PackageFormat, VolumeKind};
use super::{autostop, ingress, template, volumes};

/// The fields that are inherited.
const FIELDS: [&str; 15] = [
    "base_images",
    "package",
    "admin_account",
    "instance_type",
    "root_volume",
    "volumes",
    "ingress",
    "iam_policies",
    "accounts",
    "options",
    "ephemeral",
    "agent",
    "autostop",
    "cloud_config",
    "description",
];

/// The fields that say something of the one file alone.
const OWN: [&str; 3] = ["extends", "abstract", "description"];

/// The sizes that EBS has, in GiB. <https://docs.aws.amazon.com/ebs/latest/userguide/volume_constraints.html>
const GIB: std::ops::RangeInclusive<i64> = 1..=65_536;

/// What a file says of itself: nothing of it is inherited.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// The roles it extends, each with the place where it is named.
    pub(super) extends: Vec<(RoleName, Place)>,
    pub(super) abstract_: bool,
    pub(super) description: String,
    /// The top of the file.
    pub(super) place: Place,
}

/// Takes the head off a file's tree; what is left is merged.
pub(super) fn head(node: Node, findings: &mut Findings) -> (Head, Node) {
    let known: Vec<&str> = FIELDS.into_iter().chain(OWN).collect();
    let entries = findings.map(&node, "a role", &known);
    let mut head = Head {
        extends: Vec::new(),
        abstract_: find(&entries, "abstract").and_then(|node| findings.switch(node, "abstract")).unwrap_or(false),
        description: find(&entries, "description")
            .and_then(|node| findings.text(node, "description"))
            .unwrap_or_default(),
        place: node.place.clone(),
    };
    if let Some(node) = find(&entries, "extends") {
        for item in findings.list(node, "extends") {
            if let Some(name) = findings.parsed(item, "extends") {
                head.extends.push((name, item.place.clone()));
            }
        }
    }
    let Value::Map(mut entries) = node.value else { return (head, node) };
    entries.retain(|(key, _)| !OWN.contains(&key.name.as_str()));
    (head, Node { value: Value::Map(entries), place: node.place })
}

/// Reads a role that is merged.
///
/// # Errors
/// With all that is wrong with it.
pub(super) fn role(name: &RoleName, head: &Head, merged: &Node) -> Result<Role, RoleError> {
    let mut findings = Findings::default();
    let entries = findings.any_map(merged, "a role");
    let reader = &mut findings;
    let at = |name: &str| find(&entries, name);
    let role = Role {
        name: name.clone(),
        description: head.description.clone(),
        abstract_: head.abstract_,
        base_images: at("base_images").map(|node| base_images(node, reader)).unwrap_or_default(),
        package: at("package").and_then(|node| reader.word(node, "package", PackageFormat::WORDS)),
        admin_account: at("admin_account").and_then(|node| reader.parsed(node, "admin_account")),
        instance_type: at("instance_type").and_then(|node| instance_type(node, reader)),
        root_volume: at("root_volume").map(|node| root_volume(node, reader)),
        volumes: at("volumes").map(|node| volumes::read(node, reader)).unwrap_or_default(),
        ingress: at("ingress").map_or_else(|| default_ingress(head), |node| ingress::read(node, reader)),
        iam_policies: at("iam_policies").map(|node| policies(node, reader)).unwrap_or_default(),
        accounts: at("accounts").map(|node| accounts(node, reader)).unwrap_or_default(),
        options: at("options").map(|node| options::read(node, reader)).unwrap_or_default(),
        ephemeral: at("ephemeral").and_then(|node| ephemeral(node, reader)),
        agent: at("agent").and_then(|node| reader.switch(node, "agent")).unwrap_or(true),
        autostop: at("autostop").and_then(|node| autostop::read(node, reader)),
        cloud_config: at("cloud_config").cloned().unwrap_or_else(|| cloud_config::empty(&head.place)),
    };
    cloud_config::check(&role.cloud_config, reader);
    template::check(&role.cloud_config, &role.options, reader);
    if let (Some(fault), Some(node)) = (volumes::mounted_twice(&role), find(&entries, "volumes")) {
        reader.error(&node.place, fault);
    }
    if !role.abstract_ {
        complete(&role, &entries, &head.place, reader);
    }
    findings.into_result(role)
}

/// A mixin that says nothing of it leaves it to the roles that extend it.
fn default_ingress(head: &Head) -> Vec<Ingress> {
    if head.abstract_ { Vec::new() } else { ingress::default() }
}

/// What a role that is launched cannot do without.
fn complete(role: &Role, entries: &[(&Key, &Node)], place: &Place, findings: &mut Findings) {
    let hint = "extend a generic- role, or say abstract: true";
    // What is there and wrong is told already.
    let stated = |name: &str| find(entries, name).is_some();
    if role.base_images.is_empty() && !stated("base_images") {
        findings.missing(place, "base_images", hint);
    }
    for (name, missing) in [("package", role.package.is_none()), ("admin_account", role.admin_account.is_none())] {
        if missing && !stated(name) {
            findings.missing(place, name, hint);
        }
    }
}

fn base_images(node: &Node, findings: &mut Findings) -> BTreeMap<Arch, Vec<BaseImage>> {
    let mut images = BTreeMap::new();
    for (key, node) in findings.map(node, "base_images", Arch::WORDS) {
        // An unknown key is told by then.
        let Ok(arch) = key.name.parse::<Arch>() else { continue };
        let what = format!("base_images.{arch}");
        let entries = findings.map(node, &what, &["ssm", "owner", "name"]);
        let mut text =
            |name: &str| find(&entries, name).and_then(|node| Some((findings.text(node, name)?, &node.place)));
        let (ssm, owner, name) = (text("ssm"), text("owner"), text("name"));
        let mut found = Vec::new();
        if let Some((parameter, place)) = ssm {
            if !parameter.starts_with('/') || parameter.contains(|c: char| c.is_whitespace() || c.is_control()) {
                findings.error(place, format!("{parameter:?} is not a parameter, such as /aws/service/..."));
            }
            found.push(BaseImage::Ssm { parameter });
        }
        match (owner, name) {
            (Some((owner, place)), Some((name, _))) => {
                let account = owner.len() == 12 && owner.bytes().all(|byte| byte.is_ascii_digit());
                if !account && !["self", "amazon", "aws-marketplace"].contains(&owner.as_str()) {
                    findings.error(place, format!("owner {owner:?} is no account id of 12 digits, nor self or amazon"));
                }
                found.push(BaseImage::Pattern { owner, name });
            }
            (None, None) if !found.is_empty() => {}
            _ => findings.error(&node.place, format!("{what} needs ssm, or owner and name, or all three")),
        }
        images.insert(arch, found);
    }
    images
}

fn instance_type(node: &Node, findings: &mut Findings) -> Option<String> {
    let text = findings.text(node, "instance_type")?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let valid = text.split_once('.').is_some_and(|(family, size)| {
        !family.is_empty() && !size.is_empty() && family.chars().all(plain) && size.chars().all(plain)
    });
    if !valid {
        findings.error(&node.place, format!("{text:?} is no instance type, such as t3.micro"));
    }
    Some(text)
}

fn gib(node: &Node, what: &str, findings: &mut Findings) -> Option<u32> {
    findings.number(node, what, GIB).and_then(|number| u32::try_from(number).ok())
}

fn root_volume(node: &Node, findings: &mut Findings) -> RootVolume {
    let entries = findings.map(node, "root_volume", &["size", "kind"]);
    RootVolume {
        gib: find(&entries, "size").and_then(|node| gib(node, "root_volume.size, in GiB,", findings)),
        kind: find(&entries, "kind").and_then(|node| findings.word(node, "kind", VolumeKind::WORDS)),
    }
}

fn policies(node: &Node, findings: &mut Findings) -> BTreeMap<String, serde_json::Value> {
    let mut policies = BTreeMap::new();
    for (key, node) in findings.any_map(node, "iam_policies") {
        // <https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutRolePolicy.html>
        let valid = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        if key.name.is_empty() || key.name.len() > 128 || !key.name.chars().all(valid) {
            findings.error(&key.place, "a policy's name has 1 to 128 of letters, digits and _+=,.@-");
        }
        if key.name.starts_with("fleetkey-") {
            findings.error(&key.place, "names that begin with fleetkey- are for the agent's own policies");
        }
        if !findings.any_map(node, "a policy").iter().any(|(key, _)| key.name == "Statement") {
            findings.error(&node.place, "a policy is an IAM policy document, and has a Statement");
        }
        match serde_json::to_value(node) {
            Ok(document) => drop(policies.insert(key.name.clone(), document)),
            Err(error) => findings.error(&node.place, error),
        }
    }
    policies
}

fn accounts(node: &Node, findings: &mut Findings) -> Vec<ManagedAccount> {
    let mut accounts: Vec<ManagedAccount> = Vec::new();
    for node in findings.list(node, "accounts") {
        let entries = findings.map(node, "an account", &["account", "keys", "mode"]);
        let account = find(&entries, "account").map(|node| findings.parsed(node, "account"));
        let (Some(account), Some(list)) = (account, find(&entries, "keys")) else {
            findings.error(&node.place, "an account needs account and keys");
            continue;
        };
        let mut keys: Vec<KeySpec> = Vec::new();
        for item in findings.list(list, "keys") {
            match findings.parsed(item, "keys") {
                Some(KeySpec::Me) => {
                    findings.error(&item.place, "__me__ would be whoever launches the box; name a person or a group");
                }
                Some(spec) if !keys.contains(&spec) => keys.push(spec),
                _ => {}
            }
        }
        let mode = find(&entries, "mode").and_then(|node| findings.word(node, "mode", AccountMode::WORDS));
        let mode = mode.unwrap_or(AccountMode::Shared);
        let Some(account) = account else { continue };
        match accounts.iter_mut().find(|known| known.account == account) {
            None => accounts.push(ManagedAccount { account, keys, mode }),
            Some(known) if known.mode == mode => {
                keys.retain(|spec| !known.keys.contains(spec));
                known.keys.extend(keys);
            }
            Some(known) => findings.error(
                &node.place,
                format!("account {account} has mode {mode} here and {} elsewhere; give it one", known.mode),
            ),
        }
    }
    accounts
}

fn ephemeral(node: &Node, findings: &mut Findings) -> Option<Ephemeral> {
    let entries = findings.map(node, "ephemeral", &["mount", "file_system", "directories"]);
    let mount = match find(&entries, "mount") {
        Some(node) => folder(node, "mount", findings)?,
        None => "/mnt/ephemeral".to_owned(),
    };
    let mut directories = Vec::new();
    if let Some(node) = find(&entries, "directories") {
        for item in findings.list(node, "directories") {
            directories.extend(folder(item, "directories", findings).filter(|folder| !directories.contains(folder)));
        }
    }
    let file_system = find(&entries, "file_system");
    let file_system = file_system.and_then(|node| findings.word(node, "file_system", FileSystem::WORDS));
    Some(Ephemeral { mount, file_system: file_system.unwrap_or(FileSystem::Ext4), directories })
}

/// An absolute path of plain characters, which stands in fstab as it is.
fn folder(node: &Node, what: &str, findings: &mut Findings) -> Option<String> {
    let path = findings.text(node, what)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    let parts = path.strip_prefix('/').unwrap_or_default();
    if parts.is_empty() || parts.split('/').any(|part| ["", ".", ".."].contains(&part)) || !path.chars().all(plain) {
        findings.error(&node.place, format!("{what}: {path:?} is no full path of letters, digits and ._-"));
        return None;
    }
    Some(path)
}
