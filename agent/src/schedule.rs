//! When the agent looks at its source, and when it tries again: `(schedule, event, now) -> schedule`, no clock of its own.
//!
//! Many triggers at once cost one look: one starts at once, and all that come while it is under way make one more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleetkey_common::names::AccountName;

/// The least time between the starts of two looks, however hard the agent is pushed.
const LEAST_GAP: Duration = Duration::from_millis(200);

/// The first wait after a look that failed in part; it doubles up to the poll interval.
const RETRY_FETCH: Duration = Duration::from_secs(5);

/// The first wait after a write that failed; it doubles up to [`RETRY_WRITE_MAX`]. Each account waits for itself.
const RETRY_WRITE: Duration = Duration::from_secs(1);

/// The longest wait between two tries of a write: whoever stops standing in the way is not to wait for long, and a try
/// that fails for good is to cost a box nothing that anybody would notice.
const RETRY_WRITE_MAX: Duration = Duration::from_secs(15);

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// A look at the source.
    Fetch,
    /// Another pass over all key files: a key expires.
    Write,
    /// Another try of the accounts in [`Schedule::due_retries`].
    Retry,
}

/// An account whose file could not be written.
#[derive(Debug, Clone, Copy)]
struct Retry {
    /// Tries in a row that failed.
    failures: u32,
    /// When to try again.
    at: Duration,
}

/// What is to happen next. All times are of the agent's monotonic clock.
#[derive(Debug, Clone)]
pub struct Schedule {
    poll_interval: Duration,
    /// Whether a look is under way.
    fetching: bool,
    /// Whether something asked for a look since the last one started.
    asked: bool,
    /// When the last look started.
    started: Option<Duration>,
    /// When to look next, asked or not.
    poll_at: Duration,
    /// Looks in a row that failed in part.
    failed_fetches: u32,
    retries: BTreeMap<AccountName, Retry>,
    expiry_at: Option<Duration>,
}

/// What came of a look.
#[derive(Debug, Clone, Copy, Default)]
pub struct FetchOutcome {
    /// Whether any part of it failed.
    pub failed: bool,
    /// When a held cut can be confirmed.
    pub confirm_at: Option<Duration>,
}

impl Schedule {
    /// A schedule that asks for a look at once.
    pub fn new(poll_interval: Duration, now: Duration) -> Self {
        Self {
            poll_interval,
            fetching: false,
            asked: true,
            started: None,
            poll_at: now,
            failed_fetches: 0,
            retries: BTreeMap::new(),
            expiry_at: None,
        }
    }

    /// Something outside asked for a look.
    pub fn ask(&mut self) {
        self.asked = true;
    }

    /// A look starts.
    pub fn fetch_started(&mut self, now: Duration) {
        self.fetching = true;
        self.asked = false;
        self.started = Some(now);
    }

    /// A look is done. `jitter` is between -1.0 and 1.0: the wait differs by up to a tenth, so that a fleet that was
    /// started at once does not ask at once.
    pub fn fetch_done(&mut self, outcome: FetchOutcome, jitter: f64, now: Duration) {
        self.fetching = false;
        let wait = if outcome.failed {
            let wait = RETRY_FETCH.saturating_mul(1 << self.failed_fetches.min(16));
            self.failed_fetches += 1;
            wait.min(self.poll_interval)
        } else {
            self.failed_fetches = 0;
            self.poll_interval
        };
        self.poll_at = now + wait.mul_f64(1.0 + jitter / 10.0);
        if let Some(confirm_at) = outcome.confirm_at {
            self.poll_at = self.poll_at.min(confirm_at);
        }
    }

    /// The next key expires so soon: by the wall clock, which can be set, so that this is to be said again now and then.
    pub fn expires_in(&mut self, wait: Option<Duration>, now: Duration) {
        self.expiry_at = wait.map(|wait| now + wait);
    }

