//! Replaces one file in an open folder, atomically and durably: a crash at any instant leaves the old or the new one.
//!
//! The new bytes go to a temporary file of an unpredictable name beside the old one, to the disk, and then into place.
//! Nothing here takes a path: only a folder that is already open, and the name of a file in it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat};
use nix::unistd::{Gid, UnlinkatFlags, fchown, fsync, geteuid, unlinkat};

use super::Stamp;
use super::error::{Kind, Refusal, Step, Trouble};
use super::walk::{self, Way, judge_private};

/// Begins the name of every temporary file; 16 hexadecimal digits follow.
pub const TEMPORARY_PREFIX: &str = ".fleetkey-new-";

const TEMPORARY_DIGITS: usize = 16;

/// How many names are tried before it is taken for an attack. One is enough where nobody guesses.
const NAME_ATTEMPTS: usize = 8;

/// How many entries of a folder are looked at for old temporary files: a user may have a million of their own.
const SWEEP_LIMIT: usize = 10_000;

/// A file to be.
#[derive(Debug)]
pub(super) struct NewFile<'a> {
    pub(super) name: &'a OsStr,
    pub(super) bytes: &'a [u8],
    /// Permission bits.
    pub(super) mode: u32,
    /// Its group, where that is not the one that the kernel gives it.
    pub(super) group: Option<Gid>,
}

/// Why a file was not replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Somebody changed the old file meanwhile, or took the new one away.
    Raced,
    /// A system call failed.
    Step(Step, Errno),
}

/// Replaces a file, provided that `unchanged` says so at the last moment, and returns the stamp of the new one.
///
/// `folder` must be open for reading (not `O_PATH`), so that it can be brought to the disk.
pub(super) fn replace(
    folder: BorrowedFd<'_>,
    new: &NewFile<'_>,
    unchanged: impl FnOnce() -> Result<bool, Errno>,
) -> Result<Stamp, Failure> {
    let at = |step| move |errno| Failure::Step(step, errno);
    let mut temporary = Temporary::create(folder).map_err(at(Step::CreateTemporary))?;
    temporary.file.write_all(new.bytes).map_err(|error| Failure::Step(Step::Write, errno_of(&error)))?;
    if new.group.is_some() {
        fchown(&temporary.file, None, new.group).map_err(at(Step::SetMode))?;
    }
    fchmod(&temporary.file, Mode::from_bits_truncate(new.mode)).map_err(at(Step::SetMode))?;
    fsync(&temporary.file).map_err(at(Step::Sync))?;
    if !unchanged().map_err(at(Step::Inspect))? {
        return Err(Failure::Raced);
    }
    temporary.rename(new.name)?;
    sync_folder(folder).map_err(at(Step::Sync))?;
    // After the rename, which changes the inode's time of change.
    let written = fstat(&temporary.file).map(|stat| Stamp::of(&stat)).map_err(at(Step::Inspect))?;
    // Whoever swapped the temporary file had something of theirs renamed.
    let in_place = walk::look(folder, new.name).map_err(at(Step::Inspect))?;
    if in_place.as_ref().map(Stamp::of) == Some(written) { Ok(written) } else { Err(Failure::Raced) }
}

/// Brings the names in a folder to the disk, on file systems that know how.
pub(super) fn sync_folder(folder: impl AsFd) -> Result<(), Errno> {
    match fsync(folder) {
        // What some network and FUSE file systems say of any folder.
        Err(Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(()),
        result => result,
    }
}

/// A file under its temporary name, which it loses when dropped.
struct Temporary<'a> {
    folder: BorrowedFd<'a>,
    name: OsString,
    file: File,
    in_place: bool,
}

impl<'a> Temporary<'a> {
    fn create(folder: BorrowedFd<'a>) -> Result<Self, Errno> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut attempts = 0;
        loop {
            let name = OsString::from(format!("{TEMPORARY_PREFIX}{:0TEMPORARY_DIGITS$x}", fastrand::u64(..)));
            match openat(folder, &*name, flags, Mode::S_IRUSR | Mode::S_IWUSR) {
                Ok(file) => return Ok(Self { folder, name, file: file.into(), in_place: false }),
                Err(Errno::EEXIST) if attempts < NAME_ATTEMPTS => attempts += 1,
                Err(errno) => return Err(errno),
            }
        }
    }

