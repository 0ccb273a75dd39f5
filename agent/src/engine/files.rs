//! One pass over the key files: each account alone, all at once, so that one home that hangs holds up no other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fleetkey_common::error_text::one_line;
use fleetkey_common::names::AccountName;
use fleetkey_common::public_key::{Fingerprint, PublicKey};
use fleetkey_common::restrictions::time_zone_of_the_box;
use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};

use super::Engine;
use crate::break_glass::BreakGlass;
use crate::clock::since_boot;
use crate::config::settings::Mode;
use crate::instance::HostIdentity;
use crate::render;
use crate::store::Store;
use crate::write::{
    Account, Change, Folders, KeyFile, Note, Stamp, WriteError, Writer, look_up, open_folders_no_follow, stamp,
};

/// How long a pass waits for one file. The write itself has a shorter limit of its own; what comes before and after
/// has none, when a home is on a network.
const JOB_LIMIT: Duration = Duration::from_secs(15);

/// The file of one account, as the last pass left it.
#[derive(Debug, Clone, Default)]
pub struct FileStatus {
    /// How many keys it lets in.
    pub keys: usize,
    /// Why it could not be written, if it could not.
    pub error: Option<String>,
    /// The keys on lines that are not the agent's.
    pub foreign: Vec<PublicKey>,
    /// When it was last changed by the agent.
    pub changed_at: Option<Timestamp>,
    /// What was put there, and the file as it was then.
    settled: Option<Settled>,
}

/// A file that is as it should be, and by what one can tell that it still is.
#[derive(Debug, Clone)]
struct Settled {
    mode: Mode,
    lines: Vec<String>,
    governed: Arc<BTreeSet<Fingerprint>>,
    stamp: Option<Stamp>,
}

/// What a pass came to.
#[derive(Debug, Default)]
pub struct Pass {
    /// Whether any file could not be written.
    pub failed: bool,
    /// The folders of each home, to be watched.
    pub homes: Vec<(AccountName, Folders)>,
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
struct Job {
    account: AccountName,
    mode: Mode,
    lines: Vec<String>,
    /// The keys of the lines, in their order.
    fingerprints: Vec<Fingerprint>,
    host: HostIdentity,
    governed: Arc<BTreeSet<Fingerprint>>,
    /// Other kinds of file that the account was kept in before, to be cleaned once this one stands.
    leftovers: Vec<Mode>,
    settled: Option<Settled>,
    writer: Writer,
    system_keys: PathBuf,
    store: Store,
}

/// What became of one account's file.
#[derive(Debug)]
pub(super) struct Done {
    settled: Settled,
    changed: bool,
    /// `None`: as they were at the last pass.
    foreign: Option<Vec<PublicKey>>,
    taken: Vec<Fingerprint>,
    notes: Vec<Note>,
    homes: Option<Folders>,
}

impl Engine {
    /// Brings every account's key file to what the key set says. A failure of one account is logged, kept for the
    /// status, and leaves the others alone.
    pub async fn pass(&mut self) -> Pass {
        let (break_glass, emergency_keys_changed) = self.refreshed_break_glass().await;
        self.break_glass = break_glass;
        let now = Timestamp::now();
        let governed = self.governed();
        self.note_managed();
        // Nobody who was taken out may come back with an older state.
        self.save().await;

        let mut pass = Pass::default();
        for (account, mode) in self.accounts() {
            if self.busy.contains_key(&account) {
                continue;
            }
            let job = self.job(account.clone(), mode, &governed, now);
            self.busy.insert(account, since_boot());
            self.jobs.spawn_blocking(move || (job.account.clone(), mode, job.run()));
        }
        let deadline = Instant::now() + JOB_LIMIT;
        while let Ok(Some(joined)) = timeout_at(deadline, self.jobs.join_next()).await {
            match joined {
                Ok((account, mode, result)) => {
                    self.busy.remove(&account);
                    self.settle(&account, mode, result, emergency_keys_changed, &mut pass);
                }
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {}
            }
        }
        self.note_hung(&mut pass);
        pass.failed |= !self.clean_ungranted(&governed).await;
        self.save().await;
        pass
    }

    async fn refreshed_break_glass(&mut self) -> (BreakGlass, bool) {
        let mut break_glass = std::mem::take(&mut self.break_glass);
        crate::blocking::run(move || {
            let changed = break_glass.refresh();
            (break_glass, changed)
        })
        .await
    }

