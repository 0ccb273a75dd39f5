//! Fleetkey as a whole, on boxes freshly booted: the real `fleetkey` run as an operator runs it, the agent's real
//! package installed by cloud-init, real logins.
//!
//! The tests share one cloud, each in a namespace of its own with people of its own.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod access;
mod cleanup;
mod create;
mod faults;
mod host_keys;
mod hostile;
mod idle;
mod images;
mod interrupted;
mod operator;
mod packages;
mod reaching;
mod volumes;
mod world;