    fn rename(&mut self, name: &OsStr) -> Result<(), Failure> {
        match renameat(self.folder, &*self.name, self.folder, name) {
            Ok(()) => {
                self.in_place = true;
                Ok(())
            }
            // Another writer of ours swept it, or the user took it away.
            Err(Errno::ENOENT) => Err(Failure::Raced),
            Err(errno) => Err(Failure::Step(Step::Rename, errno)),
        }
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.in_place {
            // What cannot be removed now is swept at the next update.
            let _ = unlinkat(self.folder, &*self.name, UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// Removes the temporary files that killed writers left in a folder, and says how many.
pub(super) fn sweep(folder: BorrowedFd<'_>) -> Result<usize, Errno> {
    // A descriptor of its own, because reading a folder moves its offset.
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut listing = Dir::openat(folder, ".", flags, Mode::empty())?;
    let mut stale = Vec::new();
    for entry in listing.iter().take(SWEEP_LIMIT) {
        let entry = entry?;
        if is_temporary(entry.file_name().to_bytes()) {
            stale.push(entry.file_name().to_owned());
        }
    }
    // By removing a name, whatever it stands for, nothing beyond this folder can be touched.
    Ok(stale.iter().filter(|name| unlinkat(folder, name.as_c_str(), UnlinkatFlags::NoRemoveDir).is_ok()).count())
}

fn is_temporary(name: &[u8]) -> bool {
    name.strip_prefix(TEMPORARY_PREFIX.as_bytes()).is_some_and(|digits| {
        digits.len() == TEMPORARY_DIGITS && digits.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Opens a folder of root's own (state, run time), to be given to [`replace_file`].
///
/// Every folder on the way must belong to root or this process's user, and none may be written by others.
pub fn open_private_folder(path: &Path) -> Result<OwnedFd, Trouble> {
    let place = walk::folder(path, Way::Private)?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(&place, ".", flags, Mode::empty()).map_err(|errno| Trouble::failed(Step::Enter, path, errno))
}

/// Replaces a file of root's own in an open folder, atomically and durably, and sweeps what a killed writer left.
///
/// `name` is the name of a file, without any `/`; `mode` its permission bits, such as `0o600`. The folder must not be
/// writable by others, and `name` must not stand for anything but a regular file.
pub fn replace_file(folder: BorrowedFd<'_>, name: &OsStr, bytes: &[u8], mode: u32) -> Result<Stamp, Trouble> {
    let path = Path::new(name);
    let failed = |step| move |errno| Trouble::failed(step, path, errno);
    if path.components().count() != 1 || path.file_name() != Some(name) {
        return Err(Trouble::failed(Step::CreateTemporary, path, Errno::EINVAL));
    }
    let stat = fstat(folder).map_err(failed(Step::Inspect))?;
    judge_private(&stat, true).map_err(|refusal| Trouble::refused(path, refusal))?;
    if let Some(old) = walk::look(folder, name).map_err(failed(Step::Inspect))?
        && Kind::of(&old) != Kind::File
    {
        return Err(Trouble::refused(path, Refusal::NotAFile(Kind::of(&old))));
    }
    sweep(folder.as_fd()).map_err(failed(Step::List))?;
    let new = NewFile { name, bytes, mode, group: None };
    replace(folder, &new, || Ok(true)).map_err(|failure| match failure {
        Failure::Raced => Trouble::refused(path, Refusal::KeepsChanging),
        Failure::Step(step, errno) => Trouble::failed(step, path, errno),
    })
}

fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Whether a file is a regular one of the given permission bits, owner this process, and group.
pub(super) fn has_mode(stat: &nix::sys::stat::FileStat, mode: u32, group: Option<Gid>) -> bool {
    stat.st_mode == SFlag::S_IFREG.bits() | mode
        && stat.st_uid == geteuid().as_raw()
        && group.is_none_or(|group| stat.st_gid == group.as_raw())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn private_folder() -> (tempfile::TempDir, OwnedFd) {
        let folder = tempfile::tempdir().unwrap();
        let opened = open_private_folder(folder.path()).unwrap();
        (folder, opened)
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_state_file_is_made_and_replaced_with_its_mode_and_no_litter() {
        let (folder, opened) = private_folder();
        File::create(folder.path().join(format!("{TEMPORARY_PREFIX}0123456789abcdef"))).unwrap();
        File::create(folder.path().join(format!("{TEMPORARY_PREFIX}not-ours"))).unwrap();
        for bytes in [&b"one"[..], b"two"] {
            replace_file(opened.as_fd(), OsStr::new("state"), bytes, 0o640).unwrap();
            assert_eq!(std::fs::read(folder.path().join("state")).unwrap(), bytes);
        }
        assert_eq!(folder.path().join("state").metadata().unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(names(folder.path()), [format!("{TEMPORARY_PREFIX}not-ours"), "state".to_owned()]);
    }

    #[test]
    fn t8_a_state_folder_that_others_can_write_is_refused() {
        let (folder, opened) = private_folder();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let error = replace_file(opened.as_fd(), OsStr::new("state"), b"", 0o600).unwrap_err();
        assert!(
            matches!(error, Trouble::Refused { refusal: Refusal::WritableByOthers { mode: 0o777 }, .. }),
            "{error}"
        );
        assert!(open_private_folder(folder.path()).is_err());
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        let (folder, opened) = private_folder();
        for name in ["", ".", "..", "a/b", "/etc/passwd", "a/"] {
            assert!(replace_file(opened.as_fd(), OsStr::new(name), b"", 0o600).is_err(), "{name}");
        }
        symlink("/etc/passwd", folder.path().join("link")).unwrap();
        assert!(replace_file(opened.as_fd(), OsStr::new("link"), b"", 0o600).is_err());
        assert_eq!(names(folder.path()), ["link"]);
    }

    #[test]
    fn a_file_that_changed_meanwhile_is_not_replaced() {
        let (folder, opened) = private_folder();
        let new = NewFile { name: OsStr::new("file"), bytes: b"new", mode: 0o600, group: None };
        assert_eq!(replace(opened.as_fd(), &new, || Ok(false)), Err(Failure::Raced));
        assert_eq!(names(folder.path()), [""; 0]);
    }
}
