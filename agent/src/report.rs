//! The report stage: what the agent tells of itself. A value made from the engine, and the forms it is shown in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use fleetkey_common::names::AccountName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::settings::Mode;
use crate::engine::{Counters, Engine};
use crate::idle::AutostopStatus;

/// The version of the status's form.
const VERSION: u32 = 1;

/// How the agent stands. Written as JSON on the box and into the bucket; printed by `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The version of this form.
    pub version: u32,
    /// The agent's own version.
    pub agent: String,
    /// The instance, when it is known.
    pub instance_id: Option<String>,
    /// When this was written.
    pub written_at: Timestamp,
    /// When the agent started.
    pub started_at: Timestamp,
    /// When the source was last asked, with whatever outcome; `None`: not since the start.
    pub looked_at: Option<Timestamp>,
    /// Counts the changes of the key set.
    pub serial: u64,
    /// Each managed account.
    pub accounts: BTreeMap<AccountName, AccountStatus>,
    /// What could not be looked up, and why; for these, what was known stands, unless they are in `too_old`.
    pub faults: BTreeMap<String, String>,
    /// What could not be looked up for longer than `max_stale`, and lets nobody in any more.
    #[serde(default)]
    pub too_old: BTreeSet<String>,
    /// What a person should know.
    pub notices: Vec<String>,
    /// How hints reach this box.
    pub push: String,
    /// What was wrong with the configuration when it was last read; the one before is in force.
    pub config_error: Option<String>,
    /// How it stands with powering off for want of use; `None` where nothing does that.
    #[serde(default)]
    pub autostop: Option<AutostopStatus>,
    /// Counts since the start.
    pub counters: Counters,
}

/// How one account stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountStatus {
    /// How its key file is kept.
    pub mode: Mode,
    /// How many keys the agent lets in.
    pub keys: usize,
    /// How many keys stand on lines of other people.
    pub other_keys: usize,
    /// Why its key file could not be written.
    pub error: Option<String>,
    /// When the agent last changed it.
    pub changed_at: Option<Timestamp>,
    /// A cut that waits for a second look: how many keys, and why.
    pub held: Option<String>,
}

/// What the agent's loop knows beside the engine.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The instance, when it is known.
    pub instance_id: Option<String>,
    /// When the agent started.
    pub started_at: Timestamp,
    /// When the source was last asked.
    pub looked_at: Option<Timestamp>,
    /// How hints reach this box.
    pub push: String,
    /// What was wrong with the configuration when it was last read.
    pub config_error: Option<String>,
    /// How it stands with powering off for want of use.
    pub autostop: Option<AutostopStatus>,
}

impl Status {
    /// How the engine stands now.
    pub fn new(engine: &Engine, surroundings: Surroundings) -> Self {
        let accounts = engine.accounts().into_iter().map(|(account, mode)| {
            let file = engine.files().get(&account).cloned().unwrap_or_default();
            let held = engine.held().get(&account);
            let held = held.map(|held| format!("{} of {} keys would go: {}", held.keys, held.of, held.why));
            let status = AccountStatus {
                mode,
                keys: file.keys,
                other_keys: file.foreign.len(),
                error: file.error,
                changed_at: file.changed_at,
                held,
            };
            (account, status)
        });
        Self {
            version: VERSION,
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            instance_id: surroundings.instance_id,
            written_at: Timestamp::now(),
            started_at: surroundings.started_at,
            looked_at: surroundings.looked_at,
            serial: engine.state().serial,
            accounts: accounts.collect(),
            faults: engine.faults().iter().map(|(part, fault)| (part.to_string(), fault.to_string())).collect(),
            too_old: engine.too_old().iter().map(ToString::to_string).collect(),
            notices: engine.notices().iter().map(ToString::to_string).collect(),
            push: surroundings.push,
            config_error: surroundings.config_error,
            autostop: surroundings.autostop,
            counters: engine.counters(),
        }
    }

    /// The status without what changes from look to look by itself: two that are equal so say the same.
    #[must_use]
    pub fn without_ages(&self) -> Self {
        let counters = Counters { syncs: 0, write_failures: 0, ..self.counters };
        Self { written_at: Timestamp::UNIX_EPOCH, looked_at: None, counters, autostop: None, ..self.clone() }
    }

    /// Whether everything is as the grants say and the source could be asked.
    pub fn in_step(&self) -> bool {
        self.faults.is_empty()
            && self.config_error.is_none()
            && self.accounts.values().all(|account| account.error.is_none() && account.held.is_none())
    }