    /// A pass over the files of the accounts `tried` is done; those in `failed` could not be written. A try that came
    /// before its time, for another's sake, leaves its account waiting as it was.
    pub fn written(&mut self, tried: &BTreeSet<AccountName>, failed: &BTreeSet<AccountName>, now: Duration) {
        self.retries.retain(|account, _| failed.contains(account) || !tried.contains(account));
        for account in failed {
            let retry = self.retries.entry(account.clone()).or_insert(Retry { failures: 0, at: now });
            if retry.at <= now {
                let wait = RETRY_WRITE.saturating_mul(1 << retry.failures.min(16)).min(RETRY_WRITE_MAX);
                *retry = Retry { failures: retry.failures + 1, at: now + wait };
            }
        }
    }

    /// The accounts whose files are to be tried again at `now`, or else at the next time: timers and clocks differ by a
    /// little.
    pub fn due_retries(&self, now: Duration) -> BTreeSet<AccountName> {
        let next = self.retries.values().map(|retry| retry.at).min().unwrap_or_default();
        let due = self.retries.iter().filter(|(_, retry)| retry.at <= now.max(next));
        due.map(|(account, _)| account.clone()).collect()
    }

    /// What is due next, and when; a time that is past means now.
    pub fn next(&self) -> (Duration, Due) {
        let retry = self.retries.values().map(|retry| retry.at).min().unwrap_or(Duration::MAX);
        let expiry = self.expiry_at.unwrap_or(Duration::MAX);
        // A pass over all files tries the failed ones again, too.
        let write = if expiry <= retry { (expiry, Due::Write) } else { (retry, Due::Retry) };
        let fetch = match (self.fetching, self.asked) {
            (true, _) => Duration::MAX,
            (false, true) => self.started.map_or(Duration::ZERO, |started| started + LEAST_GAP).min(self.poll_at),
            (false, false) => self.poll_at,
        };
        if write.0 <= fetch { write } else { (fetch, Due::Fetch) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn done(schedule: &mut Schedule, failed: bool, now: Duration) {
        schedule.fetch_done(FetchOutcome { failed, confirm_at: None }, 0.0, now);
    }

    #[test]
    fn the_first_look_is_due_at_once_and_the_next_after_the_poll_interval() {
        let mut schedule = Schedule::new(MINUTE, at(500));
        assert_eq!(schedule.next(), (Duration::ZERO, Due::Fetch));
        schedule.fetch_started(at(500));
        assert_eq!(schedule.next().0, Duration::MAX);
        done(&mut schedule, false, at(700));
        assert_eq!(schedule.next(), (at(60_700), Due::Fetch));
    }

    #[test]
    fn r12_ten_thousand_triggers_during_a_look_cost_one_more() {
        let mut schedule = Schedule::new(MINUTE, at(0));
        schedule.fetch_started(at(0));
        (0..10_000).for_each(|_| schedule.ask());
        done(&mut schedule, false, at(50));
        assert_eq!(schedule.next(), (LEAST_GAP, Due::Fetch));
        schedule.fetch_started(at(200));
        done(&mut schedule, false, at(250));
        assert_eq!(schedule.next(), (at(60_250), Due::Fetch));
    }

    #[test]
    fn a_trigger_after_a_quiet_time_is_served_at_once() {
        let mut schedule = Schedule::new(MINUTE, at(0));
        schedule.fetch_started(at(0));
        done(&mut schedule, false, at(50));
        schedule.ask();
        assert!(schedule.next().0 < at(10_000));
    }

    #[test]
    fn a_failed_look_is_tried_again_sooner_and_more_slowly_each_time_up_to_the_poll_interval() {
        let mut schedule = Schedule::new(MINUTE, at(0));
        let waits: Vec<u64> = (0..6)
            .map(|_| {
                schedule.fetch_started(at(0));
                done(&mut schedule, true, at(0));
                schedule.next().0.as_secs()
            })
            .collect();
        assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
    }

    /// A schedule that has looked at once and has nothing to do until a minute has passed.
    fn at_rest() -> Schedule {
        let mut schedule = Schedule::new(MINUTE, at(0));
        schedule.fetch_started(at(0));
        done(&mut schedule, false, at(0));
        schedule
    }

    fn accounts(names: &[&str]) -> BTreeSet<AccountName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn r9_a_failed_write_is_tried_again_without_a_new_event() {
        let mut schedule = at_rest();
        let ubuntu = accounts(&["ubuntu"]);
        schedule.written(&ubuntu, &ubuntu, at(0));
        assert_eq!(schedule.next(), (at(1000), Due::Retry));
        assert_eq!(schedule.due_retries(at(1000)), ubuntu);
        schedule.written(&ubuntu, &ubuntu, at(1000));
        assert_eq!(schedule.next(), (at(3000), Due::Retry));
        schedule.written(&ubuntu, &accounts(&[]), at(3000));
        assert_eq!(schedule.next().1, Due::Fetch);
    }

    #[test]
    fn however_long_an_account_failed_it_is_tried_again_soon() {
        let mut schedule = at_rest();
        let ubuntu = accounts(&["ubuntu"]);
        let mut waits = Vec::new();
        let mut now = at(0);
        for _ in 0..40 {
            schedule.written(&ubuntu, &ubuntu, now);
            let next = schedule.retries.values().next().unwrap().at;
            waits.push(next.saturating_sub(now).as_secs());
            now = next;
        }
        assert_eq!(waits[..6], [1, 2, 4, 8, 15, 15]);
        assert_eq!(waits.iter().max(), Some(&15));
    }

    #[test]
    fn an_account_that_fails_anew_does_not_wait_for_one_that_failed_long() {
        let mut schedule = at_rest();
        let (both, old, new) = (accounts(&["old", "new"]), accounts(&["old"]), accounts(&["new"]));
        for second in [0, 1, 3, 7] {
            schedule.written(&old, &old, at(second * 1000));
        }
        // A pass over all files in between: the old one was not due, and is tried when it was to be.
        schedule.written(&both, &both, at(8000));
        assert_eq!(schedule.next(), (at(9000), Due::Retry));
        assert_eq!(schedule.due_retries(at(9000)), new);
        schedule.written(&new, &accounts(&[]), at(9000));
        assert_eq!(schedule.next(), (at(15_000), Due::Retry));
        assert_eq!(schedule.due_retries(at(15_000)), old);
    }

    #[test]
    fn of_an_expiry_and_a_retry_at_once_the_one_that_is_over_all_files_is_due() {
        let mut schedule = at_rest();
        let ubuntu = accounts(&["ubuntu"]);
        schedule.written(&ubuntu, &ubuntu, at(0));
        schedule.expires_in(Some(at(1000)), at(0));
        assert_eq!(schedule.next(), (at(1000), Due::Write));
    }

    #[test]
    fn an_expiry_is_served_when_it_comes() {
        let mut schedule = at_rest();
        schedule.expires_in(Some(at(7000)), at(1000));
        assert_eq!(schedule.next(), (at(8000), Due::Write));
    }

    #[test]
    fn a_held_cut_is_looked_at_again_when_it_can_be_confirmed() {
        let mut schedule = Schedule::new(MINUTE, at(0));
        schedule.fetch_started(at(0));
        schedule.fetch_done(FetchOutcome { failed: false, confirm_at: Some(at(10_000)) }, 1.0, at(0));
        assert_eq!(schedule.next(), (at(10_000), Due::Fetch));
    }

    #[test]
    fn the_wait_is_jittered_by_a_tenth() {
        for (jitter, seconds) in [(-1.0, 54), (1.0, 66)] {
            let mut schedule = Schedule::new(MINUTE, at(0));
            schedule.fetch_started(at(0));
            schedule.fetch_done(FetchOutcome::default(), jitter, at(0));
            assert_eq!(schedule.next().0.as_secs(), seconds);
        }
    }
}