    /// What the pass would make of every account's file, which is left as it is.
    pub async fn preview(&mut self) -> Vec<(AccountName, Result<Preview, WriteError>)> {
        let (break_glass, _) = self.refreshed_break_glass().await;
        self.break_glass = break_glass;
        let now = Timestamp::now();
        let governed = self.governed();
        let mut previews = Vec::new();
        for (account, mode) in self.accounts() {
            let job = self.job(account.clone(), mode, &governed, now);
            let (result, foreign) = crate::blocking::run(move || job.preview()).await;
            self.files.entry(account.clone()).or_default().foreign = foreign;
            previews.push((account, result));
        }
        previews
    }

    /// The keys that may stand in no file but where the grants put them.
    fn governed(&self) -> Arc<BTreeSet<Fingerprint>> {
        let entries = self.state.key_set.accounts.values().flatten();
        let mut governed = self.state.governed.clone();
        governed.extend(self.state.revoked.iter().copied());
        governed.extend(entries.map(crate::key_set::Entry::fingerprint));
        Arc::new(governed)
    }

    /// Remembers, before anything is written, which accounts are going to carry the agent's keys.
    fn note_managed(&mut self) {
        for grant in &self.settings.grants {
            let modes = self.state.managed.entry(grant.account.clone()).or_default();
            if modes.insert(grant.mode) {
                self.saved = None;
            }
        }
    }

    fn job(&self, account: AccountName, mode: Mode, governed: &Arc<BTreeSet<Fingerprint>>, now: Timestamp) -> Job {
        let keys = self.wanted(&account, now);
        let leftovers = self.state.managed.get(&account).into_iter().flatten().copied();
        Job {
            lines: render::lines(&keys, &time_zone_of_the_box(), self.settings.render.expiry_time),
            fingerprints: keys.iter().map(|granted| granted.key.fingerprint()).collect(),
            host: self.state.host.clone(),
            leftovers: leftovers.filter(|leftover| *leftover != mode).collect(),
            settled: self.files.get(&account).and_then(|file| file.settled.clone()),
            account,
            mode,
            governed: Arc::clone(governed),
            writer: self.writer.clone(),
            system_keys: self.settings.paths.system_keys.clone(),
            store: self.store.clone(),
        }
    }

    /// Takes one account's outcome.
    fn settle(
        &mut self,
        account: &AccountName,
        mode: Mode,
        result: Result<Done, WriteError>,
        new_keys: bool,
        pass: &mut Pass,
    ) {
        let file = self.files.entry(account.clone()).or_default();
        let done = match result {
            Ok(done) => done,
            Err(error) => {
                self.counters.write_failures += 1;
                pass.failed = true;
                file.fail(account, one_line(&error));
                return;
            }
        };
        if file.error.take().is_some() {
            tracing::info!(action = "write-failed-over", %account, "the key file of {account} is written again");
        }
        // The agent had left it so, and it was not so any more: somebody else's hand.
        let drifted = done.changed && !new_keys && file.settled.as_ref().is_some_and(|was| was.wants(&done.settled));
        if drifted {
            self.counters.drift_repaired += 1;
            tracing::warn!(
                action = "drift-repaired", %account, "somebody changed the key file of {account}; it was put right"
            );
        }
        for fingerprint in &done.taken {
            tracing::info!(
                action = "take-over", %account, %fingerprint,
                "a line of {account} held {fingerprint}, which the grants govern; it was taken out"
            );
        }
        for note in &done.notes {
            tracing::info!(action = "note", %account, "key file of {account}: {note}");
        }
        if done.changed {
            self.counters.writes += 1;
            file.changed_at = Some(Timestamp::now());
        }
        file.keys = done.settled.lines.len();
        if let Some(foreign) = done.foreign {
            file.foreign = foreign;
        }
        file.settled = Some(done.settled);
        pass.homes.extend(done.homes.map(|folders| (account.clone(), folders)));
        if let Some(modes) = self.state.managed.get_mut(account).filter(|modes| modes.len() > 1) {
            *modes = BTreeSet::from([mode]);
            self.saved = None;
        }
    }

    /// Tells of files whose file system gives no answer: their threads are left waiting, and no second one is sent.
    fn note_hung(&mut self, pass: &mut Pass) {
        for (account, since) in &self.busy {
            pass.failed = true;
            self.counters.write_failures += 1;
            let seconds = since_boot().saturating_sub(*since).as_secs();
            let file = self.files.entry(account.clone()).or_default();
            tracing::error!(action = "write-hangs", %account, seconds, "the home of {account} gives no answer");
            file.error = Some("the file system of its home gives no answer".to_owned());
            file.settled = None;
        }
    }

