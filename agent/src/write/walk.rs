//! Walks from `/` to a folder, descriptor by descriptor, so that nobody can swap the ground under it.
//!
//! It must never let the kernel resolve more than one component at a time, and never follow a link unless root alone
//! could have set it. `openat2` would do some of this, but not on the 4.14 kernels that are still about.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::unistd::geteuid;

use super::error::{Kind, Refusal, Step, Trouble};

/// Write permission for group and others.
pub(super) const OTHERS_WRITE: u32 = 0o022;

const STICKY: u32 = 0o1000;

/// More than any sane way to a home has, and few enough to end a loop at once.
const MAX_LINKS: usize = 8;

const PASS_THROUGH: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// What is asked of the folders on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Anybody's: for walks with the account's own rights, or that only look.
    Any,
    /// Root's (or this process's own), and not to be written by others: for walks at whose end root writes.
    /// Folders before the last may be sticky, like `/tmp`.
    Private,
}

/// The permission bits of a file.
pub(super) fn permissions(stat: &FileStat) -> u32 {
    stat.st_mode & 0o7777
}

/// Opens the folder at an absolute path as a mere place (`O_PATH`): its last component is never a link.
pub(super) fn folder(path: &Path, way: Way) -> Result<OwnedFd, Trouble> {
    let mut todo = components_reversed(path)?;
    let mut passed = PathBuf::from("/");
    let mut here = open("/", PASS_THROUGH | OFlag::O_DIRECTORY, Mode::empty())
        .map_err(|errno| Trouble::failed(Step::Enter, &passed, errno))?;
    judge(&here, &passed, way, todo.is_empty())?;
    let mut links = 0;
    while let Some(name) = todo.pop() {
        if name == ".." {
            passed.pop();
        } else {
            passed.push(&name);
        }
        match enter(&here, &name, &passed)? {
            Entered::Folder(next) => {
                judge(&next, &passed, way, todo.is_empty())?;
                here = next;
            }
            Entered::Link { .. } if todo.is_empty() => {
                return Err(Trouble::refused(&passed, Refusal::NotAFolder(Kind::Link)));
            }
            Entered::Link { link, stat } => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Trouble::refused(path, Refusal::TooManyLinks));
                }
                let target = read_trusted_link(&here, &link, &stat, &passed)?;
                passed.pop();
                if target.is_absolute() {
                    passed = PathBuf::from("/");
                    here = open("/", PASS_THROUGH | OFlag::O_DIRECTORY, Mode::empty())
                        .map_err(|errno| Trouble::failed(Step::Enter, &passed, errno))?;
                }
                todo.extend(target.components().rev().filter_map(step_of));
            }
        }
    }
    Ok(here)
}

/// What stands at `name` in `folder`, itself and not what it may point to; `None`: nothing.
pub(super) fn look(folder: impl AsFd, name: &OsStr) -> Result<Option<FileStat>, Errno> {
    match fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Opens a folder in a folder, with `flags` beside those that forbid links; `None`: nothing is there.
pub(super) fn child(folder: impl AsFd, name: &OsStr, flags: OFlag, path: &Path) -> Result<Option<OwnedFd>, Trouble> {
    let flags = flags | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(&folder, name, flags, Mode::empty()) {
        Ok(opened) => Ok(Some(opened)),
        Err(Errno::ENOENT) => Ok(None),
        // Which of the two a link gives depends on the other flags.
        Err(errno @ (Errno::ENOTDIR | Errno::ELOOP)) => match look(&folder, name) {
            Ok(Some(stat)) if Kind::of(&stat) != Kind::Folder => {
                Err(Trouble::refused(path, Refusal::NotAFolder(Kind::of(&stat))))
            }
            _ => Err(Trouble::failed(Step::Enter, path, errno)),
        },
        Err(errno) => Err(Trouble::failed(Step::Enter, path, errno)),
    }
}

enum Entered {
    Folder(OwnedFd),
    Link { link: OwnedFd, stat: FileStat },
}

fn enter(here: &OwnedFd, name: &OsStr, path: &Path) -> Result<Entered, Trouble> {
    let failed = |errno| match errno {
        Errno::ENOENT => Trouble::refused(path, Refusal::Missing),
        errno => Trouble::failed(Step::Enter, path, errno),
    };
    // `O_DIRECTORY` comes first, because without it `O_PATH` would not wake an automount.
    match openat(here, name, PASS_THROUGH | OFlag::O_DIRECTORY, Mode::empty()) {
        Ok(opened) => return Ok(Entered::Folder(opened)),
        Err(Errno::ENOTDIR | Errno::ELOOP) => {}
        Err(errno) => return Err(failed(errno)),
    }
    let opened = openat(here, name, PASS_THROUGH, Mode::empty()).map_err(failed)?;
    let stat = fstat(&opened).map_err(|errno| Trouble::failed(Step::Inspect, path, errno))?;
    match Kind::of(&stat) {
        Kind::Link => Ok(Entered::Link { link: opened, stat }),
        kind => Err(Trouble::refused(path, Refusal::NotAFolder(kind))),
    }
}

/// Reads a link, if it is root's and stands in a folder where root alone can put links.
fn read_trusted_link(folder: &OwnedFd, link: &OwnedFd, stat: &FileStat, path: &Path) -> Result<PathBuf, Trouble> {
    let holder = fstat(folder).map_err(|errno| Trouble::failed(Step::Inspect, path, errno))?;
    if stat.st_uid != 0 || holder.st_uid != 0 || permissions(&holder) & OTHERS_WRITE != 0 {
        return Err(Trouble::refused(path, Refusal::ForeignLink));
    }
    // The empty path means the link that is open, and not whatever bears its name by now.
    let target = readlinkat(link, "").map_err(|errno| Trouble::failed(Step::Enter, path, errno))?;
    Ok(PathBuf::from(target))
}

fn judge(folder: &OwnedFd, path: &Path, way: Way, last: bool) -> Result<(), Trouble> {
    if way == Way::Any {
        return Ok(());
    }
    let stat = fstat(folder).map_err(|errno| Trouble::failed(Step::Inspect, path, errno))?;
    judge_private(&stat, last).map_err(|refusal| Trouble::refused(path, refusal))
}

/// Whether a folder is root's or this process's own, and not to be written by others.
pub(super) fn judge_private(stat: &FileStat, last: bool) -> Result<(), Refusal> {
    if stat.st_uid != 0 && stat.st_uid != geteuid().as_raw() {
        return Err(Refusal::Owner { owner: stat.st_uid, wanted: 0 });
    }
    let mode = permissions(stat);
    // In a sticky folder nobody can rename or remove what is root's, and the next component is judged too.
    let excused = !last && mode & STICKY != 0;
    if mode & OTHERS_WRITE != 0 && !excused {
        return Err(Refusal::WritableByOthers { mode });
    }
    Ok(())
}

fn components_reversed(path: &Path) -> Result<Vec<OsString>, Trouble> {
    let climbs = path.components().any(|component| component == Component::ParentDir);
    if !path.is_absolute() || climbs {
        return Err(Trouble::refused(path, Refusal::NotAbsolute));
    }
    Ok(path.components().rev().filter_map(step_of).collect())
}

fn step_of(component: Component<'_>) -> Option<OsString> {
    match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    }
}
