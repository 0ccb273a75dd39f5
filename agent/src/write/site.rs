//! The place of one key file, as the helper sees it: walk there, read, replace, remove, and put permissions right.
//!
//! It runs with the account's rights for files in homes, and with root's for `system` files. Nothing here takes a path
//! to a file: everything goes through the descriptors of folders that were walked to and judged.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};

use super::error::{Kind, Refusal, Step, Trouble};
use super::label::set_creation_label;
use super::replace::{Failure, NewFile, has_mode, replace, sweep, sync_folder};
use super::walk::{self, OTHERS_WRITE, SET_ID, Way, permissions};
use super::wire::{Done, Labels, SIZE_LIMIT, Target};
use super::{KEY_FILE, Note, SSH_FOLDER, Stamp};

/// Mode of a `.ssh` that is made.
const SSH_FOLDER_MODE: u32 = 0o700;

/// Mode of a key file that is made in a home.
const KEY_FILE_MODE: u32 = 0o600;

/// Mode of folders made for `system` files: sshd goes through them as the account.
const SYSTEM_FOLDER_MODE: u32 = 0o755;

/// Mode of `system` files: root writes, sshd reads as the account, by its group.
const SYSTEM_FILE_MODE: u32 = 0o640;

const READ_FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Whose ground the file stands on.
#[derive(Debug)]
enum Ground {
    /// A user's home, which is open.
    Home { home: OwnedFd, owner: u32 },
    /// Root's own; the file is readable by this group.
    System { group: Gid },
}

/// A key file's place.
#[derive(Debug)]
pub(super) struct Site {
    ground: Ground,
    path: PathBuf,
    name: OsString,
    /// The folder of the file; `None`: not there yet.
    folder: Option<OwnedFd>,
    /// What was done on the side.
    notes: Vec<Note>,
}

/// A key file as it was found.
#[derive(Debug)]
pub(super) struct Old {
    file: File,
    stat: FileStat,
    /// What it holds.
    pub(super) bytes: Vec<u8>,
}

impl Site {
    /// Walks to the place of a key file. `path` is the home, or the folder of a `system` file.
    pub(super) fn open(target: &Target, owner: u32, path: &Path) -> Result<Self, Trouble> {
        match target {
            Target::Home => Self::in_home(owner, path),
            Target::System { name, group } => Self::in_system_folder(path, name.into(), Gid::from_raw(*group)),
        }
    }

