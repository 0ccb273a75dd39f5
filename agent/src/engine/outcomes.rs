//! What became of the tasks of a pass: kept for the status, told to the log, and failed accounts told to the pass.

use std::collections::BTreeSet;

use fleetkey_common::names::AccountName;
use jiff::Timestamp;
use tokio::task::JoinError;

use super::Engine;
use super::files::{FileStatus, Pass, Round, UNASKED};
use super::job::{Done, Failure, Outcome, Worked, same_file};

impl Engine {
    /// Takes the outcome of one task, and says whose it was.
    pub(super) fn settle(&mut self, joined: Result<Worked, JoinError>, round: &Round, pass: &mut Pass) -> AccountName {
        let Worked { account, homes, outcome } = match joined {
            Ok(worked) => worked,
            // Nothing cancels a task, so it panicked.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        self.busy.remove(&account);
        // It may have failed earlier in this pass: the last word counts.
        pass.failed.remove(&account);
        pass.homes.extend(homes.map(|folders| (account.clone(), folders)));
        let granted = self.settings.grants.iter().any(|grant| grant.account == account);
        match outcome {
            // Its grant went while it was waited for: it is cleaned next.
            Outcome::Kept(_) if !granted => {}
            Outcome::Kept(Ok(done)) => self.take_kept(&account, done, round, pass),
            Outcome::Kept(Err(failure)) => {
                pass.failed.insert(account.clone());
                self.counters.write_failures += 1;
                self.files.entry(account.clone()).or_default().fail(&account, failure);
            }
            Outcome::Cleaned(Ok(())) => {
                tracing::info!(
                    action = "retire", %account,
                    "{account} has no grant any more; the agent's keys are gone from it"
                );
                self.state.managed.remove(&account);
                self.saved = None;
            }
            Outcome::Cleaned(Err(failure)) => {
                pass.failed.insert(account.clone());
                self.counters.write_failures += 1;
                tracing::error!(action = "write-failed", %account, "{}", failure.text);
            }
        }
        account
    }

    fn take_kept(&mut self, account: &AccountName, done: Done, round: &Round, pass: &mut Pass) {
        // Both wrote it; from the next pass on one of them does, and the other is told so.
        let path = Some(&done.settled.path);
        let others = self.files.iter().filter(|(other, file)| *other != account && file.path.as_ref() == path);
        let others: Vec<_> = others.filter(|(_, file)| file.error.is_none()).map(|(other, _)| other.clone()).collect();
        if !others.is_empty() {
            pass.tried.extend(others.iter().cloned());
            pass.failed.extend(others);
            pass.failed.insert(account.clone());
        }
        let unasked = self.is_unasked(account);

        let file = self.files.entry(account.clone()).or_default();
        file.slow = false;
        let error = if unasked { None } else { file.error.take() };
        if error.is_some_and(|error| error != UNASKED) {
            tracing::info!(action = "write-failed-over", %account, "the key file of {account} is written again");
        }
        // The agent had left it so, and it was not so any more: somebody else's hand.
        let as_before = file.settled.as_ref().is_some_and(|was| was.wants(&done.settled));
        if done.changed && !round.new_keys && as_before {
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
        file.path = Some(done.settled.path.clone());
        file.settled = Some(done.settled);
        // The leftovers of a job are gone; that of one which was overtaken by a new mode is the next one's.
        let modes = self.state.managed.entry(account.clone()).or_default();
        if modes.iter().any(|mode| !same_file(*mode, done.mode)) {
            *modes = BTreeSet::from([done.mode]);
            self.saved = None;
        }
    }

    /// Tells of files whose file system gives no answer: their threads are left waiting, and no second one is sent.
    pub(super) fn note_hung(&mut self, pass: &mut Pass) {
        for account in self.busy.iter().filter(|account| pass.tried.contains(*account)) {
            pass.failed.insert(account.clone());
            self.counters.write_failures += 1;
            if self.settings.grants.iter().any(|grant| grant.account == *account) {
                let text = format!("account {account}: the file system of its home gives no answer");
                self.files.entry(account.clone()).or_default().fail(account, Failure { text, slow: true });
            }
        }
    }
}

impl FileStatus {
    fn fail(&mut self, account: &AccountName, failure: Failure) {
        let Failure { text, slow } = failure;
        if self.error.as_deref() != Some(&text) {
            tracing::error!(action = "write-failed", %account, "{text}");
        }
        self.error = Some(text);
        self.slow = slow;
        self.settled = None;
    }
}
