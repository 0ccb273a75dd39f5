//! A box that nobody uses powers itself off: a stage beside the line of the keys, which it never touches.
//!
//! ```text
//! look ------> step --------> power off, tell
//! who is here  how long idle  systemctl, the log, the status, the notice at login
//! ```
//!
//! | file | holds |
//! | --- | --- |
//! | `processes`, `logind`, `hold` | who is here: sessions, work, holds by `stay` |
//! | `observe` | one look, and what of it holds the box on |
//! | `machine` | how long that is so, and what follows; pure |
//! | `keeper` | the task that looks, and does what follows |
//! | `notice` | what people are told when they log in |
//!
//! Powering off is asked of systemd, by root and by nothing else. What EC2 does with a box that is off was said at its
//! launch, so that the box needs no permission in AWS and can do nothing to any other.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::settings::AutostopAction;

pub mod hold;
mod keeper;
mod logind;
mod machine;
pub mod notice;
pub mod observe;
mod processes;

pub use keeper::Keeper;

/// How many people are named where everybody reads it: what each can make longer must not push out what matters.
const NAMED: usize = 10;

/// Names for one line, no more than [`NAMED`] of them.
fn in_words(names: &[&str]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let told = names[..names.len() - more].join(", ");
    if more == 0 { told } else { format!("{told} and {more} more") }
}

/// How it stands with powering off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutostopStatus {
    /// After how long, such as `2h`.
    pub after: String,
    /// What EC2 does then.
    pub action: AutostopAction,
    /// What holds the box on.
    pub held_by: Vec<String>,
    /// Since when nothing does.
    pub idle_since: Option<Timestamp>,
    /// When it powers off if nothing comes between.
    pub stops_at: Option<Timestamp>,
    /// Why it could not be powered off.
    pub fault: Option<String>,
}

impl AutostopStatus {
    /// In words, for one line.
    pub fn sentence(&self) -> String {
        let minute = |at: Timestamp| at.strftime("%H:%M UTC").to_string();
        match (&self.fault, self.idle_since.zip(self.stops_at)) {
            (Some(fault), _) => format!("cannot be powered off: {fault}"),
            (None, Some((since, at))) => format!("idle since {}, powers off at {}", minute(since), minute(at)),
            (None, None) => format!("held on ({})", self.held_by.join("; ")),
        }
    }
}
