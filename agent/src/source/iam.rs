//! The `iam` source: groups and users from IAM, keys from the registries, revocations from the bucket.
//!
//! Each group, user and registry fails alone. A group is told with all its users or not at all: a list that is shorter
//! than the group would take access away.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use aws_sdk_iam::Client;
use fleetkey_common::aws::{error_text, is_no_such_entity};
use fleetkey_common::key_spec::{KeySpec, NameGlob};
use fleetkey_common::names::{GroupName, PersonName};
use fleetkey_common::public_key::{Fingerprint, PublicKey};
use fleetkey_common::registry::{self, Access, KeyCache, KeyRegistry, Lookup, Registry, RegistryError, s3};
use futures_util::future::{BoxFuture, join, join_all, join3};
use futures_util::{FutureExt as _, StreamExt as _, stream};

use super::{Fault, Findings, Membership, Source};

/// Calls for groups, and calls for users, that are under way at once: IAM allows few a second for the whole account.
const CONCURRENCY: usize = 4;
/// Users asked for in one page: the most that IAM gives.
const PAGE: i32 = 1000;

/// Asks IAM, and the registries for keys.
#[derive(Debug)]
pub struct IamSource {
    client: Client,
    registries: Vec<Box<dyn KeyRegistry>>,
    revocations: Option<(aws_sdk_s3::Client, String)>,
}

/// The source with registries of these kinds. With `revocations`, the list of revoked keys is read from the bucket.
pub fn open(kinds: &[Registry], access: &Access, revocations: bool) -> IamSource {
    let revocations = revocations.then(|| (access.s3.clone(), access.bucket.clone()));
    IamSource::new(access.iam.clone(), registry::open(kinds, access), revocations)
}

/// What the key specs ask for, by kind.
#[derive(Debug, Default)]
struct Asked<'a> {
    groups: Vec<&'a GroupName>,
    users: Vec<&'a PersonName>,
    people: BTreeSet<PersonName>,
    globs: Vec<&'a NameGlob>,
}

impl<'a> Asked<'a> {
    fn of(specs: &'a BTreeSet<KeySpec>) -> Self {
        let mut asked = Self::default();
        for spec in specs {
            match spec {
                KeySpec::Group(group) => asked.groups.push(group),
                KeySpec::User(user) => asked.users.push(user),
                KeySpec::Name(person) => {
                    asked.people.insert(person.clone());
                }
                KeySpec::Glob(glob) => asked.globs.push(glob),
                // The agent's configuration refuses it: an instance is no person.
                KeySpec::Me => {}
            }
        }
        asked
    }

    /// Everybody to whom some spec leads, going by what was found.
    fn people(&self, findings: &Findings) -> BTreeSet<PersonName> {
        let mut people = self.people.clone();
        for membership in findings.groups.values() {
            if let Ok(Membership::Of(users)) = membership {
                people.extend(users.iter().cloned());
            }
        }
        people.extend(findings.users.iter().filter(|(_, exists)| **exists == Ok(true)).map(|(user, _)| user.clone()));
        for names in findings.names.values().flatten() {
            people.extend(names.iter().filter(|name| self.globs.iter().any(|glob| glob.matches(name))).cloned());
        }
        people
    }
}

impl IamSource {
    /// Asks IAM by `client`. `revocations`: the bucket that holds the list of revoked keys, and how to reach it.
    pub fn new(
        client: Client,
        registries: Vec<Box<dyn KeyRegistry>>,
        revocations: Option<(aws_sdk_s3::Client, String)>,
    ) -> Self {
        Self { client, registries, revocations }
    }

    async fn find_out(&self, specs: &BTreeSet<KeySpec>, cache: &KeyCache) -> Findings {
        let asked = Asked::of(specs);
        let revoked = self.revoked();
        let groups = each(&asked.groups, |group| self.group(group));
        let users = each(&asked.users, |user| self.user(user));
        let people_and_keys = async {
            let (groups, users, names) = join3(groups, users, self.names(!asked.globs.is_empty())).await;
            let mut findings = Findings { groups, users, names, ..Findings::default() };
            findings.keys = self.keys(&asked.people(&findings), cache).await;
            findings
        };
        let (findings, revoked) = join(people_and_keys, revoked).await;
        Findings { revoked, ..findings }
    }

