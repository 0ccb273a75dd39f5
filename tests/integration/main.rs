//! Integration tests: the real programs against real parts. One module for each concern.

#![allow(clippy::unwrap_used, reason = "what a test cannot prepare, it fails on")]

mod aws_calls;
mod aws_faults;
mod endurance;
mod fixture;
mod harness;
mod hostile_write;
mod instance;
mod least_privilege;
mod metadata;
mod metrics;
mod push;
mod registries;
mod service;
mod systemd_box;
mod tls;
