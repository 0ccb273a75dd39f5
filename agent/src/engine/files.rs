//! One pass over the key files: each account alone, several at once, so that one home that hangs holds up no other, nor
//! the agent for long.
//!
//! A thread that waits for a dead file system is left to wait. What it was to write may be old by the time it gets
//! there, so such an account is passed over again as soon as the thread is back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fleetkey_common::names::AccountName;
use fleetkey_common::public_key::{Fingerprint, PublicKey};
use fleetkey_common::restrictions::time_zone_of_the_box;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::time::{Instant, timeout_at};

use super::Engine;
use super::job::{Cleaning, Job, Preview, Settled, Task, same_file};
use crate::config::settings::Mode;
use crate::render;
use crate::write::{Folders, WriteError};

/// How long a pass waits for one file. The write itself has a shorter limit of its own; what comes before and after
/// has none, when a home is on a network.
const JOB_LIMIT: Duration = Duration::from_secs(15);

/// How long a pass waits for files that kept an earlier one waiting in vain: whoever stops the helpers in their home
/// is not to slow down what happens to others.
const SLOW_LIMIT: Duration = Duration::from_secs(1);

/// How many files a pass works on at once: each costs memory, and all of them together a helper each.
const AT_ONCE: usize = 8;

/// How many threads may be stuck before no further ones are risked: those that are left are the agent's own.
const MOST_STUCK: usize = 48;

/// What the status says of an account while [`Engine::is_unasked`] holds.
pub(super) const UNASKED: &str = "left as it is until the source says who may log in";

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
    pub(super) settled: Option<Settled>,
    /// Its path, as last seen.
    pub(super) path: Option<PathBuf>,
    /// Whether it was last waited for in vain.
    pub(super) slow: bool,
}

/// Which accounts a pass is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every one.
    All,
    /// These, whose files could not be written when they were last tried.
    Only(BTreeSet<AccountName>),
}

/// What a pass came to.
#[derive(Debug)]
pub struct Pass {
    /// What it was about: all accounts, if something turned out that concerns all.
    pub scope: Scope,
    /// The accounts that were looked after.
    pub tried: BTreeSet<AccountName>,
    /// Those of them whose files could not be written.
    pub failed: BTreeSet<AccountName>,
    /// The folders of each home that could be opened, to be watched.
    pub homes: Vec<(AccountName, Folders)>,
    /// When the first of the keys that are let in expires.
    pub expires_at: Option<Timestamp>,
}

/// What all jobs of a pass have in common.
pub(super) struct Round {
    now: Timestamp,
    time_zone: TimeZone,
    governed: Arc<BTreeSet<Fingerprint>>,
    taken: Arc<BTreeMap<PathBuf, AccountName>>,
    /// Whether the keys for emergencies changed since the last pass.
    pub(super) new_keys: bool,
}

impl Engine {
    /// Brings the key files of these accounts to what the key set says. A failure of one account is logged, kept for
    /// the status, and leaves the others alone.
    pub async fn pass(&mut self, scope: Scope) -> Pass {
        let round = self.begin_round().await;
        self.note_managed();
        // Nobody who was taken out may come back with an older state.
        self.save().await;

        let mut pass = Pass {
            // Keys for emergencies are every account's.
            scope: if round.new_keys { Scope::All } else { scope },
            tried: BTreeSet::new(),
            failed: BTreeSet::new(),
            homes: Vec::new(),
            expires_at: self.next_expiry(round.now),
        };
        self.work(&round, &mut pass).await;
        self.note_hung(&mut pass);
        self.save().await;
        pass
    }

    async fn begin_round(&mut self) -> Round {
        let mut break_glass = std::mem::take(&mut self.break_glass);
        let (break_glass, new_keys, time_zone) = crate::blocking::run(move || {
            let new_keys = break_glass.refresh();
            (break_glass, new_keys, time_zone_of_the_box())
        })
        .await;
        self.break_glass = break_glass;
        self.govern_emergency_keys();
        let granted = self.accounts();
        self.files.retain(|account, _| granted.contains_key(account));
        let taken = self.files.iter().rev().filter_map(|(account, file)| Some((file.path.clone()?, account.clone())));
        Round {
            now: Timestamp::now(),
            time_zone,
            governed: self.governed(),
            taken: Arc::new(taken.collect()),
            new_keys,
        }
    }

    /// A key for emergencies that is taken out of its file is to go wherever it was let in.
    fn govern_emergency_keys(&mut self) {
        let before = self.state.governed.len();
        self.state.governed.extend(self.break_glass.keys().iter().map(|granted| granted.key.fingerprint()));
        if self.state.governed.len() > before {
            self.saved = None;
        }
    }

