//! Boxes from the spot market: EC2's spare room, for less, until EC2 takes it back.
//!
//! EC2 has two calls for it, and which is taken follows from what is asked for ([`Wish::stays_open`]):
//!
//! - RunInstances, with market options, is the rule: it is answered at once, with the instance or with the reason why
//!   there is none, it tags instance and volumes from the first moment, and sets up the metadata service before the box
//!   boots. AWS recommends it, and calls the other one legacy.
//! - RequestSpotInstances, where a request is to stay open for a time (`--spot-timeout`) or is part of a launch group
//!   (`--spot-launch-group`): RunInstances has no words for either (its `ValidUntil` is for persistent requests alone).
//!   The instance comes later and bare, so that it is adopted: tagged, and its metadata service set up.
//!
//! | module | holds |
//! | --- | --- |
//! | `zones` | the order of zones by their prices; pure |
//! | `market` | what the market says, and what that makes of a plan |
//! | `verdict` | what EC2 says of a request; pure |
//! | `gather` | asks, waits, adopts what comes, and leaves no request open |
//! | `adopt` | makes a bare instance a box |
//! | `withdraw` | cancels what is open, and finds what came in that moment |

mod adopt;
mod gather;
pub(crate) mod market;
mod verdict;
pub(super) mod withdraw;
mod zones;

use std::time::Duration;

use crate::price::Price;

pub(super) use gather::{Gathered, Patience, gather, take_up};
pub(super) use verdict::{Unfilled, may_be_elsewhere};

/// What is asked for of the spot market.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The most that is paid for an hour; `None` is the on-demand price, EC2's own default.
    pub(crate) bid: Option<Price>,
    /// Whether the zones are tried in the order of their prices.
    pub(crate) auto_zone: bool,
    /// How long a request may stay open.
    pub(crate) timeout: Option<Duration>,
    /// How long all waits together may take, and so a request of a launch group that has no time of its own.
    pub(crate) longest: Duration,
    /// The launch group, as it is called in AWS.
    pub(crate) launch_group: Option<String>,
    /// Whether it is well when there is no box in the end.
    pub(crate) tentative: bool,
}

impl Wish {
    /// Whether it takes a request that stays open.
    pub(crate) fn stays_open(&self) -> bool {
        self.stays_open_for().is_some()
    }

    /// For how long such a request stays open at most.
    pub(crate) fn stays_open_for(&self) -> Option<Duration> {
        self.timeout.or_else(|| self.launch_group.is_some().then_some(self.longest))
    }
}
