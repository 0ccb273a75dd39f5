//! What a role is, once read, merged and checked. Plain data: nothing here reads or decides.
//!
//! Written out again it has the fields of a role file, so that what `role show` prints can be read as a role.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use fleetkey_common::aws_names::AbsoluteName;
use fleetkey_common::key_spec::KeySpec;
use fleetkey_common::names::AccountName;
use serde::{Serialize, Serializer};

use super::autostop::Autostop;
use super::node::Node;
use super::options::OptionSpec;
use super::problem::RoleError;
use super::volume::Volume;
use super::words::{AccountMode, Arch, FileSystem, PackageFormat, Protocol, VolumeKind};

/// The longest name of a role, in characters: with a namespace before it, it becomes the name of an IAM role, which
/// has at most 64 (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>).
const LONGEST_NAME: usize = 48;

/// The name of a role, that of its file without `.yaml`: `[0-9a-z][0-9a-z._-]*`, at most 48 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub(crate) struct RoleName(Box<str>);

impl RoleName {
    /// The name as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoleName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rule = "a digit or small letter, then at most 47 of 0-9 a-z . _ -";
        let valid = !text.contains('/') && !text.is_empty() && format!("/{text}").parse::<AbsoluteName>().is_ok();
        if valid && text.len() <= LONGEST_NAME {
            return Ok(Self(text.into()));
        }
        Err(format!("{text:?} cannot be the name of a role: {rule}"))
    }
}

impl From<RoleName> for String {
    fn from(name: RoleName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The blueprint of a box.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Role {
    /// Its name.
    #[serde(skip)]
    pub(crate) name: RoleName,
    /// What it is, in a sentence; may be empty.
    pub(crate) description: String,
    /// Whether it is only there to be extended.
    #[serde(rename = "abstract")]
    pub(crate) abstract_: bool,
    /// Where its image is found, by architecture: the first of the list that there is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "serialize_images")]
    pub(crate) base_images: BTreeMap<Arch, Vec<BaseImage>>,
    /// The kind of package that the image's distribution installs; a mixin may have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) package: Option<PackageFormat>,
    /// The account that the image's cloud-init gives the launch key, and that the agent keeps; a mixin may have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) admin_account: Option<AccountName>,
    /// The instance type unless the operator says another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instance_type: Option<String>,
    /// The root volume, where it is not to be the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) root_volume: Option<RootVolume>,
    /// Further volumes, made with the box.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) volumes: Vec<Volume>,
    /// What the box's security group lets in.
    pub(crate) ingress: Vec<Ingress>,
    /// Policies of the box's instance profile by name, beside those that the agent needs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) iam_policies: BTreeMap<String, serde_json::Value>,
    /// Accounts beside the admin account that the agent manages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) accounts: Vec<ManagedAccount>,
    /// What the operator can choose.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) options: BTreeMap<String, OptionSpec>,
    /// What becomes of the disks that come with the instance; `None` leaves them alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ephemeral: Option<Ephemeral>,
    /// Whether the agent is installed.
    pub(crate) agent: bool,
    /// When a box powers itself off for want of use; `None` is never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) autostop: Option<Autostop>,
    /// What cloud-init is told, its strings being templates.
    pub(crate) cloud_config: Node,
}

impl Role {
    /// The kind of package that a box of this role installs.
    ///
    /// # Errors
    /// When the role is a mixin that leaves it open.
    pub(crate) fn package(&self) -> Result<PackageFormat, RoleError> {
        self.package.ok_or_else(|| RoleError::Abstract(self.name.clone()))
    }

    /// The account that a box of this role is administered by.
    ///
    /// # Errors
    /// When the role is a mixin that leaves it open.
    pub(crate) fn admin(&self) -> Result<&AccountName, RoleError> {
        self.admin_account.as_ref().ok_or_else(|| RoleError::Abstract(self.name.clone()))
    }

    /// The role as YAML: a role file that extends nothing.
    ///
    /// # Errors
    /// When it cannot be written, which no role that was read brings about.
    pub(crate) fn to_yaml(&self) -> Result<String, serde_saphyr::SerializeError> {
        serde_saphyr::to_string_with_options(self, serde_saphyr::ser_options! { folded_wrap_chars: 1 << 20 })
    }

    /// Where the image for this architecture is found.
    ///
    /// # Errors
    /// When the role has none, with the architectures that it has.
    pub(crate) fn base_image(&self, arch: Arch) -> Result<&[BaseImage], RoleError> {
        self.base_images.get(&arch).map(Vec::as_slice).ok_or_else(|| RoleError::NoImage {
            role: self.name.clone(),
            arch,
            known: self.base_images.keys().copied().collect(),
        })
    }
}

/// Where an image is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BaseImage {
    /// By a public parameter of Systems Manager, whose value is the image's id.
    Ssm {
        /// The parameter, beginning with `/aws/service/`.
        parameter: String,
    },
    /// By owner and name: the newest that matches.
    Pattern {
        /// The account id of the owner, or `amazon` or `self`.
        owner: String,
        /// The name, with `*` and `?` as EC2's filters take them.
        name: String,
    },
}

/// A role file has the ways of finding an image in one map.
fn serialize_images<S: Serializer>(images: &BTreeMap<Arch, Vec<BaseImage>>, serializer: S) -> Result<S::Ok, S::Error> {
    let fields = |ways: &Vec<BaseImage>| {
        let fields = ways.iter().flat_map(|way| match way {
            BaseImage::Ssm { parameter } => vec![("ssm", parameter.clone())],
            BaseImage::Pattern { owner, name } => vec![("owner", owner.clone()), ("name", name.clone())],
        });
        fields.collect::<BTreeMap<&str, String>>()
    };
    serializer.collect_map(images.iter().map(|(arch, ways)| (arch, fields(ways))))
}

/// The root volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RootVolume {
    /// Its size in GiB; `None` is the image's.
    #[serde(rename = "size", skip_serializing_if = "Option::is_none")]
    pub(crate) gib: Option<u32>,
    /// Its type; `None` is the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<VolumeKind>,
}

