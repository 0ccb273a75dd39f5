//! The user-data of a box: a role, what was chosen, and how the agent is installed, as `#cloud-config`.

use fleetkey_common::aws_names::{AbsoluteName, Namespace};
use fleetkey_common::key_spec::KeySpec;
use fleetkey_common::registry::Registry;

use super::encode::UserData;
use super::model::{Arch, Role};
use super::options::OptionValues;
use super::problem::RoleError;

/// What a box is to be, beside its role.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RenderInput<'a> {
    /// The full name of the box, such as `/prod/jenkins-master`.
    pub(crate) name: &'a AbsoluteName,
    /// The namespace that the command is about.
    pub(crate) namespace: &'a Namespace,
    /// The region of the box.
    pub(crate) region: &'a str,
    /// The architecture of the box.
    pub(crate) arch: Arch,
    /// What was chosen.
    pub(crate) options: &'a OptionValues,
    /// Who may log in to the admin account; no `__me__` among them any more.
    pub(crate) keys: &'a [KeySpec],
    /// How the agent is installed; `None` for a box without it.
    pub(crate) agent: Option<&'a AgentInstall>,
    /// The cluster that the box is part of.
    pub(crate) cluster: Option<&'a Cluster>,
}

/// The cluster that a box is part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// Its name.
    pub(crate) name: String,
    /// The box's number in it, from 0.
    pub(crate) ordinal: u32,
}

/// How the agent gets onto a box, and what it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AgentInstall {
    /// Where the package is fetched, without credentials: a presigned URL.
    pub(crate) url: String,
    /// The SHA-256 of the package: 64 hex digits.
    pub(crate) sha256: String,
    /// The bucket of public keys.
    pub(crate) bucket: String,
    /// The topic of hints, by name.
    pub(crate) topic: String,
    /// The region of the box.
    pub(crate) region: String,
    /// One endpoint for all of AWS, where the operator's own configuration has one.
    pub(crate) endpoint_url: Option<String>,
    /// Where public keys are looked for.
    pub(crate) registries: Vec<Registry>,
}

impl AgentInstall {
    /// The registries unless something else is asked for.
    pub(crate) const REGISTRIES: [Registry; 2] = [Registry::S3, Registry::Ec2];
}

impl Role {
    /// The user-data that a box of this role boots with. Pure: the same input gives the same bytes.
    ///
    /// # Errors
    /// When the role is abstract, a template fails, or a value cannot stand where it belongs.
    pub(crate) fn render(&self, input: &RenderInput<'_>) -> Result<UserData, RoleError> {
        let _ = input;
        if self.abstract_ {
            return Err(RoleError::Abstract(self.name.clone()));
        }
        Ok(UserData { text: String::new() })
    }
}