    /// What a fault means for who is let in.
    fn how(&self, part: &str) -> &'static str {
        if self.too_old.contains(part) { "too long unknown to let anybody in" } else { "last known serves" }
    }

    /// One line for systemd's `STATUS=`.
    pub fn headline(&self) -> String {
        let keys: usize = self.accounts.values().map(|account| account.keys).sum();
        let accounts = self.accounts.len();
        let mut line = format!("{}, {}", count(keys, "key"), count(accounts, "account"));
        let failed: Vec<_> = self.accounts.iter().filter(|(_, account)| account.error.is_some()).collect();
        if let Some((account, status)) = failed.first() {
            let more = if failed.len() > 1 { format!(" (and {} more)", failed.len() - 1) } else { String::new() };
            let _ = write!(line, "; {account} not written: {}{more}", status.error.as_deref().unwrap_or_default());
        }
        // What lets nobody in any more is the worse.
        let worst = self.faults.iter().find(|(part, _)| self.too_old.contains(*part));
        if let Some((part, fault)) = worst.or_else(|| self.faults.iter().next()) {
            let more =
                if self.faults.len() > 1 { format!(" (and {} more)", self.faults.len() - 1) } else { String::new() };
            let how = self.how(part);
            let _ = write!(line, "; {how}: {part}: {fault}{more}");
        }
        if let Some((account, held)) =
            self.accounts.iter().find_map(|(name, status)| Some((name, status.held.as_ref()?)))
        {
            let _ = write!(line, "; {account}: {held}");
        }
        if self.config_error.is_some() {
            line.push_str("; the new configuration is not valid, the one before is in force");
        }
        if let Some(autostop) = &self.autostop {
            let _ = write!(line, "; {}", autostop.sentence());
        }
        let state = match (self.looked_at, self.in_step()) {
            (None, _) => "starting",
            (Some(_), true) => "in step",
            (Some(_), false) => "NOT in step",
        };
        format!("{state}: {line}")
    }

    /// What `status` prints for a person; `now` is for ages.
    pub fn to_text(&self, now: Timestamp) -> String {
        let mut text = format!("{}\n\n", self.headline());
        let age = |at: Timestamp| {
            let seconds = now.duration_since(at).as_secs().max(0).unsigned_abs();
            format!("{} ago", humantime::format_duration(std::time::Duration::from_secs(seconds)))
        };
        let mut row = |name: &str, value: &str| {
            let _ = writeln!(text, "{name:<12} {value}");
        };
        row("instance", self.instance_id.as_deref().unwrap_or("not known"));
        row("agent", &format!("{}, started {}", self.agent, age(self.started_at)));
        row("last look", &self.looked_at.map_or_else(|| "none since the start".to_owned(), age));
        row("push", &self.push);
        row("serial", &self.serial.to_string());
        let counters = &self.counters;
        row(
            "since start",
            &format!(
                "{}, {} written, {} put right, {} failed",
                count_u64(counters.syncs, "look"),
                count_u64(counters.writes, "file"),
                counters.drift_repaired,
                counters.write_failures
            ),
        );
        if let Some(autostop) = &self.autostop {
            row("autostop", &format!("after {}: {}", autostop.after, autostop.sentence()));
        }
        if let Some(error) = &self.config_error {
            row("config", error);
        }
        if !self.accounts.is_empty() {
            let _ = writeln!(text, "\n{:<20} {:<10} {:>5} {:>6}  STATE", "ACCOUNT", "MODE", "KEYS", "OTHERS");
        }
        for (name, account) in &self.accounts {
            let mode = format!("{:?}", account.mode).to_lowercase();
            let state = match (&account.error, &account.held, account.changed_at) {
                (Some(error), ..) => format!("NOT WRITTEN: {error}"),
                (None, Some(held), _) => format!("held: {held}"),
                (None, None, Some(at)) => format!("ok, changed {}", age(at)),
                (None, None, None) => "ok".to_owned(),
            };
            let _ = writeln!(text, "{name:<20} {mode:<10} {:>5} {:>6}  {state}", account.keys, account.other_keys);
        }
        for (part, fault) in &self.faults {
            let _ = writeln!(text, "\nfault: {part}: {fault} ({})", self.how(part));
        }
        for notice in &self.notices {
            let _ = writeln!(text, "\nnote: {notice}");
        }
        text
    }
}

fn count(number: usize, what: &str) -> String {
    count_u64(number as u64, what)
}

fn count_u64(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
