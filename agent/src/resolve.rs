//! The resolve stage: from grants and a source's findings to the key set. A plain function; it touches nothing.
//!
//! What could not be looked up is taken from the previous key set, part by part, and nobody new is let in by it. What
//! was looked up and is empty is empty.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use fleetkey_common::key_spec::KeySpec;
use fleetkey_common::names::{AccountName, GroupName, PersonName};
use fleetkey_common::public_key::Fingerprint;
use fleetkey_common::registry::Registry;
use fleetkey_common::restrictions::Restrictions;
use serde::{Deserialize, Serialize};

use crate::config::settings::Grant;
use crate::key_set::{Entry, KeySet};
use crate::source::{Fault, Findings, Membership};

mod notice;

pub use notice::Notice;

/// A part of the source that can fail alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The source as a whole: it did not say what became of a question.
    Source,
    /// The members of a group.
    Group(GroupName),
    /// Whether an IAM user exists.
    User(PersonName),
    /// The names that a registry has.
    Names(Registry),
    /// What a registry has of a person.
    Keys(PersonName, Registry),
    /// The list of barred keys.
    Revocations,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Source => f.write_str("the source"),
            Part::Group(group) => write!(f, "group {group}"),
            Part::User(person) => write!(f, "user {person}"),
            Part::Names(registry) => write!(f, "names in {registry}"),
            Part::Keys(person, registry) => write!(f, "keys of {person} in {registry}"),
            Part::Revocations => f.write_str("revocations"),
        }
    }
}

/// What the grants resolve to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resolution {
    /// The keys to be let in. Without an account of which nobody ever could say who may log in.
    pub key_set: KeySet,
    /// The parts that could not be looked up: for these, what was known before still stands.
    pub faults: BTreeMap<Part, Fault>,
    /// Group specs that resolve to nobody because the group is gone: a cut by these is to be seen twice.
    pub doubtful: BTreeSet<Arc<KeySpec>>,
    /// The barred keys: as just read, or as last known.
    pub revoked: BTreeSet<Fingerprint>,
    /// What a person should know.
    pub notices: BTreeSet<Notice>,
}

/// What was known before: what a failed part falls back on.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The last key set.
    pub key_set: &'a KeySet,
    /// The barred keys as last read.
    pub revoked: &'a BTreeSet<Fingerprint>,
    /// The parts that have failed for longer than the last known may serve.
    pub stale: &'a BTreeSet<Part>,
}

/// Resolves the grants. Parts in `known.stale` that fail again let nobody in any more.
pub fn resolve(grants: &[Grant], findings: &Findings, known: Known<'_>) -> Resolution {
    let mut resolver =
        Resolver { findings, known, previous: Previous::new(known.key_set), out: Resolution::default(), failed: false };
    resolver.out.revoked = resolver.revoked();
    for grant in grants {
        resolver.failed = resolver.out.faults.contains_key(&Part::Revocations);
        let entries = resolver.account(grant);
        // That nobody may log in is an answer; that nobody could be asked is none.
        if !entries.is_empty() || !resolver.failed || known.key_set.accounts.contains_key(&grant.account) {
            resolver.out.key_set.accounts.insert(grant.account.clone(), entries);
        }
    }
    resolver.out
}

/// The previous key set, by what a part can fall back on.
struct Previous<'a> {
    by_spec: BTreeMap<(&'a AccountName, &'a KeySpec), Vec<&'a Entry>>,
}

impl<'a> Previous<'a> {
    fn new(key_set: &'a KeySet) -> Self {
        let mut by_spec: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (account, entries) in &key_set.accounts {
            for entry in entries {
                by_spec.entry((account, &*entry.spec)).or_default().push(entry);
            }
        }
        for entries in by_spec.values_mut() {
            entries.sort_by(|a, b| (&a.person, a.registry).cmp(&(&b.person, b.registry)));
        }
        Self { by_spec }
    }

    fn of_spec(&self, account: &'a AccountName, spec: &'a KeySpec) -> &[&'a Entry] {
        self.by_spec.get(&(account, spec)).map_or(&[], Vec::as_slice)
    }

