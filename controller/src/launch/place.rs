//! In which subnets a box can be: of the network asked for, in the zone asked for, where its type is offered. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::aws::places::Subnet;
use crate::refusal::Refusal;

/// Where a box is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Where<'a> {
    /// The region, for messages.
    pub(crate) region: &'a str,
    /// The zones asked for, in the order in which they are tried; none are all.
    pub(crate) zones: &'a [String],
    /// The network asked for.
    pub(crate) network: Option<&'a str>,
    /// The subnet asked for.
    pub(crate) subnet: Option<&'a str>,
}

/// The subnets of the network and zones asked for, one for each zone: in the order of the zones, or those with most free
/// addresses first.
///
/// # Errors
/// When there is none, or when it is not clear which.
pub(crate) fn candidates(wanted: &Where<'_>, subnets: Vec<Subnet>) -> Result<Vec<Subnet>, Refusal> {
    if let Some(id) = wanted.subnet {
        return asked_for(wanted, id, subnets);
    }
    let region = wanted.region;
    if subnets.is_empty() {
        return Err(match wanted.network {
            Some(network) => Refusal::new(format!("{network} has no subnet in {region}"))
                .hint("aws ec2 describe-subnets shows the subnets that there are"),
            None => Refusal::new(format!("{region} has no default network to put the box into"))
                .hint("--vpc or --subnet names where to put it; aws ec2 create-default-vpc makes a default network"),
        });
    }
    let mut zones: BTreeMap<String, Vec<Subnet>> = BTreeMap::new();
    for subnet in subnets {
        zones.entry(subnet.zone.clone()).or_default().push(subnet);
    }
    if let Some(zone) = wanted.zones.iter().find(|zone| !zones.contains_key(*zone)) {
        let network = wanted.network.unwrap_or("the default network");
        let known: Vec<_> = zones.into_keys().collect();
        return Err(Refusal::new(format!("{network} has no subnet in zone {zone}"))
            .hint(format!("it has some in {}", known.join(", "))));
    }
    let place = |zone: &String| wanted.zones.iter().position(|asked| asked == zone);
    zones.retain(|zone, _| wanted.zones.is_empty() || place(zone).is_some());
    let mut found = zones.into_values().map(only).collect::<Result<Vec<_>, _>>()?;
    found.sort_by_key(|subnet| (place(&subnet.zone), Reverse(subnet.free), subnet.zone.clone()));
    Ok(found)
}

fn asked_for(wanted: &Where<'_>, id: &str, subnets: Vec<Subnet>) -> Result<Vec<Subnet>, Refusal> {
    let Some(subnet) = subnets.into_iter().find(|subnet| subnet.id == id) else {
        return Err(Refusal::new(format!("there is no subnet {id} in {}", wanted.region))
            .hint("aws ec2 describe-subnets shows the subnets that there are"));
    };
    if let Some(network) = wanted.network.filter(|network| *network != subnet.network) {
        let of = &subnet.network;
        return Err(Refusal::usage(format!("--subnet {id} is part of {of}, not of --vpc {network}"))
            .hint("leave --vpc out: the subnet implies it"));
    }
    if !wanted.zones.is_empty() && !wanted.zones.contains(&subnet.zone) {
        let zones = wanted.zones.join(", ");
        return Err(Refusal::usage(format!("--subnet {id} is in zone {}, not in {zones}", subnet.zone))
            .hint(format!("--zone {} goes with it", subnet.zone)));
    }
    Ok(vec![subnet])
}

/// The one subnet of a zone: the only one, or the one that EC2 would take.
fn only(mut subnets: Vec<Subnet>) -> Result<Subnet, Refusal> {
    if subnets.len() > 1 && subnets.iter().filter(|subnet| subnet.default).count() == 1 {
        subnets.retain(|subnet| subnet.default);
    }
    let ids: Vec<_> = subnets.iter().map(|subnet| subnet.id.clone()).collect();
    let mut subnets = subnets.into_iter();
    match (subnets.next(), subnets.next()) {
        (Some(subnet), None) => Ok(subnet),
        (first, _) => {
            let zone = first.map(|subnet| subnet.zone).unwrap_or_default();
            Err(Refusal::usage(format!("there are {} subnets in zone {zone}; which one?", ids.len()))
                .hint(format!("--subnet ID picks one of {}", ids.join(", "))))
        }
    }
}

