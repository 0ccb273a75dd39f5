//! The `ec2` registry: the key pairs of a region, with the public half that EC2 returns.
//!
//! A key pair of the name `alice` holds the key of the person `alice`. Pairs whose names no person can have are passed
//! over. Only what EC2 answers is read; no key pair is made or changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, KeyPairInfo};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::key_pairs::KeyPairs;
use super::place::Place;
use super::{KeyCache, KeyRegistry, Lookup, Registry, RegistryError};
use crate::names::PersonName;
use crate::public_key::{Ec2Fingerprint, Fingerprint, PublicKey, Verdict};
use crate::restrictions::AllowedOptions;

/// The most values that a filter takes.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeKeyPairs.html>
const MAX_FILTER_VALUES: usize = 200;

/// The tag of a key pair that says until when its key is good, as an RFC 3339 time.
pub const EXPIRES_TAG: &str = "fleetkey:expires";

/// The key pairs of the client's region.
#[derive(Debug, Clone)]
pub struct Ec2Registry {
    pairs: KeyPairs,
    allowed: AllowedOptions,
}

impl Ec2Registry {
    /// Asks for these. Keys with options are not handed out: a key pair has no place for them.
    pub(super) fn new(pairs: KeyPairs) -> Self {
        Self { pairs, allowed: AllowedOptions::default() }
    }

    async fn look(&self, people: &BTreeSet<PersonName>) -> BTreeMap<PersonName, Lookup> {
        let pairs = match self.pairs.of(Registry::Ec2, Some(people)).await {
            Ok(pairs) => pairs,
            Err(error) => return Lookup::all_failed(people, error),
        };
        let mut found: BTreeMap<_, _> = people.iter().map(|person| (person.clone(), Lookup::default())).collect();
        for pair in pairs.iter() {
            if let Some(lookup) = found.get_mut(&pair.person) {
                lookup.add(pair.read(&self.allowed));
            }
        }
        found
    }

    /// All public halves are compared. A filter by fingerprint would miss the pairs that EC2 made with RSA, of which
    /// it keeps a fingerprint of the private half, and these are what it puts on an instance at launch.
    async fn holds(&self, candidates: &[PublicKey]) -> Result<BTreeSet<Fingerprint>, RegistryError> {
        if candidates.is_empty() {
            return Ok(BTreeSet::new());
        }
        let pairs = self.pairs.of(Registry::Ec2, None).await?;
        let halves: BTreeSet<_> =
            pairs.iter().filter_map(|pair| pair.public_half().map(|key| key.fingerprint())).collect();
        Ok(candidates.iter().map(PublicKey::fingerprint).filter(|candidate| halves.contains(candidate)).collect())
    }
}

impl KeyRegistry for Ec2Registry {
    fn kind(&self) -> Registry {
        Registry::Ec2
    }

    fn names(&self) -> BoxFuture<'_, Result<BTreeSet<PersonName>, RegistryError>> {
        async move {
            let pairs = self.pairs.of(Registry::Ec2, None).await?;
            Ok(pairs.iter().map(|pair| pair.person.clone()).collect())
        }
        .boxed()
    }

    /// One call answers for all and brings the keys, so that there is nothing to take from the cache.
    fn keys<'a>(
        &'a self,
        people: &'a BTreeSet<PersonName>,
        _cache: &'a KeyCache,
    ) -> BoxFuture<'a, BTreeMap<PersonName, Lookup>> {
        self.look(people).boxed()
    }

    fn known<'a>(&'a self, candidates: &'a [PublicKey]) -> BoxFuture<'a, Result<BTreeSet<Fingerprint>, RegistryError>> {
        self.holds(candidates).boxed()
    }
}

/// A key pair whose name can be a person's, as EC2 describes it.
#[derive(Debug, Clone)]
pub(super) struct KeyPair {
    /// Its name.
    pub(super) person: PersonName,
    id: String,
    /// As EC2 prints it.
    pub(super) fingerprint: String,
    public_key: Option<String>,
    expires: Option<String>,
}

/// The key pairs of the region, or those named as `people`, with their public halves. The call knows no pages.
pub(super) async fn key_pairs(
    client: &Client,
    asking: Registry,
    people: Option<&BTreeSet<PersonName>>,
) -> Result<Vec<KeyPair>, RegistryError> {
    if people.is_some_and(BTreeSet::is_empty) {
        return Ok(Vec::new());
    }
    let names = people.filter(|people| people.len() <= MAX_FILTER_VALUES).map(|people| {
        let names = people.iter().map(|person| person.as_str().to_owned()).collect();
        Filter::builder().name("key-name").set_values(Some(names)).build()
    });
    let request = client.describe_key_pairs().include_public_key(true).set_filters(names.map(|filter| vec![filter]));
    let answer =
        Box::pin(request.send()).await.map_err(|error| RegistryError::of_call(asking, "DescribeKeyPairs", &error))?;
    let pairs = answer.key_pairs.unwrap_or_default().into_iter().filter_map(KeyPair::new);
    Ok(pairs.filter(|pair| people.is_none_or(|people| people.contains(&pair.person))).collect())
}

