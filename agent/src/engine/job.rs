//! What is done to the key file of one account, on a thread that may block: for as long as the home's file system does.
//!
//! A job has all that it needs with it. It must never touch what the engine knows: it tells, and the engine decides.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleetkey_common::error_text::one_line;
use fleetkey_common::names::AccountName;
use fleetkey_common::public_key::{Fingerprint, PublicKey};

use crate::config::settings::Mode;
use crate::instance::HostIdentity;
use crate::render;
use crate::store::{LookupLine, Store};
use crate::write::{
    Account, Change, Folders, KeyFile, Note, Stamp, WriteError, Writer, look_up, open_folders_no_follow, stamp,
};

/// A file that is as it should be, and by what one can tell that it still is.
#[derive(Debug, Clone)]
pub(super) struct Settled {
    pub(super) mode: Mode,
    pub(super) lines: Vec<String>,
    pub(super) governed: Arc<BTreeSet<Fingerprint>>,
    pub(super) path: PathBuf,
    pub(super) stamp: Option<Stamp>,
}

impl Settled {
    /// Whether both were to be the same file.
    pub(super) fn wants(&self, other: &Self) -> bool {
        self.mode == other.mode
            && self.path == other.path
            && self.lines == other.lines
            && self.governed == other.governed
    }
}

/// What one account's file would become.
#[derive(Debug)]
pub struct Preview {
    /// The file, for messages.
    pub path: PathBuf,
    /// What it holds.
    pub old: Vec<u8>,
    /// What it would hold.
    pub new: Vec<u8>,
}

/// What one account's file is to become.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) account: AccountName,
    pub(super) mode: Mode,
    pub(super) lines: Vec<String>,
    /// The keys of the lines, in their order, and whether each is for emergencies.
    pub(super) keys: Vec<(Fingerprint, bool)>,
    pub(super) host: HostIdentity,
    pub(super) governed: Arc<BTreeSet<Fingerprint>>,
    /// Modes with another file, in which the account was kept before: that is cleaned once this one stands.
    pub(super) leftovers: Vec<Mode>,
    pub(super) settled: Option<Settled>,
    /// The key files of other accounts.
    pub(super) taken: Arc<BTreeMap<PathBuf, AccountName>>,
    pub(super) writer: Writer,
    pub(super) system_keys: PathBuf,
    pub(super) store: Store,
}

/// The agent's keys are to go from an account that has no grant any more.
#[derive(Debug)]
pub(super) struct Cleaning {
    pub(super) account: AccountName,
    pub(super) modes: BTreeSet<Mode>,
    pub(super) governed: Arc<BTreeSet<Fingerprint>>,
    pub(super) writer: Writer,
    pub(super) system_keys: PathBuf,
    pub(super) store: Store,
}

/// What a thread is given to do.
#[derive(Debug)]
pub(super) enum Task {
    /// To keep a file.
    Keep(Box<Job>),
    /// To clean an account.
    Clean(Cleaning),
}

/// What became of a task.
#[derive(Debug)]
pub(super) struct Worked {
    pub(super) account: AccountName,
    /// The folders of the home, to be watched, whatever became of the file.
    pub(super) homes: Option<Folders>,
    pub(super) outcome: Outcome,
}

/// How it ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Of a job.
    Kept(Result<Done, Failure>),
    /// Of a cleaning.
    Cleaned(Result<(), Failure>),
}

/// Why a file is not as it should be.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) text: String,
    /// Whether somebody was waited for in vain: a file system, or a helper that its user stopped.
    pub(super) slow: bool,
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        Self { text: one_line(&error), slow: matches!(error, WriteError::TimedOut { .. }) }
    }
}

/// A file that is kept.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) mode: Mode,
    pub(super) settled: Settled,
    pub(super) changed: bool,
    /// `None`: as they were at the last pass.
    pub(super) foreign: Option<Vec<PublicKey>>,
    pub(super) taken: Vec<Fingerprint>,
    pub(super) notes: Vec<Note>,
}

/// What a file would become, and what its other lines came to.
#[derive(Debug, Default)]
struct Plan {
    bytes: Vec<u8>,
    foreign: Vec<PublicKey>,
    taken: Vec<Fingerprint>,
}

/// Whether both modes keep the same file.
pub(super) fn same_file(a: Mode, b: Mode) -> bool {
    (a == Mode::System) == (b == Mode::System)
}

/// The file that a mode keeps for an account.
fn key_file(account: Account, mode: Mode, system_keys: &Path) -> KeyFile {
    match mode {
        Mode::Shared | Mode::Exclusive => KeyFile::Home { account },
        Mode::System => KeyFile::System { folder: system_keys.to_owned(), account },
    }
}

/// Takes the agent's keys out of one file.
fn clean(
    account: Account,
    mode: Mode,
    system_keys: &Path,
    writer: &Writer,
    governed: &BTreeSet<Fingerprint>,
) -> Result<(), WriteError> {
    let file = key_file(account, mode, system_keys);
    let change = |old: Option<&[u8]>| match (old, mode) {
        (None, _) => Change::Keep,
        (Some(_), Mode::System) => Change::Remove,
        (Some(old), Mode::Shared | Mode::Exclusive) => Change::Replace(render::retired(old, governed).bytes),
    };
    writer.update(&file, change).map(|_| ())
}

