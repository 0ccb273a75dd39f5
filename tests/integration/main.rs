//! Integration tests: the real programs against real parts. One module for each concern.

mod harness;
mod hostile_write;
mod registries;
mod service;
mod systemd_box;
mod instance;
mod metrics;
mod push;
