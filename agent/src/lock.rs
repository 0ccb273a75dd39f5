//! One agent to a box: two would undo each other's work.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use thiserror::Error;

/// The lock's file, in the runtime folder.
const FILE: &str = "agent.lock";

/// Held while the agent runs; the kernel lets go of it however the agent ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why the lock is not to be had.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another agent runs.
    #[error("an agent runs already; `systemctl reload fleetkey-agent` makes it look at its source at once")]
    Held,
    /// The file cannot be made.
    #[error("cannot make {FILE} in the runtime folder; the agent runs as root")]
    Io(#[from] io::Error),
}

/// Takes the lock, or says who has it.
pub fn take(runtime: &Path) -> Result<Lock, LockError> {
    DirBuilder::new().recursive(true).mode(0o755).create(runtime)?;
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(runtime.join(FILE))?;
    match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
        Ok(_) => Ok(Lock { _file: file }),
        Err(Errno::EAGAIN | Errno::EACCES) => Err(LockError::Held),
        Err(errno) => Err(LockError::Io(errno.into())),
    }
}

/// Whether somebody has the lock. Only looks: whoever takes it meanwhile is not kept from it.
pub fn is_held(runtime: &Path) -> bool {
    let Ok(file) = File::open(runtime.join(FILE)) else { return false };
    let mut lock = whole_file();
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock)).is_ok() && i32::from(lock.l_type) != libc::F_UNLCK
}

/// A lock for one alone, of the open file and not of a process (fcntl(2), "open file description locks").
#[expect(clippy::cast_possible_truncation, reason = "both are small numbers, for which the fields are made")]
fn whole_file() -> libc::flock {
    let (l_type, l_whence) = (libc::F_WRLCK as libc::c_short, libc::SEEK_SET as libc::c_short);
    libc::flock { l_type, l_whence, l_start: 0, l_len: 0, l_pid: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_is_told_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = take(folder.path()).unwrap();
        assert!(matches!(take(folder.path()), Err(LockError::Held)));
        drop(first);
        take(folder.path()).unwrap();
    }
    #[test]
    fn whoever_looks_whether_an_agent_runs_keeps_none_from_starting() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_held(folder.path()) && !folder.path().join(FILE).exists());
        let held = take(folder.path()).unwrap();
        assert!(is_held(folder.path()));
        drop(held);
        assert!(!is_held(folder.path()));
        let looking = std::sync::atomic::AtomicBool::new(true);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while looking.load(std::sync::atomic::Ordering::Relaxed) {
                    is_held(folder.path());
                }
            });
            let taken = (0..2000).all(|_| take(folder.path()).is_ok());
            looking.store(false, std::sync::atomic::Ordering::Relaxed);
            assert!(taken);
        });
    }
}
