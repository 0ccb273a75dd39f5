//! Integration tests: the real programs against real parts. One module for each concern.

#![allow(clippy::unwrap_used, reason = "what a test cannot prepare, it fails on")]

mod controller;
mod docs;
mod harness;
mod hostile_write;
mod instance;
mod metrics;
mod push;
mod registries;
mod service;
mod start_page;
mod systemd_box;
