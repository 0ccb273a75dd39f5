//! The `s3` registry: the public-key bucket.
//!
//! `people/<person>/` holds a person's keys for all regions; `ssh_pubkey:<fingerprint>` those of key pairs, for the
//! fleets that come from CGCloud. It only reads. What a listing or a download failed to show is told as a fault of the
//! persons concerned, never as keys that are gone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use aws_sdk_s3::Client;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join, join_all, try_join, try_join3};

use self::fetch::Fetched;
use self::list::Listed;
use self::rule::Rule;
use super::ec2::KeyPair;
use super::key_pairs::KeyPairs;
use super::place::{Place, words};
use super::{Access, KeyCache, KeyRegistry, Lookup, Registry, RegistryError};
use crate::bucket::{self, KeyMetadata};
use crate::key_line::MAX_BODY;
use crate::names::PersonName;
use crate::public_key::{Fingerprint, PublicKey};

mod fetch;
mod list;
mod rule;

/// Up to so many prefixes are listed one by one; for more, all that they have in common is listed once.
const FEW: usize = 10;

/// The public-key bucket.
#[derive(Debug, Clone)]
pub struct S3Registry {
    access: Access,
    pairs: KeyPairs,
}

/// An object to look at for one person.
#[derive(Debug)]
struct Wanted {
    person: PersonName,
    object: Listed,
    rule: Rule,
}

/// What listings showed, and the persons about whom they failed to.
#[derive(Debug, Default)]
struct Found {
    wanted: Vec<Wanted>,
    faults: BTreeMap<PersonName, Arc<RegistryError>>,
}

impl S3Registry {
    /// Asks with these clients; of them, that of S3 alone is used.
    pub(super) fn new(access: Access, pairs: KeyPairs) -> Self {
        Self { access, pairs }
    }

    async fn look(&self, people: &BTreeSet<PersonName>, cache: &KeyCache) -> BTreeMap<PersonName, Lookup> {
        let (own, of_pairs) = join(self.list_people(people), self.list_pairs(people)).await;
        let mut answer: BTreeMap<_, _> = people.iter().map(|person| (person.clone(), Lookup::default())).collect();
        for (person, fault) in own.faults.into_iter().chain(of_pairs.faults) {
            answer.entry(person).or_default().add(Lookup { fault: Some(fault), ..Lookup::default() });
        }
        let mut missing = Vec::new();
        for wanted in own.wanted.into_iter().chain(of_pairs.wanted) {
            match wanted.cached(cache) {
                Some(lookup) => answer.entry(wanted.person).or_default().add(lookup),
                None => missing.push(wanted),
            }
        }
        let fetched =
            fetch::objects(&self.access.s3, &self.access.bucket, missing.iter().map(|wanted| &wanted.object)).await;
        for wanted in missing {
            if let Some(fetched) = fetched.get(&wanted.object.key) {
                let lookup = self.read(&wanted, fetched);
                answer.entry(wanted.person).or_default().add(lookup);
            }
        }
        answer
    }

    /// The objects below `people/` of these persons.
    async fn list_people(&self, people: &BTreeSet<PersonName>) -> Found {
        if people.len() > FEW {
            let concerns =
                |key: &str| bucket::parse_person_key(key).is_some_and(|(person, _)| people.contains(&person));
            return match self.list(bucket::PEOPLE, concerns).await {
                Ok(objects) => {
                    Found { wanted: objects.into_iter().filter_map(Wanted::of_person).collect(), ..Found::default() }
                }
                Err(error) => Found::failed(people, error),
            };
        }
        let listings = people.iter().map(|person| async move {
            let prefix = bucket::person_prefix(person);
            (person, self.list(&prefix, |_| true).await)
        });
        let mut found = Found::default();
        for (person, listing) in join_all(listings).await {
            match listing {
                Ok(objects) => found.wanted.extend(objects.into_iter().filter_map(Wanted::of_person)),
                Err(error) => {
                    found.faults.insert(person.clone(), Arc::new(error));
                }
            }
        }
        found
    }

