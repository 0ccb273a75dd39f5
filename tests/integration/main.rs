//! Integration tests: the real programs against real parts. One module for each concern.

mod controller;
mod hostile_write;
mod registries;
mod harness;
mod service;
mod systemd_box;
