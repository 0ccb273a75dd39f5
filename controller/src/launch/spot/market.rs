//! What the market says of a plan: the order of the places, the prices that are shown, and a bid that makes no sense.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::super::World;
use super::super::attempts::{self, Attempt};
use super::Wish;
use super::zones::{self, Point, WEEK};
use crate::aws::spot::{self, Priced};
use crate::price::Price;
use crate::refusal::Refusal;

/// How deep a discount on the on-demand price can be at most: 90 %, as AWS says. So the on-demand price is no more than
/// so many times the price of the market, and a bid above that is above the on-demand price, which EC2 does not tell.
/// <https://aws.amazon.com/ec2/spot/>
const DEEPEST: u64 = 10;

/// The prices of today: instance type, zone, price.
pub(crate) type Prices = BTreeMap<String, BTreeMap<String, Price>>;

/// The spot part of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Terms {
    /// The most that is paid for an hour, in US dollars; `None` is the on-demand price.
    pub(crate) bid: Option<Price>,
    /// What an hour costs now, as far as that is known.
    pub(crate) prices: Prices,
    /// The launch group.
    pub(crate) launch_group: Option<String>,
    /// For how many seconds the request may stay open, if for longer than EC2 takes to answer.
    pub(crate) timeout_seconds: Option<u64>,
    /// Whether it is well when there is no box in the end.
    pub(crate) tentative: bool,
    /// By which of EC2's calls.
    pub(crate) call: &'static str,
    #[serde(skip)]
    pub(crate) stays_open: bool,
}

/// Asks for the prices of the attempts and puts these into the order in which they are made.
pub(in super::super) async fn terms(
    world: &World,
    wish: &Wish,
    attempts: Vec<Attempt>,
) -> anyhow::Result<(Terms, Vec<Attempt>)> {
    let (kinds, zones, now) = (attempts::kinds(&attempts), attempts::zones(&attempts), Timestamp::now());
    let since = if wish.auto_zone { now.checked_sub(WEEK)? } else { now };
    let history = match spot::prices(&world.fleet.ec2, &kinds, &zones, since).await {
        Ok(told) => by_zone(told),
        Err(error) if wish.auto_zone => return Err(error.into()),
        // They are only shown.
        Err(error) => {
            world.printer.warn(&format!("the prices of today are not known: {error}"));
            BTreeMap::new()
        }
    };
    let attempts = if wish.auto_zone { sorted(&attempts, &history, wish.bid, now)? } else { attempts };
    let of_zones = |zones: &BTreeMap<String, Vec<Point>>| {
        zones.iter().filter_map(|(zone, points)| Some((zone.clone(), zones::current(points)?))).collect()
    };
    let prices: Prices = history.iter().map(|(kind, zones)| (kind.clone(), of_zones(zones))).collect();
    for warning in wish.bid.map(|bid| doubts(bid, &prices)).unwrap_or_default() {
        world.printer.warn(&warning);
    }
    let terms = Terms {
        bid: wish.bid,
        prices,
        launch_group: wish.launch_group.clone(),
        timeout_seconds: wish.timeout.as_ref().map(Duration::as_secs),
        tentative: wish.tentative,
        call: if wish.stays_open() { "RequestSpotInstances" } else { "RunInstances" },
        stays_open: wish.stays_open(),
    };
    Ok((terms, attempts))
}

type History = BTreeMap<String, BTreeMap<String, Vec<Point>>>;

fn by_zone(told: Vec<Priced>) -> History {
    let mut found = History::new();
    for Priced { kind, zone, at, price } in told {
        found.entry(kind).or_default().entry(zone).or_default().push((at, price));
    }
    found
}

/// The attempts with each type, as they are given, in the order that the prices make of the zones.
///
/// # Errors
/// When no type has a price in any of the zones.
fn sorted(
    attempts: &[Attempt],
    history: &History,
    bid: Option<Price>,
    now: Timestamp,
) -> Result<Vec<Attempt>, Refusal> {
    let none = BTreeMap::new();
    let mut found = Vec::new();
    for kind in attempts::kinds(attempts) {
        for zone in zones::order(history.get(&kind).unwrap_or(&none), bid, now) {
            found.extend(attempts.iter().find(|made| made.kind == kind && made.place.zone == zone).cloned());
        }
    }
    if found.is_empty() {
        let (kinds, zones) = (attempts::kinds(attempts).join(", "), attempts::zones(attempts).join(", "));
        return Err(Refusal::new(format!("EC2 tells no spot price of {kinds} in {zones}"))
            .hint("--instance-type names a type that is sold there, --zone another zone"));
    }
    Ok(found)
}

/// What there is to say of a bid by the prices of today.
fn doubts(bid: Price, prices: &Prices) -> Vec<String> {
    let all = prices.iter().flat_map(|(kind, zones)| zones.iter().map(move |(zone, price)| (*price, kind, zone)));
    let Some((lowest, kind, zone)) = all.min() else { return Vec::new() };
    let mut doubts = Vec::new();
    if bid < lowest {
        doubts.push(format!(
            "the bid of {bid} is below every price: the lowest is {lowest}, of {kind} in {zone}; nothing is launched \
             before a price falls"
        ));
    }
    let dear = prices.values().all(|zones| zones.values().min().is_some_and(|price| bid > price.times(DEEPEST)));
    if dear {
        doubts.push(format!(
            "the bid of {bid} is more than {DEEPEST} times the price of {kind} ({lowest}), and so above its on-demand \
             price; EC2 charges what the market says, and nothing is gained by it"
        ));
    }
    doubts
}

#[cfg(test)]
#[path = "market_tests.rs"]
mod tests;
