//! The caller's keys: whether she has any that let her in.

use std::collections::BTreeMap;
use std::time::Duration;

use fleetkey_common::bucket::{EXPIRES, KeyMetadata, person_prefix, revoked_key};
use fleetkey_common::names::PersonName;
use fleetkey_common::public_key::Fingerprint;
use jiff::Timestamp;

use super::world::{World, seconds};
use super::{Blocked, Finding};
use crate::aws::bucket::Bucket;
use crate::aws::{CallError, key_pairs};
use crate::holdings::keys_in;
use crate::registration::EXPIRES_TAG;

const NAME: &str = "key";

/// A key that ends sooner is told.
const SOON: Duration = Duration::from_hours(7 * 24);

/// A key, and what bars it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Held {
    /// When it ends, as each place says that holds it: what cannot be read is the end already.
    ends: Option<Timestamp>,
    revoked: bool,
}

pub(super) async fn look(world: &World) -> Result<Vec<Finding>, Blocked> {
    let region = world.region()?;
    world.caller().await?;
    let Some(person) = world.person().await else {
        let what = "the caller is no IAM user, so whose keys?";
        return Ok(vec![Finding::unknown(NAME, what).mend("fleetkey doctor --person NAME")]);
    };
    let register = format!("fleetkey register-key ~/.ssh/id_ed25519.pub --person {person} --region {region}");
    let bucket = world.bucket().await?;
    let mut findings = Vec::new();
    let mut held = match in_bucket(bucket, &person).await {
        Ok(held) => held,
        Err(error) => return Ok(vec![Finding::failed(NAME, &error)]),
    };
    let pairs =
        key_pairs::list(&world.ec2()).await.map(|pairs| pairs.into_iter().find(|pair| pair.name == person.as_str()));
    let pair = match pairs {
        Ok(Some(pair)) => {
            let ends = pair.tags.get(EXPIRES_TAG).map(|text| text.parse().unwrap_or(Timestamp::MIN));
            if let Some(fingerprint) = pair.sha256() {
                note(&mut held, fingerprint, ends);
            }
            Finding::ok(NAME, format!("key pair {person} in {region}"))
        }
        Ok(None) => {
            let what = format!("{region} has no key pair {person}: EC2 puts no key of hers into a box at launch");
            Finding::warning(NAME, what).mend(register.clone())
        }
        Err(error) => Finding::failed(NAME, &error),
    };
    for (fingerprint, key) in &mut held {
        match bucket.length(&revoked_key(*fingerprint)).await {
            Ok(there) => key.revoked = there.is_some(),
            Err(error) => findings.push(Finding::failed(NAME, &error)),
        }
    }
    let now = Timestamp::now();
    findings.extend(held.iter().map(|(fingerprint, key)| judge(&person, *fingerprint, key, now)));
    if held.is_empty() {
        findings.push(Finding::missing(NAME, format!("{person} has no registered key")).mend(register));
        return Ok(findings);
    }
    if held.values().all(|key| key.revoked || key.ends.is_some_and(|end| end <= now)) {
        findings.push(Finding::missing(NAME, format!("no key lets {person} in")).mend(register));
    }
    findings.push(pair);
    Ok(findings)
}

/// The keys of a person in the bucket.
async fn in_bucket(bucket: &Bucket, person: &PersonName) -> Result<BTreeMap<Fingerprint, Held>, CallError> {
    let mut held = BTreeMap::new();
    for path in bucket.list(&person_prefix(person)).await? {
        let Some(object) = bucket.get(&path).await? else { continue };
        let ends = match KeyMetadata::from_map(&object.metadata) {
            Ok(metadata) => metadata.expires,
            Err(_) => object.metadata.contains_key(EXPIRES).then_some(Timestamp::MIN),
        };
        for key in keys_in(&object.body) {
            note(&mut held, key.fingerprint(), ends);
        }
    }
    Ok(held)
}

/// Of two ends the earlier one counts, as it does for agents.
fn note(held: &mut BTreeMap<Fingerprint, Held>, fingerprint: Fingerprint, ends: Option<Timestamp>) {
    let key = held.entry(fingerprint).or_default();
    key.ends = key.ends.into_iter().chain(ends).min();
}

fn judge(person: &PersonName, fingerprint: Fingerprint, key: &Held, now: Timestamp) -> Finding {
    const NEW: &str = "make another: ssh-keygen -t ed25519; then fleetkey register-key";
    let key_of = format!("{fingerprint} of {person}");
    if key.revoked {
        return Finding::warning(NAME, format!("{key_of} is revoked")).mend(NEW);
    }
    let Some(end) = key.ends else { return Finding::ok(NAME, format!("{key_of} is registered")) };
    let longer = format!("fleetkey register-key FILE --person {person} --expires WHEN");
    if end <= now {
        return Finding::warning(NAME, format!("{key_of} has ended")).mend(longer);
    }
    match Duration::try_from(end.duration_since(now)) {
        Ok(left) if left < SOON => Finding::warning(NAME, format!("{key_of} ends in {}", seconds(left))).mend(longer),
        _ => Finding::ok(NAME, format!("{key_of} is registered until {end}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn a_key_is_judged_by_revocation_and_by_its_earliest_end() {
        let fingerprint: Fingerprint = "ab".repeat(32).parse().unwrap();
        let person: PersonName = "alice".parse().unwrap();
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
        let state = |ends: &[&str], revoked| {
            let mut held = BTreeMap::new();
            note(&mut held, fingerprint, None);
            for end in ends {
                note(&mut held, fingerprint, end.parse().ok());
            }
            judge(&person, fingerprint, &Held { revoked, ..held[&fingerprint].clone() }, now).state
        };
        assert_eq!(state(&[], false), State::Ok);
        assert_eq!(state(&["2027-11-28T12:00:00Z"], false), State::Ok);
        assert_eq!(state(&["2027-11-28T12:00:00Z", "2026-12-01T00:00:00Z"], false), State::Warning);
        assert_eq!(state(&["2026-11-28T11:00:00Z"], false), State::Warning);
        assert_eq!(state(&[], true), State::Warning);
    }
}
