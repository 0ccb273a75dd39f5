//! Integration tests: the real programs against real parts. One module for each concern.

#![allow(clippy::unwrap_used, reason = "what a test cannot prepare, it fails on")]

mod commands;
mod controller;
mod environment;
mod expiry;
mod foreign_lines;
mod ground;
mod guarded;
mod harness;
mod hindrance;
mod hints;
mod homes;
mod hostile_input;
mod hostile_write;
mod instance;
mod last_good;
mod metrics;
mod modes;
mod private;
mod push;
mod registries;
mod service;
mod source_faults;
mod systemd_box;