    /// Begins the tasks and takes their outcomes, for as long as that is worth waiting for.
    async fn work(&mut self, round: &Round, pass: &mut Pass) {
        let start = Instant::now();
        pass.tried = self.accounts_of(&pass.scope);
        // Threads that are back from an earlier pass: what they did was wanted then, so it is done again.
        while let Some(joined) = self.jobs.try_join_next() {
            let account = self.settle(joined, round, pass);
            pass.tried.insert(account);
        }
        let mut waiting = self.to_do(&pass.tried);
        let mut begun = BTreeSet::new();
        loop {
            while begun.len() < AT_ONCE && self.busy.len() < MOST_STUCK {
                let Some(account) = waiting.pop_front() else { break };
                if let Some(task) = self.task(&account, round) {
                    self.busy.insert(account.clone());
                    self.jobs.spawn_blocking(move || task.run());
                    begun.insert(account);
                }
            }
            if begun.is_empty() {
                break;
            }
            let all_slow = waiting.is_empty() && begun.iter().all(|account| self.is_slow(account));
            let deadline = start + if all_slow { SLOW_LIMIT } else { JOB_LIMIT };
            let Ok(Some(joined)) = timeout_at(deadline, self.jobs.join_next()).await else { break };
            let account = self.settle(joined, round, pass);
            if !begun.remove(&account) {
                pass.tried.insert(account.clone());
                waiting.push_back(account);
            }
        }
        while let Some(joined) = self.jobs.try_join_next() {
            let account = self.settle(joined, round, pass);
            if !begun.remove(&account) {
                pass.tried.insert(account.clone());
                pass.failed.insert(account);
            }
        }
        pass.failed.extend(waiting);
    }

    fn accounts_of(&self, scope: &Scope) -> BTreeSet<AccountName> {
        let granted = self.settings.grants.iter().map(|grant| &grant.account);
        match scope {
            Scope::All => granted.chain(self.state.managed.keys()).cloned().collect(),
            Scope::Only(accounts) => accounts.clone(),
        }
    }

    /// Of these accounts, those that no thread is at work on; those that kept the last pass waiting come last.
    fn to_do(&self, accounts: &BTreeSet<AccountName>) -> VecDeque<AccountName> {
        let free = accounts.iter().filter(|account| !self.busy.contains(*account)).cloned();
        let (slow, quick): (Vec<_>, Vec<_>) = free.partition(|account| self.is_slow(account));
        quick.into_iter().chain(slow).collect()
    }

    fn is_slow(&self, account: &AccountName) -> bool {
        self.files.get(account).is_some_and(|file| file.slow)
    }

    /// What is to be done for an account; `None`: nothing.
    fn task(&mut self, account: &AccountName, round: &Round) -> Option<Task> {
        if let Some(mode) = self.settings.grants.iter().find(|grant| grant.account == *account).map(|grant| grant.mode)
        {
            if self.is_unasked(account) {
                let file = self.files.entry(account.clone()).or_default();
                file.error = Some(UNASKED.to_owned());
                if self.break_glass.keys().is_empty() {
                    return None;
                }
            }
            return Some(Task::Keep(Box::new(self.job(account.clone(), mode, round))));
        }
        let modes = self.state.managed.get(account)?.clone();
        Some(Task::Clean(Cleaning {
            account: account.clone(),
            modes,
            governed: Arc::clone(&round.governed),
            writer: self.writer.clone(),
            system_keys: self.settings.paths.system_keys.clone(),
            store: self.store.clone(),
        }))
    }

    /// Whether nobody ever said who may log in to the account: its file is not this agent's to empty then.
    pub(super) fn is_unasked(&self, account: &AccountName) -> bool {
        !self.state.key_set.accounts.contains_key(account)
    }

    /// What the pass would make of every account's file, which is left as it is.
    pub async fn preview(&mut self) -> Vec<(AccountName, Result<Preview, WriteError>)> {
        let round = self.begin_round().await;
        let mut previews = Vec::new();
        for (account, mode) in self.accounts() {
            let job = self.job(account.clone(), mode, &round);
            let unasked = self.is_unasked(&account) && self.break_glass.keys().is_empty();
            let (mut result, foreign) = crate::blocking::run(move || job.preview()).await;
            if let (true, Ok(preview)) = (unasked, &mut result) {
                preview.new.clone_from(&preview.old);
            }
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

    fn job(&self, account: AccountName, mode: Mode, round: &Round) -> Job {
        let keys = self.wanted(&account, round.now);
        let emergency: Vec<_> = self.break_glass.keys().iter().map(|granted| granted.key.clone()).collect();
        let leftovers = self.state.managed.get(&account).into_iter().flatten().copied();
        let (mode, governed) = match (self.is_unasked(&account), mode) {
            (false, _) => (mode, Arc::clone(&round.governed)),
            // Keys for emergencies come beside whatever stands there.
            (true, Mode::Exclusive | Mode::Shared) => (Mode::Shared, Arc::default()),
            (true, Mode::System) => (mode, Arc::default()),
        };
        Job {
            lines: render::lines(&keys, &round.time_zone, self.settings.render.expiry_time),
            keys: keys.iter().map(|granted| (granted.key.fingerprint(), emergency.contains(&granted.key))).collect(),
            host: self.state.host.clone(),
            leftovers: leftovers.filter(|leftover| !same_file(*leftover, mode)).collect(),
            settled: self.files.get(&account).and_then(|file| file.settled.clone()),
            taken: Arc::clone(&round.taken),
            account,
            mode,
            governed,
            writer: self.writer.clone(),
            system_keys: self.settings.paths.system_keys.clone(),
            store: self.store.clone(),
        }
    }
}
