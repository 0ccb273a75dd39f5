//! Watches for other hands: key files that somebody changes, and the folder of the `directory` source.
//!
//! Folders in a home are watched by descriptors that were opened without following links, so that nobody can make the
//! agent watch what is not theirs. What was seen is only a hint: the pass over the files finds out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleetkey_common::names::AccountName;
use nix::sys::stat::fstat;
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use crate::config::settings::{Mode, Settings, SourceSettings};
use crate::source::directory;
use crate::write::Folders;

/// Where the kernel shows the agent's own descriptors, by which folders in homes are named.
const DESCRIPTORS: &str = "/proc/self/fd";

/// What a watched folder is watched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Watched {
    /// `~/.ssh`, where `authorized_keys` counts.
    SshFolder,
    /// A home, where `.ssh` counts.
    Home,
    /// The folder of the `system` files, or the one that holds the break-glass file: everything in it counts.
    Keys,
    /// A folder of the `directory` source.
    Source,
}

/// What wakes the agent's loop.
#[derive(Debug, Default)]
pub struct Hints {
    /// A key file may not be what it was.
    pub files: Notify,
    /// The `directory` source may not be what it was.
    pub source: Notify,
}

/// The watches of all managed accounts.
pub struct Drift {
    watcher: Option<RecommendedWatcher>,
    watches: BTreeMap<(Watched, Key), Watch>,
    hints: Arc<Hints>,
}

/// What a watch belongs to.
type Key = String;

/// One folder that is watched: by its descriptor for homes, by its path for folders that are root's.
struct Watch {
    inode: (u64, u64),
    path: PathBuf,
    _descriptor: Option<OwnedFd>,
}

impl fmt::Debug for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drift").field("watches", &self.watches.keys()).finish_non_exhaustive()
    }
}

impl Drift {
    /// Watches nothing yet. Without inotify the agent goes on, and finds changes when it polls.
    pub fn new(hints: Arc<Hints>) -> Self {
        let told = Arc::clone(&hints);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if let Ok(event) = event {
                tell(&told, &event);
            } else {
                // The queue ran over: whatever was lost, looking finds it.
                told.files.notify_one();
                told.source.notify_one();
            }
        });
        let watcher = watcher
            .inspect_err(|error| {
                tracing::error!(
                    action = "no-watch",
                    "files cannot be watched: {error}; changes by others are found at the next poll"
                );
            })
            .ok();
        Self { watcher, watches: BTreeMap::new(), hints }
    }

    /// Watches what these settings name, as it stands now: called after every pass, since folders come and go.
    /// `homes`: the folders of each home that the pass could open; the watches of other granted accounts stay.
    pub fn watch(&mut self, settings: &Settings, homes: Vec<(AccountName, Folders)>) {
        let mut wanted = BTreeMap::new();
        let in_homes = settings.grants.iter().filter(|grant| grant.mode != Mode::System);
        let mut silent: BTreeSet<_> = in_homes.map(|grant| grant.account.to_string()).collect();
        for (account, _) in &homes {
            silent.remove(account.as_str());
        }
        for (account, folders) in homes {
            home_folders(&account, folders, &mut wanted);
        }
        if settings.grants.iter().any(|grant| grant.mode == Mode::System) {
            by_path(Watched::Keys, &settings.paths.system_keys, &mut wanted);
        }
        if let Some(folder) = settings.guard.break_glass.parent() {
            by_path(Watched::Keys, folder, &mut wanted);
        }
        if let SourceSettings::Directory { path } = &settings.source {
            by_path(Watched::Source, path, &mut wanted);
            for name in directory::FOLDERS {
                by_path(Watched::Source, &path.join(name), &mut wanted);
            }
        }
        self.replace(wanted, &silent);
    }

    /// Makes the watches these: what is watched already stays, what is gone goes, unless the account is `silent`.
    fn replace(&mut self, wanted: BTreeMap<(Watched, Key), Watch>, silent: &BTreeSet<Key>) {
        let Some(watcher) = &mut self.watcher else { return };
        let gone: Vec<_> = self
            .watches
            .iter()
            .filter(|(key, watch)| match wanted.get(*key) {
                Some(wanted) => wanted.inode != watch.inode,
                None => !(matches!(key.0, Watched::Home | Watched::SshFolder) && silent.contains(&key.1)),
            })
            .map(|(key, _)| key.clone())
            .collect();
        for watch in gone.iter().filter_map(|key| self.watches.remove(key)) {
            // An error says that the folder, and the watch with it, is gone already.
            let _ = watcher.unwatch(&watch.path);
        }
        for (key, watch) in wanted {
            if self.watches.contains_key(&key) {
                continue;
            }
            match watcher.watch(&watch.path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    // It may have changed between the pass and this moment.
                    self.hints.files.notify_one();
                    self.watches.insert(key, watch);
                }
                Err(error) => tracing::warn!(action = "no-watch", "cannot watch {}: {error}", key.1),
            }
        }
    }
}

