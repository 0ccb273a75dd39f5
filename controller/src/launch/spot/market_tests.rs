use super::*;
use crate::aws::places::Subnet;

fn attempt(kind: &str, zone: &str) -> Attempt {
    let place =
        Subnet { id: format!("subnet-{zone}"), network: "vpc-1".into(), zone: zone.into(), default: true, free: 9 };
    Attempt { kind: kind.into(), place }
}

fn told(kind: &str, zone: &str, price: &str) -> Priced {
    Priced { kind: kind.into(), zone: zone.into(), at: Timestamp::UNIX_EPOCH, price: price.parse().unwrap() }
}

fn prices(told: &[(&str, &str, &str)]) -> Prices {
    let mut found = Prices::new();
    for (kind, zone, price) in told {
        found.entry((*kind).to_owned()).or_default().insert((*zone).to_owned(), price.parse().unwrap());
    }
    found
}

#[test]
fn types_keep_their_order_and_zones_get_that_of_their_prices() {
    let attempts = [attempt("small", "a"), attempt("small", "b"), attempt("large", "a"), attempt("large", "b")];
    let history = by_zone(vec![
        told("large", "a", "0.4"),
        told("large", "b", "0.2"),
        told("small", "b", "0.1"),
        told("small", "c", "0.01"),
    ]);
    let found = sorted(&attempts, &history, None, Timestamp::now()).unwrap();
    // small has no price in a, and c was not asked for.
    assert_eq!(found, [attempt("small", "b"), attempt("large", "b"), attempt("large", "a")]);
    let error = sorted(&attempts, &History::new(), None, Timestamp::now()).unwrap_err();
    assert_eq!(error.to_string(), "EC2 tells no spot price of small, large in a, b");
}

#[test]
fn a_bid_below_every_price_and_one_that_must_be_above_the_on_demand_price_are_doubted() {
    let today = prices(&[("small", "a", "0.01"), ("small", "b", "0.02"), ("large", "a", "0.2")]);
    let doubts = |bid: &str| doubts(bid.parse().unwrap(), &today);
    assert_eq!(
        doubts("0.009"),
        [
            "the bid of 0.009 is below every price: the lowest is 0.01, of small in a; nothing is launched before a price falls"
        ]
    );
    assert!(doubts("0.01").is_empty() && doubts("0.1").is_empty());
    // Above the on-demand price of small, and perhaps not of large.
    assert!(doubts("2").is_empty());
    let said = doubts("2.01").join("");
    assert!(said.contains("more than 10 times the price of small (0.01), and so above its on-demand price"), "{said}");
}

#[test]
fn without_prices_no_bid_is_doubted() {
    assert_eq!(doubts("0.5".parse().unwrap(), &Prices::new()), Vec::<String>::new());
}
