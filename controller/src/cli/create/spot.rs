//! The flags of `create` and `recreate` that are about the spot market, and which of them contradict each other.

use std::time::Duration;

use clap::Args;
use fleetkey_common::aws_names::Namespace;

use crate::launch::spot::Wish;
use crate::price::{Price, parse_bid};
use crate::refusal::Refusal;
use crate::wait::parse_timeout;

/// What is asked for of the spot market.
#[derive(Debug, Args)]
#[command(next_help_heading = "Spot market")]
pub(super) struct SpotFlags {
    /// Take a spot instance, at what the market says and never above the on-demand price: cheaper, and EC2 may end it with
    /// two minutes' notice
    #[arg(long)]
    spot: bool,
    /// The same, and pay this much for an hour at most: above it, EC2 launches none and ends one that runs
    #[arg(long, value_name = "USD", allow_negative_numbers = true, value_parser = parse_bid)]
    spot_bid: Option<Price>,
    /// Try the zones in the order of their prices: under the bid first, and of those the most stable over the last week
    #[arg(long)]
    spot_auto_zone: bool,
    /// How long the request may stay open; without it, EC2 fills it at once or not at all
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout)]
    spot_timeout: Option<Duration>,
    /// Give up once none of the types is filled at once in any of the zones; that there is no box is then no error
    #[arg(long)]
    spot_tentative: bool,
    /// Name of a group whose spot instances are launched together or not at all, and end together
    #[arg(long, value_name = "NAME")]
    spot_launch_group: Option<String>,
}

/// The other flags that those of the spot market must go with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Others<'a> {
    /// Whether a subnet is named.
    pub(super) subnet: bool,
    /// The zones that are named by a flag.
    pub(super) zones: &'a [String],
    /// Whether an image is taken.
    pub(super) create_image: bool,
    /// The time of all waits.
    pub(super) timeout: Duration,
    /// In which a launch group's name is.
    pub(super) namespace: &'a Namespace,
}

impl SpotFlags {
    /// Whether the zones of a variable give way to the order that prices make.
    pub(super) fn orders_zones(&self) -> bool {
        self.spot_auto_zone
    }

    /// What the flags come to; `None` without a spot instance.
    ///
    /// # Errors
    /// When flags contradict each other.
    pub(super) fn wish(&self, others: &Others<'_>) -> Result<Option<Wish>, Refusal> {
        if !self.spot && self.spot_bid.is_none() {
            return match self.first_named() {
                None => Ok(None),
                Some(flag) => Err(Refusal::usage(format!("{flag} is about spot instances, and none is asked for"))
                    .hint("--spot takes one at up to the on-demand price, --spot-bid USD at up to a price of yours")),
            };
        }
        if others.create_image {
            return Err(Refusal::usage(
                "--create-image stops the box, and a spot instance that was asked for once cannot be stopped",
            )
            .hint("leave out the spot flags to take an image"));
        }
        if self.spot_auto_zone && others.subnet {
            return Err(Refusal::usage("--subnet is in one zone, so that --spot-auto-zone has none to choose")
                .hint("leave one of them out; --vpc names the network"));
        }
        if self.spot_auto_zone && others.zones.len() == 1 {
            return Err(Refusal::usage(format!(
                "--zone {} is one zone, so that --spot-auto-zone has none to choose",
                others.zones[0]
            ))
            .hint("leave one of them out, or name several zones to choose from; a zone of FLEETKEY_ZONE gives way"));
        }
        if let Some(time) = self.spot_timeout.filter(|time| *time > others.timeout) {
            let (time, whole) = (humantime::format_duration(time), humantime::format_duration(others.timeout));
            return Err(Refusal::usage(format!(
                "--spot-timeout {time} is longer than --timeout {whole}, in which all waits together end"
            ))
            .hint("give a longer --timeout: the box has to boot after the request is filled"));
        }
        let group = self.spot_launch_group.as_deref().map(|name| launch_group(others.namespace, name)).transpose()?;
        Ok(Some(Wish {
            bid: self.spot_bid,
            auto_zone: self.spot_auto_zone,
            timeout: self.spot_timeout,
            longest: others.timeout,
            launch_group: group,
            tentative: self.spot_tentative,
        }))
    }

    /// The first flag that makes no sense without a spot instance.
    fn first_named(&self) -> Option<&'static str> {
        let flags = [
            ("--spot-auto-zone", self.spot_auto_zone),
            ("--spot-timeout", self.spot_timeout.is_some()),
            ("--spot-tentative", self.spot_tentative),
            ("--spot-launch-group", self.spot_launch_group.is_some()),
        ];
        flags.into_iter().find(|(_, named)| *named).map(|(flag, _)| flag)
    }
}