impl Task {
    /// Does it. Blocks.
    pub(super) fn run(self) -> Worked {
        match self {
            Self::Keep(job) => job.run(),
            Self::Clean(cleaning) => cleaning.run(),
        }
    }
}

impl Cleaning {
    fn run(self) -> Worked {
        self.store.remove_lookup(&self.account);
        let cleaned = look_up(&self.account).and_then(|account| {
            let mut modes = self.modes.iter();
            modes.try_for_each(|&mode| clean(account.clone(), mode, &self.system_keys, &self.writer, &self.governed))
        });
        let cleaned = match cleaned {
            Ok(()) | Err(WriteError::NoSuchAccount { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        };
        Worked { account: self.account, homes: None, outcome: Outcome::Cleaned(cleaned) }
    }
}

impl Job {
    fn plan(&self, old: &[u8]) -> Plan {
        match self.mode {
            Mode::Shared => {
                let rendered = render::shared(old, &self.lines, &self.governed);
                Plan { bytes: rendered.bytes, foreign: rendered.foreign, taken: rendered.taken }
            }
            Mode::Exclusive | Mode::System => Plan { bytes: render::whole(&self.lines), ..Plan::default() },
        }
    }

    /// What the file would become, and the keys of other people in it.
    pub(super) fn preview(self) -> (Result<Preview, WriteError>, Vec<PublicKey>) {
        let mut foreign = Vec::new();
        let preview = look_up(&self.account).and_then(|account| {
            let file = key_file(account, self.mode, &self.system_keys);
            let old = self.writer.read(&file)?;
            let plan = self.plan(old.as_deref().unwrap_or_default());
            foreign = plan.foreign;
            // No file lets nobody in, just as an empty one does: it is not made.
            let new = if old.is_none() && self.lines.is_empty() { Vec::new() } else { plan.bytes };
            Ok(Preview { path: file.path(), old: old.unwrap_or_default(), new })
        });
        (preview, foreign)
    }

    fn save_lookup(&self) {
        let lookup = self.keys.iter().zip(&self.lines);
        let lookup: Vec<_> = lookup
            .map(|(&(fingerprint, for_emergencies), line)| LookupLine { fingerprint, for_emergencies, line })
            .collect();
        self.store.save_lookup(&self.account, &self.host, &lookup);
    }

    fn run(self) -> Worked {
        // Side by side: each file takes its time to reach the disk, and a home that hangs holds up no look-up.
        let (kept, homes) = std::thread::scope(|threads| {
            threads.spawn(|| self.save_lookup());
            match look_up(&self.account) {
                Ok(account) => {
                    let kept = self.keep(&account);
                    // Watching is a help; the poll finds what it misses. A file that could not be written most of all
                    // is to be looked at again when somebody moves what stands in the way.
                    let homes = if self.mode == Mode::System { None } else { open_folders_no_follow(&account).ok() };
                    (kept, homes)
                }
                Err(error) => (Err(error.into()), None),
            }
        });
        Worked { account: self.account, homes, outcome: Outcome::Kept(kept) }
    }

    /// Writes the file, if it is not as it should be.
    #[expect(clippy::unnecessary_debug_formatting, reason = "a path that the message must show escaped")]
    fn keep(&self, account: &Account) -> Result<Done, Failure> {
        let file = key_file(account.clone(), self.mode, &self.system_keys);
        let path = file.path();
        // Two accounts with one home would undo each other's work without end: the first by name has the file.
        if let Some(other) = self.taken.get(&path).filter(|other| **other < self.account) {
            let text = format!(
                "account {}: its key file {path:?} is that of account {other} too, which keeps it; take one of the two \
                 grants out, or give it mode = \"system\"",
                self.account
            );
            return Err(Failure { text, slow: false });
        }
        let wanted = Settled {
            mode: self.mode,
            lines: self.lines.clone(),
            governed: Arc::clone(&self.governed),
            path,
            stamp: None,
        };
        let settled = self.settled.as_ref().filter(|settled| settled.wants(&wanted) && settled.stamp.is_some());
        let mut done = Done {
            mode: self.mode,
            settled: wanted,
            changed: false,
            foreign: None,
            taken: Vec::new(),
            notes: Vec::new(),
        };
        match settled.filter(|settled| stamp(&file).is_ok_and(|now| now == settled.stamp)) {
            Some(settled) => done.settled.stamp = settled.stamp,
            None => self.write(&file, &mut done)?,
        }
        Ok(done)
    }

    fn write(&self, file: &KeyFile, done: &mut Done) -> Result<(), WriteError> {
        let outcome = self.writer.update(file, |old| {
            if old.is_none() && self.lines.is_empty() {
                return Change::Keep;
            }
            let plan = self.plan(old.unwrap_or_default());
            (done.foreign, done.taken) = (Some(plan.foreign), plan.taken);
            Change::Replace(plan.bytes)
        })?;
        (done.changed, done.settled.stamp, done.notes) = (outcome.changed, outcome.stamp, outcome.notes);
        for leftover in &self.leftovers {
            clean(file.account().clone(), *leftover, &self.system_keys, &self.writer, &self.governed)?;
        }
        Ok(())
    }
}
