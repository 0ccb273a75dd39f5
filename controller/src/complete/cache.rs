//! What was last seen of boxes and images, kept so that the shell can complete their names without asking AWS.
//!
//! Only ever a help to whoever types: no command believes it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::folders;
use crate::settings::Settings;

/// Variables of AWS's that say in whose account and where a command works, beside Fleetkey's own settings.
const WORLD: [&str; 5] = ["AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL"];

/// The folder of what is known below that of programs' caches.
const FOLDER: &str = "fleetkey/boxes";

/// How old what is known may be before it is looked at again.
const FRESH: Duration = Duration::from_mins(5);

/// What is known of one namespace in one region of one account.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Known {
    pub(super) boxes: Vec<SeenBox>,
    /// By the name in full of the boxes that they were taken of.
    pub(super) images: BTreeMap<String, Vec<SeenImage>>,
}

/// A box, as far as it is chosen by what is typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeenBox {
    /// As seen from the namespace.
    pub(crate) role: String,
    pub(crate) name: String,
    pub(crate) ordinal: usize,
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) zone: String,
    pub(crate) cluster: Option<String>,
    pub(crate) address: Option<String>,
}

/// An image; its place in the list is its ordinal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeenImage {
    pub(crate) id: String,
    pub(crate) name: String,
}

/// Where what is known with some settings is kept.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    path: PathBuf,
}

impl Cache {
    /// That of these settings. Nothing is asked for it: the same settings and variables are the same account and region.
    pub(crate) fn of(settings: &Settings, env: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let Settings { aws_profile, region, namespace, me, .. } = settings;
        let me = me.as_ref().map(ToString::to_string);
        let ours = [aws_profile.clone(), region.clone(), Some(namespace.clone()), me];
        let mut digest = Sha256::new();
        for part in ours.into_iter().chain(WORLD.iter().map(|name| env(name))) {
            digest.update(part.unwrap_or_default());
            digest.update([0]);
        }
        let name = hex::encode(&digest.finalize()[..8]);
        Some(Self { path: folders::cache()?.join(FOLDER).join(format!("{name}.json")) })
    }

    /// What is known with whatever settings.
    pub(crate) fn all() -> Vec<Known> {
        let folder = folders::cache().map(|folder| folder.join(FOLDER));
        let entries = folder.and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
        let files =
            entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|found| found == "json"));
        files.map(|path| Self { path }.read()).collect()
    }

    /// What is known; nothing where nothing was kept, or what was kept cannot be read.
    pub(crate) fn read(&self) -> Known {
        let text = fs::read(&self.path).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Keeps these boxes in place of those of the name, or of all where none is given.
    pub(crate) fn keep_boxes(&self, name: Option<&str>, boxes: Vec<SeenBox>) -> io::Result<()> {
        let mut known = self.read();
        known.boxes.retain(|kept| name.is_some_and(|name| kept.name != name));
        known.boxes.extend(boxes);
        self.write(&known)
    }

    /// Keeps these images in place of those of the boxes of this name.
    pub(crate) fn keep_images(&self, of: &str, images: Vec<SeenImage>) -> io::Result<()> {
        let mut known = self.read();
        known.images.insert(of.to_owned(), images);
        self.write(&known)
    }

    /// Replaces the file whole: a shell may be reading it.
    fn write(&self, known: &Known) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(&self.path);
        fs::create_dir_all(folder)?;
        let aside = self.path.with_extension(format!("{}.new", std::process::id()));
        fs::write(&aside, serde_json::to_vec(known)?)?;
        fs::rename(&aside, &self.path).inspect_err(|_| drop(fs::remove_file(&aside)))
    }

    /// Whether it is time to look again; true for one caller only, until it is time once more. Never where nothing was
    /// kept: a shell must not be the first to use somebody's credentials.
    pub(crate) fn is_due(&self, now: SystemTime) -> bool {
        let Ok(file) = File::options().write(true).open(&self.path) else { return false };
        let seen = file.metadata().and_then(|metadata| metadata.modified());
        let old = seen.is_ok_and(|seen| now.duration_since(seen).is_ok_and(|age| age > FRESH));
        old && file.set_modified(now).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, id: &str) -> SeenBox {
        let (role, id) = (name.trim_start_matches('/').to_owned(), id.to_owned());
        let (name, state) = (name.to_owned(), "running".to_owned());
        SeenBox { role, name, ordinal: 0, id, state, zone: String::new(), cluster: None, address: None }
    }

    #[test]
    fn boxes_of_one_name_replace_those_of_that_name_alone() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache { path: folder.path().join("boxes/a.json") };
        assert_eq!(cache.read(), Known::default());
        cache.keep_boxes(None, vec![found("/web", "i-1"), found("/db", "i-2")]).unwrap();
        cache.keep_boxes(Some("/web"), vec![found("/web", "i-3")]).unwrap();
        let image = SeenImage { id: "ami-1".to_owned(), name: "web".to_owned() };
        cache.keep_images("/web", vec![image]).unwrap();
        let known = cache.read();
        assert_eq!(known.boxes.iter().map(|kept| kept.id.as_str()).collect::<Vec<_>>(), ["i-2", "i-3"]);
        assert_eq!(known.images["/web"][0].id, "ami-1");
        cache.keep_boxes(None, Vec::new()).unwrap();
        assert!(cache.read().boxes.is_empty());
        fs::write(&cache.path, "nonsense").unwrap();
        assert_eq!(cache.read(), Known::default());
        assert_eq!(fs::read_dir(folder.path().join("boxes")).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn only_one_looks_again_and_only_where_something_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache { path: folder.path().join("a.json") };
        let now = SystemTime::now();
        let later = now + FRESH + Duration::from_mins(1);
        assert!(!cache.is_due(later));
        cache.keep_boxes(None, Vec::new()).unwrap();
        assert!(!cache.is_due(now));
        assert!(cache.is_due(later));
        assert!(!cache.is_due(later));
    }
}
