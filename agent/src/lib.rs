//! The Fleetkey agent: keeps `authorized_keys` on one instance in step with IAM.
//!
//! The data flow is one straight line, a module a stage: trigger, fetch ([`source`]), [`resolve`], [`guard`], [`render`],
//! [`mod@write`], [`report`]. Only fetch and write touch the world; [`engine`] joins the stages, [`app`] runs them.

#![cfg_attr(test, allow(clippy::disallowed_methods))]

#[cfg(feature = "aws")]
pub mod app;
pub mod blocking;
pub mod break_glass;
#[cfg(feature = "aws")]
pub mod cli;
pub mod clock;
pub mod config;
pub mod drift;
pub mod engine;
pub mod guard;
pub mod idle;
pub mod instance;
pub mod key_set;
pub mod lock;
#[cfg(feature = "aws")]
pub mod metrics;
pub mod render;
pub mod report;
pub mod resolve;
pub mod schedule;
pub mod source;
pub mod state;
pub mod store;
pub mod supervisor;
#[cfg(feature = "aws")]
pub mod trigger;
pub mod write;
