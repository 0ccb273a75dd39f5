//! The rules of a box's security group, as a role states them.

use std::net::IpAddr;

use super::fields::{Findings, find};
use super::model::{Ingress, IngressSource};
use super::node::{Node, Value};
use super::words::Protocol;

/// What a role lets in that says nothing of it, as CGCloud does: SSH, and the ICMP message without which a path with a
/// small MTU swallows packets (fragmentation needed).
pub(super) fn default() -> Vec<Ingress> {
    let anywhere = IngressSource::Ipv4("0.0.0.0/0".to_owned());
    let ssh = Ingress { protocol: Protocol::Tcp, from_port: 22, to_port: 22, source: anywhere.clone() };
    vec![ssh, Ingress { protocol: Protocol::Icmp, from_port: 3, to_port: 4, source: anywhere }]
}

/// The rules, each once.
pub(super) fn read(node: &Node, findings: &mut Findings) -> Vec<Ingress> {
    let mut rules: Vec<Ingress> = Vec::new();
    for node in findings.list(node, "ingress") {
        rules.extend(rule(node, findings).filter(|rule| !rules.contains(rule)));
    }
    rules
}

fn rule(node: &Node, findings: &mut Findings) -> Option<Ingress> {
    let entries = findings.map(node, "an ingress rule", &["protocol", "ports", "type", "code", "from"]);
    let at = |name: &str| find(&entries, name);
    let protocol = match at("protocol") {
        Some(node) => findings.word(node, "protocol", Protocol::WORDS)?,
        None => Protocol::Tcp,
    };
    let allowed: &[&str] = match protocol {
        Protocol::Tcp | Protocol::Udp => &["protocol", "from", "ports"],
        Protocol::Icmp | Protocol::Icmpv6 => &["protocol", "from", "type", "code"],
        Protocol::All => &["protocol", "from"],
    };
    for (key, _) in entries.iter().filter(|(key, _)| !allowed.contains(&key.name.as_str())) {
        findings.error(&key.place, format!("a rule of protocol {protocol} has no {}", key.name));
    }
    let source = at("from").and_then(|node| source(node, findings));
    if at("from").is_none() {
        findings.missing(&node.place, "from", "give a range such as 10.0.0.0/8, or group for boxes of the same role");
    }
    let (from_port, to_port) = match protocol {
        Protocol::Tcp | Protocol::Udp => {
            if at("ports").is_none() {
                findings.missing(&node.place, "ports", "give one, such as 443, or a range, such as 8000-8080");
            }
            ports(at("ports")?, findings)?
        }
        Protocol::Icmp | Protocol::Icmpv6 => {
            let mut part = |name: &str| at(name).map_or(Some(-1), |node| number(node, name, -1..=255, findings));
            (part("type")?, part("code")?)
        }
        Protocol::All => (-1, -1),
    };
    Some(Ingress { protocol, from_port, to_port, source: source? })
}

fn number(node: &Node, what: &str, bounds: std::ops::RangeInclusive<i64>, findings: &mut Findings) -> Option<i32> {
    findings.number(node, what, bounds).and_then(|number| i32::try_from(number).ok())
}

/// `22`, or `8000-8080`.
fn ports(node: &Node, findings: &mut Findings) -> Option<(i32, i32)> {
    if let Value::Int(_) = node.value {
        return number(node, "ports", 0..=65_535, findings).map(|port| (port, port));
    }
    let text = findings.text(node, "ports")?;
    let port = |text: &str| text.parse::<u16>().ok().map(i32::from);
    let range = text.split_once('-').and_then(|(first, last)| Some((port(first.trim())?, port(last.trim())?)));
    let range = range.filter(|(first, last)| first <= last);
    if range.is_none() {
        findings
            .error(&node.place, format!("ports {text:?} is neither one, such as 443, nor a range, such as 8000-8080"));
    }
    range
}

