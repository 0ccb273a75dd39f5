//! What a launch is tried with, one after another: each instance type in each place, and what an error of EC2 says of
//! those that are left. Pure.

use super::spot;
use crate::aws::places::Subnet;
use crate::refusal::Refusal;

/// The codes by which EC2 says that it has no room, no such type, or not at this price in a zone: another zone may have.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>
const NO_ROOM: [&str; 6] = [
    "InsufficientInstanceCapacity",
    "InsufficientReservedInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientFreeAddressesInSubnet",
    "SpotMaxPriceTooLow",
    "Unsupported",
];

/// The codes by which EC2 says that the account may not have more of a type: no other zone of the region helps, but
/// another type may, since each family has its own limit.
const LIMITS: [&str; 3] = ["VcpuLimitExceeded", "InstanceLimitExceeded", "MaxSpotInstanceCountExceeded"];

/// What a launch is tried with once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// The instance type.
    pub(crate) kind: String,
    /// Where.
    pub(crate) place: Subnet,
}

/// Where to go on after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// With the same type in the next place, then with the next type.
    Place,
    /// With the next type.
    Kind,
    /// Nowhere: it is an error of something else.
    Nowhere,
}

impl Next {
    /// What an error code of EC2 says.
    pub(super) fn after(code: Option<&str>) -> Self {
        match code {
            Some(code) if NO_ROOM.contains(&code) || spot::may_be_elsewhere(code) => Next::Place,
            Some(code) if LIMITS.contains(&code) => Next::Kind,
            _ => Next::Nowhere,
        }
    }
}

/// The attempt after the one at this place in the list, if any is left.
fn following(attempts: &[Attempt], at: usize, next: Next) -> Option<usize> {
    let after = at + 1..attempts.len();
    match next {
        Next::Nowhere => None,
        Next::Place => after.into_iter().next(),
        Next::Kind => after.into_iter().find(|other| attempts[*other].kind != attempts[at].kind),
    }
}

/// The way through the attempts of a launch.
#[derive(Debug)]
pub(super) struct Way {
    /// Whether it is tried in the first place alone.
    stays: bool,
    /// Whether it is given up where no attempt is filled at once.
    tentative: bool,
    /// The first attempt whose spot request EC2 took and did not fill.
    held: Option<usize>,
    /// Whether it is back there, to wait.
    back: bool,
}

impl Way {
    /// One that is at its beginning.
    pub(super) fn new(stays: bool, tentative: bool) -> Self {
        Self { stays, tentative, held: None, back: false }
    }

    /// Whether a spot request stays open where it is, until its time is up.
    pub(super) fn waits(&self) -> bool {
        !self.tentative && (self.stays || self.back)
    }

    /// The attempt after the one at this place in the list, if any is left. A spot request may have been `held`, for want
    /// of room that may come: there it goes back to once the list is at its end.
    pub(super) fn after(&mut self, attempts: &[Attempt], at: usize, next: Next, held: bool) -> Option<usize> {
        if held && self.held.is_none() {
            self.held = Some(at);
        }
        if next == Next::Nowhere || self.stays {
            return None;
        }
        if let Some(following) = following(attempts, at, next) {
            return Some(following);
        }
        if self.back || self.tentative {
            return None;
        }
        self.back = true;
        self.held
    }
}

/// The instance types of the attempts, each once, in their order.
pub(crate) fn kinds(attempts: &[Attempt]) -> Vec<String> {
    distinct(attempts.iter().map(|attempt| &attempt.kind))
}

/// The zones of the attempts, each once, in their order.
pub(crate) fn zones(attempts: &[Attempt]) -> Vec<String> {
    distinct(attempts.iter().map(|attempt| &attempt.place.zone))
}

/// The subnets of the attempts, each once, in their order.
pub(crate) fn subnets(attempts: &[Attempt]) -> Vec<String> {
    distinct(attempts.iter().map(|attempt| &attempt.place.id))
}

fn distinct<'a>(all: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for one in all {
        if !found.contains(one) {
            found.push(one.clone());
        }
    }
    found
}

