//! Complaints about bad input, each kind at most once a minute: somebody may send it by the thousand.
//!
//! Decides only whether to speak; it keeps nothing of what it was told about.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Time between two complaints of one kind.
const INTERVAL: Duration = Duration::from_mins(1);

/// When each kind was last spoken of. Holds one entry for each kind, so kinds are few: variants of an enum.
#[derive(Debug)]
pub(super) struct Complaints<K> {
    last: HashMap<K, (Instant, u64)>,
}

impl<K> Default for Complaints<K> {
    fn default() -> Self {
        Self { last: HashMap::new() }
    }
}

impl<K: Eq + Hash> Complaints<K> {
    /// Whether to speak of this kind now; if so, how many were held back since it was last spoken of.
    pub(super) fn admit(&mut self, kind: K, now: Instant) -> Option<u64> {
        let Some((spoken, held_back)) = self.last.get_mut(&kind) else {
            self.last.insert(kind, (now, 0));
            return Some(0);
        };
        if now.duration_since(*spoken) < INTERVAL {
            *held_back += 1;
            return None;
        }
        *spoken = now;
        Some(std::mem::take(held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_spoken_of_once_a_minute_and_says_how_many_were_held_back() {
        let start = Instant::now();
        let mut complaints = Complaints::default();
        assert_eq!(complaints.admit("version", start), Some(0));
        for second in 0..50 {
            assert_eq!(complaints.admit("version", start + Duration::from_secs(second)), None);
        }
        assert_eq!(complaints.admit("base64", start + Duration::from_secs(50)), Some(0));
        assert_eq!(complaints.admit("version", start + INTERVAL), Some(50));
        assert_eq!(complaints.admit("version", start + 2 * INTERVAL), Some(0));
    }
}
