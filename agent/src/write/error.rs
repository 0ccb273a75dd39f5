//! What can go wrong with a key file, in words that say where, what, and what to do.
//!
//! Paths and file kinds come from folders in the hands of users: they are printed escaped, never verbatim.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use fleetkey_common::names::AccountName;
use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why the key file of an account was not brought up to date. Whatever stood there still stands there.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The user database has no such account.
    #[error("account {account} is not in the user database; create it, or take its grant out of the configuration")]
    NoSuchAccount {
        /// The account.
        account: AccountName,
    },
    /// The user database gave no answer, which says nothing about whether the account exists.
    #[error("account {account}: the user database gave no answer; see getent(1) passwd {account}")]
    UserDatabase {
        /// The account.
        account: AccountName,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something stands in the way that the agent will not follow, read or replace.
    #[error("account {account}: {path:?} {refusal}")]
    Refused {
        /// The account.
        account: AccountName,
        /// What was refused.
        path: PathBuf,
        /// Why, and what to do.
        refusal: Refusal,
    },
    /// A system call failed.
    #[error("account {account}: could not {step} {path:?}{}", advice(.source))]
    Failed {
        /// The account.
        account: AccountName,
        /// What was tried.
        step: Step,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The helper did not start.
    #[error(
        "account {account}: the helper {helper:?} did not start; the agent must run as root, its program be \
         executable by all, and its LimitNPROC= be infinity"
    )]
    Start {
        /// The account.
        account: AccountName,
        /// The program.
        helper: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The helper ended, or said something that makes no sense, before the work was done.
    #[error("account {account}: the helper broke off ({}) and said {said:?}", ending(*.status))]
    BrokeOff {
        /// The account.
        account: AccountName,
        /// How it ended; `None` when it had to be killed.
        status: Option<ExitStatus>,
        /// The beginning of what it printed on stderr.
        said: String,
        /// What the agent saw of it.
        #[source]
        source: io::Error,
    },
    /// The helper took too long, and was killed.
    #[error("account {account}: its key file was not done within {limit:?}; is the file system of {path:?} answering?")]
    TimedOut {
        /// The account.
        account: AccountName,
        /// The key file.
        path: PathBuf,
        /// How long it was given.
        limit: Duration,
    },
}

/// Trouble with a file or folder, not yet laid to an account.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Trouble {
    /// Something stands in the way that the agent will not follow, read or replace.
    #[error("{path:?} {refusal}")]
    Refused {
        /// What was refused; bytes that are not UTF-8 are replaced.
        path: String,
        /// Why, and what to do.
        refusal: Refusal,
    },
    /// A system call failed.
    #[error("could not {step} {path:?}")]
    Failed {
        /// What was tried.
        step: Step,
        /// On what; bytes that are not UTF-8 are replaced.
        path: String,
        /// What the system said.
        #[serde(with = "errno_as_number")]
        #[source]
        errno: Errno,
    },
}

impl Trouble {
    pub(super) fn refused(path: &Path, refusal: Refusal) -> Self {
        Self::Refused { path: path.to_string_lossy().into_owned(), refusal }
    }

    pub(super) fn failed(step: Step, path: &Path, errno: Errno) -> Self {
        Self::Failed { step, path: path.to_string_lossy().into_owned(), errno }
    }

    pub(super) fn of(self, account: &AccountName) -> WriteError {
        let account = account.clone();
        match self {
            Self::Refused { path, refusal } => WriteError::Refused { account, path: path.into(), refusal },
            Self::Failed { step, path, errno } => {
                WriteError::Failed { account, step, path: path.into(), source: errno.into() }
            }
        }
    }
}

/// Why the agent keeps off a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Refusal {
    /// There is nothing.
    #[error("does not exist; create it")]
    Missing,
    /// The path of a home or folder is relative, or has `..` in it.
    #[error("is not an absolute path without \"..\"; correct it in the user database or the configuration")]
    NotAbsolute,
    /// Something else stands where a folder must be.
    #[error("is {0}, where a folder must stand; put a real folder there")]
    NotAFolder(Kind),
    /// A link on the way that somebody else than root could have set.
    #[error("is a symbolic link that others than root can change, and is not followed; put a real folder there")]
    ForeignLink,
    /// Links upon links.
    #[error("is reached through too many symbolic links; shorten the way")]
    TooManyLinks,
    /// It belongs to somebody else.
    #[error("belongs to uid {owner}, and must belong to uid {wanted}; run chown")]
    Owner {
        /// Whose it is.
        owner: u32,
        /// Whose it must be.
        wanted: u32,
    },
    /// Others than its owner can write a folder that must be root's alone.
    #[error("can be written by others than root (mode {mode:04o}); run chmod go-w")]
    WritableByOthers {
        /// Its permission bits.
        mode: u32,
    },
    /// Something else stands where the key file must be.
    #[error("is {0}, where a regular file must stand, and is left as it is; remove it (rm)")]
    NotAFile(Kind),
    /// The file has a second name somewhere, which a write must not reach.
    #[error("has more than one hard link, and is left as it is; remove it (rm), it is then written anew")]
    HardLinked,
    /// More than the agent is ready to read or write.
    #[error("is larger than {} MiB; make it smaller", limit >> 20)]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// Somebody changed the file each time between reading and replacing.
    #[error("is being changed by somebody else all the time; it is tried again later")]
    KeepsChanging,
    /// The helper is not who it was told to be.
    #[error("is not touched, because the helper runs with another identity than the account's")]
    Identity,
}

