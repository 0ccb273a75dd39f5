//! The source that docs/development/adding.md adds: it has to compile, and to keep what it promises.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use fleetkey_agent::config::settings::{Grant, Mode};
use fleetkey_agent::key_set::KeySet;
use fleetkey_agent::resolve::{Known, Part, resolve};
use fleetkey_agent::source::{Fault, Findings, Source};
use fleetkey_common::key_spec::KeySpec;
use fleetkey_common::public_key::{Fingerprint, PublicKey};
use fleetkey_common::registry::{KeyCache, Lookup, RegisteredKey, Registry};
use fleetkey_common::restrictions::Restrictions;
use fleetkey_tests::keys::TestKey;
use futures_util::future::{BoxFuture, FutureExt as _};
use tempfile::TempDir;

/// Everybody in one file: a line is a person and a key, `alice ssh-ed25519 AAAA...`.
#[derive(Debug)]
struct OneFile {
    path: PathBuf,
}

impl OneFile {
    /// What the file says; a line that cannot be read makes the whole of it an error.
    fn read(&self) -> Result<Vec<(String, PublicKey)>, Fault> {
        let fault = |what: String| Fault(format!("{}: {what}", self.path.display()).into());
        let text = std::fs::read_to_string(&self.path).map_err(|error| fault(error.to_string()))?;
        let person = |line: &str| {
            let (person, key) = line.split_once(' ').ok_or_else(|| fault(format!("{line:?} has no key")))?;
            let key = key.parse().map_err(|error| fault(format!("{person}: {error}")))?;
            Ok((person.to_owned(), key))
        };
        text.lines().map(person).collect()
    }

    fn look(&self, specs: &BTreeSet<KeySpec>) -> Findings {
        let lines = match self.read() {
            Ok(lines) => lines,
            // Not an empty answer: what was known of everybody still stands.
            Err(fault) => return Findings::unreachable(fault),
        };
        let mut findings = Findings::default();
        for spec in specs {
            let KeySpec::Name(person) = spec else { continue };
            let own = lines.iter().filter(|(name, _)| name == person.as_str());
            let place: Arc<str> = self.path.display().to_string().into();
            let registered = |(_, key): &(String, PublicKey)| RegisteredKey {
                key: key.clone(),
                restrictions: Restrictions::default(),
                place: Arc::clone(&place),
                version: key.fingerprint().to_hex().into(),
            };
            let lookup = Lookup { keys: own.map(registered).collect(), ..Lookup::default() };
            findings.keys.insert(person.clone(), BTreeMap::from([(Registry::Directory, lookup)]));
        }
        findings
    }
}

impl Source for OneFile {
    fn fetch<'a>(&'a self, specs: &'a BTreeSet<KeySpec>, _: &'a KeyCache) -> BoxFuture<'a, Findings> {
        async move { self.look(specs) }.boxed()
    }

    fn known<'a>(&'a self, candidates: &'a [PublicKey]) -> BoxFuture<'a, Result<BTreeSet<Fingerprint>, Fault>> {
        async move {
            let all: BTreeSet<_> = self.read()?.iter().map(|(_, key)| key.fingerprint()).collect();
            Ok(candidates.iter().map(PublicKey::fingerprint).filter(|one| all.contains(one)).collect())
        }
        .boxed()
    }
}

#[tokio::test]
async fn the_example_of_a_source_lets_in_who_is_in_its_file_and_takes_a_failure_for_no_answer() -> Result<()> {
    let folder = TempDir::new()?;
    let source = OneFile { path: folder.path().join("people") };
    let (alice, bob) = (TestKey::new("alice")?, TestKey::new("bob")?);
    std::fs::write(&source.path, format!("alice {}\nbob {}\n", alice.public(), bob.public()))?;
    let specs = BTreeSet::from(["alice".parse::<KeySpec>()?]);
    let account = "ubuntu".parse()?;
    let grants = [Grant { account, keys: specs.iter().cloned().collect(), mode: Mode::Shared }];
    let (nothing, none, no_part) = (KeySet::default(), BTreeSet::new(), BTreeSet::new());
    let known = Known { key_set: &nothing, revoked: &none, stale: &no_part };

    let findings = source.fetch(&specs, &KeyCache::default()).await;
    let resolved = resolve(&grants, &findings, known);
    assert_eq!(resolved.key_set.fingerprints(&grants[0].account), BTreeSet::from([alice.fingerprint()]));
    let seen = [alice.public().clone(), TestKey::new("carol")?.public().clone()];
    assert_eq!(source.known(&seen).await.ok(), Some(BTreeSet::from([alice.fingerprint()])));

    std::fs::remove_file(&source.path)?;
    let findings = source.fetch(&specs, &KeyCache::default()).await;
    let later = resolve(&grants, &findings, Known { key_set: &resolved.key_set, ..known });
    assert_eq!(later.key_set, resolved.key_set, "who was let in still is");
    assert_eq!(later.faults.keys().collect::<Vec<_>>(), [&Part::Source]);
    Ok(())
}
