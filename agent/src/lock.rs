//! One agent to a box: two would undo each other's work.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;

/// The lock's file, in the runtime folder.
const FILE: &str = "agent.lock";

/// Held while the agent runs; the kernel lets go of it however the agent ends.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
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
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(file) => Ok(Lock { _file: file }),
        Err((_, Errno::EWOULDBLOCK)) => Err(LockError::Held),
        Err((_, errno)) => Err(LockError::Io(errno.into())),
    }
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
}
