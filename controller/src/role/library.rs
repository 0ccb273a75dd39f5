//! Where roles are found: folders of the operator's, then those built in. The only part that reads files.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleetkey_common::did_you_mean::did_you_mean;

use super::fields::Findings;
use super::merge::merge;
use super::model::{Role, RoleName};
use super::node::{Node, Place, Value};
use super::problem::{Problem, Problems, RoleError};
use super::read::{self, Head};
use super::yaml;
use crate::folders;

/// The roles that come with the program: name and text.
const BUILT_IN: &[(&str, &str)] = &[
    ("docker", include_str!("../../roles/docker.yaml")),
    ("generic", include_str!("../../roles/generic.yaml")),
    ("generic-amazon-linux-2023-box", include_str!("../../roles/generic-amazon-linux-2023-box.yaml")),
    ("generic-debian-12-box", include_str!("../../roles/generic-debian-12-box.yaml")),
    ("generic-rocky-9-box", include_str!("../../roles/generic-rocky-9-box.yaml")),
    ("generic-ubuntu-22-04-box", include_str!("../../roles/generic-ubuntu-22-04-box.yaml")),
    ("generic-ubuntu-24-04-box", include_str!("../../roles/generic-ubuntu-24-04-box.yaml")),
];

/// Where the text of a role is.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// In the program.
    BuiltIn(&'static str),
    /// In a file.
    File(PathBuf),
}

/// All roles that there are, each by the first place that has one of its name.
#[derive(Debug, Clone)]
pub(crate) struct Library {
    roles: BTreeMap<RoleName, Origin>,
}

/// A role's own file.
struct Document {
    head: Head,
    body: Node,
}

impl Library {
    /// The roles in these folders, then in `~/.config/fleetkey/roles`, then built in; the first of a name counts.
    ///
    /// # Errors
    /// When a folder cannot be read; the operator's own need not exist.
    pub(crate) fn open(extra: &[PathBuf]) -> Result<Self, RoleError> {
        let own = folders::config().map(|config| config.join("fleetkey/roles"));
        Self::of(extra, own.as_deref())
    }

    /// The same with the operator's own folder named.
    pub(super) fn of(extra: &[PathBuf], own: Option<&Path>) -> Result<Self, RoleError> {
        let mut roles = BTreeMap::new();
        for folder in extra {
            add_folder(&mut roles, folder)?;
        }
        if let Some(folder) = own.filter(|folder| folder.exists()) {
            add_folder(&mut roles, folder)?;
        }
        for (name, text) in BUILT_IN {
            if let Ok(name) = name.parse() {
                roles.entry(name).or_insert(Origin::BuiltIn(text));
            }
        }
        Ok(Self { roles })
    }

    /// The same with one more file, whose role goes before all others of its name.
    ///
    /// # Errors
    /// When the file's name is not that of a role.
    pub(crate) fn with_file(&self, path: &Path) -> Result<(Self, RoleName), RoleError> {
        let stem = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let stem = stem.strip_suffix(".yaml").or_else(|| stem.strip_suffix(".yml")).unwrap_or(stem);
        let name: RoleName = stem.parse().map_err(|message| faulty(path, message))?;
        let mut library = self.clone();
        library.roles.insert(name.clone(), Origin::File(path.to_owned()));
        Ok((library, name))
    }

    /// The names of all roles, sorted.
    pub(crate) fn names(&self) -> Vec<RoleName> {
        self.roles.keys().cloned().collect()
    }

    /// Where a role comes from, for people.
    pub(crate) fn origin(&self, name: &RoleName) -> String {
        match self.roles.get(name) {
            Some(Origin::File(path)) => path.display().to_string(),
            _ => "built in".to_owned(),
        }
    }

    /// A role, merged with all that it extends, and checked.
    ///
    /// # Errors
    /// When there is none of that name, and when its files have faults.
    pub(crate) fn load(&self, name: &RoleName) -> Result<Role, RoleError> {
        if !self.roles.contains_key(name) {
            return Err(RoleError::Unknown { name: name.clone(), known: self.names() });
        }
        let mut ancestry = Ancestry { library: self, way: Vec::new(), seen: BTreeSet::new(), bodies: Vec::new() };
        let head = ancestry.add(name)?;
        let empty = Node { value: Value::Map(Vec::new()), place: head.place.clone() };
        let merged = ancestry.bodies.into_iter().try_fold(empty, merge);
        let merged = merged.map_err(|problem| RoleError::Faulty(Problems(vec![problem])))?;
        read::role(name, &head, &merged)
    }

