//! What revoking keys takes: from what is there to the steps. Pure; talks to nobody.
//!
//! The order of the steps is such that a key is barred before anything else is touched, and that whoever stops
//! between two of them leaves nothing that lets anybody in:
//!
//! 1. `revoked/<hex>`: from here on every Fleetkey agent refuses the key, whatever else holds it.
//! 2. A hint, so that they look now.
//! 3. `ssh_pubkey:` objects, which CGCloud's agents need to hand the key out.
//! 4. The region's EC2 key pairs and the IAM users' keys.
//! 5. `people/` objects. Last of the removals, since they say whose key it was: the same command finds the rest again.
//!    Those of an IAM user whose keys could not be listed or deleted stay for that, barred all the while.
//! 6. A hint once more, for CGCloud's agents, which do not know of revocations.

use std::collections::{BTreeMap, BTreeSet};

use fleetkey_common::bucket::Revocation;
use fleetkey_common::names::PersonName;
use fleetkey_common::public_key::{Ec2Fingerprint, Fingerprint};
use jiff::Timestamp;

use crate::aws::iam_keys::IamKey;
use crate::aws::key_pairs::KeyPair;
use crate::holdings::{NamedFile, PersonFile};
use crate::registration::named_by_ec2;
use crate::work::{Step, Work};

/// Which keys are to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// One key, whoever holds it.
    Key(Fingerprint),
    /// Every key that any registry has of a person.
    Person(PersonName),
}

/// What is there, as far as it could be found out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// Every person's files.
    pub(crate) people: Vec<PersonFile>,
    /// The keys under EC2 fingerprints.
    pub(crate) named: Vec<NamedFile>,
    /// The region's key pairs.
    pub(crate) pairs: Vec<KeyPair>,
    /// The keys of the IAM users whom the rest led to: see [`holders`].
    pub(crate) iam: Vec<IamKey>,
    /// Those of them whose keys could not be listed.
    pub(crate) unseen: BTreeSet<PersonName>,
}

/// Who revokes, when and why.
#[derive(Debug, Clone)]
pub(crate) struct Reason {
    /// The ARN of whoever revokes.
    pub(crate) who: String,
    /// Now.
    pub(crate) when: Timestamp,
    /// In words.
    pub(crate) why: String,
}

/// What is to be done, and what cannot be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The keys to be barred, each with whose it is, if known.
    pub(crate) keys: BTreeMap<Fingerprint, Option<PersonName>>,
    /// In order.
    pub(crate) steps: Vec<Step>,
    /// Files that hold other keys too: they stay, and the key in them is barred all the same.
    pub(crate) kept: Vec<String>,
    /// What stays for now, because it alone says that an IAM user may hold the key, who could not be asked.
    pub(crate) waiting: Vec<String>,
}

impl Plan {
    /// Whether any registry holds any of it.
    pub(crate) fn removes(&self) -> bool {
        self.steps.iter().any(|step| !matches!(step.work, Work::Bar { .. } | Work::Hint))
    }
}

/// The key that an EC2 fingerprint names, if a key pair of the region or an object in the bucket has it.
pub(crate) fn resolve(fingerprint: &Ec2Fingerprint, facts: &Facts) -> Option<Fingerprint> {
    let pair = facts.pairs.iter().find(|pair| pair.fingerprint.parse().as_ref() == Ok(fingerprint));
    if let Some(found) = pair.and_then(KeyPair::sha256) {
        return Some(found);
    }
    // Of a SHA-1 nobody can tell whether the object tells the truth; a wrong one would bar a stranger's key.
    if matches!(fingerprint, Ec2Fingerprint::Sha1(_)) {
        return None;
    }
    let path = named_by_ec2(&fingerprint.to_string())?;
    match facts.named.iter().find(|file| file.path == path)?.keys[..] {
        [key] => Some(key),
        _ => None,
    }
}

/// The persons who hold a target key, as far as bucket and key pairs say: the IAM users to be asked.
pub(crate) fn holders(target: &Target, facts: &Facts) -> BTreeSet<PersonName> {
    let keys = keys(target, facts);
    let files = facts.people.iter().filter(|file| file.keys.iter().any(|key| keys.contains_key(key)));
    let pairs = facts.pairs.iter().filter(|pair| pair.sha256().is_some_and(|key| keys.contains_key(&key)));
    let mut holders: BTreeSet<_> = files.map(|file| file.person.clone()).collect();
    holders.extend(pairs.filter_map(|pair| pair.name.parse().ok()));
    if let Target::Person(person) = target {
        holders.insert(person.clone());
    }
    holders
}

