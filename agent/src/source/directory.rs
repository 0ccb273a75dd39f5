//! The `directory` source: persons and groups in a folder of root's own. No cloud is asked.
//!
//! `people/<name>.pub` holds the keys of a person, one a line; `groups/<name>` the persons of a group, one a line;
//! `revoked/<sha256 hex>` bars a key. Nothing in it is believed that anyone but root could have written.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleetkey_common::error_text::one_line;
use fleetkey_common::key_line;
use fleetkey_common::key_spec::KeySpec;
use fleetkey_common::names::{GroupName, PersonName};
use fleetkey_common::public_key::{Fingerprint, PublicKey};
use fleetkey_common::registry::{KeyCache, Lookup, RegisteredKey, Registry, RegistryError, Rejected};
use fleetkey_common::restrictions::AllowedOptions;
use fleetkey_common::trusted_file;
use futures_util::future::{BoxFuture, FutureExt};

use super::{Fault, Findings, Membership, Source};
use crate::blocking;

/// The ending of a person's key file.
const KEYS_ENDING: &str = ".pub";

/// The folders of the source below its own.
pub const FOLDERS: [&str; 3] = ["people", "groups", "revoked"];

/// A folder of persons and groups.
#[derive(Debug, Clone)]
pub struct DirectorySource {
    folder: PathBuf,
    allowed: AllowedOptions,
}

impl DirectorySource {
    /// The source over `folder`; keys may carry the options that are `allowed`.
    pub fn new(folder: PathBuf, allowed: AllowedOptions) -> Self {
        Self { folder, allowed }
    }

    fn look(&self, specs: &BTreeSet<KeySpec>) -> Findings {
        let mut findings = Findings { revoked: Some(self.revoked()), ..Findings::default() };
        let mut people = BTreeSet::new();
        for spec in specs {
            match spec {
                KeySpec::Name(person) => {
                    people.insert(person.clone());
                }
                // There are no IAM users here: whoever has a key file exists.
                KeySpec::User(person) => {
                    let exists = self.file_of(person).map(|body| body.is_some());
                    findings.users.insert(person.clone(), exists);
                    people.insert(person.clone());
                }
                KeySpec::Group(group) => {
                    let members = self.members(group);
                    if let Ok(Membership::Of(members)) = &members {
                        people.extend(members.iter().cloned());
                    }
                    findings.groups.insert(group.clone(), members);
                }
                KeySpec::Glob(glob) => {
                    let names =
                        findings.names.entry(Registry::Directory).or_insert_with(|| self.names("people", KEYS_ENDING));
                    if let Ok(names) = names {
                        people.extend(names.iter().filter(|name| glob.matches(name)).cloned());
                    }
                }
                KeySpec::Me => {}
            }
        }
        findings.keys = people
            .into_iter()
            .map(|person| {
                let lookup = self.keys_of(&person);
                (person, BTreeMap::from([(Registry::Directory, lookup)]))
            })
            .collect();
        findings
    }

    /// The bytes of a person's key file, if there is one. A missing `people/` is a fault: nothing is known then.
    fn file_of(&self, person: &PersonName) -> Result<Option<Vec<u8>>, Fault> {
        read(&self.part("people")?.join(format!("{person}{KEYS_ENDING}")))
    }

    fn keys_of(&self, person: &PersonName) -> Lookup {
        let body = match self.file_of(person) {
            Ok(Some(body)) => body,
            Ok(None) => return Lookup::default(),
            Err(Fault(cause)) => {
                let action = format!("reading the keys of {person}");
                let error = RegistryError { registry: Registry::Directory, action, cause: cause.to_string() };
                return Lookup { fault: Some(Arc::new(error)), ..Lookup::default() };
            }
        };
        let mut lookup = Lookup::default();
        for (at, result) in key_line::registered(&body, &self.allowed).into_iter().enumerate() {
            let place = format!("people/{person}{KEYS_ENDING}, key {}", at + 1).into();
            match result {
                Ok(accepted) => lookup.keys.push(RegisteredKey {
                    key: accepted.key,
                    restrictions: accepted.restrictions,
                    place,
                    version: "".into(),
                }),
                Err(error) => lookup.rejected.push(Rejected { place, reason: one_line(&error) }),
            }
        }
        lookup
    }

    fn members(&self, group: &GroupName) -> Result<Membership, Fault> {
        let path = self.part("groups")?.join(group.as_str());
        let Some(body) = read(&path)? else { return Ok(Membership::NoSuchGroup) };
        let text = std::str::from_utf8(&body).map_err(|error| fault(&path, &error))?;
        let names = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        // One bad line costs itself: were it to fail the group, a typing error would keep those who left.
        let members = names.filter_map(|name| {
            name.parse()
                .map_err(|error| tracing::warn!(%group, "{}: {error}; the line is left aside", path.display()))
                .ok()
        });
        Ok(Membership::Of(members.collect()))
    }

    /// Names of files in a part of the folder, without the ending; others are passed over.
    fn names<T: std::str::FromStr + Ord>(&self, part: &str, ending: &str) -> Result<BTreeSet<T>, Fault> {
        let folder = self.part(part)?;
        let entries = folder.read_dir().map_err(|error| fault(&folder, &error))?;
        let mut names = BTreeSet::new();
        for entry in entries {
            let name = entry.map_err(|error| fault(&folder, &error))?.file_name();
            names.extend(name.to_str().and_then(|name| name.strip_suffix(ending)).and_then(|name| name.parse().ok()));
        }
        Ok(names)
    }

    fn revoked(&self) -> Result<BTreeSet<Fingerprint>, Fault> {
        // Without the folder nothing is revoked; without the source nothing is known.
        trusted(&self.folder)?;
        match self.folder.join("revoked").symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            _ => self.names("revoked", ""),
        }
    }

    fn all_keys(&self) -> Result<BTreeSet<Fingerprint>, Fault> {
        let people: BTreeSet<PersonName> = self.names("people", KEYS_ENDING)?;
        let lookups = people.iter().map(|person| self.keys_of(person));
        Ok(lookups.flat_map(|lookup| lookup.keys).map(|registered| registered.key.fingerprint()).collect())
    }

    /// A folder below the source's own, checked to be root's.
    fn part(&self, name: &str) -> Result<PathBuf, Fault> {
        let path = self.folder.join(name);
        trusted(&self.folder)?;
        trusted(&path)?;
        Ok(path)
    }
}

impl Source for DirectorySource {
    fn fetch<'a>(&'a self, specs: &'a BTreeSet<KeySpec>, _: &'a KeyCache) -> BoxFuture<'a, Findings> {
        let (source, specs) = (self.clone(), specs.clone());
        blocking::run(move || source.look(&specs)).boxed()
    }

    fn known<'a>(&'a self, candidates: &'a [PublicKey]) -> BoxFuture<'a, Result<BTreeSet<Fingerprint>, Fault>> {
        let source = self.clone();
        let candidates: BTreeSet<_> = candidates.iter().map(PublicKey::fingerprint).collect();
        blocking::run(move || source.all_keys().map(|all| candidates.intersection(&all).copied().collect())).boxed()
    }
}

fn fault(path: &Path, error: &dyn std::fmt::Display) -> Fault {
    Fault(format!("{}: {error}", path.display()).into())
}

fn trusted(folder: &Path) -> Result<(), Fault> {
    trusted_file::check_folder(folder).map_err(|error| Fault(one_line(&error).into()))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Fault> {
    trusted_file::read(path).map_err(|error| Fault(one_line(&error).into()))
}

#[cfg(test)]
mod tests;
