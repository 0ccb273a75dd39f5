//! Rules by which persons let themselves in to SSH: recognised by what is written beside them. Pure.
//!
//! EC2 has a rule once, so persons behind one address share theirs: all their names stand beside it, and it goes when
//! the last of them has moved.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{ANYWHERE, Changes, Rule, RuleSource, Rules};

/// Before the names of the persons whose rule it is, with blanks between them: no name has one.
const MARK: &str = "fleetkey: ssh of ";

/// The longest description that EC2 takes.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpRange.html>
const LONGEST: usize = 255;

/// All of IPv6.
const ANYWHERE_V6: &str = "::/0";

/// Where a person is to be let in from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Whose rules they are: a word.
    pub(crate) person: String,
    /// From where.
    pub(crate) sources: BTreeSet<RuleSource>,
    /// Why just these.
    pub(crate) reason: Reason,
}

/// Why a person is to be let in from some addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The person said so: from there and from nowhere else.
    Said,
    /// The person is there now: a rule of theirs that covers it will do.
    There,
}

/// SSH from a source.
pub(super) fn ssh(source: RuleSource) -> Rule {
    Rule { protocol: "tcp".to_owned(), ports: Some((22, 22)), source }
}

fn is_ssh(rule: &Rule) -> bool {
    rule.protocol == "tcp" && rule.ports == Some((22, 22))
}

/// Whether a rule lets everybody in to SSH.
pub(crate) fn is_open(rule: &Rule) -> bool {
    let everywhere = match &rule.source {
        RuleSource::Ipv4(range) => range == ANYWHERE,
        RuleSource::Ipv6(range) => range == ANYWHERE_V6,
        _ => false,
    };
    everywhere && is_ssh(rule)
}

/// Whose rule it is; nobody's for one that is not a person's own.
pub(super) fn owners<'a>(rule: &Rule, text: &'a str) -> BTreeSet<&'a str> {
    let names = text.strip_prefix(MARK).filter(|_| is_ssh(rule)).unwrap_or_default();
    names.split(' ').filter(|name| !name.is_empty()).collect()
}

/// Whether a group lets in the addresses of persons and not everybody.
pub(crate) fn is_narrowed(there: &Rules) -> bool {
    there.iter().any(|(rule, text)| !owners(rule, text).is_empty()) && !there.keys().any(is_open)
}

/// The rules of one person.
pub(crate) fn owned_by<'a>(there: &'a Rules, person: &str) -> Vec<&'a Rule> {
    there.iter().filter(|(rule, text)| owners(rule, text).contains(person)).map(|(rule, _)| rule).collect()
}

/// What lets a person in from where they claim to be, and no more from where they were. `wanted` is let in anyway.
pub(super) fn changes(claim: &Claim, there: &Rules, wanted: &BTreeSet<Rule>) -> Changes {
    let own = owned_by(there, &claim.person);
    let covered = |source: &RuleSource| own.iter().any(|rule| covers(&rule.source, source));
    if claim.reason == Reason::There && claim.sources.iter().all(covered) {
        return Changes::default();
    }
    let mut changes = Changes::default();
    let claimed: BTreeSet<Rule> = claim.sources.iter().cloned().map(ssh).collect();
    for rule in claimed.iter().filter(|rule| !wanted.contains(rule)) {
        let Some(text) = there.get(rule) else {
            changes.allow.push((rule.clone(), format!("{MARK}{}", claim.person)));
            continue;
        };
        let mut names = owners(rule, text);
        let text = names.insert(&claim.person).then(|| described(&names));
        // Where there is no more room for a name, the rule is there all the same.
        changes.describe.extend(text.filter(|text| text.len() <= LONGEST).map(|text| (rule.clone(), text)));
    }
    for rule in own.into_iter().filter(|rule| !claimed.contains(rule) && !wanted.contains(rule)) {
        let mut names = there.get(rule).map(|text| owners(rule, text)).unwrap_or_default();
        names.remove(claim.person.as_str());
        if names.is_empty() {
            changes.revoke.push(rule.clone());
        } else {
            changes.describe.push((rule.clone(), described(&names)));
        }
    }
    changes
}