    fn of_person(
        &self,
        account: &'a AccountName,
        spec: &'a KeySpec,
        person: &PersonName,
        registry: Registry,
    ) -> &[&'a Entry] {
        let entries = self.of_spec(account, spec);
        let order = |entry: &&Entry| (&entry.person, entry.registry).cmp(&(person, registry));
        let start = entries.partition_point(|entry| order(entry).is_lt());
        let length = entries[start..].partition_point(|entry| order(entry).is_eq());
        &entries[start..start + length]
    }
}

/// Whom a spec leads to.
#[derive(Default)]
struct People {
    known: BTreeSet<PersonName>,
    /// Parts that failed; for each, which of the previous entries of the spec it stands for (`None`: all).
    failed: Vec<(Part, Option<Registry>)>,
}

struct Resolver<'a> {
    findings: &'a Findings,
    known: Known<'a>,
    previous: Previous<'a>,
    out: Resolution,
    /// Whether any part failed that the account at hand depends on.
    failed: bool,
}

impl<'a> Resolver<'a> {
    fn fault(&mut self, part: Part, fault: Fault) {
        self.failed = true;
        self.out.faults.insert(part, fault);
    }

    /// The barred keys; when the list cannot be read, the last one that could.
    fn revoked(&mut self) -> BTreeSet<Fingerprint> {
        if let Some(fault) = &self.findings.unreachable {
            self.fault(Part::Source, fault.clone());
            return self.known.revoked.clone();
        }
        match &self.findings.revoked {
            Some(Ok(revoked)) => revoked.clone(),
            Some(Err(fault)) => {
                self.fault(Part::Revocations, fault.clone());
                self.known.revoked.clone()
            }
            None => BTreeSet::new(),
        }
    }

    fn account(&mut self, grant: &'a Grant) -> Vec<Entry> {
        let mut entries = Vec::new();
        for spec in &grant.keys {
            let shared = Arc::new(spec.clone());
            let people = self.people(spec, &shared);
            self.failed |= !people.failed.is_empty();
            for (part, registry) in &people.failed {
                let kept = self.previous.of_spec(&grant.account, spec).iter().filter(|entry| {
                    registry.is_none_or(|registry| entry.registry == registry && !people.known.contains(&entry.person))
                });
                if !self.known.stale.contains(part) {
                    entries.extend(kept.map(|&entry| entry.clone()));
                }
            }
            for person in &people.known {
                self.keys_of(&grant.account, spec, &shared, person, &mut entries);
            }
        }
        self.bar(&grant.account, &mut entries);
        self.note_clashes(&entries);
        entries.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
        entries.dedup();
        entries
    }

    /// Whom the spec leads to, as far as the findings tell.
    fn people(&mut self, spec: &KeySpec, shared: &Arc<KeySpec>) -> People {
        let findings = self.findings;
        if findings.unreachable.is_some() {
            return People { failed: vec![(Part::Source, None)], ..People::default() };
        }
        let unasked = || Fault(format!("the source did not say whom {spec} stands for").into());
        let mut people = People::default();
        match spec {
            KeySpec::Name(person) => {
                people.known.insert(person.clone());
            }
            KeySpec::User(person) => match findings.users.get(person).cloned().unwrap_or_else(|| Err(unasked())) {
                Ok(true) => {
                    people.known.insert(person.clone());
                }
                Ok(false) => {
                    self.out.notices.insert(Notice::NoSuchUser(person.clone()));
                }
                Err(fault) => {
                    self.fault(Part::User(person.clone()), fault);
                    people.failed.push((Part::User(person.clone()), None));
                }
            },
            KeySpec::Group(group) => match findings.groups.get(group).cloned().unwrap_or_else(|| Err(unasked())) {
                Ok(Membership::Of(members)) => people.known = members,
                Ok(Membership::NoSuchGroup) => {
                    self.out.notices.insert(Notice::NoSuchGroup(group.clone()));
                    self.out.doubtful.insert(Arc::clone(shared));
                }
                Err(fault) => {
                    self.fault(Part::Group(group.clone()), fault);
                    people.failed.push((Part::Group(group.clone()), None));
                }
            },
            KeySpec::Glob(_) if findings.names.is_empty() => {
                self.fault(Part::Source, unasked());
                people.failed.push((Part::Source, None));
            }
            KeySpec::Glob(glob) => {
                for (&registry, names) in &findings.names {
                    match names {
                        Ok(names) => people.known.extend(names.iter().filter(|name| glob.matches(name)).cloned()),
                        Err(fault) => {
                            self.fault(Part::Names(registry), fault.clone());
                            people.failed.push((Part::Names(registry), Some(registry)));
                        }
                    }
                }
            }
            // The configuration refuses it: only the controller knows who the caller is.
            KeySpec::Me => {}
        }
        people
    }

