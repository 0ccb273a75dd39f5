//! A price in US dollars for an hour of an instance, as EC2 writes it: a decimal of up to six places. Pure.
//!
//! Never a floating-point number: what an operator bids is what EC2 is told, to the last digit.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Decimal places: EC2 tells prices of spot instances to a millionth of a dollar.
const PLACES: usize = 6;

/// Parts of a dollar that are counted.
const PARTS: u64 = 1_000_000;

/// The highest bid that is believed, in dollars. The dearest instance types cost some hundreds an hour, so that more is
/// most likely a decimal point that was forgotten.
const MOST: u64 = 1000;

/// A price for an hour, in millionths of a US dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Price(u64);

impl Price {
    /// In millionths of a dollar.
    #[cfg(test)]
    pub(crate) const fn from_millionths(millionths: u64) -> Self {
        Self(millionths)
    }

    /// In millionths of a dollar.
    pub(crate) const fn millionths(self) -> u64 {
        self.0
    }

    /// This price so many times.
    pub(crate) fn times(self, times: u64) -> Self {
        Self(self.0.saturating_mul(times))
    }
}

impl fmt::Display for Price {
    /// As EC2 takes it, with two decimal places at least: `0.05`, `0.0104`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = format!("{:0PLACES$}", self.0 % PARTS);
        let kept = places.trim_end_matches('0').len().max(2);
        write!(f, "{}.{}", self.0 / PARTS, &places[..kept])
    }
}

impl Serialize for Price {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Price {
    type Err = String;

    /// Digits, and a point with digits if need be. EC2's own prices may have more places, which are cut off.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no price in US dollars, such as 0.05");
        let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
        if !digits(whole) || !digits(places) {
            return Err(wrong());
        }
        let places: String = places.chars().chain(std::iter::repeat('0')).take(PLACES).collect();
        let (whole, places): (u64, u64) = (whole.parse().map_err(|_| wrong())?, places.parse().map_err(|_| wrong())?);
        whole.checked_mul(PARTS).and_then(|whole| whole.checked_add(places)).map(Self).ok_or_else(wrong)
    }
}

/// Reads a bid: more than nothing, and no more than anybody would pay.
pub(crate) fn parse_bid(text: &str) -> Result<Price, String> {
    let price: Price = text.parse()?;
    if text.split_once('.').is_some_and(|(_, places)| places.trim_end_matches('0').len() > PLACES) {
        return Err(format!("EC2 takes {PLACES} decimal places at most"));
    }
    if price.0 == 0 {
        return Err("a bid is more than 0; --spot without a bid goes up to the on-demand price".to_owned());
    }
    if price > Price(MOST * PARTS) {
        return Err(format!("no instance costs more than {MOST} dollars an hour; is a decimal point missing?"));
    }
    Ok(price)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prices_are_read_as_ec2_and_people_write_them() {
        for (text, shown) in [
            ("0.05", "0.05"),
            ("1", "1.00"),
            ("0.0104", "0.0104"),
            ("0.010400", "0.0104"),
            ("0.0000019", "0.000001"),
            ("12.5", "12.50"),
            ("007", "7.00"),
        ] {
            assert_eq!(text.parse::<Price>().map(|price| price.to_string()), Ok(shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for text in [
            "", ".", "1.", ".5", "-1", "+1", "1e3", "0x1", "1,5", "$1", " 1", "1 ", "NaN", "inf", "1.2.3", "١", "1_000",
        ] {
            assert!(text.parse::<Price>().is_err(), "{text:?}");
        }
        assert!("99999999999999999999".parse::<Price>().is_err() && "18446744073710".parse::<Price>().is_err());
    }

    #[test]
    fn a_bid_is_more_than_nothing_no_more_than_anybody_would_pay_and_as_exact_as_ec2_takes_it() {
        assert_eq!(parse_bid("1000").map(|price| price.to_string()), Ok("1000.00".to_owned()));
        assert!(parse_bid("0.0500000").is_ok());
        for (text, words) in [
            ("0", "more than 0"),
            ("0.000", "more than 0"),
            ("1000.01", "decimal point missing"),
            ("0.0000001", "6 decimal places"),
            ("much", "no price"),
        ] {
            let error = parse_bid(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_as_the_same(millionths in 0..=u64::MAX) {
            let price = Price::from_millionths(millionths);
            prop_assert_eq!(price.to_string().parse(), Ok(price));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _ = parse_bid(&text);
        }
    }
}
