//! Availability zones by name, and the regions that they are in. Nothing here asks AWS: a zone need not exist.

/// The region of an availability, local or wavelength zone: what stands up to and with its first number.
///
/// `us-west-2a`, `us-west-2-lax-1a` -> `us-west-2`. A region's own name is not a zone.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-regions-availability-zones.html>
pub(crate) fn region_of(zone: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let number = zone.find(|c: char| c.is_ascii_digit())?;
    let digits = zone[number..].chars().take_while(char::is_ascii_digit).count();
    let (region, rest) = zone.split_at(number + digits);
    let named = region.matches('-').count() >= 2 && zone.chars().all(plain) && zone[..number].ends_with('-');
    let letter = rest.len() == 1 && rest.chars().all(|c| c.is_ascii_lowercase());
    let local = rest.starts_with('-') && rest.len() > 1;
    (named && (letter || local)).then(|| region.to_owned())
}

/// The zones of a list with commas, in which each is tried after the one before.
pub(crate) fn listed(zones: &str) -> impl Iterator<Item = &str> {
    zones.split(',')
}

/// The one region that all zones of a list are in.
pub(crate) fn region_of_all(zones: &str) -> Option<String> {
    let mut regions = listed(zones).map(region_of);
    let first = regions.next()??;
    regions.all(|region| region.as_ref() == Some(&first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_zones_implies_a_region_if_all_are_in_it() {
        for (zones, region) in [
            ("us-west-2a", Some("us-west-2")),
            ("us-west-2b,us-west-2a", Some("us-west-2")),
            ("us-west-2b,eu-west-1a", None),
            ("us-west-2b,", None),
            (",us-west-2b", None),
            ("", None),
        ] {
            assert_eq!(region_of_all(zones).as_deref(), region, "{zones}");
        }
    }

    #[test]
    fn a_zone_of_every_kind_implies_its_region() {
        for (zone, region) in [
            ("us-west-2a", Some("us-west-2")),
            ("us-gov-west-1b", Some("us-gov-west-1")),
            ("us-west-2-lax-1a", Some("us-west-2")),
            ("us-east-1-wl1-bos-wlz-1", Some("us-east-1")),
            ("us-west-2", None),
            ("us-west-2ab", None),
            ("us-west-2-", None),
            ("uswest2a", None),
            ("us-west2a", None),
            ("us-west-a", None),
            ("US-west-2a", None),
            ("evil.example/us-west-2a", None),
        ] {
            assert_eq!(region_of(zone).as_deref(), region, "{zone}");
        }
    }
}