/// The folders of one account, by descriptor.
fn home_folders(account: &AccountName, folders: Folders, wanted: &mut BTreeMap<(Watched, Key), Watch>) {
    let ssh = folders.ssh.map(|descriptor| (Watched::SshFolder, descriptor));
    for (watched, descriptor) in [(Watched::Home, folders.home)].into_iter().chain(ssh) {
        let Ok(stat) = fstat(&descriptor) else { continue };
        let path = PathBuf::from(format!("{DESCRIPTORS}/{}", descriptor.as_raw_fd()));
        let watch = Watch { inode: (stat.st_dev, stat.st_ino), path, _descriptor: Some(descriptor) };
        wanted.insert((watched, account.to_string()), watch);
    }
}

/// A folder of root's own, by its path. One that is not there is looked for again after the next pass.
fn by_path(watched: Watched, path: &Path, wanted: &mut BTreeMap<(Watched, Key), Watch>) {
    use std::os::unix::fs::MetadataExt;
    if let Ok(metadata) = path.metadata() {
        let watch = Watch { inode: (metadata.dev(), metadata.ino()), path: path.to_owned(), _descriptor: None };
        wanted.insert((watched, path.display().to_string()), watch);
    }
}

/// Tells the loop of an event that matters.
fn tell(hints: &Hints, event: &Event) {
    let changes = match event.kind {
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(_) => true,
        EventKind::Access(AccessKind::Close(mode)) => mode == AccessMode::Write,
        _ => event.need_rescan(),
    };
    let in_a_home = |path: &PathBuf| path.starts_with(DESCRIPTORS);
    if !changes || (!event.paths.is_empty() && event.paths.iter().all(|path| is_idle_talk(path))) {
        return;
    }
    hints.files.notify_one();
    if event.paths.is_empty() || !event.paths.iter().all(in_a_home) {
        hints.source.notify_one();
    }
}

/// Whether a path in a home is none of the agent's business: homes are busy places.
fn is_idle_talk(path: &Path) -> bool {
    let Ok(inside) = path.strip_prefix(DESCRIPTORS) else { return false };
    let name = inside.components().nth(1).map(std::path::Component::as_os_str);
    name.is_some_and(|name| name != ".ssh" && name != "authorized_keys")
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, ModifyKind};

    use super::*;

    /// Whether the loop is told that key files, and that the source, may have changed.
    fn told(kind: EventKind, path: &str) -> (bool, bool) {
        let hints = Hints::default();
        tell(&hints, &Event::new(kind).add_path(PathBuf::from(path)));
        // A permit is stored exactly when the loop was told.
        let files = futures_util::FutureExt::now_or_never(hints.files.notified()).is_some();
        (files, futures_util::FutureExt::now_or_never(hints.source.notified()).is_some())
    }

    #[test]
    fn in_a_home_only_the_key_file_and_its_folder_matter() {
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let removed = EventKind::Remove(notify::event::RemoveKind::Folder);
        assert_eq!(told(written, "/proc/self/fd/9/authorized_keys"), (true, false));
        assert_eq!(told(EventKind::Create(CreateKind::Folder), "/proc/self/fd/9/.ssh"), (true, false));
        assert_eq!(told(removed, "/proc/self/fd/9"), (true, false));
        assert_eq!(told(written, "/proc/self/fd/9/.bash_history"), (false, false));
        assert_eq!(told(written, "/proc/self/fd/9/.authorized_keys.fleetkey-1"), (false, false));
    }

    #[test]
    fn everything_in_a_folder_of_roots_matters_and_reading_never_does() {
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        assert_eq!(told(written, "/etc/fleetkey/directory/people/alice.pub"), (true, true));
        let read = EventKind::Access(AccessKind::Open(AccessMode::Read));
        assert_eq!(told(read, "/etc/fleetkey/directory/people/alice.pub"), (false, false));
    }
}
