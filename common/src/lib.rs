//! What the agent and the controller share: names, key specs, public keys, registries, messages and AWS clients.
//!
//! Everything that comes from outside (a name, a key, a message, an object key) is parsed here into a type, once,
//! and is used as that type from then on.

#[cfg(feature = "aws")]
pub mod aws;
pub mod aws_names;
pub mod bucket;
pub mod config_file;
pub mod did_you_mean;
pub mod error_text;
pub mod key_line;
pub mod key_spec;
pub mod message;
pub mod names;
pub mod public_key;
pub mod registry;
pub mod restrictions;
pub mod trusted_file;
