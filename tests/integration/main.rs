//! Integration tests: the real programs against real parts. One module for each concern.

mod service;
mod systemd_box;
