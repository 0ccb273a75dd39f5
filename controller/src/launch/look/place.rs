//! Where the box may be: subnets, and the instance types that are offered in their zones.

use crate::aws::places::{self, Kind, Subnet, Subnets};
use crate::launch::attempts::Attempt;
use crate::launch::request::Request;
use crate::launch::spot::market::{self, Terms};
use crate::launch::{World, machine, place};
use crate::refusal::Refusal;
use crate::role::Arch;

/// The subnets that come into question.
pub(super) async fn subnets(world: &World, request: &Request) -> anyhow::Result<Vec<Subnet>> {
    let which = match (&request.subnet, &request.network) {
        (Some(id), _) => Subnets::Id(id),
        (None, Some(id)) => Subnets::Network(id),
        (None, None) => Subnets::Default,
    };
    let found = places::subnets(&world.fleet.ec2, which).await?;
    let wanted = place::Where {
        region: &request.region,
        zones: &request.zones,
        network: request.network.as_deref(),
        subnet: request.subnet.as_deref(),
    };
    Ok(place::candidates(&wanted, found)?)
}

/// What the launch is tried with, in order, one at least; and the terms of the spot market for one from there.
pub(super) async fn to_try(
    world: &World,
    request: &Request,
    kinds: Vec<Kind>,
    arch: Arch,
    subnets: Vec<Subnet>,
) -> anyhow::Result<(Option<Terms>, Vec<Attempt>)> {
    let attempts = offered(world, kinds, arch, subnets).await?;
    let Some(wish) = &request.spot else { return Ok((None, attempts)) };
    let (terms, ordered) = market::terms(world, wish, attempts).await?;
    Ok((Some(terms), ordered))
}

/// Each instance type in the subnets in whose zones it is offered.
async fn offered(
    world: &World,
    mut kinds: Vec<Kind>,
    arch: Arch,
    subnets: Vec<Subnet>,
) -> anyhow::Result<Vec<Attempt>> {
    let ec2 = &world.fleet.ec2;
    let names = |kinds: &[Kind]| kinds.iter().map(|kind| kind.name.clone()).collect::<Vec<_>>();
    let offers = if kinds.is_empty() {
        let small = places::burstable(ec2, arch.as_str()).await?;
        let offers = places::offers(ec2, &names(&small)).await?;
        let zones: Vec<_> = subnets.iter().map(|subnet| subnet.zone.as_str()).collect();
        kinds.push(machine::smallest(&small, &offers, &zones).cloned().ok_or_else(|| {
            Refusal::new(format!("no small instance type for {arch} is offered in {}", zones.join(", ")))
                .hint("--instance-type names one; --zone names another zone")
        })?);
        offers
    } else {
        places::offers(ec2, &names(&kinds)).await?
    };
    let (mut attempts, mut nowhere) = (Vec::new(), Vec::new());
    for Kind { name: kind, .. } in kinds {
        let zones = offers.get(&kind).map_or(&[][..], Vec::as_slice);
        world.printer.detail(&format!("{kind} is offered in {} of {}", zones.join(", "), world.fleet.region));
        match place::offering(&kind, &subnets, zones) {
            Ok(places) => attempts.extend(places.into_iter().map(|place| Attempt { kind: kind.clone(), place })),
            Err(refusal) => nowhere.push(refusal),
        }
    }
    if attempts.is_empty() {
        let refusal = nowhere.into_iter().next();
        return Err(refusal.unwrap_or_else(|| Refusal::new("there is no place to launch in")).into());
    }
    for refusal in nowhere {
        world.printer.note(&format!("{refusal}: another of the types is taken"));
    }
    Ok(attempts)
}