    /// Takes the agent's keys from accounts that have no grant any more.
    async fn clean_ungranted(&mut self, governed: &Arc<BTreeSet<Fingerprint>>) -> bool {
        let accounts = self.accounts();
        let ungranted = self.state.managed.iter().filter(|(account, _)| !accounts.contains_key(*account));
        let ungranted: BTreeMap<_, _> = ungranted.map(|(account, modes)| (account.clone(), modes.clone())).collect();
        self.files.retain(|account, _| accounts.contains_key(account));
        let mut all_clean = true;
        for (account, modes) in ungranted {
            let (writer, system_keys) = (self.writer.clone(), self.settings.paths.system_keys.clone());
            let (store, governed, name) = (self.store.clone(), Arc::clone(governed), account.clone());
            let cleaned = crate::blocking::run(move || {
                store.remove_lookup(&name);
                modes.into_iter().try_for_each(|mode| clean(&name, mode, &system_keys, &writer, &governed))
            });
            match cleaned.await {
                Ok(()) | Err(WriteError::NoSuchAccount { .. }) => {
                    tracing::info!(
                        action = "retire", %account,
                        "{account} has no grant any more; the agent's keys are gone from it"
                    );
                    self.state.managed.remove(&account);
                    self.saved = None;
                }
                Err(error) => {
                    all_clean = false;
                    self.counters.write_failures += 1;
                    tracing::error!(action = "write-failed", %account, "{}", one_line(&error));
                }
            }
        }
        all_clean
    }
}

impl FileStatus {
    fn fail(&mut self, account: &AccountName, text: String) {
        if self.error.as_deref() != Some(&text) {
            tracing::error!(action = "write-failed", %account, "{text}");
        }
        self.error = Some(text);
        self.settled = None;
    }
}

impl Settled {
    /// Whether both were to be the same file.
    fn wants(&self, other: &Self) -> bool {
        self.mode == other.mode && self.lines == other.lines && self.governed == other.governed
    }
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
    name: &AccountName,
    mode: Mode,
    system_keys: &Path,
    writer: &Writer,
    governed: &BTreeSet<Fingerprint>,
) -> Result<(), WriteError> {
    let file = key_file(look_up(name)?, mode, system_keys);
    let change = |old: Option<&[u8]>| match (old, mode) {
        (None, _) => Change::Keep,
        (Some(_), Mode::System) => Change::Remove,
        (Some(old), Mode::Shared | Mode::Exclusive) => Change::Replace(render::retired(old, governed).bytes),
    };
    writer.update(&file, change).map(|_| ())
}

/// What a file would become, and what its other lines came to.
#[derive(Debug, Default)]
struct Plan {
    bytes: Vec<u8>,
    foreign: Vec<PublicKey>,
    taken: Vec<Fingerprint>,
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

    fn preview(self) -> (Result<Preview, WriteError>, Vec<PublicKey>) {
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

    /// Writes the file, if it is not as it should be. Blocks, for as long as the home's file system does.
    fn run(self) -> Result<Done, WriteError> {
        let lookup: Vec<_> = self.fingerprints.iter().copied().zip(self.lines.iter().map(String::as_str)).collect();
        self.store.save_lookup(&self.account, &self.host, &lookup);
        let account = look_up(&self.account)?;
        let file = key_file(account.clone(), self.mode, &self.system_keys);
        let wanted =
            Settled { mode: self.mode, lines: self.lines.clone(), governed: Arc::clone(&self.governed), stamp: None };
        let settled = self.settled.as_ref().filter(|settled| settled.wants(&wanted) && settled.stamp.is_some());
        let mut done =
            Done { settled: wanted, changed: false, foreign: None, taken: Vec::new(), notes: Vec::new(), homes: None };
        match settled.filter(|settled| stamp(&file).is_ok_and(|now| now == settled.stamp)) {
            Some(settled) => done.settled.stamp = settled.stamp,
            None => self.write(&file, &mut done)?,
        }
        if self.mode != Mode::System {
            // Watching is a help; the poll finds what it misses.
            done.homes = open_folders_no_follow(&account).ok();
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
            clean(&self.account, *leftover, &self.system_keys, &self.writer, &self.governed)?;
        }
        Ok(())
    }
}
