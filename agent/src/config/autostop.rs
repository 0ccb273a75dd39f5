//! What is written of `[autostop]`: bounds, defaults, and that nothing of it counts without `after`.

use std::time::Duration;

use super::fragment::Fragment;
use super::settings::{AutostopAction, AutostopSettings};
use super::validate::Checker;
use super::{defaults, values};

/// Bounds of `after`: below, nobody would have the time to log in to a box that was just started.
const AFTER: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(30 * 24));
/// Bounds of `max_stay`.
const MAX_STAY: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(30 * 24));

/// The settings; `None` where nothing stops the box.
pub(super) fn check(fragment: &Fragment, check: &mut Checker<'_>) -> Option<AutostopSettings> {
    let after = check.time(fragment.autostop_after.as_ref(), AFTER, AFTER.1);
    let action = check.value(fragment.autostop_action.as_ref(), |text| values::word(text, values::AUTOSTOP_ACTIONS));
    let max_load = check.value(fragment.autostop_max_load.as_ref(), values::load);
    let settings = AutostopSettings {
        after,
        action: action.unwrap_or(AutostopAction::Stop),
        max_load: max_load.unwrap_or(defaults::AUTOSTOP_MAX_LOAD),
        max_stay: check.time(fragment.autostop_max_stay.as_ref(), MAX_STAY, defaults::AUTOSTOP_MAX_STAY),
    };
    if fragment.autostop_after.is_some() {
        return Some(settings);
    }
    let unused = [&fragment.autostop_action, &fragment.autostop_max_load, &fragment.autostop_max_stay];
    for unused in unused.into_iter().flatten() {
        let message = "not used: nothing stops the box; write after = \"2h\" in [autostop], or --autostop 2h";
        check.findings.warn(&unused.origin, message);
    }
    None
}
