//! The agent's own line: findings in, key files out. One owner of all that the agent knows; no clock and no trigger of
//! its own.
//!
//! The order of a change is: state on disk first, key files second. An agent that dies in between starts from the newer
//! key set, so that nobody who was taken out comes back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fleetkey_common::key_spec::KeySpec;
use fleetkey_common::names::AccountName;
use fleetkey_common::public_key::Fingerprint;
use fleetkey_common::registry::KeyCache;
use fleetkey_common::restrictions::{AllowedOptions, Restrictions};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::task::JoinSet;

use crate::break_glass::BreakGlass;
use crate::clock::Moment;
use crate::config::settings::{Mode, Settings};
use crate::guard::{self, Held, guard};
use crate::instance::HostIdentity;
use crate::key_set::{GrantedKey, KeySet};
use crate::resolve::{Notice, Part};
use crate::source::{Fault, Findings};
use crate::state::State;
use crate::store::{LastGood, Store};
use crate::write::Writer;

mod changes;
mod faults;
mod files;
mod job;
mod outcomes;
mod questions;

pub use files::{FileStatus, Pass, Scope};
pub use job::Preview;

/// How many times within `max_stale` the time at which the source was last reached is put on disk, when nothing else
/// changes: once an hour, for three days.
const SAVES_OF_REACHED: u32 = 72;

/// What one look at the source came to.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// Whether a part of it failed.
    pub failed: bool,
    /// When a held cut can be confirmed, by the agent's monotonic clock.
    pub confirm_at: Option<Duration>,
}

/// Counts since the agent started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counters {
    /// Looks at the source.
    pub syncs: u64,
    /// Key files written.
    pub writes: u64,
    /// Key files found changed by somebody else and put right.
    pub drift_repaired: u64,
    /// Writes that failed.
    pub write_failures: u64,
}

/// All that the agent knows and does to this box.
#[derive(Debug)]
pub struct Engine {
    settings: Arc<Settings>,
    writer: Writer,
    store: Store,
    state: State,
    /// When the state on disk was written; `None`: it has to be.
    saved: Option<Moment>,
    history: guard::History,
    break_glass: BreakGlass,
    files: BTreeMap<AccountName, FileStatus>,
    /// Keys on people's own lines that no registry knew, and when that was asked.
    unknown: HashMap<Fingerprint, Duration>,
    /// When that was last answered.
    answered_at: Option<Duration>,
    /// Why it could not be asked, so that it is said once.
    question_fault: Option<Fault>,
    held: BTreeMap<AccountName, Held>,
    faults: BTreeMap<Part, Fault>,
    /// Those of them whose last known is too old to serve.
    too_old: BTreeSet<Part>,
    notices: BTreeSet<Notice>,
    counters: Counters,
    /// Writes that are under way, also those that outlasted the pass that began them.
    jobs: JoinSet<job::Worked>,
    /// The accounts of these.
    busy: BTreeSet<AccountName>,
}

impl Engine {
    /// Loads what was known when the agent last ran. `helper` is the program that writes in homes: the agent's own.
    pub fn open(settings: Arc<Settings>, host: HostIdentity, helper: PathBuf) -> Self {
        let store = Store::new(&settings.paths);
        let (state, saved) = match store.load_state(&host) {
            LastGood::Ours(state) => (*state, Some(Moment::now())),
            LastGood::None => (State::new(host, Moment::now()), None),
            LastGood::AnotherBoxs => (State::letting_nobody_in(host, Moment::now(), &settings.grants), None),
        };
        let mut engine = Self {
            break_glass: BreakGlass::new(settings.guard.break_glass.clone()),
            settings,
            writer: Writer::new(helper),
            store,
            state,
            saved,
            history: guard::History::new(),
            files: BTreeMap::new(),
            unknown: HashMap::new(),
            answered_at: None,
            question_fault: None,
            held: BTreeMap::new(),
            faults: BTreeMap::new(),
            too_old: BTreeSet::new(),
            notices: BTreeSet::new(),
            counters: Counters::default(),
            jobs: JoinSet::new(),
            busy: BTreeSet::new(),
        };
        engine.drop_ungranted();
        engine
    }

