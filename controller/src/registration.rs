//! What registering a key takes: from what is there to the steps that are missing. Pure; talks to nobody.
//!
//! The order of the steps is such that whoever stops between two of them has granted nothing but what was asked for,
//! and can run the same command again to finish:
//!
//! 1. `ssh_pubkey:<fingerprint>`: names no person, so it lets nobody in, and CGCloud's agents never find a key pair
//!    without its object.
//! 2. The EC2 key pair, with its expiry from the first moment.
//! 3. `ssh_pubkey:` once more, if EC2 names the key by another fingerprint than the documented rule gives.
//! 4. `people/<person>/`: what Fleetkey's agents look at.
//! 5. With `--force`: another person's hold on the key ends. Last, so that nobody is locked out in between.
//! 6. The hint to agents.
//!
//! Of two expiries at two places agents take the earlier one: a shorter expiry works from the first step on, a longer
//! one only from the last.

use std::collections::BTreeMap;

use fleetkey_common::bucket::{EXPIRES, KeyMetadata, Revocation, SSH_PUBKEY, person_key, ssh_pubkey_key};
use fleetkey_common::names::PersonName;
use fleetkey_common::public_key::{Ec2Fingerprint, Fingerprint, Verdict};
use jiff::Timestamp;

use crate::aws::bucket::Object;
use crate::aws::key_pairs::KeyPair;
use crate::holdings::{PersonFile, keys_in};
use crate::key_file::KeyFile;
use crate::refusal::Refusal;
use crate::work::{Step, Work};

/// Tag of a key pair: the moment from which it lets nobody in, RFC 3339.
pub(crate) const EXPIRES_TAG: &str = "fleetkey:expires";
/// Tag of a key pair: the ARN of whoever registered it.
pub(crate) const REGISTERED_BY_TAG: &str = "fleetkey:registered-by";

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Whose key it is.
    pub(crate) person: PersonName,
    /// The key.
    pub(crate) file: KeyFile,
    /// When it ends: `None` leaves the expiry that it has, `Some(None)` lifts it.
    pub(crate) expires: Option<Option<Timestamp>>,
    /// Whether another person's hold on the key, or another key in the key pair, is to give way.
    pub(crate) force: bool,
    /// The ARN of whoever asks.
    pub(crate) by: String,
    /// Now.
    pub(crate) now: Timestamp,
}

/// What is there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// The body of `revoked/<hex>`, if the key is barred.
    pub(crate) revoked: Option<Vec<u8>>,
    /// Every person's files.
    pub(crate) people: Vec<PersonFile>,
    /// The objects among [`object_keys`] that exist.
    pub(crate) objects: BTreeMap<String, Object>,
    /// The region's key pairs.
    pub(crate) pairs: Vec<KeyPair>,
}

/// What is to be done, and what is to be said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// In order; the hint to agents is always the last.
    pub(crate) steps: Vec<Step>,
    /// When the key ends.
    pub(crate) expires: Option<Timestamp>,
    /// For the user.
    pub(crate) notes: Vec<String>,
    /// For the user, what could be done next.
    pub(crate) hints: Vec<String>,
}