/// What to say when nothing is left to try: that there is no room, or that the account may not have more.
pub(super) fn none_left(attempts: &[Attempt], last: Next) -> Refusal {
    let (kinds, zones) = (kinds(attempts).join(", "), zones(attempts).join(", "));
    match last {
        Next::Kind => Refusal::new("the account may not have more instances of this kind")
            .hint("terminate some, or give a smaller --instance-type, or one of another family")
            .hint("aws service-quotas request-service-quota-increase --service-code ec2 ... asks AWS for more"),
        _ => Refusal::new(format!("EC2 has no room for {kinds} in {zones}"))
            .hint("--zone or --subnet names another place, --instance-type another type; or try again later"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(words: &str) -> Vec<Attempt> {
        let attempt = |word: &str| {
            let (kind, zone) = word.split_once('@').unwrap();
            let (id, zone) = (format!("subnet-{zone}"), format!("us-west-2{zone}"));
            Attempt { kind: kind.into(), place: Subnet { id, network: "vpc-1".into(), zone, default: true, free: 9 } }
        };
        words.split(' ').map(attempt).collect()
    }

    #[test]
    fn without_room_the_next_place_is_tried_and_at_a_limit_the_next_type() {
        let list = attempts("small@a small@b large@a large@b");
        let order = |next| std::iter::successors(Some(0), |at| following(&list, *at, next)).collect::<Vec<_>>();
        assert_eq!(order(Next::Place), [0, 1, 2, 3]);
        assert_eq!(order(Next::Kind), [0, 2]);
        assert_eq!(order(Next::Nowhere), [0]);
        assert_eq!(following(&list, 1, Next::Kind), Some(2));
        assert_eq!(following(&list, 3, Next::Place), None);
    }

    /// The places at which a launch is tried, given what comes of each attempt.
    fn walked(mut way: Way, ends: &[(Next, bool)]) -> Vec<usize> {
        let list = attempts("small@a small@b large@a large@b");
        let mut places = vec![0];
        for (next, held) in ends {
            places.extend(way.after(&list, places[places.len() - 1], *next, *held));
        }
        places
    }

    #[test]
    fn a_spot_request_goes_back_to_the_first_place_that_held_it_also_when_others_refuse_it() {
        let (held, refused, limit) = ((Next::Place, true), (Next::Place, false), (Next::Kind, false));
        assert_eq!(walked(Way::new(false, false), &[held, held, held, held]), [0, 1, 2, 3, 0]);
        assert_eq!(walked(Way::new(false, false), &[refused, held, limit]), [0, 1, 2, 1]);
        // Once only, and not where none has held it.
        assert_eq!(walked(Way::new(false, false), &[held, limit, limit, limit, limit]), [0, 1, 2, 0, 2]);
        assert_eq!(walked(Way::new(false, false), &[refused, refused, refused, refused]), [0, 1, 2, 3]);
        assert_eq!(walked(Way::new(false, false), &[held, (Next::Nowhere, false)]), [0, 1]);
        let mut way = Way::new(false, false);
        assert!(!way.waits());
        way.after(&attempts("small@a"), 0, Next::Place, true);
        assert!(way.waits());
    }

    #[test]
    fn a_tentative_launch_is_tried_everywhere_once_and_one_of_a_group_in_one_place() {
        let held = (Next::Place, true);
        let tentative = || Way::new(false, true);
        assert_eq!(walked(tentative(), &[held, held, held, held]), [0, 1, 2, 3]);
        assert!(!tentative().waits());
        for end in [held, (Next::Place, false), (Next::Kind, false)] {
            assert_eq!(walked(Way::new(true, false), &[end]), [0]);
            assert_eq!(walked(Way::new(true, true), &[end]), [0]);
        }
        assert!(Way::new(true, false).waits() && !Way::new(true, true).waits());
    }

    #[test]
    fn each_code_goes_on_where_it_can_help() {
        for (code, next) in [
            ("InsufficientInstanceCapacity", Next::Place),
            ("InsufficientReservedInstanceCapacity", Next::Place),
            ("SpotMaxPriceTooLow", Next::Place),
            ("Unsupported", Next::Place),
            ("capacity-not-available", Next::Place),
            ("price-too-low", Next::Place),
            ("InstanceLimitExceeded", Next::Kind),
            ("VcpuLimitExceeded", Next::Kind),
            ("MaxSpotInstanceCountExceeded", Next::Kind),
            ("UnauthorizedOperation", Next::Nowhere),
            ("InvalidParameterValue", Next::Nowhere),
            ("bad-parameters", Next::Nowhere),
        ] {
            assert_eq!(Next::after(Some(code)), next, "{code}");
        }
        assert_eq!(Next::after(None), Next::Nowhere);
    }

    #[test]
    fn types_zones_and_subnets_are_named_once_in_their_order() {
        let list = attempts("small@b small@a large@b");
        assert_eq!(kinds(&list), ["small", "large"]);
        assert_eq!(zones(&list), ["us-west-2b", "us-west-2a"]);
        assert_eq!(subnets(&list), ["subnet-b", "subnet-a"]);
        let said = none_left(&list, Next::Place).to_string();
        assert_eq!(said, "EC2 has no room for small, large in us-west-2b, us-west-2a");
        assert_eq!(none_left(&list, Next::Kind).to_string(), "the account may not have more instances of this kind");
    }
}