/// The name of a launch group in AWS: in the namespace unless it begins with a slash, as CGCloud has it.
fn launch_group(namespace: &Namespace, name: &str) -> Result<String, Refusal> {
    let named = namespace.absolute(name).map_err(|error| Refusal::usage(format!("--spot-launch-group: {error}")))?;
    if named.base_name().is_empty() {
        return Err(Refusal::usage(format!("--spot-launch-group {name:?} is a namespace, not a name in one")));
    }
    Ok(named.to_aws_name())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        spot: SpotFlags,
    }

    fn others(namespace: &Namespace) -> Others<'_> {
        let timeout = Duration::from_mins(15);
        Others { subnet: false, zones: &[], create_image: false, timeout, namespace }
    }

    fn wish(words: &str, change: fn(&mut Others<'_>)) -> Result<Option<Wish>, String> {
        let namespace = "/team/".parse().unwrap();
        let mut others = others(&namespace);
        change(&mut others);
        let words = ["create"].into_iter().chain(words.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.spot.wish(&others).map_err(|error| error.to_string())
    }

    #[test]
    fn a_bid_asks_for_a_spot_instance_and_without_one_the_on_demand_price_is_the_limit() {
        assert_eq!(wish("", |_| {}), Ok(None));
        let plain = wish("--spot", |_| {}).unwrap().unwrap();
        assert_eq!((plain.bid, plain.stays_open()), (None, false));
        let bid = wish("--spot-bid 0.05", |_| {}).unwrap().unwrap();
        assert_eq!(bid.bid.map(|bid| bid.to_string()).as_deref(), Some("0.05"));
        assert_eq!(wish("--spot --spot-bid 0.05", |_| {}), Ok(Some(bid)));
    }

    #[test]
    fn a_time_and_a_launch_group_take_a_request_that_stays_open() {
        let mins = |mins| Some(Duration::from_mins(mins));
        let timed = wish("--spot --spot-timeout 5m --spot-launch-group red", |_| {}).unwrap().unwrap();
        assert_eq!(timed.stays_open_for(), mins(5));
        let grouped = wish("--spot --spot-launch-group red", |_| {}).unwrap().unwrap();
        assert_eq!((grouped.launch_group.as_deref(), grouped.stays_open_for()), (Some("team_red"), mins(15)));
        let absolute = wish("--spot --spot-launch-group /red_1", |_| {}).unwrap().unwrap();
        assert_eq!(absolute.launch_group.as_deref(), Some("red__1"));
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused_with_the_reason() {
        let one: fn(&mut Others<'_>) = |others| others.zones = &ZONES[..1];
        for (words, change, error) in [
            ("--spot-tentative", (|_| {}) as fn(&mut Others<'_>), "--spot-tentative is about spot instances"),
            ("--spot-timeout 5m", |_| {}, "--spot-timeout is about spot instances, and none is asked for"),
            ("--spot-auto-zone", |_| {}, "--spot-auto-zone is about spot instances"),
            ("--spot-launch-group x", |_| {}, "--spot-launch-group is about spot instances"),
            ("--spot", |others| others.create_image = true, "cannot be stopped"),
            ("--spot --spot-auto-zone", |others| others.subnet = true, "--subnet is in one zone"),
            ("--spot --spot-auto-zone", one, "--zone us-west-2a is one zone"),
            ("--spot --spot-timeout 16m", |_| {}, "--spot-timeout 16m is longer than --timeout 15m"),
            ("--spot --spot-timeout 0s", |_| {}, "give a time such as 90s or 15m"),
            ("--spot --spot-launch-group Red", |_| {}, "--spot-launch-group: "),
            ("--spot --spot-launch-group /red/", |_| {}, "is a namespace, not a name in one"),
            ("--spot-bid -1", |_| {}, "no price in US dollars"),
            ("--spot-bid 0", |_| {}, "a bid is more than 0"),
        ] {
            let said = wish(words, change).unwrap_err();
            assert!(said.contains(error), "{words}: {said}");
        }
        let several = wish("--spot --spot-auto-zone", |others| others.zones = &ZONES).unwrap();
        assert!(several.is_some_and(|wish| wish.auto_zone));
    }

    static ZONES: std::sync::LazyLock<Vec<String>> =
        std::sync::LazyLock::new(|| ["us-west-2a", "us-west-2b"].map(str::to_owned).to_vec());
}