/// A rule of the box's security group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ingress {
    /// What is let in.
    pub(crate) protocol: Protocol,
    /// The first port; for ICMP the type; -1 for all of either.
    pub(crate) from_port: i32,
    /// The last port; for ICMP the code; -1 for all of either.
    pub(crate) to_port: i32,
    /// From where.
    pub(crate) source: IngressSource,
}

/// From where something is let in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IngressSource {
    /// A range of IPv4 addresses, such as `10.0.0.0/8`.
    Ipv4(String),
    /// A range of IPv6 addresses, such as `2001:db8::/32`.
    Ipv6(String),
    /// The boxes of the same security group.
    Group,
}

impl IngressSource {
    /// As written in a role.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Ipv4(range) | Self::Ipv6(range) => range,
            Self::Group => "group",
        }
    }
}

impl Serialize for Ingress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("protocol", &self.protocol)?;
        match self.protocol {
            Protocol::Tcp | Protocol::Udp if self.from_port == self.to_port => {
                map.serialize_entry("ports", &self.from_port)?;
            }
            Protocol::Tcp | Protocol::Udp => {
                map.serialize_entry("ports", &format!("{}-{}", self.from_port, self.to_port))?;
            }
            Protocol::Icmp | Protocol::Icmpv6 => {
                map.serialize_entry("type", &self.from_port)?;
                map.serialize_entry("code", &self.to_port)?;
            }
            Protocol::All => {}
        }
        map.serialize_entry("from", self.source.as_str())?;
        map.end()
    }
}

/// An account that the agent manages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ManagedAccount {
    /// The Linux account; the role's `cloud_config` or packages make it.
    pub(crate) account: AccountName,
    /// Who may log in.
    pub(crate) keys: Vec<KeySpec>,
    /// How its key file is kept.
    pub(crate) mode: AccountMode,
}

/// What becomes of the disks that come with the instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Ephemeral {
    /// Where they are mounted, joined if there are several.
    pub(crate) mount: String,
    /// The file system made on them.
    pub(crate) file_system: FileSystem,
    /// Folders whose content is moved onto them, such as `/var/lib/docker`.
    pub(crate) directories: Vec<String>,
}
