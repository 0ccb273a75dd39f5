//! Folders that last as long as their owner: removed when dropped, and by the next run when the owner was killed.
//!
//! They lie under the cache folder, on a real disk, where no other user can put anything in the way.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The file in each folder that its owner holds locked.
const LOCK: &str = "lock";

/// Where the harness keeps what is worth keeping between runs: `$FLEETKEY_CACHE`, or `~/.cache/fleetkey`.
pub fn cache() -> Result<PathBuf> {
    let folder = match std::env::var_os("FLEETKEY_CACHE") {
        Some(folder) => PathBuf::from(folder),
        None => {
            std::env::home_dir().context("no home folder is known; set FLEETKEY_CACHE")?.join(".cache").join("fleetkey")
        }
    };
    make_private(&folder)?;
    Ok(folder)
}

/// A folder of mode 0700 that is removed, with all that is in it, when this value is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// Locked as long as the owner lives: how others know that the folder is in use.
    _lock: File,
}

impl Scratch {
    /// Makes a folder, and removes those whose owners were killed.
    pub fn new() -> Result<Self> {
        let all = cache()?.join("scratch");
        make_private(&all)?;
        // A folder is not yet locked in the moment in which it appears: making and sweeping take turns.
        let turn = File::create(all.with_extension("lock")).context("cannot make the lock of the scratch folders")?;
        turn.lock().context("cannot lock the scratch folders")?;
        sweep(&all)?;
        let path = loop {
            let path = all.join(format!("{:016x}", fastrand::u64(..)));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => break path,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("cannot make {}", path.display())),
            }
        };
        let lock = File::create(path.join(LOCK))?;
        lock.lock()?;
        Ok(Self { path, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next sweep.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders that nobody holds any more.
fn sweep(all: &Path) -> Result<()> {
    for entry in fs::read_dir(all).with_context(|| format!("cannot list {}", all.display()))? {
        let path = entry?.path();
        let held = match File::open(path.join(LOCK)) {
            Ok(lock) => matches!(lock.try_lock(), Err(TryLockError::WouldBlock)),
            Err(_) => false,
        };
        if !held {
            // Its owner may be removing it at the same time.
            let _ = fs::remove_dir_all(&path);
        }
    }
    Ok(())
}

fn make_private(folder: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| {
        format!("cannot make {}; set FLEETKEY_CACHE to a folder that can be written", folder.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_its_owner_and_one_without_an_owner_is_swept() -> Result<()> {
        let mine = Scratch::new()?;
        let orphan = mine.path().with_file_name(format!("orphan-{:x}", fastrand::u64(..)));
        fs::create_dir(&orphan)?;
        let other = Scratch::new()?;
        assert!(mine.path().is_dir());
        assert!(!orphan.exists());
        let path = other.path().to_owned();
        drop(other);
        assert!(!path.exists());
        Ok(())
    }
}
