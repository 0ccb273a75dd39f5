//! One pass over the key files: each account alone, all at once, so that one home that hangs holds up no other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use fleetkey_common::error_text::one_line;
use fleetkey_common::names::AccountName;
use fleetkey_common::public_key::{Fingerprint, PublicKey};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::task::JoinSet;

use super::Engine;
use crate::config::settings::Mode;
use crate::instance::HostIdentity;
use crate::render;
use crate::store::Store;
use crate::write::{Account, Change, KeyFile, Stamp, WriteError};

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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pass {
    /// Whether any file could not be written.
    pub failed: bool,
}

/// What one account's file is to become.
struct Job {
    account: AccountName,
    mode: Mode,
    lines: Vec<String>,
    /// The lines of the look-up file, each behind its key's fingerprint.
    lookup: Vec<(Fingerprint, String)>,
    host: HostIdentity,
    governed: Arc<BTreeSet<Fingerprint>>,
    /// Other kinds of file that the account was kept in before, to be cleaned once this one stands.
    leftovers: Vec<Mode>,
    settled: Option<Settled>,
    helper: PathBuf,
    system_keys: PathBuf,
    store: Store,
}

/// What became of one account's file.
struct Done {
    settled: Settled,
    changed: bool,
    /// `None`: as they were at the last pass.
    foreign: Option<Vec<PublicKey>>,
    taken: Vec<Fingerprint>,
}

impl Engine {
    /// Brings every account's key file to what the key set says. A failure of one account is logged, kept for the
    /// status, and leaves the others alone.
    pub async fn pass(&mut self) -> Pass {
        let emergency_keys_changed = self.break_glass.refresh();
        let now = Timestamp::now();
        let governed = self.governed();
        self.note_managed();
        // Nobody who was taken out may come back with an older state.
        self.save().await;

        let mut jobs = JoinSet::new();
        for (account, mode) in self.accounts() {
            let job = self.job(account, mode, &governed, now);
            jobs.spawn_blocking(move || {
                let account = job.account.clone();
                (account, Some(mode), job.run())
            });
        }
        let mut pass = Pass::default();
        while let Some(joined) = jobs.join_next().await {
            let Ok((account, Some(mode), result)) = joined else { continue };
            pass.failed |= !self.settle(&account, mode, result, emergency_keys_changed);
        }
        pass.failed |= !self.clean_ungranted(&governed).await;
        self.save().await;
        pass
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
        let lines = render::lines(&keys, &TimeZone::system(), self.settings.render.expiry_time);
        let lookup = keys.iter().map(|granted| granted.key.fingerprint()).zip(lines.iter().cloned()).collect();
        let leftovers = self.state.managed.get(&account).into_iter().flatten().copied();
        Job {
            lookup,
            host: self.state.host.clone(),
            leftovers: leftovers.filter(|leftover| *leftover != mode).collect(),
            settled: self.files.get(&account).and_then(|file| file.settled.clone()),
            account,
            mode,
            lines,
            governed: Arc::clone(governed),
            helper: self.helper.clone(),
            system_keys: self.settings.paths.system_keys.clone(),
            store: self.store.clone(),
        }
    }