/// A range of addresses whose last bits are zero, as EC2 wants it, or `group`.
fn source(node: &Node, findings: &mut Findings) -> Option<IngressSource> {
    let text = findings.text(node, "from")?;
    if text == "group" {
        return Some(IngressSource::Group);
    }
    let range = text.split_once('/').and_then(|(address, bits)| {
        let (address, bits) = (address.parse::<IpAddr>().ok()?, bits.parse::<u8>().ok()?);
        let (value, width) = match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32_u8),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let host_bits = u32::from(width.checked_sub(bits)?);
        let mask = 1_u128.checked_shl(host_bits).map_or(u128::MAX, |bit| bit - 1);
        let clean = value & mask == 0;
        clean.then(|| if width == 32 { IngressSource::Ipv4(text.clone()) } else { IngressSource::Ipv6(text.clone()) })
    });
    if range.is_none() {
        let hint = "give a range whose last bits are zero, such as 10.0.0.0/8 or 2001:db8::/32, or group";
        findings.error(&node.place, format!("from: {text:?} is no range of addresses; {hint}"));
    }
    range
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::yaml;
    use super::*;

    fn told(text: &str) -> String {
        let node = yaml::parse(&Arc::from("r.yaml"), text.as_bytes()).unwrap();
        let mut findings = Findings::default();
        let rules = read(&node, &mut findings);
        match findings.into_result(()) {
            Ok(()) => serde_saphyr::to_string(&rules).unwrap(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn rules_are_read_and_written_in_the_same_form_and_count_once() {
        let text = "- {ports: 22, from: 0.0.0.0/0}\n- {protocol: udp, ports: 8000-8080, from: group}\n\
                    - {protocol: icmp, type: 3, code: 4, from: 10.0.0.0/8}\n- {protocol: all, from: 2001:db8::/32}\n\
                    - {protocol: tcp, ports: 22, from: 0.0.0.0/0}\n- {ports: 1, from: 10.1.2.3/32}\n- {ports: 1, from: '::/0'}\n";
        let once = told(text);
        insta::assert_snapshot!(once, @r#"
        - protocol: tcp
          ports: 22
          from: 0.0.0.0/0
        - protocol: udp
          ports: 8000-8080
          from: group
        - protocol: icmp
          type: 3
          code: 4
          from: 10.0.0.0/8
        - protocol: all
          from: 2001:db8::/32
        - protocol: tcp
          ports: 1
          from: 10.1.2.3/32
        - protocol: tcp
          ports: 1
          from: "::/0"
        "#);
        assert_eq!(told(&once), once);
    }

    #[test]
    fn rules_that_ec2_would_refuse_or_change_are_told() {
        insta::assert_snapshot!(told(
            "- {ports: 22, from: 10.0.0.1/8}\n- {ports: 70000, from: group}\n- {ports: 9-8, from: group}\n\
             - {ports: 22}\n- {protocol: icmp, ports: 22, from: group}\n- {protocol: tpc, ports: 1, from: group}\n\
             - {from: 10.0.0.0/33, ports: 1}\n- {from: example.org, ports: 1}\n- {from: '2001:db8::1/64', ports: 1}\n"
        ), @r#"
        r.yaml:1:21: from: "10.0.0.1/8" is no range of addresses; give a range whose last bits are zero, such as 10.0.0.0/8 or 2001:db8::/32, or group
        r.yaml:2:11: ports: 70000 is out of range; give 0 to 65535
        r.yaml:3:11: ports "9-8" is neither one, such as 443, nor a range, such as 8000-8080
        r.yaml:4:3: from is missing; give a range such as 10.0.0.0/8, or group for boxes of the same role
        r.yaml:5:20: a rule of protocol icmp has no ports
        r.yaml:6:14: protocol: "tpc" is not a protocol; give tcp, udp, icmp, icmpv6, all (did you mean "tcp"?)
        r.yaml:7:10: from: "10.0.0.0/33" is no range of addresses; give a range whose last bits are zero, such as 10.0.0.0/8 or 2001:db8::/32, or group
        r.yaml:8:10: from: "example.org" is no range of addresses; give a range whose last bits are zero, such as 10.0.0.0/8 or 2001:db8::/32, or group
        r.yaml:9:10: from: "2001:db8::1/64" is no range of addresses; give a range whose last bits are zero, such as 10.0.0.0/8 or 2001:db8::/32, or group
        "#);
    }
}