    /// Puts the folder in order: away with what killed writers left, and with write permission for others.
    pub(super) fn tidy(&mut self) -> Result<(), Trouble> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let swept =
            sweep(folder.as_fd(), &self.name).map_err(|errno| Trouble::failed(Step::List, &self.path, errno))?;
        if swept > 0 {
            self.notes.push(Note::Swept(swept));
        }
        if let Ground::Home { .. } = self.ground {
            let was = permissions(&inspect(folder, &self.path)?);
            if was & OTHERS_WRITE != 0 {
                // Without the set-group-id bit: the agent's unit does not let anything set it (RestrictSUIDSGID).
                let now = was & !OTHERS_WRITE & !SET_ID;
                fchmod(folder, Mode::from_bits_truncate(now))
                    .map_err(|errno| Trouble::failed(Step::SetMode, &self.path, errno))?;
                self.notes.push(Note::FolderMode { was, now });
            }
        }
        Ok(())
    }

    fn in_home(owner: u32, path: &Path) -> Result<Self, Trouble> {
        // For root's own home nobody else may have a say in where the walk ends.
        let way = if owner == 0 { Way::Private } else { Way::Any };
        let home = walk::folder(path, way)?;
        let stat = inspect(&home, path)?;
        if stat.st_uid != owner && stat.st_uid != 0 {
            return Err(Trouble::refused(path, Refusal::Owner { owner: stat.st_uid, wanted: owner }));
        }
        let ground = Ground::Home { home, owner };
        let mut site =
            Self { ground, path: path.join(SSH_FOLDER), name: KEY_FILE.into(), folder: None, notes: Vec::new() };
        let is = permissions(&stat);
        if is & OTHERS_WRITE != 0 {
            site.notes.push(Note::HomeMode { is });
        }
        site.enter_ssh_folder()?;
        Ok(site)
    }

    fn in_system_folder(path: &Path, name: OsString, group: Gid) -> Result<Self, Trouble> {
        let folder = match walk::folder(path, Way::Private) {
            Ok(place) => Some(readable(&place, path)?),
            Err(Trouble::Refused { refusal: Refusal::Missing, .. }) => None,
            Err(trouble) => return Err(trouble),
        };
        Ok(Self { ground: Ground::System { group }, path: path.to_owned(), name, folder, notes: Vec::new() })
    }

    fn enter_ssh_folder(&mut self) -> Result<(), Trouble> {
        let Ground::Home { home, owner } = &self.ground else { return Ok(()) };
        let Some(folder) = walk::child(home, OsStr::new(SSH_FOLDER), OFlag::O_RDONLY, &self.path)? else {
            return Ok(());
        };
        let stat = inspect(&folder, &self.path)?;
        if stat.st_uid != *owner {
            return Err(Trouble::refused(&self.path, Refusal::Owner { owner: stat.st_uid, wanted: *owner }));
        }
        self.folder = Some(folder);
        Ok(())
    }

    /// Whether there is a folder.
    pub(super) fn has_folder(&self) -> bool {
        self.folder.is_some()
    }

    fn file_path(&self) -> PathBuf {
        self.path.join(&self.name)
    }

    /// Reads the key file, if it is a regular file with one name; `None`: nothing stands there.
    pub(super) fn read(&self) -> Result<Option<Old>, Trouble> {
        let path = self.file_path();
        let Some(folder) = &self.folder else { return Ok(None) };
        let failed = |errno| Trouble::failed(Step::Read, &path, errno);
        // Looked at first, because to open a device can do something already.
        let Some(stat) = walk::look(folder, &self.name).map_err(failed)? else { return Ok(None) };
        judge_file(&stat, &path)?;
        // Without blocking, for what may have been put there since.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let file = match openat(folder, &*self.name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP) => return Err(Trouble::refused(&path, Refusal::NotAFile(Kind::Link))),
            Err(errno) => return Err(failed(errno)),
        };
        let stat = inspect(&file, &path)?;
        judge_file(&stat, &path)?;
        let mut bytes = Vec::new();
        (&file)
            .take(SIZE_LIMIT as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| failed(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)))?;
        if bytes.len() > SIZE_LIMIT {
            return Err(too_large(&path));
        }
        Ok(Some(Old { file, stat, bytes }))
    }

    /// Leaves the file's bytes. `None`: somebody changed it while its mode was put right.
    pub(super) fn keep(&mut self, old: Option<&Old>) -> Result<Option<Done>, Trouble> {
        let Some(old) = old else { return Ok(Some(self.done(false, None))) };
        let Some(now) = self.right_mode(&old.stat) else {
            return Ok(Some(self.done(false, Some(Stamp::of(&old.stat)))));
        };
        let path = self.file_path();
        let failed = |errno| Trouble::failed(Step::SetMode, &path, errno);
        if let Ground::System { group } = self.ground {
            fchown(&old.file, Some(Uid::from_raw(0)), Some(group)).map_err(failed)?;
        }
        fchmod(&old.file, Mode::from_bits_truncate(now)).map_err(failed)?;
        self.notes.push(Note::FileMode { was: permissions(&old.stat), now });
        let stamp = Stamp::of(&inspect(&old.file, &path)?);
        let before = Stamp::of(&old.stat);
        let same_bytes = (stamp.size, stamp.modified) == (before.size, before.modified);
        Ok(same_bytes.then(|| self.done(false, Some(stamp))))
    }

    /// The mode that a present file must be given; `None`: it is fine, or not this process's to change.
    fn right_mode(&self, stat: &FileStat) -> Option<u32> {
        let was = permissions(stat);
        match self.ground {
            Ground::Home { owner, .. } => {
                (stat.st_uid == owner && was & OTHERS_WRITE != 0).then_some(was & !OTHERS_WRITE & !SET_ID)
            }
            Ground::System { group } => (!has_mode(stat, SYSTEM_FILE_MODE, Some(group))).then_some(SYSTEM_FILE_MODE),
        }
    }

    /// Puts `bytes` in the place of what was read. `None`: somebody changed the file since.
    pub(super) fn replace(
        &mut self,
        labels: &Labels,
        old: Option<&Old>,
        bytes: &[u8],
    ) -> Result<Option<Done>, Trouble> {
        if self.folder.is_none() {
            if labels.folder.is_some() {
                self.label(labels.folder.as_deref());
            }
            self.create_folder()?;
        }
        // Also to take back the folder's label, where the file has none.
        if labels.file.is_some() || labels.folder.is_some() {
            self.label(labels.file.as_deref());
        }
        let path = self.file_path();
        let Some(folder) = &self.folder else { return Err(Trouble::refused(&self.path, Refusal::Missing)) };
        let (mode, group) = match self.ground {
            // Readable by its owner at least, or else sshd could not read it.
            Ground::Home { .. } => {
                let mode = old.map_or(KEY_FILE_MODE, |old| permissions(&old.stat) & 0o755 | 0o400);
                (mode, None)
            }
            Ground::System { group } => (SYSTEM_FILE_MODE, Some(group)),
        };
        let new = NewFile { name: &self.name, bytes, mode, group };
        match replace(folder.as_fd(), &new, || self.unchanged(folder, old)) {
            Ok(stamp) => Ok(Some(self.done(true, Some(stamp)))),
            Err(Failure::Raced) => Ok(None),
            Err(Failure::Step(step, errno)) => Err(Trouble::failed(step, &path, errno)),
        }
    }

    /// Removes what was read. `None`: somebody changed the file since.
    pub(super) fn remove(&mut self, old: Option<&Old>) -> Result<Option<Done>, Trouble> {
        let (Some(folder), Some(_)) = (&self.folder, old) else { return Ok(Some(self.done(false, None))) };
        let path = self.file_path();
        let failed = |step| move |errno| Trouble::failed(step, &path, errno);
        if !self.unchanged(folder, old).map_err(failed.clone()(Step::Inspect))? {
            return Ok(None);
        }
        unlinkat(folder, &*self.name, UnlinkatFlags::NoRemoveDir).map_err(failed.clone()(Step::Remove))?;
        sync_folder(folder).map_err(failed(Step::Sync))?;
        Ok(Some(self.done(true, None)))
    }

    /// Whether the file is still the one that was read. An instant remains in which it can change before the rename;
    /// whoever uses it changes a file of their own, and the next look finds it.
    fn unchanged(&self, folder: &OwnedFd, old: Option<&Old>) -> Result<bool, Errno> {
        let now = walk::look(folder, &self.name)?;
        Ok(now.as_ref().map(Stamp::of) == old.map(|old| Stamp::of(&old.stat)))
    }

    fn create_folder(&mut self) -> Result<(), Trouble> {
        match &self.ground {
            Ground::Home { home, .. } => {
                create_durably(home, OsStr::new(SSH_FOLDER), SSH_FOLDER_MODE, &self.path)?;
                self.enter_ssh_folder()?;
            }
            Ground::System { .. } => self.folder = Some(create_system_folder(&self.path)?),
        }
        self.notes.push(Note::FolderCreated);
        Ok(())
    }

    /// A label that cannot be set is no reason to leave a revoked key in place.
    fn label(&mut self, label: Option<&str>) {
        if let Err(error) = set_creation_label(label) {
            let note = Note::LabelNotSet(Some(error.raw_os_error().unwrap_or_default()));
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }

    fn done(&mut self, changed: bool, stamp: Option<Stamp>) -> Done {
        Done { changed, stamp, notes: std::mem::take(&mut self.notes) }
    }
}

