//! The `iam` registry: SSH public keys on the IAM user, those that a person can upload for CodeCommit.
//!
//! IAM allows few calls a second for the whole account: few are made at once, and no key is fetched twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_sdk_iam::Client;
use aws_sdk_iam::types::{EncodingType, SshPublicKeyMetadata, StatusType};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};

use super::place::Place;
use super::{KeyCache, KeyRegistry, Lookup, Registry, RegistryError};
use crate::aws::is_no_such_entity;
use crate::names::PersonName;
use crate::public_key::{Fingerprint, PublicKey};
use crate::restrictions::AllowedOptions;

/// Calls to IAM that are under way at once.
const CONCURRENCY: usize = 4;
/// Entries asked for in one page: the most that IAM gives.
const PAGE: i32 = 1000;

/// The SSH public keys of the account's users.
#[derive(Debug, Clone)]
pub struct IamRegistry {
    client: Client,
    allowed: AllowedOptions,
}

impl IamRegistry {
    /// Asks by this client. Keys with options are not handed out: IAM takes none.
    pub fn new(client: Client) -> Self {
        Self { client, allowed: AllowedOptions::default() }
    }

    async fn look(&self, people: &BTreeSet<PersonName>, cache: &KeyCache) -> BTreeMap<PersonName, Lookup> {
        let lookups: Vec<_> =
            people.iter().map(|person| async move { (person.clone(), self.person(person, cache).await) }).collect();
        stream::iter(lookups).buffer_unordered(CONCURRENCY).collect().await
    }

    /// What one person has. A key that cannot be fetched leaves a fault beside the others.
    async fn person(&self, person: &PersonName, cache: &KeyCache) -> Lookup {
        let mut lookup = Lookup::default();
        let listed = match self.list(person).await {
            Ok(listed) => listed,
            Err(error) => return Lookup { fault: Some(Arc::new(error)), ..lookup },
        };
        for key in listed {
            match self.key(person, &key, cache).await {
                Ok(one) => lookup.add(one),
                Err(error) => lookup.fault = Some(Arc::new(error)),
            }
        }
        lookup
    }

    /// The active keys of a person, by pages. A user who does not exist has none.
    async fn list(&self, person: &PersonName) -> Result<Vec<SshPublicKeyMetadata>, RegistryError> {
        let action = || format!("ListSSHPublicKeys {person}");
        let mut keys = Vec::new();
        let mut marker = None;
        loop {
            let request = self.client.list_ssh_public_keys().user_name(person.as_str()).set_marker(marker.take());
            let page = match request.send().await {
                Ok(page) => page,
                Err(error) if is_no_such_entity(&error) => return Ok(Vec::new()),
                Err(error) => return Err(RegistryError::of_call(Registry::Iam, action(), &error)),
            };
            let active = |key: &SshPublicKeyMetadata| key.status == StatusType::Active;
            keys.extend(page.ssh_public_keys.unwrap_or_default().into_iter().filter(active));
            if !page.is_truncated {
                return Ok(keys);
            }
            marker = page.marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                return Err(RegistryError::cut_short(Registry::Iam, action()));
            }
        }
    }

    async fn key(
        &self,
        person: &PersonName,
        listed: &SshPublicKeyMetadata,
        cache: &KeyCache,
    ) -> Result<Lookup, RegistryError> {
        let id = &listed.ssh_public_key_id;
        let name = Arc::from(format!("IAM SSH key {id}"));
        let version = listed.upload_date.as_nanos().to_string();
        if let Some(keys) = cache.get(Registry::Iam, &name, &version) {
            return Ok(Lookup { keys: keys.into_iter().cloned().collect(), ..Lookup::default() });
        }
        let request = self.client.get_ssh_public_key().user_name(person.as_str()).ssh_public_key_id(id);
        let key = match request.encoding(EncodingType::Ssh).send().await {
            Ok(answer) => answer.ssh_public_key,
            // Deleted since it was listed.
            Err(error) if is_no_such_entity(&error) => return Ok(Lookup::default()),
            Err(error) => {
                let action = format!("GetSSHPublicKey {person} {id}");
                return Err(RegistryError::of_call(Registry::Iam, action, &error));
            }
        };
        let place = Place { name: &name, version: &version, allowed: &self.allowed, expires: None };
        Ok(match key {
            Some(key) if key.status != StatusType::Active => Lookup::default(),
            Some(key) => place.read(key.ssh_public_key_body.as_bytes(), |_| Ok(())),
            None => place.refused("IAM answered without it"),
        })
    }

    /// All users whose names are persons', by pages.
    async fn users(&self) -> Result<BTreeSet<PersonName>, RegistryError> {
        let mut users = BTreeSet::new();
        let mut marker = None;
        loop {
            let request = self.client.list_users().max_items(PAGE).set_marker(marker.take());
            let page =
                request.send().await.map_err(|error| RegistryError::of_call(Registry::Iam, "ListUsers", &error))?;
            users.extend(page.users.iter().filter_map(|user| user.user_name.parse::<PersonName>().ok()));
            if !page.is_truncated {
                return Ok(users);
            }
            marker = page.marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                return Err(RegistryError::cut_short(Registry::Iam, "ListUsers"));
            }
        }
    }

    async fn holds(&self, candidates: &[PublicKey]) -> Result<BTreeSet<Fingerprint>, RegistryError> {
        if candidates.is_empty() {
            return Ok(BTreeSet::new());
        }
        let people = self.users().await?;
        let mut known = BTreeSet::new();
        for lookup in self.look(&people, &KeyCache::default()).await.into_values() {
            if let Some(fault) = lookup.fault {
                return Err(RegistryError::clone(&fault));
            }
            known.extend(lookup.keys.iter().map(|key| key.key.fingerprint()));
        }
        Ok(candidates.iter().map(PublicKey::fingerprint).filter(|candidate| known.contains(candidate)).collect())
    }
}

impl KeyRegistry for IamRegistry {
    fn kind(&self) -> Registry {
        Registry::Iam
    }

    /// All IAM users, whether or not they have keys: to tell would take a call for each.
    fn names(&self) -> BoxFuture<'_, Result<BTreeSet<PersonName>, RegistryError>> {
        self.users().boxed()
    }

    fn keys<'a>(
        &'a self,
        people: &'a BTreeSet<PersonName>,
        cache: &'a KeyCache,
    ) -> BoxFuture<'a, BTreeMap<PersonName, Lookup>> {
        self.look(people, cache).boxed()
    }

    /// Fetches the keys of every user of the account, one call for each user and each key, since IAM cannot be asked
    /// by key. In an account of a thousand users this takes minutes and much of the calls that IAM allows: ask seldom.
    fn known<'a>(&'a self, candidates: &'a [PublicKey]) -> BoxFuture<'a, Result<BTreeSet<Fingerprint>, RegistryError>> {
        self.holds(candidates).boxed()
    }
}