/// Those of the candidates in whose zone the type is offered.
///
/// # Errors
/// When there is none, with the zones in which there is.
pub(crate) fn offering(kind: &str, candidates: &[Subnet], zones: &[String]) -> Result<Vec<Subnet>, Refusal> {
    let found: Vec<_> = candidates.iter().filter(|subnet| zones.contains(&subnet.zone)).cloned().collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let here: Vec<_> = candidates.iter().map(|subnet| subnet.zone.as_str()).collect();
    let refusal = Refusal::new(format!("{kind} is not offered in {}", here.join(", ")));
    Err(match zones {
        [] => refusal.hint("--instance-type names another type; it is offered in no zone of this region"),
        zones => refusal
            .hint(format!("it is offered in {}: --zone names one of them", zones.join(", ")))
            .hint("or --instance-type names another type"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(id: &str, zone: &str, free: i32) -> Subnet {
        let (id, zone) = (format!("subnet-{id}"), format!("us-west-2{zone}"));
        Subnet { id, network: "vpc-1".into(), zone, default: false, free }
    }

    fn wanted<'a>(zones: &'a [String], network: Option<&'a str>, subnet: Option<&'a str>) -> Where<'a> {
        Where { region: "us-west-2", zones, network, subnet }
    }

    fn zones(letters: &str) -> Vec<String> {
        letters.chars().map(|letter| format!("us-west-2{letter}")).collect()
    }

    fn found(wanted: &Where<'_>, subnets: Vec<Subnet>) -> Result<Vec<String>, String> {
        let ids = |found: Vec<Subnet>| found.into_iter().map(|subnet| subnet.id).collect();
        candidates(wanted, subnets).map(ids).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_zone_every_zone_is_tried_the_emptiest_subnet_first() {
        let subnets = || vec![subnet("1", "a", 10), subnet("2", "b", 250), subnet("3", "c", 250)];
        let all = found(&wanted(&[], None, None), subnets());
        assert_eq!(all.unwrap(), ["subnet-2", "subnet-3", "subnet-1"]);
        assert_eq!(found(&wanted(&zones("a"), None, None), subnets()).unwrap(), ["subnet-1"]);
        assert_eq!(
            found(&wanted(&zones("d"), None, None), subnets()).unwrap_err(),
            "the default network has no subnet in zone us-west-2d"
        );
        assert_eq!(found(&wanted(&zones("ca"), None, None), subnets()).unwrap(), ["subnet-3", "subnet-1"]);
        let error = found(&wanted(&zones("ad"), None, None), subnets()).unwrap_err();
        assert_eq!(error, "the default network has no subnet in zone us-west-2d");
    }

    #[test]
    fn several_subnets_of_a_zone_are_refused_unless_one_of_them_is_the_default() {
        let mut subnets = vec![subnet("1", "a", 10), subnet("2", "a", 250)];
        let network = wanted(&[], Some("vpc-1"), None);
        let error = found(&network, subnets.clone()).unwrap_err();
        assert_eq!(error, "there are 2 subnets in zone us-west-2a; which one?");
        subnets[0].default = true;
        assert_eq!(found(&network, subnets).unwrap(), ["subnet-1"]);
    }

    #[test]
    fn a_region_without_a_default_network_is_told_with_what_to_do() {
        let error = found(&wanted(&[], None, None), Vec::new()).unwrap_err();
        assert_eq!(error, "us-west-2 has no default network to put the box into");
        let error = found(&wanted(&[], Some("vpc-9"), None), Vec::new()).unwrap_err();
        assert_eq!(error, "vpc-9 has no subnet in us-west-2");
    }

    #[test]
    fn a_subnet_that_is_named_must_be_there_and_go_with_what_else_is_named() {
        let subnets = || vec![subnet("1", "a", 10)];
        let id = Some("subnet-1");
        assert_eq!(found(&wanted(&zones("a"), Some("vpc-1"), id), subnets()).unwrap(), ["subnet-1"]);
        for (wanted, error) in [
            (wanted(&[], Some("vpc-2"), id), "--subnet subnet-1 is part of vpc-1, not of --vpc vpc-2"),
            (wanted(&zones("b"), None, id), "--subnet subnet-1 is in zone us-west-2a, not in us-west-2b"),
            (wanted(&[], None, Some("subnet-2")), "there is no subnet subnet-2 in us-west-2"),
        ] {
            assert_eq!(found(&wanted, subnets()).unwrap_err(), error);
        }
    }

    #[test]
    fn zones_that_do_not_offer_the_type_are_left_out() {
        let candidates = [subnet("1", "a", 1), subnet("2", "b", 1)];
        let offered = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let found = offering("t3.small", &candidates, &offered(&["us-west-2b", "us-west-2c"])).unwrap();
        assert_eq!(found, [subnet("2", "b", 1)]);
        for names in [&["us-west-2c"][..], &[]] {
            let error = offering("t3.small", &candidates, &offered(names)).unwrap_err();
            assert_eq!(error.to_string(), "t3.small is not offered in us-west-2a, us-west-2b");
        }
    }
}
