//! What `--ssh-from` says, and which addresses a caller can have. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use super::RuleSource;

/// From where SSH is to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SshFrom {
    /// From where the caller is now.
    Auto,
    /// From these ranges.
    Ranges(BTreeSet<RuleSource>),
    /// From everywhere.
    Any,
}

impl FromStr for SshFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(SshFrom::Auto),
            "any" | "0.0.0.0/0" => Ok(SshFrom::Any),
            ranges => ranges.split(',').map(range).collect::<Result<_, _>>().map(SshFrom::Ranges),
        }
    }
}

/// A range whose last bits are zero, or one address.
fn range(text: &str) -> Result<RuleSource, String> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let bad = || format!("{text:?} is neither auto, any, nor a range of addresses such as 203.0.113.0/24");
    let address: IpAddr = address.parse().map_err(|_| bad())?;
    let whole = whole(address);
    let Some(length) = length else { return Ok(whole) };
    let (bits, width) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), Ipv4Addr::BITS),
        IpAddr::V6(address) => (address.to_bits(), u128::BITS),
    };
    let length: u32 = length.parse().ok().filter(|length| *length <= width).ok_or_else(bad)?;
    let host = 1_u128.checked_shl(width - length).map_or(u128::MAX, |bit| bit - 1);
    if bits & host != 0 {
        return Err(format!("{text}: the last {} bits of the range are not zero", width - length));
    }
    if length == 0 {
        return Err("give any to let in everybody".to_owned());
    }
    let range = format!("{address}/{length}");
    Ok(if address.is_ipv4() { RuleSource::Ipv4(range) } else { RuleSource::Ipv6(range) })
}

/// One address as a source.
pub(crate) fn whole(address: IpAddr) -> RuleSource {
    match address {
        IpAddr::V4(address) => RuleSource::Ipv4(format!("{address}/32")),
        IpAddr::V6(address) => RuleSource::Ipv6(format!("{address}/128")),
    }
}

/// What a service says that the caller's address is: the address and nothing else. With `private`, one of a private
/// network will do: the service is then the operator's own.
///
/// # Errors
/// Why that can be nobody's address.
pub(crate) fn caller(text: &str, private: bool) -> Result<IpAddr, String> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    let address: IpAddr = text.parse().map_err(|_| "that is no address".to_owned())?;
    let address = address.to_canonical();
    let kind = match address {
        IpAddr::V4(address) if address.is_unspecified() || address.is_broadcast() => "no address of anybody's",
        address if address.is_loopback() => "an address of every machine's own",
        address if address.is_multicast() || address.is_unspecified() => "no address of anybody's",
        IpAddr::V4(address) if address.is_link_local() => "an address that is good on one cable alone",
        IpAddr::V6(address) if address.is_unicast_link_local() => "an address that is good on one cable alone",
        IpAddr::V4(address) if !private && (address.is_private() || is_shared(address)) => "a private address",
        IpAddr::V6(address) if !private && address.is_unique_local() => "a private address",
        address => return Ok(address),
    };
    Err(format!("that is {kind}"))
}

/// What providers give to customers behind one address: RFC 6598.
fn is_shared(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && (64..128).contains(&second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_addresses_are_read_and_everything_else_is_told() {
        let read = |text: &str| text.parse::<SshFrom>();
        let v4 = |range: &str| RuleSource::Ipv4(range.to_owned());
        assert_eq!(read("auto"), Ok(SshFrom::Auto));
        assert_eq!(read("0.0.0.0/0"), Ok(SshFrom::Any));
        let ranges = BTreeSet::from([v4("203.0.113.7/32"), v4("10.0.0.0/8"), RuleSource::Ipv6("2001:db8::/32".into())]);
        assert_eq!(read("203.0.113.7,10.0.0.0/8,2001:DB8::/32"), Ok(SshFrom::Ranges(ranges)));
        for bad in ["", "me", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/8,", "example.org", "10.0.0.0/8 ", "::/129"] {
            assert!(read(bad).unwrap_err().contains("is neither auto, any, nor a range"), "{bad}");
        }
        assert_eq!(read("10.1.0.0/8").unwrap_err(), "10.1.0.0/8: the last 24 bits of the range are not zero");
        assert_eq!(read("::/0").unwrap_err(), "give any to let in everybody");
    }

    #[test]
    fn only_an_address_that_somebody_can_have_is_taken_for_the_callers() {
        let found = |text: &str, private| caller(text, private).map(|address| address.to_string());
        assert_eq!(found("203.0.113.7\n", false).unwrap(), "203.0.113.7");
        assert_eq!(found("203.0.113.7\r\n", false).unwrap(), "203.0.113.7");
        assert_eq!(found("2001:db8::1", false).unwrap(), "2001:db8::1");
        assert_eq!(found("::ffff:203.0.113.7", false).unwrap(), "203.0.113.7");
        for bad in ["", "203.0.113.7\n\n", " 203.0.113.7", "203.0.113.7, 10.0.0.1", "<html>", "203.0.113.7/0", "0x1"] {
            assert_eq!(found(bad, true).unwrap_err(), "that is no address", "{bad:?}");
        }
        for bad in ["127.0.0.1", "::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "169.254.169.254", "fe80::1"] {
            assert!(found(bad, true).is_err(), "{bad}");
        }
        for private in ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "::ffff:10.0.0.1"] {
            assert_eq!(found(private, false).unwrap_err(), "that is a private address", "{private}");
            assert!(found(private, true).is_ok(), "{private}");
        }
    }
}
