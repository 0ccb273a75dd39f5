//! Boxes reached by ssh: whose host keys are known before the first connection, and how the waits after a launch go.
//!
//! | module | holds |
//! | --- | --- |
//! | `console` | host keys, searched for in what a box prints |
//! | `host_keys` | how a box's host keys are learned |
//! | `known_hosts` | where they are kept |
//! | `command` | the command lines of ssh |
//! | `words` | which of a user's words are options of ssh, and how rsync quotes |
//! | `ready` | waiting for sshd, for a login, for cloud-init |
//! | `cloud_init` | what cloud-init says of itself |
//!
//! The system's own ssh does the rest. Nothing is ever trusted on first use.

mod cloud_init;
mod command;
mod console;
pub(crate) mod host_keys;
pub(crate) mod known_hosts;
pub(crate) mod ready;
pub(crate) mod words;

pub(crate) use command::{AddressKind, PROGRAM, Ssh, not_installed};
