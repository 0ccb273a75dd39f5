//! In which order the zones are tried for one instance type, by what its price did there. Pure.
//!
//! 1. Zones whose price now is not above the bid come before the others: a request in one of those would not be filled.
//!    Without a bid there are no others.
//! 2. Among them, the zone comes first whose price was the most stable over the last week: that with the least variance,
//!    in which each price counts for as long as it held. Where the price jumps, EC2 takes instances back.
//! 3. Of two as stable, the cheaper one comes first; of two as cheap, the first by name.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::price::Price;

/// Over how long the stability of a price counts.
pub(super) const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A price from a moment on.
pub(super) type Point = (Timestamp, Price);

/// The zones in the order in which they are tried. `histories` has the prices of each zone, in any order; a zone without
/// any is left out, since the type is not sold there.
pub(super) fn order(histories: &BTreeMap<String, Vec<Point>>, bid: Option<Price>, now: Timestamp) -> Vec<String> {
    let ranked = histories.iter().filter_map(|(zone, points)| {
        let price = current(points)?;
        Some((bid.is_some_and(|bid| price > bid), variance(points, now), price, zone))
    });
    let mut ranked: Vec<_> = ranked.collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(.., zone)| zone.clone()).collect()
}

/// The price that holds now: the last that is told.
pub(super) fn current(points: &[Point]) -> Option<Price> {
    points.iter().max().map(|(_, price)| *price)
}

/// The variance of a price over the week before `now`, in square millionths of a dollar, each price weighted by the
/// seconds for which it held.
fn variance(points: &[Point], now: Timestamp) -> u128 {
    let mut points = points.to_vec();
    points.sort_unstable();
    let begin = now.checked_sub(WEEK).unwrap_or(Timestamp::MIN).as_second();
    let second = |at: Timestamp| at.as_second().clamp(begin, now.as_second());
    let ends = points.iter().skip(1).map(|(at, _)| second(*at)).chain([now.as_second()]);
    let held = points.iter().zip(ends).map(|((at, price), end)| {
        let seconds = end.saturating_sub(second(*at)).unsigned_abs();
        (u128::from(seconds), u128::from(price.millionths()))
    });
    let held: Vec<_> = held.collect();
    let whole: u128 = held.iter().map(|(seconds, _)| seconds).sum();
    if whole == 0 {
        return 0;
    }
    let sum = |parts: &mut dyn Iterator<Item = u128>| parts.fold(0, u128::saturating_add);
    let mean = sum(&mut held.iter().map(|(seconds, price)| seconds.saturating_mul(*price))) / whole;
    let squares = held.iter().map(|(seconds, price)| {
        let off = price.abs_diff(mean);
        off.saturating_mul(off).saturating_mul(*seconds)
    });
    sum(&mut squares.into_iter()) / whole
}

#[cfg(test)]
#[path = "zones_tests.rs"]
mod tests;