    fn document(&self, name: &RoleName) -> Result<Document, RoleError> {
        let (file, bytes) = match self.roles.get(name) {
            Some(Origin::File(path)) => (Arc::from(path.display().to_string()), read_file(path)?),
            Some(Origin::BuiltIn(text)) => (Arc::from(format!("built-in {name}.yaml")), text.as_bytes().to_vec()),
            None => return Err(RoleError::Unknown { name: name.clone(), known: self.names() }),
        };
        let node = yaml::parse(&file, &bytes).map_err(|problem| RoleError::Faulty(Problems(vec![problem])))?;
        let mut findings = Findings::default();
        let (head, body) = read::head(node, &mut findings);
        findings.into_result(Document { head, body })
    }
}

/// The way from a role up to all that it extends.
struct Ancestry<'a> {
    library: &'a Library,
    /// From the role down to where we are; a name that comes up again closes a circle.
    way: Vec<RoleName>,
    seen: BTreeSet<RoleName>,
    /// What is merged, in order: each role once, behind what it extends.
    bodies: Vec<Node>,
}

impl Ancestry<'_> {
    fn add(&mut self, name: &RoleName) -> Result<Head, RoleError> {
        let document = self.library.document(name)?;
        self.way.push(name.clone());
        for (parent, place) in &document.head.extends {
            self.check(parent, place)?;
            if !self.seen.contains(parent) {
                self.add(parent)?;
            }
        }
        self.way.pop();
        self.seen.insert(name.clone());
        self.bodies.push(document.body);
        Ok(document.head)
    }

    /// Refuses a parent that there is not, or that is a descendant as well.
    fn check(&self, parent: &RoleName, place: &Place) -> Result<(), RoleError> {
        let refuse = |message| Err(RoleError::Faulty(Problems(vec![Problem { place: place.clone(), message }])));
        if let Some(at) = self.way.iter().position(|name| name == parent) {
            let circle: Vec<&str> = self.way[at..].iter().chain([parent]).map(RoleName::as_str).collect();
            let hint = if circle.len() == 2 && BUILT_IN.iter().any(|(name, _)| *name == parent.as_str()) {
                "; this file stands in place of the built-in role of its name: give it a name of its own"
            } else {
                ""
            };
            return refuse(format!("extends goes in a circle: {}{hint}", circle.join(" -> ")));
        }
        if !self.library.roles.contains_key(parent) {
            let known: Vec<&str> = self.library.roles.keys().map(RoleName::as_str).collect();
            let hint = did_you_mean(parent.as_str(), &known);
            return refuse(format!("there is no role {parent}{hint}; there are {}", known.join(", ")));
        }
        Ok(())
    }
}

fn add_folder(roles: &mut BTreeMap<RoleName, Origin>, folder: &Path) -> Result<(), RoleError> {
    let refuse = |source| RoleError::Read { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(refuse)? {
        let path = entry.map_err(refuse)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if yaml && !hidden {
            paths.push(path);
        }
    }
    paths.sort();
    for path in paths {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let name: RoleName = stem.parse().map_err(|message| faulty(&path, message))?;
        roles.entry(name).or_insert(Origin::File(path));
    }
    Ok(())
}

/// The bytes of a file, no more than can be a role: the rest is told as too much.
fn read_file(path: &Path) -> Result<Vec<u8>, RoleError> {
    let refuse = |source| RoleError::Read { path: path.to_owned(), source };
    // A FIFO would never begin, and a device never end.
    if !std::fs::metadata(path).map_err(refuse)?.is_file() {
        return Err(refuse(io::Error::other("it is no ordinary file")));
    }
    let file = std::fs::File::open(path).map_err(refuse)?;
    let mut bytes = Vec::new();
    file.take(yaml::LARGEST as u64 + 1).read_to_end(&mut bytes).map_err(refuse)?;
    Ok(bytes)
}

fn faulty(path: &Path, message: String) -> RoleError {
    let place = Place { file: Arc::from(path.display().to_string()), line: 1, column: 1 };
    RoleError::Faulty(Problems(vec![Problem { place, message }]))
}

#[cfg(test)]
#[path = "library_tests.rs"]
pub(super) mod tests;
