//! The Fleetkey agent: keeps `authorized_keys` on one instance in step with IAM.
//!
//! The data flow is one straight line, a module a stage: trigger, fetch ([`source`]), [`resolve`], [`guard`], [`render`],
//! [`write`], [`report`]. Only fetch and write touch the world; [`engine`] joins the stages, [`app`] runs them.

pub mod app;
pub mod blocking;
pub mod break_glass;
pub mod cli;
pub mod clock;
pub mod config;
pub mod drift;
pub mod engine;
pub mod guard;
pub mod instance;
pub mod key_set;
pub mod lock;
pub mod metrics;
pub mod render;
pub mod report;
pub mod resolve;
pub mod schedule;
pub mod source;
pub mod state;
pub mod store;
pub mod supervisor;
pub mod trigger;
pub mod trusted_file;
pub mod write;
