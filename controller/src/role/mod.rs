//! Roles: the blueprints of boxes, from YAML files to the user-data that a box boots with.
//!
//! `yaml` reads a file to a tree that knows where each value stands, `merge` joins a role with what it extends, `read`
//! makes a [`Role`] of the outcome, `options` and `template` put in what the operator says, `render` writes the
//! user-data. Nothing here asks AWS, and nothing but [`Library`] reads files.

mod agent_config;
mod autostop;
mod cloud_config;
mod encode;
mod fields;
mod ingress;
mod library;
mod merge;
mod model;
mod node;
mod options;
mod policies;
mod problem;
mod read;
mod render;
mod template;
mod volume;
mod volumes;
mod words;
mod yaml;

pub(crate) use autostop::{Asked, Autostop, Span};
pub(crate) use library::Library;
#[cfg(test)]
pub(crate) use model::RootVolume;
pub(crate) use model::{BaseImage, Ingress, IngressSource, Role, RoleName};
pub(crate) use node::{Key, Node, Place, Value};
pub(crate) use options::{OptionSpec, OptionValue, OptionValues};
pub(crate) use policies::agent_policies;
pub(crate) use problem::RoleError;
pub(crate) use render::{AgentInstall, RenderInput};
pub(crate) use volume::Volume;
pub(crate) use volumes::VolumeFlag;
pub(crate) use words::{Arch, AutostopAction, PackageFormat, Protocol};