    /// The objects of the region's key pairs that are named as these persons.
    async fn list_pairs(&self, people: &BTreeSet<PersonName>) -> Found {
        let pairs = match self.pairs.of(Registry::S3, Some(people)).await {
            Ok(pairs) => pairs,
            Err(error) => return Found::failed(people, error),
        };
        let rules: Vec<(PersonName, String, Rule)> = pairs.iter().flat_map(objects_of_pair).collect();
        let names = rules.iter().map(|(_, name, _)| name.as_str()).collect();
        match self.existing(&names).await {
            Ok(objects) => {
                let wanted = |(person, name, rule): (PersonName, String, Rule)| {
                    let object = objects.get(name.as_str())?.clone();
                    Some(Wanted { person, object, rule })
                };
                Found { wanted: rules.into_iter().filter_map(wanted).collect(), ..Found::default() }
            }
            Err(error) => Found::failed(&rules.into_iter().map(|(person, ..)| person).collect(), error),
        }
    }

    /// Which of these `ssh_pubkey:` objects there are, by object key.
    async fn existing(&self, names: &BTreeSet<&str>) -> Result<HashMap<Arc<str>, Listed>, RegistryError> {
        let listings = if names.len() > FEW {
            vec![self.list(bucket::SSH_PUBKEY, |key| names.contains(key)).await]
        } else {
            join_all(names.iter().map(|&name| self.list(name, move |key| key == name))).await
        };
        let mut objects = HashMap::new();
        for listing in listings {
            objects.extend(listing?.into_iter().map(|object| (Arc::clone(&object.key), object)));
        }
        Ok(objects)
    }

    async fn list(&self, prefix: &str, keep: impl Fn(&str) -> bool) -> Result<Vec<Listed>, RegistryError> {
        list::objects(&self.access.s3, &self.access.bucket, prefix, keep).await
    }

    /// The keys in what was fetched of an object.
    fn read(&self, wanted: &Wanted, fetched: &Result<Fetched, Arc<RegistryError>>) -> Lookup {
        let object = &wanted.object;
        let mut place =
            Place { name: &object.key, version: &object.version, allowed: &self.access.allowed, expires: None };
        match fetched {
            Ok(Fetched::Body { bytes, metadata }) => match KeyMetadata::from_map(metadata) {
                Ok(metadata) => {
                    place.expires = metadata.expires;
                    place.read(bytes, |key| wanted.rule.check(key))
                }
                Err(error) => place.refused(words(&error)),
            },
            Ok(Fetched::Gone) => Lookup::default(),
            Ok(Fetched::TooLarge) => place.refused(format!("it has more than {MAX_BODY} bytes")),
            Err(error) => Lookup { fault: Some(Arc::clone(error)), ..Lookup::default() },
        }
    }

    async fn all_names(&self) -> Result<BTreeSet<PersonName>, RegistryError> {
        let (folders, pairs) = try_join(
            list::folders(&self.access.s3, &self.access.bucket, bucket::PEOPLE),
            self.pairs.of(Registry::S3, None),
        )
        .await?;
        let mut names: BTreeSet<PersonName> = folders.iter().filter_map(|folder| folder.parse().ok()).collect();
        names.extend(pairs.iter().map(|pair| pair.person.clone()));
        Ok(names)
    }

    async fn holds(&self, candidates: &[PublicKey]) -> Result<BTreeSet<Fingerprint>, RegistryError> {
        if candidates.is_empty() {
            return Ok(BTreeSet::new());
        }
        let wanted: BTreeSet<_> = candidates.iter().map(PublicKey::fingerprint).collect();
        let named = |key: &str| bucket::parse_person_key(key).and_then(|(_, named)| named);
        let (own, pairs, of_pairs) = try_join3(
            self.list(bucket::PEOPLE, |key| named(key).is_some_and(|named| wanted.contains(&named))),
            self.pairs.of(Registry::S3, None),
            self.list(bucket::SSH_PUBKEY, |_| true),
        )
        .await?;
        let of_pairs: BTreeSet<Arc<str>> = of_pairs.into_iter().map(|object| object.key).collect();
        let mut known: BTreeSet<_> = own.iter().filter_map(|object| named(&object.key)).collect();
        for key in candidates {
            if of_pairs.contains(bucket::ssh_pubkey_key(&key.ec2_fingerprint()).as_str()) {
                known.insert(key.fingerprint());
            }
        }
        // The name of a pair that EC2 made with RSA tells of its private half: only EC2 knows which key it is.
        for pair in pairs.iter() {
            if let Some(key) = pair.public_half().filter(|key| wanted.contains(&key.fingerprint()))
                && of_pairs.contains(object_of_pair(&pair.fingerprint).as_str())
            {
                known.insert(key.fingerprint());
            }
        }
        Ok(known)
    }
}

