//! The write stage: brings one key file to its new bytes, in a folder that a hostile user may control.
//!
//! Root never reads, writes, opens or follows anything in a home. A helper does: this program again, started for one
//! update as the account's user, which walks to the file by descriptors, tells the agent what it holds, and puts the
//! agent's answer in its place. The agent takes the helper for a stranger: it may be killed, stopped or tampered with
//! by the user whose rights it has, and can do no more than that user could anyway.
//!
//! | file | holds |
//! | --- | --- |
//! | `account` | the user database |
//! | `exchange` | the agent's side: start, talk to, and outlive the helper |
//! | `helper` | the helper's side: who am I, and the conversation |
//! | `inherited` | descriptors that are nobody's |
//! | `site` | the file's place: walk there, read, replace, remove, put right |
//! | `walk` | descriptor walks that follow no foreign link |
//! | `replace` | atomic and durable replacement, also of root's own state files |
//! | `label` | SELinux |
//! | `stamp` | telling own writes from others' |
//! | `wire` | frames between agent and helper |

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod account;
mod error;
mod exchange;
mod helper;
mod inherited;
mod label;
mod replace;
mod site;
mod stamp;
mod walk;
mod wire;

pub use account::{Account, look_up};
pub use error::{Kind, Refusal, Step, Trouble, WriteError};
pub use helper::{HELPER_ARGUMENT, helper_main};
pub use inherited::close_inherited_descriptors;
pub use label::LabelSource;
pub use replace::{TEMPORARY_PREFIX, open_private_folder, replace_file};
pub use stamp::{Folders, Stamp, open_folders_no_follow, stamp};

/// The folder of a home that holds the key file.
const SSH_FOLDER: &str = ".ssh";

/// The key file in it.
const KEY_FILE: &str = "authorized_keys";

/// How long one update may take, the helper's start and end included.
const LIMIT: Duration = Duration::from_secs(10);

/// Which file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFile {
    /// `~/.ssh/authorized_keys`, read and written with the account's own rights.
    Home {
        /// Whose.
        account: Account,
    },
    /// `<folder>/<account>`, root's own, which sshd reads as the account (`AuthorizedKeysFile`).
    System {
        /// The folder; it and its parent are created if missing.
        folder: PathBuf,
        /// Whose keys.
        account: Account,
    },
}

impl KeyFile {
    /// The account whose keys are in it.
    pub fn account(&self) -> &Account {
        match self {
            Self::Home { account } | Self::System { account, .. } => account,
        }
    }

    /// Its path, for messages only: never to be opened.
    pub fn path(&self) -> PathBuf {
        self.folder().join(match self {
            Self::Home { .. } => OsStr::new(KEY_FILE),
            Self::System { account, .. } => OsStr::new(account.name.as_str()),
        })
    }

    fn folder(&self) -> PathBuf {
        match self {
            Self::Home { account } => account.home.join(SSH_FOLDER),
            Self::System { folder, .. } => folder.clone(),
        }
    }
}

/// What is to become of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Leave it, and put nothing right: the outcome says nothing.
    Look,
    /// Leave it.
    Keep,
    /// Make it these bytes. The same bytes as before are no change.
    Replace(Vec<u8>),
    /// Remove it, if it is there.
    Remove,
}

/// How an update ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the file was replaced, created or removed.
    pub changed: bool,
    /// What stands there now; `None`: nothing. To be compared with [`stamp`] later.
    pub stamp: Option<Stamp>,
    /// What else was done, or could not be, each worth a line in the log.
    pub notes: Vec<Note>,
}

/// Something done beside the update itself. It prints as a sentence without its subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// The folder was not there.
    FolderCreated,
    /// Group or others could write the folder, which sshd does not accept.
    FolderMode {
        /// Permission bits before.
        was: u32,
        /// Permission bits now.
        now: u32,
    },
    /// Group or others can write the home, so that sshd accepts no key in it. That is left to its owner.
    HomeMode {
        /// Its permission bits.
        is: u32,
    },
    /// The file's owner, group or mode was not as it must be.
    FileMode {
        /// Permission bits before.
        was: u32,
        /// Permission bits now.
        now: u32,
    },
    /// Temporary files of killed writers were removed.
    Swept(usize),
    /// SELinux is on, and the policy's label could not be had or was refused by the kernel (with this errno), so that
    /// the kernel chose one.
    LabelNotSet(Option<i32>),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FolderCreated => f.write_str("created the folder"),
            Self::FolderMode { was, now } => write!(f, "changed the folder's mode from {was:04o} to {now:04o}"),
            Self::HomeMode { is } => {
                write!(f, "found a home that sshd accepts no keys in, because of its mode {is:04o}; run chmod go-w")
            }
            Self::FileMode { was, now } => write!(f, "put the file's mode and owner right: {was:04o}, now {now:04o}"),
            Self::Swept(count) => write!(f, "removed {count} temporary files of writers that were killed"),
            Self::LabelNotSet(None) => f.write_str("left the SELinux label to the kernel: the policy names none"),
            Self::LabelNotSet(Some(errno)) => {
                write!(f, "left the SELinux label to the kernel: it refused the policy's one (errno {errno})")
            }
        }
    }
}

/// Writes key files: knows the helper, where labels come from, and how long to wait.
#[derive(Debug, Clone)]
pub struct Writer {
    helper: PathBuf,
    labels: LabelSource,
    limit: Duration,
}

impl Writer {
    /// A writer whose helper is this program, normally `/proc/self/exe`.
    pub fn new(helper: impl Into<PathBuf>) -> Self {
        Self { helper: helper.into(), labels: LabelSource::default(), limit: LIMIT }
    }

    /// Asks another source for SELinux labels.
    #[must_use]
    pub fn with_labels(self, labels: LabelSource) -> Self {
        Self { labels, ..self }
    }

    /// Gives each update another time than 10 s.
    #[must_use]
    pub fn with_limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// What a key file holds (`None`: there is none), which is left as it is. Blocking, as [`Writer::update`].
    pub fn read(&self, file: &KeyFile) -> Result<Option<Vec<u8>>, WriteError> {
        let mut bytes = None;
        self.update(file, |old| {
            bytes = old.map(<[u8]>::to_vec);
            Change::Look
        })?;
        Ok(bytes)
    }

    /// Reads a key file (`None`: there is none), asks `change` what is to become of it, and makes it so.
    ///
    /// Permissions that sshd would not accept are put right even if the file is kept. `change` is asked again when
    /// somebody else changed the file between reading and replacing, so it must depend on nothing but the bytes.
    ///
    /// Blocking, for 10 s and a little at most.
    pub fn update(&self, file: &KeyFile, change: impl FnMut(Option<&[u8]>) -> Change) -> Result<Outcome, WriteError> {
        exchange::update(self, file, change)
    }
}
