//! What a security group lets in, as rules of one source each. Pure: what is and what should be come in, the difference
//! comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::role::{Ingress, IngressSource, Protocol};

pub(crate) mod from;
mod personal;

pub(crate) use personal::{Claim, Reason, is_narrowed, is_open, owned_by};

/// All of IPv4.
const ANYWHERE: &str = "0.0.0.0/0";

/// Something let in from one source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rule {
    /// `tcp`, `udp`, `icmp`, `icmpv6`, a number, or `-1` for all.
    pub(crate) protocol: String,
    /// First and last port, or type and code of ICMP; `None` where there are none.
    pub(crate) ports: Option<(i32, i32)>,
    /// From where.
    pub(crate) source: RuleSource,
}

/// From where something is let in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RuleSource {
    /// A range of IPv4 addresses.
    Ipv4(String),
    /// A range of IPv6 addresses.
    Ipv6(String),
    /// The group itself.
    Group,
    /// Another group: `sg-...`
    OtherGroup(String),
    /// A list of ranges: `pl-...`
    PrefixList(String),
}

impl RuleSource {
    /// The range of addresses, if it is one.
    pub(crate) fn range(&self) -> Option<&str> {
        match self {
            RuleSource::Ipv4(range) | RuleSource::Ipv6(range) => Some(range),
            _ => None,
        }
    }
}

/// What a group lets in: each rule with what is written beside it, which may be nothing.
pub(crate) type Rules = BTreeMap<Rule, String>;

/// What makes a group let in what it should and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// What is to be let in, with what is to be written beside it.
    pub(crate) allow: Vec<(Rule, String)>,
    /// Beside which rules something else is to be written.
    pub(crate) describe: Vec<(Rule, String)>,
    /// What is to be let in no more.
    pub(crate) revoke: Vec<Rule>,
}

/// From where SSH is to be let in, beside what the role says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ssh {
    /// As the role says; a group that was narrowed to the addresses of persons stays so.
    AsRole,
    /// From everywhere.
    Everywhere,
    /// Not from everywhere: from where persons are, and this one is there.
    Person(Claim),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.protocol.as_str(), self.ports) {
            ("-1", _) => f.write_str("everything")?,
            (protocol, None | Some((-1, _))) => f.write_str(protocol)?,
            (protocol @ ("icmp" | "icmpv6"), Some((kind, code))) => write!(f, "{protocol} {kind}/{code}")?,
            (protocol, Some((from, to))) if from == to => write!(f, "{protocol} {from}")?,
            (protocol, Some((from, to))) => write!(f, "{protocol} {from}-{to}")?,
        }
        match &self.source {
            RuleSource::Ipv4(range) | RuleSource::Ipv6(range) => write!(f, " from {range}"),
            RuleSource::Group => f.write_str(" from the group itself"),
            RuleSource::OtherGroup(id) | RuleSource::PrefixList(id) => write!(f, " from {id}"),
        }
    }
}

impl From<&Ingress> for Rule {
    fn from(ingress: &Ingress) -> Self {
        let protocol = match ingress.protocol {
            Protocol::All => "-1",
            other => other.as_str(),
        };
        let source = match &ingress.source {
            IngressSource::Ipv4(range) => {
                RuleSource::Ipv4(network(range, Ipv4Addr::BITS, |address: Ipv4Addr, mask| {
                    Ipv4Addr::from_bits(address.to_bits() & u32::MAX.checked_shl(mask).unwrap_or(0)).to_string()
                }))
            }
            IngressSource::Ipv6(range) => {
                RuleSource::Ipv6(network(range, Ipv6Addr::BITS, |address: Ipv6Addr, mask| {
                    Ipv6Addr::from_bits(address.to_bits() & u128::MAX.checked_shl(mask).unwrap_or(0)).to_string()
                }))
            }
            IngressSource::Group => RuleSource::Group,
        };
        let ports = (ingress.protocol != Protocol::All).then_some((ingress.from_port, ingress.to_port));
        Self { protocol: protocol.to_owned(), ports, source }
    }
}

/// A range as EC2 writes it down: with the address of the network, `10.1.2.3/8` as `10.0.0.0/8`. `mask` is given how
/// many of the last bits are the host's.
fn network<A: std::str::FromStr>(range: &str, bits: u32, masked: impl Fn(A, u32) -> String) -> String {
    let read = |range: &str| {
        let (address, length) = range.split_once('/')?;
        let host = bits.checked_sub(length.parse().ok()?)?;
        Some(format!("{}/{length}", masked(address.parse().ok()?, host)))
    };
    read(range).unwrap_or_else(|| range.to_owned())
}