impl KeyPair {
    fn new(info: KeyPairInfo) -> Option<Self> {
        let person = info.key_name.as_deref()?.parse().ok()?;
        let expires = info.tags.unwrap_or_default().into_iter().find(|tag| tag.key() == Some(EXPIRES_TAG));
        Some(Self {
            person,
            id: info.key_pair_id.unwrap_or_default(),
            fingerprint: info.key_fingerprint.unwrap_or_default(),
            public_key: info.public_key,
            expires: expires.map(|tag| tag.value.unwrap_or_default()),
        })
    }

    /// The public half that EC2 returned.
    pub(super) fn public_half(&self) -> Option<PublicKey> {
        self.public_key.as_deref()?.parse().ok()
    }

    /// Its key, with the expiry in its tag.
    fn read(&self, allowed: &AllowedOptions) -> Lookup {
        let name = Arc::from(format!("key pair {}", self.person));
        let mut place = Place { name: &name, version: &self.id, allowed, expires: None };
        let Some(body) = &self.public_key else {
            return place.refused("EC2 returned no public half of it; register the key in the bucket");
        };
        match self.expires.as_deref().map(str::parse::<Timestamp>) {
            Some(Ok(expires)) => place.expires = Some(expires),
            Some(Err(_)) => return place.refused(format!("its tag {EXPIRES_TAG} is not an RFC 3339 time")),
            None => {}
        }
        place.read(body.as_bytes(), |key| self.fits(key))
    }

    /// Whether a public half that EC2 itself returned goes with the fingerprint beside it.
    ///
    /// EC2 prints a fingerprint of the private half for RSA that it made, and stand-ins for EC2 print that of Ed25519 in
    /// forms of their own: then the key counts. An imported RSA key that does not fit was tampered with somewhere.
    fn fits(&self, key: &PublicKey) -> Result<(), String> {
        let verdict = self.fingerprint.parse::<Ec2Fingerprint>().map(|fingerprint| fingerprint.verify(key));
        match verdict {
            Ok(Verdict::Same | Verdict::CannotTell) => Ok(()),
            _ if key.algorithm() == "ssh-ed25519" => {
                tracing::debug!(person = %self.person, "the fingerprint of this key pair is not the one that AWS documents");
                Ok(())
            }
            Ok(Verdict::Different) => Err(format!("its key is not the one with the fingerprint {}", self.fingerprint)),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::tests::{ed25519, rsa};

    fn pair(fingerprint: String, key: &PublicKey) -> KeyPair {
        KeyPair {
            person: "alice".parse().unwrap(),
            id: "key-1".to_owned(),
            fingerprint,
            public_key: Some(format!("{key} alice\n")),
            expires: None,
        }
    }

    fn read(pair: &KeyPair) -> Result<PublicKey, String> {
        let mut lookup = pair.read(&AllowedOptions::default());
        assert_eq!(lookup.keys.len() + lookup.rejected.len(), 1);
        lookup.keys.pop().map(|key| key.key).ok_or_else(|| lookup.rejected.remove(0).reason)
    }

    #[test]
    fn an_imported_rsa_key_must_fit_its_fingerprint() {
        let (ours, other) = (rsa(1), rsa(2));
        assert_eq!(read(&pair(ours.ec2_fingerprint().to_string(), &ours)), Ok(ours.clone()));
        let reason = read(&pair(other.ec2_fingerprint().to_string(), &ours)).unwrap_err();
        assert!(reason.contains("not the one with the fingerprint"), "{reason}");
        assert!(read(&pair("??".to_owned(), &ours)).is_err());
    }

    #[test]
    fn an_rsa_key_that_ec2_made_is_taken_since_its_fingerprint_says_nothing_of_the_public_half() {
        let key = rsa(1);
        assert_eq!(read(&pair("aa:".repeat(19) + "aa", &key)), Ok(key));
    }

    #[test]
    fn an_ed25519_key_that_ec2_returns_is_taken_whatever_form_its_fingerprint_has() {
        let key = ed25519(1);
        for fingerprint in [key.ec2_fingerprint().to_string(), "aa:".repeat(31) + "aa"] {
            assert_eq!(read(&pair(fingerprint, &key)), Ok(key.clone()));
        }
    }

    #[test]
    fn t6_a_pair_with_options_or_without_its_public_half_or_with_a_bad_expiry_is_refused() {
        let key = ed25519(1);
        let good = pair(key.ec2_fingerprint().to_string(), &key);
        let command = KeyPair { public_key: Some(format!("command=\"sh\" {key}")), ..good.clone() };
        assert!(read(&command).is_err());
        assert!(read(&KeyPair { public_key: None, ..good.clone() }).unwrap_err().contains("no public half"));
        let bad = KeyPair { expires: Some("tomorrow".to_owned()), ..good.clone() };
        assert!(read(&bad).unwrap_err().contains("RFC 3339"));
        let until = KeyPair { expires: Some("2027-01-01T00:00:00Z".to_owned()), ..good };
        let lookup = until.read(&AllowedOptions::default());
        assert_eq!(lookup.keys[0].restrictions.expires, "2027-01-01T00:00:00Z".parse().ok());
    }
}
