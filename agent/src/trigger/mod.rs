//! Triggers: what makes the agent look before its timer does.
//!
//! A trigger says only "look now". It never carries what to find, and the agent works without any.

mod coalesce;
mod complaints;
mod error;
mod pace;
pub mod power;
pub mod push;
mod queue;
mod topic;

pub use coalesce::Hint;
pub use error::QueueError;
pub use topic::TopicError;
