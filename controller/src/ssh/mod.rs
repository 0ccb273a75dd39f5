//! Boxes reached by ssh: whose host keys are known before the first connection, and how the waits after a launch go.
//!
//! | module | holds |
//! | --- | --- |
//! | `console` | host keys, searched for in what a box prints |
//! | `host_keys` | how a box's host keys are learned |
//! | `known_hosts` | where they are kept |
//! | `route` | by which way a box is connected to |
//! | `command` | the command lines of ssh |
//! | `hosts` | boxes as a configuration of ssh, and their names |
//! | `include` | Fleetkey's part of the operator's own configuration of ssh |
//! | `words` | which of a user's words are options of ssh, and how rsync quotes |
//! | `ready` | waiting for sshd, for a login, for cloud-init |
//! | `cloud_init` | what cloud-init says of itself |
//!
//! The system's own ssh does the rest. Nothing is ever trusted on first use.

mod cloud_init;
mod command;
mod console;
pub(crate) mod host_keys;
pub(crate) mod hosts;
pub(crate) mod include;
pub(crate) mod known_hosts;
pub(crate) mod ready;
pub(crate) mod route;
pub(crate) mod words;

pub(crate) use command::{PROGRAM, Ssh, address, check_known_hosts, not_installed, trust};
pub(crate) use route::{AddressKind, Route};