impl Found {
    fn failed(people: &BTreeSet<PersonName>, error: RegistryError) -> Self {
        let fault = Arc::new(error);
        let faults = people.iter().map(|person| (person.clone(), Arc::clone(&fault))).collect();
        Self { wanted: Vec::new(), faults }
    }
}

impl Wanted {
    fn of_person(object: Listed) -> Option<Self> {
        let (person, named) = bucket::parse_person_key(&object.key)?;
        Some(Self { person, object, rule: named.map_or(Rule::Any, Rule::Sha256) })
    }

    /// What the cache has of it, unless that does not fit its rule: then it is looked at anew.
    fn cached(&self, cache: &KeyCache) -> Option<Lookup> {
        let keys = cache.get(Registry::S3, &self.object.key, &self.object.version)?;
        let fit = keys.iter().all(|key| self.rule.check(&key.key).is_ok());
        fit.then(|| Lookup { keys: keys.into_iter().cloned().collect(), ..Lookup::default() })
    }
}

/// The object for a fingerprint in whatever form EC2 prints it.
fn object_of_pair(fingerprint: &str) -> String {
    format!("{}{fingerprint}", bucket::SSH_PUBKEY)
}

fn objects_of_pair(pair: &KeyPair) -> Vec<(PersonName, String, Rule)> {
    let object = |rule: Rule| match &rule {
        Rule::KeyPair { fingerprint, .. } => Some((pair.person.clone(), object_of_pair(fingerprint), rule)),
        Rule::Sha256(_) | Rule::Any => None,
    };
    Rule::of_pair(pair).into_iter().filter_map(object).collect()
}

impl KeyRegistry for S3Registry {
    fn kind(&self) -> Registry {
        Registry::S3
    }

    /// Everybody who has a folder below `people/`, and the names of the region's key pairs.
    fn names(&self) -> BoxFuture<'_, Result<BTreeSet<PersonName>, RegistryError>> {
        self.all_names().boxed()
    }

    fn keys<'a>(
        &'a self,
        people: &'a BTreeSet<PersonName>,
        cache: &'a KeyCache,
    ) -> BoxFuture<'a, BTreeMap<PersonName, Lookup>> {
        self.look(people, cache).boxed()
    }

    /// Goes by the names of objects alone, fetching none: keys in files that are not named by their SHA-256 are not
    /// seen. Lists the whole bucket: ask seldom.
    fn known<'a>(&'a self, candidates: &'a [PublicKey]) -> BoxFuture<'a, Result<BTreeSet<Fingerprint>, RegistryError>> {
        self.holds(candidates).boxed()
    }
}

/// The fingerprints of all revoked keys: the names of the objects below `revoked/`.
///
/// An object there whose name is no fingerprint bars nothing, and is warned of.
pub async fn revoked(client: &Client, bucket: &str) -> Result<BTreeSet<Fingerprint>, RegistryError> {
    let objects = list::objects(client, bucket, bucket::REVOKED, |_| true).await?;
    let mut revoked = BTreeSet::new();
    for object in objects {
        match bucket::parse_revoked_key(&object.key) {
            Some(fingerprint) => {
                revoked.insert(fingerprint);
            }
            None => {
                tracing::warn!(object = ?object.key, "a revocation names no key; it should be 64 hex digits");
            }
        }
    }
    Ok(revoked)
}
