//! The moment at which a key file is replaced, told by the kernel. It reads nothing of the file.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

/// A watch on one file's folder; gone when dropped.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: Arc<Inotify>,
    watched: WatchDescriptor,
    replaced: mpsc::Receiver<Instant>,
    reader: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches for `file` being replaced by a rename. Its folder must be there.
    pub(super) fn new(file: &Path) -> Result<Self> {
        let name = file.file_name().context("a file has a name")?.to_owned();
        let folder = file.parent().context("a file has a folder")?;
        let inotify = Arc::new(Inotify::init(InitFlags::IN_CLOEXEC)?);
        let watched = inotify
            .add_watch(folder, AddWatchFlags::IN_MOVED_TO)
            .with_context(|| format!("cannot watch {}", folder.display()))?;
        let (tell, replaced) = mpsc::channel();
        let queue = Arc::clone(&inotify);
        let reader = std::thread::Builder::new().name("watch".to_owned()).spawn(move || read(&queue, &name, &tell))?;
        Ok(Self { inotify, watched, replaced, reader: Some(reader) })
    }

    /// Forgets what was seen so far.
    pub(super) fn clear(&self) {
        self.replaced.try_iter().for_each(drop);
    }

    /// Waits for the file to be replaced; returns when it was.
    pub(super) fn next(&self, deadline: Duration) -> Result<Instant> {
        self.replaced.recv_timeout(deadline).with_context(|| format!("the key file was not replaced in {deadline:?}"))
    }
}

/// Tells of each replacement, until the watch is taken away.
fn read(queue: &Inotify, name: &OsStr, tell: &mpsc::Sender<Instant>) {
    while let Ok(events) = queue.read_events() {
        let now = Instant::now();
        for event in events {
            if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                return;
            }
            if event.name.as_deref() == Some(name) && tell.send(now).is_err() {
                return;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // The kernel says IN_IGNORED then, which ends the reader. A folder that is gone has said it already.
        let _ = self.inotify.rm_watch(self.watched);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_rename_over_the_file_is_told_and_nothing_else() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let (file, other) = (folder.path().join("keys"), folder.path().join("other"));
        let watch = Watch::new(&file)?;
        fs::write(&file, "written in place")?;
        fs::write(&other, "new")?;
        let before = Instant::now();
        fs::rename(&other, &file)?;
        assert!(watch.next(Duration::from_secs(5))? >= before);
        assert!(watch.next(Duration::from_millis(50)).is_err());
        Ok(())
    }
}
