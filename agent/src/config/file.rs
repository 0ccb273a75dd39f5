//! Reads the configuration file: the one place of the configuration that touches the disk.
//!
//! The file says who may log in, so what others than root could have written is never taken.

use std::path::Path;

use fleetkey_common::trusted_file::{self, TrustError};

use super::ConfigError;

/// The bytes of the file, after its kind, size, owner and mode were found right.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    // Whoever runs the program as themselves, to check a file, gives nobody any access by it.
    let as_root = nix::unistd::geteuid().is_root();
    let body = if as_root { trusted_file::read(path) } else { trusted_file::read_anybodys(path) };
    let path = || path.to_owned();
    match body {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(ConfigError::Missing { path: path() }),
        Err(TrustError::Io { source, .. }) => Err(ConfigError::Unreadable { path: path(), source }),
        Err(TrustError::Kind { .. }) => Err(ConfigError::NotAFile { path: path() }),
        Err(TrustError::Large { .. }) => Err(ConfigError::TooLarge { path: path() }),
        Err(TrustError::Owner { uid, .. }) => {
            Err(ConfigError::NotRoots { path: path(), found: format!("it is owned by user id {uid}") })
        }
        Err(TrustError::Writable { mode, .. }) => {
            Err(ConfigError::NotRoots { path: path(), found: format!("its mode is {mode:04o}") })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn to_root_only_a_file_of_roots_that_nobody_else_can_write_is_taken_and_to_others_any() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let set_mode = |mode| file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
        let refused = |found: &str| match read(file.path()) {
            Err(error) => assert_eq!(
                error.to_string(),
                format!(
                    "{}: {found}, but the file says who may log in, so root alone may write it; \
                     look through it, then chown root and chmod go-w it",
                    file.path().display()
                )
            ),
            Ok(_) => assert!(!nix::unistd::geteuid().is_root(), "{found}"),
        };
        set_mode(0o644);
        assert!(read(file.path()).is_ok());
        set_mode(0o664);
        refused("its mode is 0664");
        set_mode(0o646);
        refused("its mode is 0646");
        set_mode(0o644);
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(file.path(), Some(65534), None).unwrap();
            refused("it is owned by user id 65534");
        }
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
