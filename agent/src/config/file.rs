//! Reads the configuration file: the one place of the configuration that touches the disk.
//!
//! The file says who may log in, so what others than root could have written is never taken, and what is checked is
//! the open descriptor, never the path a second time. Opening never blocks, whatever stands at the path.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use super::ConfigError;

/// The greatest size of a configuration file in bytes; thousands of grants fit.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// Write permission of the group and of everyone else.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The bytes of the file, after its kind, size, owner and mode were found right.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let file = open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ConfigError::Missing { path: path.to_owned() },
        _ => unreadable(source),
    })?;
    check(path, &file.metadata().map_err(unreadable)?, nix::unistd::geteuid().is_root())?;
    let mut bytes = Vec::new();
    // One byte more than allowed, so that a file that grows while it is read is noticed.
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES { Err(ConfigError::TooLarge { path: path.to_owned() }) } else { Ok(bytes) }
}

/// Without `O_NONBLOCK`, to open a FIFO would wait for a writer for ever.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits()).open(path)
}

fn check(path: &Path, metadata: &Metadata, as_root: bool) -> Result<(), ConfigError> {
    let path = || path.to_owned();
    if !metadata.is_file() {
        return Err(ConfigError::NotAFile { path: path() });
    }
    if metadata.len() > MAX_BYTES {
        return Err(ConfigError::TooLarge { path: path() });
    }
    // Whoever runs the program as themselves, to check a file, gives nobody any access by it.
    if as_root {
        check_owner(metadata.uid(), metadata.mode()).map_err(|found| ConfigError::NotRoots { path: path(), found })?;
    }
    Ok(())
}

/// `Err` says what is wrong with the owner (a user id) or the mode (`st_mode`).
fn check_owner(uid: u32, mode: u32) -> Result<(), String> {
    if uid != 0 {
        return Err(format!("it is owned by user id {uid}"));
    }
    if mode & WRITABLE_BY_OTHERS != 0 {
        return Err(format!("its mode is {:04o}", mode & 0o7777));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_of_root_that_nobody_else_can_write_is_taken() {
        assert_eq!(check_owner(0, 0o100_644), Ok(()));
        assert_eq!(check_owner(0, 0o100_600), Ok(()));
        assert_eq!(check_owner(1000, 0o100_644), Err("it is owned by user id 1000".to_owned()));
        assert_eq!(check_owner(0, 0o100_664), Err("its mode is 0664".to_owned()));
        assert_eq!(check_owner(0, 0o100_646), Err("its mode is 0646".to_owned()));
    }

    #[test]
    fn to_root_a_file_of_another_user_is_refused_with_what_to_do() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // Without root's rights the file is another user's already.
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(file.path(), Some(65534), None).unwrap();
        }
        let metadata = file.as_file().metadata().unwrap();
        assert!(check(file.path(), &metadata, false).is_ok());
        assert_eq!(
            check(file.path(), &metadata, true).unwrap_err().to_string(),
            format!(
                "{}: it is owned by user id {}, but the file says who may log in, so root alone may write it; \
                 look through it, then chown root and chmod go-w it",
                file.path().display(),
                metadata.uid()
            )
        );
    }

    #[test]
    fn a_missing_file_says_how_to_make_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        assert_eq!(
            read(&path).unwrap_err().to_string(),
            format!(
                "{}: there is no such file; write one, beginning with source = \"iam\" or source = \"directory\", \
                 or name another with --config FILE",
                path.display()
            )
        );
    }

    #[test]
    fn t4_a_fifo_or_a_folder_in_place_of_the_file_is_refused_without_a_hang() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(matches!(read(&fifo), Err(ConfigError::NotAFile { .. })));
        assert!(matches!(read(folder.path()), Err(ConfigError::NotAFile { .. })));
    }

    #[test]
    fn a_file_of_more_than_a_mebibyte_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, vec![b'#'; 1 << 20]).unwrap();
        assert_eq!(read(file.path()).unwrap().len(), 1 << 20);
        std::fs::write(&file, vec![b'#'; (1 << 20) + 1]).unwrap();
        assert!(matches!(read(file.path()), Err(ConfigError::TooLarge { .. })));
    }
}
