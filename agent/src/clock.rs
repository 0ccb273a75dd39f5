//! Time, for an agent that lives through reboots, suspends and jumps of the clock.

use std::time::Duration;

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Where the kernel keeps the id of the current boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A moment that can be told apart from another however the wall clock was set in between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The wall clock.
    pub wall: Timestamp,
    /// The boot in which it was; empty where the kernel does not tell.
    pub boot_id: String,
    /// Time since that boot, sleep included.
    pub since_boot: Duration,
}

/// Time since boot, sleep included: never set, never going back.
pub fn since_boot() -> Duration {
    // The clock has been in every kernel since 2.6.39; were it missing, zero makes every age zero.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        let boot_id = std::fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned();
        Self { wall: Timestamp::now(), boot_id, since_boot: since_boot() }
    }

    /// How long before `now` this was. Within one boot the wall clock does not count; across boots it must, and a clock
    /// that was set back makes an age of zero.
    pub fn age(&self, now: &Moment) -> Duration {
        if !self.boot_id.is_empty() && self.boot_id == now.boot_id {
            return now.since_boot.saturating_sub(self.since_boot);
        }
        now.wall.duration_since(self.wall).try_into().unwrap_or(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(wall: &str, boot_id: &str, seconds: u64) -> Moment {
        Moment { wall: wall.parse().unwrap(), boot_id: boot_id.to_owned(), since_boot: Duration::from_secs(seconds) }
    }

    #[test]
    fn r14_a_jump_of_the_wall_clock_makes_nothing_older_or_younger_within_a_boot() {
        let before = moment("2026-01-01T00:00:00Z", "a", 100);
        assert_eq!(before.age(&moment("2036-01-01T00:00:00Z", "a", 160)), Duration::from_secs(60));
        assert_eq!(before.age(&moment("1999-01-01T00:00:00Z", "a", 160)), Duration::from_secs(60));
    }

    #[test]
    fn across_a_reboot_the_wall_clock_counts_and_a_clock_set_back_makes_no_age() {
        let before = moment("2026-01-01T00:00:00Z", "a", 100);
        assert_eq!(before.age(&moment("2026-01-01T01:00:00Z", "b", 5)), Duration::from_secs(3600));
        assert_eq!(before.age(&moment("2025-01-01T01:00:00Z", "b", 5)), Duration::ZERO);
        let nameless = moment("2026-01-01T00:00:00Z", "", 100);
        assert_eq!(nameless.age(&moment("2026-01-01T01:00:00Z", "", 5)), Duration::from_secs(3600));
    }

    #[test]
    fn this_boot_has_an_id_and_time_goes_on() {
        let (first, second) = (Moment::now(), Moment::now());
        assert!(!first.boot_id.is_empty() && first.boot_id == second.boot_id);
        assert!(second.since_boot >= first.since_boot);
    }
}