    /// Adds the keys of one person: those found, and those that a failed look-up leaves standing.
    fn keys_of(
        &mut self,
        account: &'a AccountName,
        spec: &'a KeySpec,
        shared: &Arc<KeySpec>,
        person: &PersonName,
        entries: &mut Vec<Entry>,
    ) {
        let Some(registries) = self.findings.keys.get(person) else {
            let kept = self.previous.of_spec(account, spec).iter().filter(|entry| entry.person == *person);
            if !self.known.stale.contains(&Part::Source) {
                entries.extend(kept.map(|&entry| entry.clone()));
            }
            self.fault(Part::Source, Fault(format!("the source did not say which keys {person} has").into()));
            return;
        };
        let before = entries.len();
        let (mut failed, mut refused) = (false, false);
        for (&registry, lookup) in registries {
            refused |= !lookup.rejected.is_empty();
            let found = lookup.keys.iter().map(|registered| Entry {
                person: person.clone(),
                spec: Arc::clone(shared),
                registry,
                registered: Arc::new(registered.clone()),
            });
            entries.extend(found);
            for rejected in &lookup.rejected {
                self.out.notices.insert(Notice::Rejected {
                    person: person.clone(),
                    registry,
                    place: Arc::clone(&rejected.place),
                    reason: rejected.reason.clone(),
                });
            }
            let Some(error) = &lookup.fault else { continue };
            failed = true;
            let part = Part::Keys(person.clone(), registry);
            if !self.known.stale.contains(&part) {
                let found: BTreeSet<&str> = lookup.keys.iter().map(|key| &*key.place).collect();
                let rejected: BTreeSet<&str> = lookup.rejected.iter().map(|rejected| &*rejected.place).collect();
                let kept = self.previous.of_person(account, spec, person, registry).iter().filter(|entry| {
                    let place = &*entry.registered.place;
                    !found.contains(place) && !rejected.contains(place)
                });
                entries.extend(kept.map(|&entry| Entry { spec: Arc::clone(shared), ..entry.clone() }));
            }
            self.fault(part, Fault(error.to_string().into()));
        }
        if entries.len() == before && !failed && !refused {
            self.out.notices.insert(Notice::NoKeys(person.clone()));
        }
    }

    /// Takes out barred keys, and, while the list of barred keys cannot be read, those that were not let in before.
    fn bar(&mut self, account: &AccountName, entries: &mut Vec<Entry>) {
        let unsure = self.out.faults.contains_key(&Part::Revocations);
        let before = if unsure { self.known.key_set.fingerprints(account) } else { BTreeSet::new() };
        let out = &mut self.out;
        entries.retain(|entry| {
            let fingerprint = entry.fingerprint();
            if out.revoked.contains(&fingerprint) {
                out.notices.insert(Notice::Revoked { person: entry.person.clone(), fingerprint });
                return false;
            }
            !unsure || before.contains(&fingerprint)
        });
    }
}

impl Resolver<'_> {
    /// Tells of keys that are registered with restrictions which [`KeySet::granted`] finds it cannot join.
    fn note_clashes(&mut self, entries: &[Entry]) {
        let mut joined: BTreeMap<Fingerprint, (&PersonName, Restrictions)> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| !entry.registered.restrictions.is_none()) {
            let restrictions = &entry.registered.restrictions;
            joined
                .entry(entry.fingerprint())
                .and_modify(|(_, all)| *all = all.and(restrictions))
                .or_insert_with(|| (&entry.person, restrictions.clone()));
        }
        for (fingerprint, (person, _)) in joined.into_iter().filter(|(_, (_, all))| all.contradictory()) {
            self.out.notices.insert(Notice::Clash { person: person.clone(), fingerprint });
        }
    }
}

/// The order of a key set: by person, key, spec and registry, so that equal sets are equal in bytes.
fn sort_key(entry: &Entry) -> (&PersonName, Fingerprint, &KeySpec, Registry, &str) {
    (&entry.person, entry.fingerprint(), &entry.spec, entry.registry, &entry.registered.place)
}

#[cfg(test)]
mod tests;
