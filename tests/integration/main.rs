//! Integration tests: the real programs against real parts. One module for each concern.

mod instance;
mod metrics;
mod push;
