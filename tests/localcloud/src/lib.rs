//! A small EC2 on one Linux machine, for tests, the demo and trying things out.
//!
//! The AWS API is the moto server's, which knows nothing of machines; behind it, each instance is a Debian booted by
//! systemd-nspawn. All of it lives in namespaces of its own: nothing is added to the machine's network, and several
//! clouds can run side by side. It ends with the process that started it, in whatever way that ends.
//!
//! | process | namespaces | does |
//! | --- | --- | --- |
//! | the owner, with a [`LocalCloud`] | the machine's | what it likes |
//! | [`keeper`] | the machine's | waits for the owner's end, then removes everything |
//! | [`inside`] | its own: network, mounts, processes | moto, the front before it, metadata, boxes |

mod cloud;
mod cloud_box;
pub mod demo;
mod groups;
mod hello;
pub mod inside;
pub mod keeper;
mod requirements;
pub mod run;

pub use cloud::{LocalCloud, Options};
pub use cloud_box::CloudBox;
