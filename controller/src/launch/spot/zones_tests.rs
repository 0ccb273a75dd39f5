use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3600;

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// Prices in thousandths of a dollar, each with how many hours ago it began to hold.
fn history(points: &[(i64, u64)]) -> Vec<Point> {
    let point = |(hours, price): &(i64, u64)| {
        let at = Timestamp::from_second(now().as_second() - hours * HOUR).unwrap();
        (at, Price::from_millionths(price * 1000))
    };
    points.iter().map(point).collect()
}

fn ordered(zones: &[(&str, &[(i64, u64)])], bid: Option<u64>) -> Vec<String> {
    let zones = zones.iter().map(|(zone, points)| ((*zone).to_owned(), history(points))).collect();
    order(&zones, bid.map(|bid| Price::from_millionths(bid * 1000)), now())
}

#[test]
fn a_zone_under_the_bid_comes_before_one_that_is_more_stable_and_above_it() {
    let zones = [("a", &[(200, 30)][..]), ("b", &[(200, 10), (20, 40), (10, 20)])];
    assert_eq!(ordered(&zones, Some(25)), ["b", "a"]);
    assert_eq!(ordered(&zones, Some(30)), ["a", "b"]);
    assert_eq!(ordered(&zones, None), ["a", "b"]);
    assert_eq!(ordered(&zones, Some(5)), ["a", "b"]);
}

#[test]
fn stability_counts_each_price_for_as_long_as_it_held_and_only_over_the_week() {
    // b was off for an hour, c for half of the week, d only before it.
    let zones = [
        ("b", &[(300, 10), (2, 50), (1, 10)][..]),
        ("c", &[(300, 10), (84, 20)]),
        ("d", &[(300, 90), (168, 12)]),
        ("e", &[(300, 11)]),
    ];
    assert_eq!(ordered(&zones, None), ["e", "d", "b", "c"]);
}

#[test]
fn of_zones_as_stable_the_cheaper_one_comes_first_and_one_without_a_price_never() {
    let zones = [("a", &[(9, 30)][..]), ("b", &[(9, 20)]), ("c", &[(9, 20)]), ("d", &[])];
    assert_eq!(ordered(&zones, None), ["b", "c", "a"]);
}

/// Prices of up to six zones. No two of a zone at one moment: EC2 tells of none, and nobody could say which holds.
fn histories() -> impl Strategy<Value = BTreeMap<String, Vec<Point>>> {
    let points = btree_map(0..2_000_000_i64, 1..5_000_000_u64, 1..12).prop_map(|points| {
        let point =
            |(ago, price)| (Timestamp::from_second(now().as_second() - ago).unwrap(), Price::from_millionths(price));
        points.into_iter().map(point).collect::<Vec<_>>()
    });
    btree_map("[a-f]", points, 1..6)
}

proptest! {
    #[test]
    fn every_zone_with_a_price_is_there_once(zones in histories(), bid in proptest::option::of(1..5_000_000_u64)) {
        let mut found = order(&zones, bid.map(Price::from_millionths), now());
        found.sort();
        prop_assert_eq!(found, zones.into_keys().collect::<Vec<_>>());
    }

    #[test]
    fn none_above_the_bid_comes_before_one_under_it_and_none_less_stable_before_one_that_is_more(
        zones in histories(),
        bid in proptest::option::of(1..5_000_000_u64),
    ) {
        let bid = bid.map(Price::from_millionths);
        let rank = |zone: &String| {
            let price = current(&zones[zone]).unwrap();
            (bid.is_some_and(|bid| price > bid), variance(&zones[zone], now()))
        };
        let ranks: Vec<_> = order(&zones, bid, now()).iter().map(rank).collect();
        prop_assert!(ranks.is_sorted(), "{ranks:?}");
    }

    #[test]
    fn the_order_in_which_prices_are_told_makes_no_difference(
        zones in histories(),
        seed in vec(any::<u32>(), 12),
        bid in 1..5_000_000_u64,
    ) {
        let mut shuffled = zones.clone();
        for points in shuffled.values_mut() {
            let mut keyed: Vec<_> = points.drain(..).enumerate().map(|(at, point)| (seed[at % 12], point)).collect();
            keyed.sort();
            points.extend(keyed.into_iter().map(|(_, point)| point));
        }
        let bid = Some(Price::from_millionths(bid));
        prop_assert_eq!(order(&zones, bid, now()), order(&shuffled, bid, now()));
    }

    #[test]
    fn a_price_that_never_changed_has_no_variance(price in any::<u64>(), ago in vec(0..2_000_000_i64, 1..9)) {
        let at = |ago: &i64| Timestamp::from_second(now().as_second() - ago).unwrap();
        let points: Vec<_> = ago.iter().map(|ago| (at(ago), Price::from_millionths(price))).collect();
        prop_assert_eq!(variance(&points, now()), 0);
    }
}
