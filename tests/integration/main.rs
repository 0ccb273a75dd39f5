//! Integration tests: the real programs against real parts. One module for each concern.

#![allow(clippy::unwrap_used, reason = "what a test cannot prepare, it fails on")]

mod controller;
mod commands;
mod environment;
mod expiry;
mod foreign_lines;
mod ground;
mod guarded;
mod harness;
mod hints;
mod homes;
mod hostile_input;
mod hostile_write;
mod instance;
mod metrics;
mod push;
mod registries;
mod service;
mod last_good;
mod metrics;
mod modes;
mod private;
mod push;
mod registries;
mod service;
mod source_faults;
mod systemd_box;