    /// All users of a group, by pages.
    async fn group(&self, group: &GroupName) -> Result<Membership, Fault> {
        let mut users = BTreeSet::new();
        let mut marker = None;
        loop {
            let request = self.client.get_group().group_name(group.as_str()).max_items(PAGE).set_marker(marker.take());
            let page = match request.send().await {
                Ok(page) => page,
                Err(error) if is_no_such_entity(&error) => return Ok(Membership::NoSuchGroup),
                Err(error) => return Err(fault(format!("iam: GetGroup {group} failed: {}", error_text(&error)))),
            };
            for user in page.users {
                match user.user_name.parse() {
                    Ok(person) => {
                        users.insert(person);
                    }
                    Err(error) => tracing::warn!(%group, %error, "a user of this group is passed over"),
                }
            }
            if !page.is_truncated {
                return Ok(Membership::Of(users));
            }
            marker = page.marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                return Err(fault(format!("iam: GetGroup {group} failed: the answer goes on, and does not say where")));
            }
        }
    }

    async fn user(&self, user: &PersonName) -> Result<bool, Fault> {
        match self.client.get_user().user_name(user.as_str()).send().await {
            Ok(answer) if answer.user.is_some() => Ok(true),
            Ok(_) => Err(fault(format!("iam: GetUser {user} failed: the answer tells of no user"))),
            Err(error) if is_no_such_entity(&error) => Ok(false),
            Err(error) => Err(fault(format!("iam: GetUser {user} failed: {}", error_text(&error)))),
        }
    }

    /// The names that each registry has, where a glob is to be held against them.
    async fn names(&self, wanted: bool) -> BTreeMap<Registry, Result<BTreeSet<PersonName>, Fault>> {
        let asked = self.registries.iter().filter(|_| wanted);
        let names = asked.map(|registry| async {
            let names = registry.names().await;
            (registry.kind(), names.map_err(|error| registry_fault(&error)))
        });
        join_all(names).await.into_iter().collect()
    }

    async fn keys(
        &self,
        people: &BTreeSet<PersonName>,
        cache: &KeyCache,
    ) -> BTreeMap<PersonName, BTreeMap<Registry, Lookup>> {
        let lookups =
            self.registries.iter().map(|registry| async { (registry.kind(), registry.keys(people, cache).await) });
        let mut keys: BTreeMap<PersonName, BTreeMap<Registry, Lookup>> = BTreeMap::new();
        for (kind, people) in join_all(lookups).await {
            for (person, lookup) in people {
                keys.entry(person).or_default().insert(kind, lookup);
            }
        }
        keys
    }

    async fn revoked(&self) -> Option<Result<BTreeSet<Fingerprint>, Fault>> {
        let (client, bucket) = self.revocations.as_ref()?;
        Some(s3::revoked(client, bucket).await.map_err(|error| registry_fault(&error)))
    }

    async fn holds(&self, candidates: &[PublicKey]) -> Result<BTreeSet<Fingerprint>, Fault> {
        let answers = join_all(self.registries.iter().map(|registry| registry.known(candidates))).await;
        let mut known = BTreeSet::new();
        for answer in answers {
            known.extend(answer.map_err(|error| registry_fault(&error))?);
        }
        Ok(known)
    }
}

impl Source for IamSource {
    fn fetch<'a>(&'a self, specs: &'a BTreeSet<KeySpec>, cache: &'a KeyCache) -> BoxFuture<'a, Findings> {
        self.find_out(specs, cache).boxed()
    }

    /// A registry that cannot be asked fails the whole answer: it might hold the key.
    fn known<'a>(&'a self, candidates: &'a [PublicKey]) -> BoxFuture<'a, Result<BTreeSet<Fingerprint>, Fault>> {
        self.holds(candidates).boxed()
    }
}

/// Asks about each of these, a few at once.
async fn each<'a, K, T, F>(names: &[&'a K], ask: impl Fn(&'a K) -> F) -> BTreeMap<K, Result<T, Fault>>
where
    K: Ord + Clone,
    F: Future<Output = Result<T, Fault>>,
{
    let calls: Vec<_> = names
        .iter()
        .map(|&name| {
            let answer = ask(name);
            async move { (name.clone(), answer.await) }
        })
        .collect();
    stream::iter(calls).buffer_unordered(CONCURRENCY).collect().await
}

fn fault(text: String) -> Fault {
    Fault(text.into())
}

fn registry_fault(error: &RegistryError) -> Fault {
    fault(error.to_string())
}