/// The keys that the target comes to, each with a person who holds it.
fn keys(target: &Target, facts: &Facts) -> BTreeMap<Fingerprint, Option<PersonName>> {
    let files = facts.people.iter().flat_map(|file| file.keys.iter().map(|key| (*key, Some(file.person.clone()))));
    let iam = facts.iam.iter().filter_map(|key| Some((key.key.as_ref()?.fingerprint(), Some(key.user.clone()))));
    let pairs = facts.pairs.iter().filter_map(|pair| Some((pair.sha256()?, pair.name.parse::<PersonName>().ok())));
    let held = files.chain(iam).chain(pairs);
    match target {
        Target::Person(person) => held.filter(|(_, holder)| holder.as_ref() == Some(person)).collect(),
        Target::Key(fingerprint) => {
            let holder = held.filter(|(key, _)| key == fingerprint).find_map(|(_, holder)| holder);
            BTreeMap::from([(*fingerprint, holder)])
        }
    }
}

/// Works out the steps.
pub(crate) fn plan(target: &Target, facts: &Facts, reason: &Reason) -> Plan {
    let mut plan = Plan { keys: keys(target, facts), ..Plan::default() };
    for (fingerprint, person) in plan.keys.clone() {
        let body = revocation(reason, person.clone());
        let work = Work::Bar { fingerprint, body };
        plan.steps.push(Step { work, person, fingerprint: Some(fingerprint) });
    }
    plan.steps.push(Step::new(Work::Hint));
    let own_pair = |pair: &KeyPair| matches!(target, Target::Person(person) if pair.name == person.as_str());
    let pairs = facts.pairs.iter();
    let pairs: Vec<_> =
        pairs.filter(|pair| own_pair(pair) || pair.sha256().is_some_and(|key| plan.keys.contains_key(&key))).collect();

    let by_pair: BTreeSet<_> = pairs.iter().filter_map(|pair| named_by_ec2(&pair.fingerprint)).collect();
    for file in &facts.named {
        remove_file(&mut plan, &file.path, &file.keys, None, by_pair.contains(&file.path));
    }
    for pair in pairs {
        let person = pair.name.parse().ok();
        if let Some(holder) = person.as_ref().filter(|name| facts.unseen.contains(*name))
            && !facts.people.iter().any(|file| file.person == *holder)
        {
            plan.waiting.push(format!("key pair {}", pair.name));
            continue;
        }
        plan.steps.push(Step { work: Work::DeletePair { pair: pair.clone() }, person, fingerprint: pair.sha256() });
    }
    for key in &facts.iam {
        let fingerprint = key.key.as_ref().map(fleetkey_common::public_key::PublicKey::fingerprint);
        let own = matches!(target, Target::Person(person) if key.user == *person);
        if own || fingerprint.is_some_and(|known| plan.keys.contains_key(&known)) {
            let work = Work::DeleteIamKey { user: key.user.clone(), id: key.id.clone() };
            plan.steps.push(Step { work, person: Some(key.user.clone()), fingerprint });
        }
    }
    for file in &facts.people {
        let own = matches!(target, Target::Person(person) if file.person == *person);
        if facts.unseen.contains(&file.person) && (own || file.keys.iter().any(|key| plan.keys.contains_key(key))) {
            plan.waiting.push(file.path.clone());
        } else {
            remove_file(&mut plan, &file.path, &file.keys, Some(&file.person), own);
        }
    }
    if plan.removes() {
        plan.steps.push(Step::new(Work::Hint));
    }
    plan
}

/// Removes a file that holds a target key and no other, or that has to go in any case.
fn remove_file(plan: &mut Plan, path: &str, held: &[Fingerprint], person: Option<&PersonName>, in_any_case: bool) {
    let targets = held.iter().filter(|key| plan.keys.contains_key(key)).count();
    if in_any_case || (targets > 0 && targets == held.len()) {
        let fingerprint = held.first().copied().filter(|_| held.len() == 1);
        let work = Work::Remove { path: path.to_owned() };
        plan.steps.push(Step { work, person: person.cloned(), fingerprint });
    } else if targets > 0 {
        plan.kept.push(path.to_owned());
    }
}

fn revocation(reason: &Reason, person: Option<PersonName>) -> String {
    let Reason { who, when, why } = reason.clone();
    let revocation = Revocation { who, when, why, person };
    serde_json::to_string(&revocation).expect("a revocation is text and a time, which JSON can hold") + "\n"
}

#[cfg(test)]
#[path = "revocation_tests.rs"]
mod tests;
