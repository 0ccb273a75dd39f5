//! Credentials from a file of root's own, for hosts that are not in EC2.
//!
//! The file is in the form of `~/.aws/credentials`, but is never looked for: its path is given, and the profile is
//! `default`. Nothing of it is ever printed.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use thiserror::Error;

/// What credentials from a file are good for before the file is read again.
const GOOD_FOR: Duration = Duration::from_mins(1);
/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024;
/// `O_NONBLOCK`: a FIFO in the file's place must not make the agent wait.
const NON_BLOCKING: i32 = 0o4000;
const PROFILE: &str = "default";

/// Reads the file anew each time it is asked, which the SDK does when what it has is about to expire: so a file that
/// was replaced is taken up within a minute.
#[derive(Debug)]
pub struct CredentialsFile {
    path: PathBuf,
}

/// Why the file gives no credentials.
#[derive(Debug, Error)]
pub enum CredentialsFileError {
    /// It cannot be opened or read.
    #[error("cannot read the AWS credentials in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not a file, or others than root could have written or read it.
    #[error("{} is refused as AWS credentials: {reason}; chown root and chmod 600 it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// It lacks a value.
    #[error("{} has no {name} in [{PROFILE}]", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The name of the value.
        name: &'static str,
    },
}

impl CredentialsFile {
    /// Credentials from the file at this path. It need not be there yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl ProvideCredentials for CredentialsFile {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let path = self.path.clone();
        future::ProvideCredentials::new(async move {
            let read = tokio::task::spawn_blocking(move || read(&path)).await;
            read.map_err(CredentialsError::unhandled)?.map_err(CredentialsError::provider_error)
        })
    }
}

fn read(path: &Path) -> Result<Credentials, CredentialsFileError> {
    let failed = |source| CredentialsFileError::Read { path: path.to_owned(), source };
    let exposed = |reason| CredentialsFileError::Exposed { path: path.to_owned(), reason };
    let file = OpenOptions::new().read(true).custom_flags(NON_BLOCKING).open(path).map_err(failed)?;
    let status = file.metadata().map_err(failed)?;
    if !status.is_file() {
        return Err(exposed("it is not a regular file"));
    }
    if status.uid() != 0 {
        return Err(exposed("it does not belong to root"));
    }
    if status.mode() & 0o077 != 0 {
        return Err(exposed("others than root have access to it"));
    }
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
    let value = |name| profile_value(&text, name);
    let needed = |name| value(name).ok_or_else(|| CredentialsFileError::Missing { path: path.to_owned(), name });
    Ok(Credentials::new(
        needed("aws_access_key_id")?,
        needed("aws_secret_access_key")?,
        value("aws_session_token").map(str::to_owned),
        Some(SystemTime::now() + GOOD_FOR),
        "credentials file",
    ))
}

/// The value of a name in the profile `default`; the last one, as in other readers of this form.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>
fn profile_value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut profile = None;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            profile = Some(section.trim());
        } else if profile == Some(PROFILE)
            && let Some((key, value)) = line.split_once('=')
            && key.trim() == name
        {
            found = Some(value.trim()).filter(|value| !value.is_empty());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const TEXT: &str = "# a comment\n[other]\naws_access_key_id = no\n[ default ]\naws_access_key_id=AKIA1\n\
                        aws_secret_access_key = a=b/c+ \naws_session_token =\n[third]\naws_access_key_id = no\n";

    #[test]
    fn the_default_profile_is_read_and_no_other() {
        assert_eq!(profile_value(TEXT, "aws_access_key_id"), Some("AKIA1"));
        assert_eq!(profile_value(TEXT, "aws_secret_access_key"), Some("a=b/c+"));
        assert_eq!(profile_value(TEXT, "aws_session_token"), None);
        assert_eq!(profile_value("aws_access_key_id = AKIA1\n", "aws_access_key_id"), None);
    }

    #[test]
    fn t8_a_file_that_others_can_open_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        assert!(matches!(read(&path), Err(CredentialsFileError::Read { .. })));
        assert!(matches!(read(folder.path()), Err(CredentialsFileError::Exposed { .. })));
        std::fs::write(&path, TEXT).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read(&path), Err(CredentialsFileError::Exposed { .. })));
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        if std::fs::metadata(&path).unwrap().uid() == 0 {
            assert_eq!(read(&path).unwrap().access_key_id(), "AKIA1");
            std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        }
        assert!(matches!(read(&path), Err(CredentialsFileError::Exposed { .. })));
    }

    #[test]
    fn t9_no_error_holds_what_the_file_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        std::fs::write(&path, "[default]\naws_secret_access_key = topsecret\n").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let error = read(&path).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("topsecret"));
    }
}