fn described(names: &BTreeSet<&str>) -> String {
    format!("{MARK}{}", names.iter().copied().collect::<Vec<_>>().join(" "))
}

/// Whether all addresses of `inner` are in `outer`.
fn covers(outer: &RuleSource, inner: &RuleSource) -> bool {
    let read = |source: &RuleSource| {
        let (RuleSource::Ipv4(range) | RuleSource::Ipv6(range)) = source else { return None };
        let (address, length) = range.split_once('/')?;
        let (bits, width) = match address.parse().ok()? {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32_u32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        Some((bits, width, length.parse::<u32>().ok().filter(|length| *length <= width)?))
    };
    let (Some((outer, width, length)), Some((inner, inner_width, inner_length))) = (read(outer), read(inner)) else {
        return false;
    };
    let network = |bits: u128| bits.checked_shr(width - length).unwrap_or(0);
    width == inner_width && length <= inner_length && network(outer) == network(inner)
}

#[cfg(test)]
mod tests {
    use super::super::Ssh;
    use super::*;

    fn v4(range: &str) -> RuleSource {
        RuleSource::Ipv4(range.to_owned())
    }

    fn rules(rules: &[(&str, &str)]) -> Rules {
        rules.iter().map(|(range, text)| (ssh(v4(range)), (*text).to_owned())).collect()
    }

    fn claim(ranges: &[&str], reason: Reason) -> Ssh {
        Ssh::Person(Claim { person: "ann".to_owned(), sources: ranges.iter().map(|range| v4(range)).collect(), reason })
    }

    /// What is changed in a group of a role that opens SSH to everybody and to an office.
    fn told(there: &Rules, ssh_from: &Ssh) -> String {
        let wanted = BTreeSet::from([ssh(v4("0.0.0.0/0")), ssh(v4("198.51.100.0/24"))]);
        let found = super::super::changes(&wanted, there, ssh_from);
        let allow = found.allow.iter().map(|(rule, text)| format!("+ {rule} {text}"));
        let describe = found.describe.iter().map(|(rule, text)| format!("= {rule} {text}"));
        let revoke = found.revoke.iter().map(|rule| format!("- {rule}"));
        allow.chain(describe).chain(revoke).map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    const OFFICE: (&str, &str) = ("198.51.100.0/24", "");
    const OPEN: (&str, &str) = ("0.0.0.0/0", "");

    #[test]
    fn a_person_is_let_in_in_place_of_everybody_and_what_the_role_says_else_stays() {
        let here = claim(&["203.0.113.7/32"], Reason::There);
        insta::assert_snapshot!(told(&Rules::new(), &here), @"
        + tcp 22 from 198.51.100.0/24
        + tcp 22 from 203.0.113.7/32 fleetkey: ssh of ann
        ");
        insta::assert_snapshot!(told(&rules(&[OFFICE, OPEN]), &here), @"
        + tcp 22 from 203.0.113.7/32 fleetkey: ssh of ann
        - tcp 22 from 0.0.0.0/0
        ");
        let there = rules(&[OFFICE, ("203.0.113.7/32", "fleetkey: ssh of ann")]);
        assert_eq!(told(&there, &here), "");
    }

    #[test]
    fn a_group_that_was_narrowed_stays_so_until_somebody_opens_it() {
        let there = rules(&[OFFICE, ("203.0.113.7/32", "fleetkey: ssh of bob")]);
        assert!(is_narrowed(&there) && !is_narrowed(&rules(&[OFFICE, OPEN])) && !is_narrowed(&rules(&[OFFICE])));
        assert_eq!(told(&there, &Ssh::AsRole), "");
        assert_eq!(told(&there, &Ssh::Everywhere), "+ tcp 22 from 0.0.0.0/0\n");
        let both = rules(&[OFFICE, OPEN, ("203.0.113.7/32", "fleetkey: ssh of bob")]);
        assert_eq!(told(&both, &Ssh::AsRole), "");
    }

    #[test]
    fn whoever_moves_takes_their_own_rules_along_and_nobody_elses() {
        let there = rules(&[
            OFFICE,
            ("192.0.2.1/32", "fleetkey: ssh of ann"),
            ("192.0.2.2/32", "fleetkey: ssh of bob"),
            ("192.0.2.3/32", "fleetkey: ssh of ann bob"),
        ]);
        insta::assert_snapshot!(told(&there, &claim(&["203.0.113.7/32"], Reason::There)), @"
        + tcp 22 from 203.0.113.7/32 fleetkey: ssh of ann
        = tcp 22 from 192.0.2.3/32 fleetkey: ssh of bob
        - tcp 22 from 192.0.2.1/32
        ");
        insta::assert_snapshot!(told(&there, &claim(&["192.0.2.2/32"], Reason::There)), @"
        = tcp 22 from 192.0.2.2/32 fleetkey: ssh of ann bob
        = tcp 22 from 192.0.2.3/32 fleetkey: ssh of bob
        - tcp 22 from 192.0.2.1/32
        ");
    }

    #[test]
    fn a_range_that_was_said_covers_whoever_is_in_it_and_saying_another_replaces_it() {
        let there = rules(&[OFFICE, ("203.0.113.0/24", "fleetkey: ssh of ann")]);
        assert_eq!(told(&there, &claim(&["203.0.113.7/32"], Reason::There)), "");
        insta::assert_snapshot!(told(&there, &claim(&["203.0.113.7/32"], Reason::Said)), @"
        + tcp 22 from 203.0.113.7/32 fleetkey: ssh of ann
        - tcp 22 from 203.0.113.0/24
        ");
        for (outer, inner, covered) in [
            ("0.0.0.0/0", "203.0.113.7/32", true),
            ("203.0.113.7/32", "203.0.113.0/24", false),
            ("203.0.112.0/24", "203.0.113.7/32", false),
            ("203.0.113.7/32", "203.0.113.7/32", true),
        ] {
            assert_eq!(covers(&v4(outer), &v4(inner)), covered, "{outer} {inner}");
        }
        assert!(!covers(&v4("0.0.0.0/0"), &RuleSource::Ipv6("::/128".into())));
        assert!(covers(&RuleSource::Ipv6("::/0".into()), &RuleSource::Ipv6("2001:db8::1/128".into())));
    }

    #[test]
    fn a_rule_made_by_hand_becomes_the_persons_who_claims_it_and_another_goes() {
        let there = rules(&[OFFICE, ("203.0.113.7/32", "by hand"), ("192.0.2.9/32", "by hand")]);
        insta::assert_snapshot!(told(&there, &claim(&["203.0.113.7/32"], Reason::There)), @"
        = tcp 22 from 203.0.113.7/32 fleetkey: ssh of ann
        - tcp 22 from 192.0.2.9/32
        ");
    }

    #[test]
    fn the_mark_counts_beside_ssh_alone() {
        let web = Rule { ports: Some((80, 80)), ..ssh(v4("0.0.0.0/0")) };
        assert!(owners(&web, "fleetkey: ssh of ann").is_empty() && !is_open(&web));
        assert!(owners(&ssh(v4("192.0.2.1/32")), "fleetkey: ssh of ").is_empty());
        // A description that is full takes no more names, and the rule lets in all the same.
        let full = format!("{MARK}{}", "b".repeat(LONGEST - MARK.len()));
        let there = rules(&[OFFICE, ("203.0.113.7/32", &full)]);
        assert_eq!(told(&there, &claim(&["203.0.113.7/32"], Reason::There)), "");
    }
}
