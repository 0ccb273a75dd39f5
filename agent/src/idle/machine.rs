//! Whether the box is to power off: `(state, what was seen, now) -> (state, what to do)`. Pure.
//!
//! Only time that was watched counts as idle: a look adds no more than [`LONGEST_STEP`], so that neither a suspend, nor an
//! agent that was down for hours, nor any clock makes a box idle. A first look adds nothing: a box that has just booted
//! has its whole time before it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::settings::AutostopSettings;

/// The time between two looks.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How soon is looked once more before the box powers off: somebody may log in at the last moment.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// The longest time that one look adds: more than a restart of the agent takes.
const LONGEST_STEP: Duration = Duration::from_secs(30);
/// How long before the end it is told.
const WARNING: Duration = Duration::from_mins(5);
/// How long powering off may take before it is asked for again.
const ASK_AGAIN: Duration = Duration::from_mins(2);

/// How long the box has been idle, and what was done about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// How long nothing has held the box on.
    pub(super) idle: Duration,
    /// When it was last looked, since boot.
    looked: Option<Duration>,
    stage: Stage,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    /// Something holds the box on.
    #[default]
    Busy,
    /// Nothing does.
    Idle,
    /// The end is near, and was told.
    Warned,
    /// The time is over, and one look more is due.
    Due,
    /// It was asked for, at this time since boot.
    PoweringOff(Duration),
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Tell that nothing holds the box on any more.
    TellIdle,
    /// Tell that something does again, after this time.
    TellBusy(Duration),
    /// Tell that the box powers off in this time.
    Warn(Duration),
    /// Power off.
    PowerOff,
}

impl State {
    /// The state after a look at `now`, since boot; `held`: something holds the box on, or it cannot be told.
    pub(super) fn step(self, held: bool, settings: &AutostopSettings, now: Duration) -> (Self, Option<Effect>) {
        let was = self.stage;
        if held {
            let effect = (was != Stage::Busy).then_some(Effect::TellBusy(self.idle));
            return (Self { looked: Some(now), ..Self::default() }, effect);
        }
        let step = self.looked.map_or(Duration::ZERO, |looked| now.saturating_sub(looked)).min(LONGEST_STEP);
        // The look that finds the box idle does not know since when.
        let idle = if was == Stage::Busy { Duration::ZERO } else { self.idle + step };
        let left = settings.after.saturating_sub(idle);
        let (stage, effect) = match was {
            Stage::Busy => (Stage::Idle, Some(Effect::TellIdle)),
            Stage::Due if left.is_zero() => (Stage::PoweringOff(now), Some(Effect::PowerOff)),
            Stage::PoweringOff(asked) if now.saturating_sub(asked) < ASK_AGAIN => (was, None),
            // An agent that was started anew, or was given other settings, may find the time over at its first look.
            _ if left.is_zero() => (Stage::Due, None),
            Stage::Idle if left <= warning(settings) => (Stage::Warned, Some(Effect::Warn(left))),
            Stage::Warned if left > warning(settings) => (Stage::Idle, None),
            Stage::Due | Stage::PoweringOff(_) => (Stage::Idle, None),
            Stage::Idle | Stage::Warned => (was, None),
        };
        (Self { idle, looked: Some(now), stage }, effect)
    }

    /// When to look next.
    pub(super) fn next_look(&self, settings: &AutostopSettings) -> Duration {
        match self.stage {
            Stage::Due => LOOK_AGAIN,
            Stage::Idle | Stage::Warned => LOOK_EVERY.min(settings.after.saturating_sub(self.idle)).max(LOOK_AGAIN),
            Stage::Busy | Stage::PoweringOff(_) => LOOK_EVERY,
        }
    }

    /// In what time the box powers off if nothing comes between; `None` while something holds it on.
    pub(super) fn left(&self, settings: &AutostopSettings) -> Option<Duration> {
        (self.stage != Stage::Busy).then(|| settings.after.saturating_sub(self.idle))
    }
}