/// What becomes of the key pair that has the person's name.
enum PairFate<'a> {
    /// EC2 takes no key of this type.
    Unsupported,
    /// There is none yet.
    Import,
    /// It holds this key already.
    Keep(&'a KeyPair),
    /// It holds another key of the same person, which may stay.
    Other(&'a KeyPair),
    /// It holds another key, which has to give way.
    Replace(&'a KeyPair),
}

/// The object keys that registering reads and may write: the person's, then those by EC2's fingerprints.
/// A key that EC2 cannot have needs none of the latter.
pub(crate) fn object_keys(request: &Request, pairs: &[KeyPair]) -> Vec<String> {
    let key = &request.file.key;
    let mut keys = vec![person_key(&request.person, key.fingerprint())];
    if key.ec2_can_import() {
        keys.push(ssh_pubkey_key(&key.ec2_fingerprint()));
    }
    let own =
        pairs.iter().find(|pair| pair.name == request.person.as_str() && pair.sha256() == Some(key.fingerprint()));
    let by_ec2 = own.and_then(|pair| named_by_ec2(&pair.fingerprint));
    keys.extend(by_ec2.filter(|path| !keys.contains(path)));
    keys
}

/// The object for a fingerprint in EC2's own words, which need not follow the documented rule.
pub(crate) fn named_by_ec2(fingerprint: &str) -> Option<String> {
    if let Ok(known) = fingerprint.parse::<Ec2Fingerprint>() {
        return Some(ssh_pubkey_key(&known));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || ":+/=".contains(c);
    let usable = (1..=128).contains(&fingerprint.len()) && fingerprint.chars().all(plain);
    usable.then(|| format!("{SSH_PUBKEY}{fingerprint}"))
}

/// A step that puts the key at `path`.
pub(crate) fn put(request: &Request, expires: Option<Timestamp>, path: String) -> Step {
    let metadata =
        KeyMetadata { registered_by: Some(request.by.clone()), registered_at: Some(request.now), expires }.to_map();
    about(request, Work::Put { path, body: request.file.line(), metadata })
}

fn about(request: &Request, work: Work) -> Step {
    Step { work, person: Some(request.person.clone()), fingerprint: Some(request.file.key.fingerprint()) }
}

/// Works out what is missing.
///
/// # Errors
/// When the key is barred, another's, or would drive out another key, without `--force` where that may be forced.
pub(crate) fn plan(request: &Request, facts: &Facts) -> Result<Plan, Refusal> {
    refuse_revoked(request, facts)?;
    let others = others(request, facts)?;
    let fate = pair_fate(request, facts)?;
    let expires = match request.expires {
        Some(expires) => expires,
        None => current_expiry(request, facts)?,
    };
    let mut plan = Plan { steps: Vec::new(), expires, notes: Vec::new(), hints: Vec::new() };
    if let (None, Some(moment)) = (request.expires, expires) {
        plan.notes.push(format!("the key keeps its expiry, {moment}"));
        plan.hints.push("--expires never lifts it, --expires WHEN changes it".to_owned());
    }
    let paths = object_keys(request, &facts.pairs);
    for path in &paths[1..] {
        put_if_different(&mut plan, request, facts, path);
    }
    plan_pair(&mut plan, request, &fate);
    put_if_different(&mut plan, request, facts, &paths[0]);
    plan.steps.extend(others);
    plan.steps.push(Step::new(Work::Hint));
    Ok(plan)
}

fn refuse_revoked(request: &Request, facts: &Facts) -> Result<(), Refusal> {
    let Some(body) = &facts.revoked else { return Ok(()) };
    let fingerprint = request.file.key.fingerprint();
    let refusal = match serde_json::from_slice::<Revocation>(body) {
        Ok(Revocation { who, when, why, person }) => {
            let whose = person.map_or_else(String::new, |person| format!(" as {person}'s"));
            Refusal::new(format!("{fingerprint} was revoked{whose} by {who} at {when}: {why}"))
        }
        Err(_) => Refusal::new(format!("{fingerprint} was revoked; the record of who did and why cannot be read")),
    };
    Err(refusal.hint("a revoked key is never taken again; make a new one with ssh-keygen -t ed25519"))
}

/// Steps that end other persons' hold on the key.
fn others(request: &Request, facts: &Facts) -> Result<Vec<Step>, Refusal> {
    let fingerprint = request.file.key.fingerprint();
    let files = facts.people.iter().filter(|file| file.person != request.person && file.keys.contains(&fingerprint));
    let pairs = facts.pairs.iter().filter(|pair| pair.sha256() == Some(fingerprint));
    let pairs = pairs.filter_map(|pair| Some((pair, pair.name.parse::<PersonName>().ok()?)));
    let pairs: Vec<_> = pairs.filter(|(_, person)| *person != request.person).collect();
    let files: Vec<_> = files.collect();
    let holder = files.first().map(|file| &file.person).or(pairs.first().map(|(_, person)| person));
    if let (Some(holder), false) = (holder, request.force) {
        return Err(Refusal::new(format!("{fingerprint} is registered as {holder}'s key"))
            .hint(format!("--force takes it from {holder} and gives it to {}", request.person)));
    }
    if let Some(mixed) = files.iter().find(|file| file.keys.iter().any(|key| *key != fingerprint)) {
        return Err(Refusal::new(format!("{} holds {fingerprint} beside other keys of {}", mixed.path, mixed.person))
            .hint("take the key out of that file by hand, then try again"));
    }
    let step = |person: &PersonName, work| Step { work, person: Some(person.clone()), fingerprint: Some(fingerprint) };
    let pairs = pairs.iter().map(|(pair, person)| step(person, Work::DeletePair { pair: (*pair).clone() }));
    let files = files.iter().map(|file| step(&file.person, Work::Remove { path: file.path.clone() }));
    Ok(pairs.chain(files).collect())
}

fn pair_fate<'a>(request: &Request, facts: &'a Facts) -> Result<PairFate<'a>, Refusal> {
    let (person, key) = (&request.person, &request.file.key);
    let Some(pair) = facts.pairs.iter().find(|pair| pair.name == person.as_str()) else {
        return Ok(if key.ec2_can_import() { PairFate::Import } else { PairFate::Unsupported });
    };
    let same = match &pair.key {
        Some(held) => held == key,
        None => pair.fingerprint.parse::<Ec2Fingerprint>().is_ok_and(|known| known.verify(key) == Verdict::Same),
    };
    if same {
        return Ok(PairFate::Keep(pair));
    }
    if !key.ec2_can_import() {
        return Ok(PairFate::Unsupported);
    }
    if request.force {
        return Ok(PairFate::Replace(pair));
    }
    // A key that the bucket knows as the person's own: a second key beside it is no conflict.
    let own = |held| facts.people.iter().any(|file| file.person == *person && file.keys.contains(&held));
    if pair.sha256().is_some_and(own) {
        return Ok(PairFate::Other(pair));
    }
    let held = shown(pair);
    Err(Refusal::new(format!("the EC2 key pair {person} holds another key, {held}, which is not in people/{person}/"))
        .hint(format!("if that key is {person}'s too, register it first; then both are kept"))
        .hint("--force deletes the key pair and makes it anew with this key; the other key lets nobody in any more"))
}

fn shown(pair: &KeyPair) -> String {
    pair.sha256().map_or_else(|| pair.fingerprint.clone(), |fingerprint: Fingerprint| fingerprint.to_string())
}

/// The earliest expiry that the person's key has at any place.
fn current_expiry(request: &Request, facts: &Facts) -> Result<Option<Timestamp>, Refusal> {
    let unreadable = |place: &str, value: &str| {
        Refusal::new(format!("{place} has the expiry {value:?}, which is no time"))
            .hint("say what it should be: --expires WHEN, or --expires never")
    };
    let mut expiries = Vec::new();
    for (path, object) in &facts.objects {
        let metadata = KeyMetadata::from_map(&object.metadata);
        let value = object.metadata.get(EXPIRES).map_or("", String::as_str);
        expiries.extend(metadata.map_err(|_| unreadable(path, value))?.expires);
    }
    let key = request.file.key.fingerprint();
    let own = facts.pairs.iter().find(|pair| pair.name == request.person.as_str() && pair.sha256() == Some(key));
    if let Some(value) = own.and_then(|pair| pair.tags.get(EXPIRES_TAG)) {
        let place = format!("the EC2 key pair {}", request.person);
        expiries.push(value.parse().map_err(|_| unreadable(&place, value))?);
    }
    Ok(expiries.into_iter().min())
}

fn put_if_different(plan: &mut Plan, request: &Request, facts: &Facts, path: &str) {
    let there = facts.objects.get(path).is_some_and(|object| {
        let expiry = KeyMetadata::from_map(&object.metadata).map(|metadata| metadata.expires);
        matches!(&keys_in(&object.body)[..], [held] if *held == request.file.key) && expiry.ok() == Some(plan.expires)
    });
    if !there {
        plan.steps.push(put(request, plan.expires, path.to_owned()));
    }
}

fn plan_pair(plan: &mut Plan, request: &Request, fate: &PairFate<'_>) {
    let (person, line) = (&request.person, request.file.line());
    let mut tags = BTreeMap::from([(REGISTERED_BY_TAG.to_owned(), request.by.clone())]);
    tags.extend(plan.expires.map(|moment| (EXPIRES_TAG.to_owned(), moment.to_string())));
    match *fate {
        PairFate::Unsupported => plan.notes.push(format!(
            "EC2 takes no key of type {}: it is registered in S3 alone, where CGCloud's agents do not find it",
            request.file.key.algorithm()
        )),
        PairFate::Import => plan.steps.push(about(request, Work::Import { name: person.to_string(), line, tags })),
        PairFate::Keep(pair) => {
            let tagged = pair.tags.get(EXPIRES_TAG).and_then(|value| value.parse::<Timestamp>().ok());
            if tagged != plan.expires || (tagged.is_none() && pair.tags.contains_key(EXPIRES_TAG)) {
                let remove = if plan.expires.is_none() { vec![EXPIRES_TAG] } else { Vec::new() };
                plan.steps.push(about(request, Work::Tag { pair: pair.clone(), tags, remove }));
            }
        }
        PairFate::Other(pair) => {
            plan.notes.push(format!(
                "EC2 has one key pair of a name, and {person}'s holds {}: this key is registered in S3 alone",
                shown(pair)
            ));
            plan.hints
                .push("--force makes this key the key pair instead; the other one stays registered in S3".to_owned());
        }
        PairFate::Replace(pair) => {
            plan.notes.push(format!("the EC2 key pair {person} held {}; it is replaced", shown(pair)));
            plan.steps.push(about(request, Work::Replace { pair: pair.clone(), line, tags }));
        }
    }
}

#[cfg(test)]
#[path = "registration_tests.rs"]
mod tests;
