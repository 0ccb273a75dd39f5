//! What a create has come to, kept on the operator's machine until it is done: so that the same command finds an
//! interrupted one and goes on with it, and two at once do not take each other's.
//!
//! A file for each create that is under way, below `$XDG_STATE_HOME/fleetkey/creates`, only its owner's to read: what
//! is launched holds a URL by which the agent's package can be fetched. Whoever works on it holds a lock beside it,
//! which the system lets go of however the program ends.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::kept::Takeover;
use super::plan::Change;
use crate::aws::launch::Launch;
use crate::folders;

/// The folder below that of the user's state.
const FOLDER: &str = "fleetkey/creates";

/// The form of the files. One of another form is left alone.
const VERSION: u32 = 1;

/// Why what a create has come to cannot be kept.
#[derive(Debug, Error)]
pub(crate) enum JournalError {
    /// There is no place for it.
    #[error("there is no home folder to keep the state of a create in; set HOME or XDG_STATE_HOME")]
    NoHome,
    /// A file or its folder.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// What a create has come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    /// By which the same command is known.
    pub(crate) digest: String,
    /// Made before anything else; EC2 knows the launch by it.
    pub(crate) token: String,
    /// The box, for people.
    pub(crate) name: String,
    /// When it began.
    pub(crate) started: Timestamp,
    /// What it set out to make, if that was not there before.
    pub(crate) made: Made,
    /// What EC2 was last told to launch, and when first.
    pub(crate) launch: Option<(Launch, Timestamp)>,
    /// The spot requests of that launch that may be open.
    #[serde(default)]
    pub(crate) requests: Vec<String>,
    /// The instances that came of spot requests.
    #[serde(default)]
    pub(crate) arrived: Vec<String>,
    /// The volumes that the box takes over. They are never deleted with it.
    #[serde(default)]
    pub(crate) found: Vec<Takeover>,
    /// The instance.
    pub(crate) instance: Option<String>,
    /// Whether it could be used once: an error after that undoes nothing.
    #[serde(default)]
    pub(crate) usable: bool,
    /// The image that was taken of it.
    pub(crate) image: Option<String>,
}

/// What a create set out to make, if that was not there before. Noted before it is made: what is noted may not be there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    /// The security group: network and name.
    pub(crate) group: Option<(String, String)>,
    /// The IAM role.
    pub(crate) iam_role: Option<String>,
    /// The instance profile.
    pub(crate) profile: Option<String>,
}

/// The record of the create that this program works on.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    /// What is kept, with [`Journal::save`].
    pub(crate) record: Record,
    // Held as long as this lives.
    _lock: File,
}

/// The folder of the caller's records.
pub(crate) fn folder() -> Result<PathBuf, JournalError> {
    Ok(folders::state().ok_or(JournalError::NoHome)?.join(FOLDER))
}

/// Whether another create of the same box, from this machine, is not done.
pub(crate) fn others(folder: &Path, than: &Record) -> bool {
    let paths = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut records =
        paths.filter(|path| path.extension().is_some_and(|end| end == "json")).filter_map(|path| read(&path));
    records.any(|record| record.name == than.name && record.token != than.token)
}

impl Record {
    /// One that has come to nothing yet.
    pub(crate) fn new(digest: String, token: String, name: String, started: Timestamp) -> Self {
        let made = Made::default();
        let (launch, instance, usable, image) = (None, None, false, None);
        let (requests, arrived, found) = (Vec::new(), Vec::new(), Vec::new());
        let version = VERSION;
        Self { version, digest, token, name, started, made, launch, requests, arrived, found, instance, usable, image }
    }
}

impl Made {
    /// What this change was to make was there already: it is not taken back.
    pub(crate) fn leave(&mut self, change: &Change) {
        match change {
            Change::MakeGroup { .. } => self.group = None,
            Change::MakeIamRole { .. } => self.iam_role = None,
            Change::MakeProfile { .. } => self.profile = None,
            _ => {}
        }
    }
}

