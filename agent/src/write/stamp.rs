//! Stamps: whether a key file is still the one that was written, told without reading it.
//!
//! These walks are made by root in folders of users: they must never follow a link nor open anything but a place
//! (`O_PATH`), and they read no content.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::sys::stat::FileStat;
use serde::{Deserialize, Serialize};

use super::error::{Refusal, Step, Trouble, WriteError};
use super::walk::{self, Way};
use super::{Account, KEY_FILE, KeyFile, SSH_FOLDER};

/// Tells one state of a file from another: any write, replacement, or change of mode or owner gives a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Device of the file system.
    pub device: u64,
    /// Inode.
    pub inode: u64,
    /// Size in bytes.
    pub size: i64,
    /// Last change of content: seconds and nanoseconds of the epoch.
    pub modified: (i64, i64),
    /// Last change of content, owner, mode or name: seconds and nanoseconds of the epoch. A user cannot set it.
    pub changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(stat: &FileStat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

/// The stamp of whatever stands at a key file's path; `None`: nothing does. An error tells nothing about the file: root
/// may not be allowed to look into a home on a network mount.
///
/// Blocks for as long as the file system does, so call it off the async thread and do not wait for it without limit:
/// a home may lie on a network mount.
pub fn stamp(file: &KeyFile) -> Result<Option<Stamp>, WriteError> {
    let account = file.account();
    let (folder, name) = match file {
        KeyFile::Home { account } => (account.home.join(SSH_FOLDER), OsStr::new(KEY_FILE)),
        KeyFile::System { folder, account } => (folder.clone(), OsStr::new(account.name.as_str())),
    };
    let opened = match walk::folder(&folder, Way::Any) {
        Ok(opened) => opened,
        Err(Trouble::Refused { refusal: Refusal::Missing, .. }) => return Ok(None),
        Err(trouble) => return Err(trouble.of(&account.name)),
    };
    let stat = walk::look(&opened, name)
        .map_err(|errno| Trouble::failed(Step::Inspect, &folder.join(name), errno).of(&account.name))?;
    Ok(stat.as_ref().map(Stamp::of))
}

/// The folders to be watched for changes of an account's key file.
#[derive(Debug)]
pub struct Folders {
    /// The home, where `.ssh` may come, go and be replaced.
    pub home: OwnedFd,
    /// `~/.ssh`, when there is one.
    pub ssh: Option<OwnedFd>,
}

/// Opens an account's home and `.ssh` as mere places (`O_PATH`, no link followed), to be watched through
/// `/proc/self/fd/N`. Blocks as [`stamp`] does.
pub fn open_folders_no_follow(account: &Account) -> Result<Folders, WriteError> {
    let open = || {
        let home = walk::folder(&account.home, Way::Any)?;
        let ssh = walk::child(&home, OsStr::new(SSH_FOLDER), OFlag::O_PATH, &account.home.join(SSH_FOLDER))?;
        Ok(Folders { home, ssh })
    };
    open().map_err(|trouble: Trouble| trouble.of(&account.name))
}