    /// Takes new settings; the accounts that lost their grants are cleaned at the next pass.
    pub fn reconfigure(&mut self, settings: Arc<Settings>) {
        self.break_glass.read_from(&settings.guard.break_glass);
        if self.settings.guard.max_stale != settings.guard.max_stale {
            self.saved = None;
        }
        self.settings = settings;
        self.forget_unknown();
        self.drop_ungranted();
    }

    /// Takes out of the last good key set what the configuration no longer grants, and keys with options that it no
    /// longer allows: no source has a say in that.
    fn drop_ungranted(&mut self) {
        let grants: BTreeMap<_, _> = self.settings.grants.iter().map(|grant| (&grant.account, &grant.keys)).collect();
        let allowed = AllowedOptions::with(&self.settings.render.allowed_options).unwrap_or_default();
        let may_carry = |restrictions: &Restrictions| {
            restrictions.options.is_empty() || allowed.parse(&restrictions.to_options(&TimeZone::UTC, false)).is_ok()
        };
        let mut kept = self.state.key_set.clone();
        kept.accounts.retain(|account, _| grants.contains_key(account));
        for (account, entries) in &mut kept.accounts {
            entries.retain(|entry| grants[account].contains(&entry.spec) && may_carry(&entry.registered.restrictions));
        }
        if kept != self.state.key_set {
            self.state.serial += 1;
            changes::log(&self.state.key_set, &kept, self.state.serial);
            self.state.key_set = kept;
            self.saved = None;
        }
    }

    /// Once the instance's own id is known, binds the state to it; a state that came from another box is dropped.
    pub fn bind(&mut self, host: HostIdentity) {
        if !self.state.host.same_host(&host) {
            tracing::warn!(action = "state-dropped", "the state on disk came from another box; starting afresh");
            self.state = State::letting_nobody_in(host, Moment::now(), &self.settings.grants);
            self.saved = None;
        } else if self.state.host != host {
            self.state.host = host;
            self.saved = None;
        }
    }

    /// Every key spec of every grant.
    pub fn specs(&self) -> BTreeSet<KeySpec> {
        self.settings.grants.iter().flat_map(|grant| grant.keys.iter().cloned()).collect()
    }

    /// The keys that need not be fetched again.
    pub fn cache(&self) -> KeyCache {
        let entries = self.state.key_set.accounts.values().flatten();
        KeyCache::new(entries.map(|entry| (entry.registry, (*entry.registered).clone())))
    }

    /// Whether the last good key set is young enough to let people in before the source was asked.
    pub fn last_good_serves(&self) -> bool {
        self.state.reached.age(&Moment::now()) <= self.settings.guard.max_stale
    }

    /// Resolves what a source found, holds it against what is in force, and keeps the outcome. The key files are
    /// another matter: [`Engine::pass`].
    pub fn take(&mut self, findings: &Findings, now: Duration) -> Look {
        self.counters.syncs += 1;
        let resolution = self.resolve(findings);
        let mut look = Look { failed: !resolution.faults.is_empty(), confirm_at: None };
        self.note_faults(&resolution, findings);
        let revoked_changed = self.state.revoked != resolution.revoked;
        self.state.revoked.clone_from(&resolution.revoked);

        let history = std::mem::take(&mut self.history);
        let decision = guard(&self.state.key_set, resolution, history, &self.settings.guard, now);
        changes::log_held(&self.held, &decision.held);
        (self.history, self.held) = (decision.history, decision.held);
        look.confirm_at = decision.confirm_at;

        let changed = self.state.key_set != decision.key_set;
        if changed {
            self.state.serial += 1;
            changes::log(&self.state.key_set, &decision.key_set, self.state.serial);
            let granted = decision.key_set.accounts.values().flatten().map(crate::key_set::Entry::fingerprint);
            self.state.governed.extend(granted);
            self.state.key_set = decision.key_set;
        }
        let moment = Moment::now();
        let often = self.settings.guard.max_stale / SAVES_OF_REACHED;
        let due = self.saved.as_ref().is_none_or(|saved| saved.age(&moment) >= often);
        if findings.unreachable.is_none() {
            self.state.reached = moment;
        }
        if changed || revoked_changed || due {
            self.saved = None;
        }
        look
    }

