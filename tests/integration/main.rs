//! Integration tests: the real programs against real parts. One module for each concern.

#![allow(clippy::unwrap_used, reason = "what a test cannot prepare, it fails on")]

mod added_source;
mod aws_calls;
mod aws_faults;
mod commands;
mod controller;
mod docs;
mod endurance;
mod environment;
mod expiry;
mod fixture;
mod foreign_lines;
mod ground;
mod guarded;
mod harness;
mod hindrance;
mod hints;
mod homes;
mod hostile_input;
mod hostile_write;
mod idle;
mod instance;
mod last_good;
mod least_privilege;
mod metadata;
mod metrics;
mod modes;
mod packages;
mod private;
mod push;
mod registries;
mod service;
mod source_faults;
mod systemd_box;
mod tls;