impl Journal {
    /// Begins a record. Nothing is kept before [`Journal::save`].
    pub(crate) fn begin(folder: &Path, record: Record) -> Result<Self, JournalError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|source| JournalError::Io { action: "make", path: folder.to_owned(), source })?;
        let path = folder.join(format!("{}.json", record.token));
        let lock = lock(&path).map_err(|source| JournalError::Io { action: "lock", path: path.clone(), source })?;
        let lock = lock.ok_or_else(|| {
            let source = io::Error::from(io::ErrorKind::WouldBlock);
            JournalError::Io { action: "lock", path: path.clone(), source }
        })?;
        Ok(Self { path, record, _lock: lock })
    }

    /// The oldest record of the same command that nobody works on. Files that are no records are left alone.
    pub(crate) fn find(folder: &Path, digest: &str) -> Result<Option<Self>, JournalError> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(JournalError::Io { action: "read", path: folder.to_owned(), source }),
        };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let records = paths.filter(|path| path.extension().is_some_and(|end| end == "json"));
        let same = records.filter_map(|path| Some((read(&path)?, path))).filter(|(record, _)| record.digest == digest);
        let mut same: Vec<_> = same.collect();
        same.sort_by(|one, other| (one.0.started, &one.1).cmp(&(other.0.started, &other.1)));
        for (_, path) in same {
            let Ok(Some(lock)) = lock(&path) else { continue };
            // Whoever held the lock until now may have finished.
            let Some(record) = read(&path) else {
                let _ = fs::remove_file(beside(&path));
                continue;
            };
            return Ok(Some(Self { path, record, _lock: lock }));
        }
        Ok(None)
    }

    /// Keeps the record as it is now, whole or not at all.
    pub(crate) fn save(&self) -> Result<(), JournalError> {
        let aside = self.path.with_extension("new");
        let written = write(&aside, &self.record).and_then(|()| fs::rename(&aside, &self.path));
        written.map_err(|source| JournalError::Io { action: "write", path: self.path.clone(), source })
    }

    /// Forgets the record: the create is done, or undone.
    pub(crate) fn forget(self) -> Result<(), JournalError> {
        let removed = match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::remove_file(beside(&self.path)),
        };
        removed.map_err(|source| JournalError::Io { action: "remove", path: self.path.clone(), source })
    }
}

/// The lock file of a record: the record itself is replaced, and a lock would be left with what it was.
fn beside(path: &Path) -> PathBuf {
    path.with_extension("lock")
}

fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(beside(path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn read(path: &Path) -> Option<Record> {
    let record: Record = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (record.version == VERSION).then_some(record)
}

fn write(path: &Path, record: &Record) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&serde_json::to_vec_pretty(record)?)?;
    file.sync_all()
}

/// A new token: 32 hexadecimal digits that nobody has used. EC2 takes up to 64 characters.
pub(crate) fn new_token() -> Result<String, JournalError> {
    const PATH: &str = "/dev/urandom";
    let mut bytes = [0; 16];
    let read = File::open(PATH).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|source| JournalError::Io { action: "read", path: PATH.into(), source })?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn record(digest: &str, token: &str, second: i64) -> Record {
        Record::new(digest.into(), token.into(), "/web".into(), Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn the_oldest_record_of_the_same_command_is_found_once_nobody_works_on_it() {
        let folder = tempfile::tempdir().unwrap();
        let folder = &folder.path().join("creates");
        assert!(Journal::find(folder, "same").unwrap().is_none());
        let mut newer = Journal::begin(folder, record("same", "b", 2)).unwrap();
        let older = Journal::begin(folder, record("same", "c", 1)).unwrap();
        let other = Journal::begin(folder, record("other", "a", 0)).unwrap();
        newer.record.instance = Some("i-1".into());
        for journal in [&newer, &older, &other] {
            journal.save().unwrap();
        }
        assert!(Journal::find(folder, "same").unwrap().is_none());
        drop((newer, older, other));
        let first = Journal::find(folder, "same").unwrap().unwrap();
        let second = Journal::find(folder, "same").unwrap().unwrap();
        assert_eq!((first.record.token.as_str(), second.record.token.as_str()), ("c", "b"));
        assert_eq!(second.record.instance.as_deref(), Some("i-1"));
        assert!(Journal::find(folder, "same").unwrap().is_none());
        first.forget().unwrap();
        second.forget().unwrap();
        assert!(Journal::find(folder, "same").unwrap().is_none());
        let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn a_file_that_is_no_record_is_left_alone_and_records_are_only_their_owners_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let folder = &folder.path().join("creates");
        Journal::begin(folder, record("same", "a", 0)).unwrap().save().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(folder), mode(&folder.join("a.json"))), (0o700, 0o600));
        let other_form = fs::read_to_string(folder.join("a.json")).unwrap().replace("\"version\": 1", "\"version\": 2");
        for text in ["", "{}", "\0", &other_form] {
            fs::write(folder.join("a.json"), text).unwrap();
            assert!(Journal::find(folder, "same").unwrap().is_none(), "{text:?}");
            assert!(folder.join("a.json").exists());
        }
    }

    #[test]
    fn what_another_create_made_is_not_noted_as_this_ones() {
        let mut made = Made {
            group: Some(("vpc-1".into(), "web".into())),
            iam_role: Some("web".into()),
            profile: Some("web".into()),
        };
        let all = made.clone();
        made.leave(&Change::AddRole { profile: "web".into() });
        assert_eq!(made, all);
        made.leave(&Change::MakeIamRole { name: "web".into() });
        assert_eq!(made, Made { iam_role: None, ..all });
        made.leave(&Change::MakeGroup { name: "web".into(), network: "vpc-1".into() });
        made.leave(&Change::MakeProfile { name: "web".into() });
        assert_eq!(made, Made::default());
    }

    #[test]
    fn no_token_is_made_twice() {
        let (one, other) = (new_token().unwrap(), new_token().unwrap());
        assert_eq!((one.len(), other.len()), (32, 32));
        assert_ne!(one, other);
    }
}