    /// Takes one account's outcome; true when the file stands as it should.
    fn settle(&mut self, account: &AccountName, mode: Mode, result: Result<Done, WriteError>, new_keys: bool) -> bool {
        let file = self.files.entry(account.clone()).or_default();
        let done = match result {
            Ok(done) => done,
            Err(error) => {
                self.counters.write_failures += 1;
                let text = one_line(&error);
                if file.error.as_deref() != Some(&text) {
                    tracing::error!(action = "write-failed", %account, "{text}");
                }
                file.error = Some(text);
                file.settled = None;
                return false;
            }
        };
        if file.error.take().is_some() {
            tracing::info!(action = "write-failed-over", %account, "the key file of {account} is written again");
        }
        // The agent had left it so, and it was not so any more: somebody else's hand.
        let drifted = done.changed
            && !new_keys
            && file.settled.as_ref().is_some_and(|before| {
                before.mode == mode && before.lines == done.settled.lines && before.governed == done.settled.governed
            });
        if drifted {
            self.counters.drift_repaired += 1;
            tracing::warn!(action = "drift-repaired", %account, "somebody changed the key file of {account}; it was put right");
        }
        for fingerprint in &done.taken {
            tracing::info!(
                action = "take-over", %account, %fingerprint,
                "a line of {account} held {fingerprint}, which the grants govern; it was taken out"
            );
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
        if let Some(modes) = self.state.managed.get_mut(account).filter(|modes| modes.len() > 1) {
            *modes = BTreeSet::from([mode]);
            self.saved = None;
        }
        true
    }

    /// Takes the agent's keys from accounts that have no grant any more.
    async fn clean_ungranted(&mut self, governed: &Arc<BTreeSet<Fingerprint>>) -> bool {
        let accounts = self.accounts();
        let ungranted = self.state.managed.iter().filter(|(account, _)| !accounts.contains_key(*account));
        let ungranted: BTreeMap<_, _> = ungranted.map(|(account, modes)| (account.clone(), modes.clone())).collect();
        self.files.retain(|account, _| accounts.contains_key(account));
        let mut all_clean = true;
        for (account, modes) in ungranted {
            let (helper, system_keys) = (self.helper.clone(), self.settings.paths.system_keys.clone());
            let (store, governed, name) = (self.store.clone(), Arc::clone(governed), account.clone());
            let cleaned = crate::blocking::run(move || {
                store.remove_lookup(&name);
                modes.into_iter().try_for_each(|mode| clean(&name, mode, &system_keys, &helper, &governed))
            });
            match cleaned.await {
                Ok(()) | Err(WriteError::NoSuchAccount { .. }) => {
                    tracing::info!(action = "retire", %account, "{account} has no grant any more; the agent's keys are gone from it");
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

/// The file that a mode keeps for an account.
fn key_file(account: Account, mode: Mode, system_keys: &std::path::Path) -> KeyFile {
    match mode {
        Mode::Shared | Mode::Exclusive => KeyFile::Home { account },
        Mode::System => KeyFile::System { folder: system_keys.to_owned(), account },
    }
}

/// Takes the agent's keys out of one file.
fn clean(
    name: &AccountName,
    mode: Mode,
    system_keys: &std::path::Path,
    helper: &std::path::Path,
    governed: &BTreeSet<Fingerprint>,
) -> Result<(), WriteError> {
    let file = key_file(Account::look_up(name)?, mode, system_keys);
    let change = |old: Option<&[u8]>| match (old, mode) {
        (None, _) => Change::Keep,
        (Some(_), Mode::System) => Change::Remove,
        (Some(old), Mode::Shared | Mode::Exclusive) => keep_or_replace(old, render::retired(old, governed).bytes),
    };
    file.update(helper, change).map(|_| ())
}

fn keep_or_replace(old: &[u8], new: Vec<u8>) -> Change {
    if old == new { Change::Keep } else { Change::Replace(new) }
}

impl Job {
    /// Writes the file, if it is not as it should be. Blocks.
    fn run(self) -> Result<Done, WriteError> {
        self.store.save_lookup(&self.account, &self.host, &self.lookup);
        let account = Account::look_up(&self.account)?;
        let file = key_file(account, self.mode, &self.system_keys);
        let same = self.settled.filter(|settled| {
            settled.mode == self.mode && settled.lines == self.lines && settled.governed == self.governed
        });
        if let Some(settled) = same.filter(|settled| settled.stamp.is_some() && file.stamp().ok() == Some(settled.stamp.clone())) {
            return Ok(Done { settled, changed: false, foreign: None, taken: Vec::new() });
        }
        let (mut foreign, mut taken) = (Vec::new(), Vec::new());
        let outcome = file.update(&self.helper, |old| {
            let new = match self.mode {
                Mode::Shared => {
                    let rendered = render::shared(old.unwrap_or_default(), &self.lines, &self.governed);
                    (foreign, taken) = (rendered.foreign, rendered.taken);
                    rendered.bytes
                }
                Mode::Exclusive | Mode::System => render::whole(&self.lines),
            };
            match old {
                // No file lets nobody in, just as an empty one does.
                None if self.lines.is_empty() => Change::Keep,
                None => Change::Replace(new),
                Some(old) => keep_or_replace(old, new),
            }
        })?;
        for leftover in self.leftovers {
            clean(&self.account, leftover, &self.system_keys, &self.helper, &self.governed)?;
        }
        let settled = Settled { mode: self.mode, lines: self.lines, governed: self.governed, stamp: outcome.stamp };
        Ok(Done { settled, changed: outcome.changed, foreign: Some(foreign), taken })
    }
}