    /// Puts the state on disk, when it is not there as it is. A failure is logged, and tried again at the next call.
    pub async fn save(&mut self) {
        if self.saved.is_some() {
            return;
        }
        let bytes = self.state.to_bytes();
        let store = self.store.clone();
        let (reached, max_stale) = (self.state.reached.clone(), self.settings.guard.max_stale);
        let save = move || store.save_state(&bytes).and_then(|()| store.save_serving(&reached, max_stale));
        match crate::blocking::run(save).await {
            Ok(()) => self.saved = Some(Moment::now()),
            Err(error) => tracing::error!(
                action = "state-not-saved",
                "the state could not be saved: {error}; access is kept up to date all the same"
            ),
        }
    }

    /// Keeps the status on the box.
    pub fn show(&self, status: &crate::report::Status) {
        match serde_json::to_vec_pretty(status) {
            Ok(bytes) => self.store.save_status(&bytes),
            Err(error) => tracing::warn!(action = "status-not-saved", "{error}"),
        }
    }

    /// The keys that are to be in the file of an account now: granted ones, then those for emergencies. What root put
    /// down for emergencies holds as it stands there: whoever registers the same key elsewhere cannot restrict it.
    pub fn wanted(&self, account: &AccountName, now: Timestamp) -> Vec<GrantedKey> {
        let emergency = self.break_glass.keys().iter();
        let emergency: Vec<_> = emergency
            .filter(|key| !self.state.revoked.contains(&key.key.fingerprint()) && !key.restrictions.expired(now))
            .cloned()
            .collect();
        let for_emergencies: BTreeSet<_> = emergency.iter().map(|granted| granted.key.fingerprint()).collect();
        let mut keys = self.state.key_set.granted(account, now);
        keys.retain(|granted| !for_emergencies.contains(&granted.key.fingerprint()));
        keys.extend(emergency);
        keys
    }

    /// When the next of the keys that are let in at `now` expires.
    fn next_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        let entries = self.state.key_set.accounts.values().flatten();
        let granted = entries.filter_map(|entry| entry.registered.restrictions.expires);
        let emergency = self.break_glass.keys().iter().filter_map(|granted| granted.restrictions.expires);
        granted.chain(emergency).filter(|at| *at > now).min()
    }

    /// The key set in force.
    pub fn key_set(&self) -> &KeySet {
        &self.state.key_set
    }

    /// The state as it would be saved.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The accounts that have a grant, and how their files are kept.
    pub fn accounts(&self) -> BTreeMap<AccountName, Mode> {
        self.settings.grants.iter().map(|grant| (grant.account.clone(), grant.mode)).collect()
    }

    /// Each account's file, as it was at the last pass.
    pub fn files(&self) -> &BTreeMap<AccountName, FileStatus> {
        &self.files
    }

    /// Cuts that wait for their second look.
    pub fn held(&self) -> &BTreeMap<AccountName, Held> {
        &self.held
    }

    /// Parts of the source that failed at the last look.
    pub fn faults(&self) -> &BTreeMap<Part, Fault> {
        &self.faults
    }

    /// Of the parts that failed, those that failed for so long that they let nobody in any more.
    pub fn too_old(&self) -> &BTreeSet<Part> {
        &self.too_old
    }

    /// What a person should know of the last look.
    pub fn notices(&self) -> &BTreeSet<Notice> {
        &self.notices
    }

    /// Counts since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod tests;