fn judge_file(stat: &FileStat, path: &Path) -> Result<(), Trouble> {
    match Kind::of(stat) {
        Kind::File if stat.st_nlink > 1 => Err(Trouble::refused(path, Refusal::HardLinked)),
        Kind::File if u64::try_from(stat.st_size).is_ok_and(|size| size > SIZE_LIMIT as u64) => Err(too_large(path)),
        Kind::File => Ok(()),
        kind => Err(Trouble::refused(path, Refusal::NotAFile(kind))),
    }
}

fn too_large(path: &Path) -> Trouble {
    Trouble::refused(path, Refusal::TooLarge { limit: SIZE_LIMIT as u64 })
}

fn inspect(file: impl AsFd, path: &Path) -> Result<FileStat, Trouble> {
    fstat(file).map_err(|errno| Trouble::failed(Step::Inspect, path, errno))
}

/// Opens a folder that is open as a mere place once more, so that it can be listed and brought to the disk.
fn readable(place: &OwnedFd, path: &Path) -> Result<OwnedFd, Trouble> {
    openat(place, ".", READ_FOLDER, Mode::empty()).map_err(|errno| Trouble::failed(Step::Enter, path, errno))
}

/// Makes a folder in a folder, to stay. That it is there by now is no error.
fn create_durably(place: &OwnedFd, name: &OsStr, mode: u32, path: &Path) -> Result<(), Trouble> {
    match mkdirat(place, name, Mode::from_bits_truncate(mode)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(Trouble::failed(Step::CreateFolder, path, errno)),
    }
    sync_folder(readable(place, path)?).map_err(|errno| Trouble::failed(Step::Sync, path, errno))
}

/// Makes the folder of `system` files, and its parent if need be; what is above must be there.
fn create_system_folder(path: &Path) -> Result<OwnedFd, Trouble> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Trouble::refused(path, Refusal::NotAbsolute));
    };
    let above = match walk::folder(parent, Way::Private) {
        Err(Trouble::Refused { refusal: Refusal::Missing, .. }) => {
            if let (Some(grandparent), Some(name)) = (parent.parent(), parent.file_name()) {
                let place = walk::folder(grandparent, Way::Private)?;
                create_durably(&place, name, SYSTEM_FOLDER_MODE, parent)?;
            }
            walk::folder(parent, Way::Private)?
        }
        result => result?,
    };
    create_durably(&above, name, SYSTEM_FOLDER_MODE, path)?;
    readable(&walk::folder(path, Way::Private)?, path)
}