/// How long before the end it is told: half of a time that is short.
fn warning(settings: &AutostopSettings) -> Duration {
    WARNING.min(settings.after / 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::settings::AutostopAction;

    fn settings(minutes: u64) -> AutostopSettings {
        AutostopSettings {
            after: Duration::from_mins(minutes),
            action: AutostopAction::Stop,
            max_load: 0.5,
            max_stay: Duration::from_hours(24),
        }
    }

    /// What is done at looks at these seconds since boot, at which something holds the box on or nothing does.
    fn run(minutes: u64, looks: impl IntoIterator<Item = (u64, bool)>) -> (State, Vec<(u64, Effect)>) {
        let (mut state, mut done) = (State::default(), Vec::new());
        for (second, held) in looks {
            let (next, effect) = state.step(held, &settings(minutes), Duration::from_secs(second));
            state = next;
            done.extend(effect.map(|effect| (second, effect)));
        }
        (state, done)
    }

    fn every_ten(seconds: std::ops::RangeInclusive<u64>) -> impl Iterator<Item = (u64, bool)> {
        seconds.step_by(10).map(|second| (second, false))
    }

    #[test]
    fn an_idle_box_is_told_of_then_warned_of_then_looked_at_once_more_and_then_powered_off() {
        let (state, done) = run(20, every_ten(100..=1300));
        assert_eq!(done, [(100, Effect::TellIdle), (1000, Effect::Warn(Duration::from_mins(5)))]);
        assert_eq!(state.next_look(&settings(20)), LOOK_AGAIN);
        let (state, effect) = state.step(false, &settings(20), Duration::from_secs(1302));
        assert_eq!(effect, Some(Effect::PowerOff));
        assert_eq!(state.left(&settings(20)), Some(Duration::ZERO));
    }

    #[test]
    fn somebody_who_comes_at_the_last_moment_keeps_the_box_on_for_the_whole_time() {
        let (state, _) = run(20, every_ten(100..=1300));
        let (state, effect) = state.step(true, &settings(20), Duration::from_secs(1302));
        assert_eq!(effect, Some(Effect::TellBusy(Duration::from_mins(20))));
        assert_eq!((state.idle, state.left(&settings(20))), (Duration::ZERO, None));
    }

    #[test]
    fn a_box_that_has_just_booted_has_its_whole_time() {
        let (state, done) = run(5, [(86_400, false)]);
        assert_eq!(done, [(86_400, Effect::TellIdle)]);
        assert_eq!(state.left(&settings(5)), Some(Duration::from_mins(5)));
    }

    #[test]
    fn r14_time_that_nobody_watched_makes_no_box_idle() {
        // A suspend of a day, and an agent that was down for one.
        let (state, done) = run(60, [(100, false), (110, false), (86_510, false)]);
        assert_eq!(done, [(100, Effect::TellIdle)]);
        assert_eq!(state.idle, Duration::from_secs(10) + LONGEST_STEP);
        // A clock that goes back adds nothing.
        let (state, _) = run(60, [(100, false), (50, false), (60, false)]);
        assert_eq!(state.idle, Duration::from_secs(10));
    }

    #[test]
    fn a_restart_of_the_agent_loses_no_idle_time_and_does_not_power_off_at_its_first_look() {
        let (state, _) = run(20, every_ten(100..=1290));
        let saved = serde_json::to_string(&state).unwrap();
        let restored: State = serde_json::from_str(&saved).unwrap();
        let (state, effect) = restored.step(false, &settings(20), Duration::from_secs(1305));
        assert_eq!((state.idle, effect), (Duration::from_secs(1205), None));
        assert_eq!(state.step(false, &settings(20), Duration::from_secs(1307)).1, Some(Effect::PowerOff));
    }

    #[test]
    fn a_time_that_is_set_shorter_or_longer_counts_at_the_next_look() {
        let (state, _) = run(60, every_ten(100..=1300));
        let (due, effect) = state.clone().step(false, &settings(5), Duration::from_secs(1310));
        assert_eq!((due.stage, effect), (Stage::Due, None));
        let (longer, effect) = due.step(false, &settings(60), Duration::from_secs(1312));
        assert_eq!((longer.stage, effect), (Stage::Idle, None));
    }

    #[test]
    fn powering_off_that_comes_to_nothing_is_asked_for_again_after_another_look() {
        let (state, done) = run(5, every_ten(0..=600));
        let asked: Vec<u64> = done.iter().filter(|(_, what)| *what == Effect::PowerOff).map(|(at, _)| *at).collect();
        assert_eq!(asked, [310, 440, 570]);
        assert_eq!(state.next_look(&settings(5)), LOOK_EVERY);
    }

    proptest! {
        /// Whatever happens: it is powered off only when two looks in a row, the last two, found nothing, and the looks
        /// since something was last found make up the whole time.
        #[test]
        fn a_box_is_only_powered_off_when_it_was_watched_idle_for_the_whole_time(
            looks in prop::collection::vec((0_u64..90, prop::bool::weighted(0.02)), 1..400),
        ) {
            let settings = settings(5);
            let (mut state, mut now, mut watched, mut quiet) = (State::default(), 0, Duration::ZERO, 0);
            for (gap, held) in looks {
                now += gap;
                let (next, effect) = state.step(held, &settings, Duration::from_secs(now));
                state = next;
                (watched, quiet) = match (held, quiet) {
                    (true, _) => (Duration::ZERO, 0),
                    (false, 0) => (Duration::ZERO, 1),
                    (false, _) => (watched + Duration::from_secs(gap).min(LONGEST_STEP), quiet + 1),
                };
                if effect == Some(Effect::PowerOff) {
                    prop_assert!(quiet > 2 && watched >= settings.after, "{quiet} {watched:?}");
                }
            }
        }
    }
}
