//! Files whose word counts, such as those that say who may log in: read only when nobody but root, or who runs the
//! program, could have written them.

use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use thiserror::Error;

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// Why a file is not read.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The system said no.
    #[error("cannot read {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is of the wrong kind.
    #[error("{path} is not a {wanted}")]
    Kind {
        /// What stands there.
        path: PathBuf,
        /// What should.
        wanted: &'static str,
    },
    /// It belongs to somebody else.
    #[error("{path} belongs to user id {uid}; run: chown root {path}")]
    Owner {
        /// The file or folder.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// Others than its owner can write to it.
    #[error("others than its owner can write to {path} (mode {mode:04o}); run: chmod go-w {path}")]
    Writable {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is too large.
    #[error("{path} is larger than {MAX_FILE} bytes")]
    Large {
        /// The file.
        path: PathBuf,
    },
}

/// The bytes of a file; `None` when there is none. A FIFO or a device is refused without waiting for it.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, TrustError> {
    read_if(path, check_owner)
}

/// The same, of a file that anybody may have written: for who reads it without root's rights, and gives nobody any
/// access by it.
pub fn read_anybodys(path: &Path) -> Result<Option<Vec<u8>>, TrustError> {
    read_if(path, |_, _| Ok(()))
}

/// What is checked is the open descriptor, never the path a second time.
fn read_if(
    path: &Path,
    check: impl FnOnce(&Path, &Metadata) -> Result<(), TrustError>,
) -> Result<Option<Vec<u8>>, TrustError> {
    let io_error = |source| TrustError::Io { path: path.to_owned(), source };
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(error)),
    };
    let metadata = file.metadata().map_err(io_error)?;
    if !metadata.is_file() {
        return Err(TrustError::Kind { path: path.to_owned(), wanted: "regular file" });
    }
    check(path, &metadata)?;
    let mut body = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut body).map_err(io_error)?;
    if body.len() as u64 > MAX_FILE {
        return Err(TrustError::Large { path: path.to_owned() });
    }
    Ok(Some(body))
}

/// Checks that a folder is there and that only root, or the user that the agent runs as, can change what is in it.
pub fn check_folder(path: &Path) -> Result<(), TrustError> {
    let metadata = path.metadata().map_err(|source| TrustError::Io { path: path.to_owned(), source })?;
    if !metadata.is_dir() {
        return Err(TrustError::Kind { path: path.to_owned(), wanted: "folder" });
    }
    check_owner(path, &metadata)
}

fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), TrustError> {
    let me = nix::unistd::geteuid().as_raw();
    if metadata.uid() != 0 && metadata.uid() != me {
        return Err(TrustError::Owner { path: path.to_owned(), uid: metadata.uid() });
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(TrustError::Writable { path: path.to_owned(), mode: metadata.mode() & 0o7777 });
    }
    Ok(())
}