/// What a role's group should let in.
pub(crate) fn wanted(ingress: &[Ingress]) -> BTreeSet<Rule> {
    ingress.iter().map(Rule::from).collect()
}

/// What is to be changed in a group. What is missing comes first, so that nobody is shut out on the way. Rules that are
/// a person's own stay, but for those of the person who is asked about.
pub(crate) fn changes(wanted: &BTreeSet<Rule>, there: &Rules, ssh: &Ssh) -> Changes {
    let mut wanted = wanted.clone();
    match ssh {
        Ssh::AsRole if personal::is_narrowed(there) => wanted.retain(|rule| !personal::is_open(rule)),
        Ssh::AsRole => {}
        Ssh::Everywhere => wanted.extend([personal::ssh(RuleSource::Ipv4(ANYWHERE.to_owned()))]),
        Ssh::Person(_) => wanted.retain(|rule| !personal::is_open(rule)),
    }
    let mut changes = match ssh {
        Ssh::Person(claim) => personal::changes(claim, there, &wanted),
        Ssh::AsRole | Ssh::Everywhere => Changes::default(),
    };
    let missing = wanted.iter().filter(|rule| !there.contains_key(rule));
    changes.allow.splice(0..0, missing.map(|rule| (rule.clone(), String::new())));
    let adopted = |rule: &Rule| changes.describe.iter().any(|(described, _)| described == rule);
    let strange = there
        .iter()
        .filter(|(rule, text)| !wanted.contains(rule) && personal::owners(rule, text).is_empty() && !adopted(rule));
    let strange: Vec<_> = strange.map(|(rule, _)| rule.clone()).collect();
    changes.revoke.extend(strange);
    changes
}

/// What lets a person in to a group from where they claim to be, and no more from where they were. All else stays.
pub(crate) fn move_person(claim: &Claim, there: &Rules) -> Changes {
    let others = there.iter().filter(|(rule, text)| personal::owners(rule, text).is_empty());
    personal::changes(claim, there, &others.map(|(rule, _)| rule.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ingress(protocol: Protocol, from_port: i32, to_port: i32, source: IngressSource) -> Ingress {
        Ingress { protocol, from_port, to_port, source }
    }

    fn anywhere() -> IngressSource {
        IngressSource::Ipv4("0.0.0.0/0".into())
    }

    #[test]
    fn fault_12_a_rule_that_the_role_no_longer_has_is_revoked_and_a_missing_one_is_added() {
        let ssh = ingress(Protocol::Tcp, 22, 22, anywhere());
        let web = ingress(Protocol::Tcp, 80, 80, anywhere());
        let there = wanted(&[ssh.clone(), ingress(Protocol::All, -1, -1, IngressSource::Group)]);
        let rules: Rules = there.iter().map(|rule| (rule.clone(), String::new())).collect();
        let found = changes(&wanted(&[ssh, web]), &rules, &Ssh::AsRole);
        assert_eq!(found.allow.iter().map(|(rule, _)| rule.to_string()).collect::<Vec<_>>(), ["tcp 80 from 0.0.0.0/0"]);
        assert_eq!(
            found.revoke.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["everything from the group itself"]
        );
        assert_eq!(changes(&there, &rules, &Ssh::AsRole), Changes::default());
    }

    #[test]
    fn ranges_are_compared_as_ec2_writes_them_down() {
        for (range, written) in [("10.1.2.3/8", "10.0.0.0/8"), ("1.2.3.4/32", "1.2.3.4/32"), ("1.2.3.4/0", "0.0.0.0/0")]
        {
            let rule = Rule::from(&ingress(Protocol::Udp, 53, 60, IngressSource::Ipv4(range.into())));
            assert_eq!(rule.to_string(), format!("udp 53-60 from {written}"));
        }
        for (range, written) in [("2001:DB8::1/32", "2001:db8::/32"), ("::1/128", "::1/128"), ("2001::/0", "::/0")] {
            let rule = Rule::from(&ingress(Protocol::Icmpv6, -1, -1, IngressSource::Ipv6(range.into())));
            assert_eq!(rule.to_string(), format!("icmpv6 from {written}"));
        }
        let rule = Rule::from(&ingress(Protocol::Icmp, 3, 4, anywhere()));
        assert_eq!(rule.to_string(), "icmp 3/4 from 0.0.0.0/0");
    }
}
