//! What the agent tells systemd: that it is ready, how it is, and that its loop turns.

use std::time::Duration;

use sd_notify::NotifyState;

/// The longest status line that is sent: `systemctl status` shows one line.
const MAX_STATUS: usize = 400;

/// The service manager, if there is one.
#[derive(Debug)]
pub struct Supervisor {
    watchdog: Option<Duration>,
    last_status: String,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self::new()
    }
}

impl Supervisor {
    /// Finds out whether a service manager listens and wants to be fed.
    pub fn new() -> Self {
        Self { watchdog: sd_notify::watchdog_enabled(), last_status: String::new() }
    }

    /// How often [`Supervisor::alive`] is to be called: at half the time after which systemd loses patience.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.map(|patience| patience / 2)
    }

    /// The last good keys are in place.
    pub fn ready(&self) {
        notify(&[NotifyState::Ready]);
    }

    /// The loop turns.
    pub fn alive(&self) {
        if self.watchdog.is_some() {
            notify(&[NotifyState::Watchdog]);
        }
    }

    /// The agent is about to end.
    pub fn stopping(&self) {
        notify(&[NotifyState::Stopping]);
    }

    /// One line for `systemctl status`; sent when it changes.
    pub fn status(&mut self, line: &str) {
        let line: String = line.chars().filter(|c| !c.is_control()).take(MAX_STATUS).collect();
        if line != self.last_status {
            notify(&[NotifyState::Status(&line)]);
            self.last_status = line;
        }
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(action = "notify", "systemd could not be told {state:?}: {error}");
    }
}