/// What was tried when a system call failed: the verb of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Look at ownership, mode and kind.
    Inspect,
    /// Open a folder on the way.
    Enter,
    /// List a folder.
    List,
    /// Create a folder.
    CreateFolder,
    /// Change permission bits or group.
    SetMode,
    /// Read the present file.
    Read,
    /// Create the temporary file.
    CreateTemporary,
    /// Fill the temporary file.
    Write,
    /// Bring file or folder to the disk.
    Sync,
    /// Put the new file in place.
    Rename,
    /// Remove the file.
    Remove,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inspect => "inspect",
            Self::Enter => "enter",
            Self::List => "list",
            Self::CreateFolder => "create the folder",
            Self::SetMode => "set mode and group of",
            Self::Read => "read",
            Self::CreateTemporary => "create a temporary file beside",
            Self::Write => "write the temporary file beside",
            Self::Sync => "bring to disk",
            Self::Rename => "put in place",
            Self::Remove => "remove",
        })
    }
}

/// Kinds of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A FIFO.
    Fifo,
    /// A character or block device.
    Device,
    /// A socket.
    Socket,
}

impl Kind {
    pub(super) fn of(stat: &FileStat) -> Self {
        match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFREG => Self::File,
            SFlag::S_IFDIR => Self::Folder,
            SFlag::S_IFLNK => Self::Link,
            SFlag::S_IFIFO => Self::Fifo,
            SFlag::S_IFSOCK => Self::Socket,
            _ => Self::Device,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "a regular file",
            Self::Folder => "a folder",
            Self::Link => "a symbolic link",
            Self::Fifo => "a FIFO",
            Self::Device => "a device",
            Self::Socket => "a socket",
        })
    }
}

/// What to do about the commoner errors, as the end of a sentence.
fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOSPC | Errno::EDQUOT) => "; free some space there",
        Some(Errno::EROFS) => "; mount the file system read-write, or give the grant mode = \"system\"",
        Some(Errno::EACCES | Errno::EPERM) => "; the account itself must be allowed to do this",
        Some(Errno::EIO) => "; look for disk errors in the kernel's log",
        _ => "",
    }
}

fn ending(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "killed".to_owned(), |status| status.to_string())
}

/// Errno on the wire: its number.
mod errno_as_number {
    use nix::errno::Errno;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this signature")]
    pub(super) fn serialize<S: Serializer>(errno: &Errno, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i32(*errno as i32)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Errno, D::Error> {
        i32::deserialize(from).map(Errno::from_raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t5_a_file_name_with_line_breaks_cannot_forge_a_line_of_the_log() {
        let path = Path::new("/home/a\nroot logged in\x1b[2J/.ssh");
        let account: AccountName = "mallory".parse().unwrap();
        for trouble in [
            Trouble::refused(path, Refusal::NotAFolder(Kind::Link)),
            Trouble::failed(Step::Rename, path, Errno::ENOSPC),
        ] {
            let short = trouble.to_string();
            let full = trouble.of(&account).to_string();
            assert!(!short.contains(char::is_control) && !full.contains(char::is_control), "{short:?} {full:?}");
            assert!(full.starts_with("account mallory: ") && full.contains(r"a\nroot"), "{full}");
        }
    }

    #[test]
    fn a_full_disk_is_told_with_what_to_do_and_the_cause_is_told_once() {
        let error = Trouble::failed(Step::Write, Path::new("/home/a/.ssh/authorized_keys"), Errno::ENOSPC)
            .of(&"a".parse().unwrap());
        assert_eq!(
            error.to_string(),
            "account a: could not write the temporary file beside \"/home/a/.ssh/authorized_keys\"; free some space there"
        );
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("No space left on device"), "{source}");
    }
}
