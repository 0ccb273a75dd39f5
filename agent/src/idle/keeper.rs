//! The task that looks at the box again and again, and does what follows: the one place of this stage that changes
//! anything. It owns the state, which outlives a restart of the agent and nothing more.

use std::process::Stdio;
use std::time::Duration;

use fleetkey_common::error_text::one_line;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::machine::{Effect, State};
use super::observe::{Seen, look};
use super::{AutostopStatus, notice};
use crate::clock::{Moment, since_boot};
use crate::config::settings::{AutostopSettings, Settings};
use crate::store::Store;

/// How long systemctl may take to hand the wish on.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(30);
/// By how much the moment of powering off may differ from what was told before it is told anew.
const DIFFERENCE: SignedDuration = SignedDuration::from_secs(15);

/// What is kept over a restart of the agent.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    /// In which boot.
    boot_id: String,
    state: State,
}

/// Watches over the box, where it is to be powered off by itself.
#[derive(Debug)]
pub struct Keeper {
    shown: watch::Sender<Option<AutostopStatus>>,
    task: Option<(JoinHandle<()>, CancellationToken)>,
}

impl Keeper {
    /// Begins, if these settings say so.
    pub fn new(settings: &Settings) -> Self {
        let mut keeper = Self { shown: watch::Sender::new(None), task: None };
        keeper.begin(settings);
        keeper
    }

    fn begin(&mut self, settings: &Settings) {
        let Some(autostop) = settings.autostop.clone() else { return };
        let cancel = CancellationToken::new();
        let shown = self.shown.clone();
        let watch = Watch { settings: autostop, store: Store::new(&settings.paths), shown, notice: None };
        let task = tokio::spawn(watch.run(cancel.clone()));
        self.task = Some((task, cancel));
    }

    /// Word of every change of the status.
    pub fn status(&self) -> watch::Receiver<Option<AutostopStatus>> {
        self.shown.subscribe()
    }

    /// Takes new settings.
    pub async fn reconfigure(&mut self, settings: &Settings) {
        self.stop().await;
        self.shown.send_replace(None);
        self.begin(settings);
    }

    /// Ends, and takes the notice down: nobody powers the box off any more.
    pub async fn stop(&mut self) {
        let Some((task, cancel)) = self.task.take() else { return };
        cancel.cancel();
        if let Err(error) = task.await {
            tracing::error!(action = "autostop", "the watch over the box's use has failed: {error}");
        }
        if let Err(error) = crate::blocking::run(notice::remove).await {
            tracing::warn!(action = "autostop", "the notice for logins stays: {error}");
        }
    }
}

/// What the task owns.
struct Watch {
    settings: AutostopSettings,
    store: Store,
    shown: watch::Sender<Option<AutostopStatus>>,
    /// The notice as it was last put up.
    notice: Option<String>,
}

impl Watch {
    async fn run(mut self, cancel: CancellationToken) {
        let boot_id = Moment::now().boot_id;
        let mut state = self.restore(&boot_id).await;
        let mut fault = None;
        loop {
            let looked = tokio::select! {
                () = cancel.cancelled() => return,
                looked = look(&self.settings, false) => looked,
            };
            let reasons = looked.reasons(&self.settings);
            let (next, effect) = state.step(!reasons.is_empty(), &self.settings, since_boot());
            state = next;
            let asked = match effect {
                Some(Effect::PowerOff) => Some(self.power_off().await),
                Some(effect) => {
                    self.tell(effect, &reasons);
                    None
                }
                None => None,
            };
            fault = standing(fault, asked, state.left(&self.settings).is_none());
            self.save(&boot_id, &state).await;
            self.put_up(&looked).await;
            self.show(&state, reasons, fault.clone());
            tokio::select! {
                () = cancel.cancelled() => return,
                () = sleep(state.next_look(&self.settings)) => {}
            }
        }
    }

    /// One line of the log for each decision.
    fn tell(&self, effect: Effect, reasons: &[String]) {
        let whole = |time: Duration| humantime::format_duration(Duration::from_secs(time.as_secs()));
        let after = whole(self.settings.after);
        match effect {
            Effect::TellIdle => tracing::info!(
                action = "autostop",
                decision = "idle",
                "nothing holds this box on: it powers off in {after} unless it is used"
            ),
            Effect::TellBusy(idle) => tracing::info!(
                action = "autostop",
                decision = "busy",
                reason = reasons.join("; "),
                "in use again after {}: {}",
                whole(idle),
                reasons.join("; ")
            ),
            Effect::Warn(left) => tracing::warn!(
                action = "autostop",
                decision = "warn",
                "nobody uses this box: it powers off in {}; to hold it off: {}",
                whole(left),
                notice::advice(&self.settings)
            ),
            Effect::PowerOff => {}
        }
    }

    async fn power_off(&self) -> Result<(), String> {
        tracing::warn!(
            action = "autostop",
            decision = "power-off",
            "powering off after {} without a session and with little load",
            humantime::format_duration(self.settings.after)
        );
        power_off().await.inspect_err(|why| {
            tracing::error!(action = "autostop", decision = "failed", "this box could not be powered off: {why}");
        })
    }

    fn show(&self, state: &State, held_by: Vec<String>, fault: Option<String>) {
        let left = state.left(&self.settings).and_then(|left| SignedDuration::try_from(left).ok());
        let idle = SignedDuration::try_from(state.idle).unwrap_or_default();
        self.shown.send_if_modified(|shown| {
            let told = shown.as_ref().and_then(|told| told.idle_since.zip(told.stops_at));
            let now = Timestamp::now();
            let times = left.and_then(|left| Some((now.checked_sub(idle).ok()?, now.checked_add(left).ok()?)));
            // What is the same but for how long the look took stays as it was told.
            let same = |(since, at): (Timestamp, Timestamp)| {
                told.filter(|told| told.1.duration_since(at).abs() < DIFFERENCE).unwrap_or((since, at))
            };
            let times = times.map(same);
            let status = AutostopStatus {
                after: humantime::format_duration(self.settings.after).to_string(),
                action: self.settings.action,
                held_by,
                idle_since: times.map(|times| times.0),
                stops_at: times.map(|times| times.1),
                fault,
            };
            let changed = shown.as_ref() != Some(&status);
            *shown = Some(status);
            changed
        });
    }

    /// Keeps the notice for logins as it should be. A failure is logged once: it stands in the way of nothing.
    async fn put_up(&mut self, looked: &Seen) {
        let text = notice::text(&self.settings, &looked.holds, Timestamp::now());
        if self.notice.as_ref() == Some(&text) {
            return;
        }
        let bytes = text.clone();
        if let Err(error) = crate::blocking::run(move || notice::put(&bytes)).await {
            tracing::warn!(action = "autostop", "people are not told at login: {error}");
        }
        self.notice = Some(text);
    }

    async fn restore(&self, boot_id: &str) -> State {
        let store = self.store.clone();
        let saved = crate::blocking::run(move || store.load_idle()).await;
        let saved: Option<Saved> = saved.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        saved.filter(|saved| saved.boot_id == boot_id).map(|saved| saved.state).unwrap_or_default()
    }

    async fn save(&self, boot_id: &str, state: &State) {
        let saved = Saved { boot_id: boot_id.to_owned(), state: state.clone() };
        let (store, bytes) = (self.store.clone(), serde_json::to_vec(&saved).unwrap_or_default());
        if let Err(error) = crate::blocking::run(move || store.save_idle(&bytes)).await {
            tracing::warn!(action = "autostop", "a restart of the agent would begin anew: {}", one_line(&error));
        }
    }
}

/// Why the box could not be powered off, after a look at which it was `asked` to be, or was not: what was so stays so until
/// it is asked again, or is held on and need not go.
fn standing(fault: Option<String>, asked: Option<Result<(), String>>, held: bool) -> Option<String> {
    match asked {
        Some(outcome) => outcome.err(),
        None => fault.filter(|_| !held),
    }
}

/// Hands the wish to systemd, which stops everything in order.
async fn power_off() -> Result<(), String> {
    let mut systemctl = Command::new("systemctl");
    systemctl.args(["--no-ask-password", "poweroff"]).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
    systemctl.stdin(Stdio::null()).kill_on_drop(true);
    match timeout(POWER_OFF_LIMIT, systemctl.output()).await {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("systemctl poweroff: {}: {}", output.status, said.lines().next().unwrap_or_default()))
        }
        Ok(Err(error)) => Err(format!("systemctl cannot be run: {error}")),
        Err(_) => Err(format!("systemctl poweroff gave no answer within {} s", POWER_OFF_LIMIT.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_a_box_could_not_be_powered_off_is_told_until_it_is_asked_again_or_held_on() {
        let failed = || Some("systemctl cannot be run".to_owned());
        let refused = Some(Err("systemctl cannot be run".to_owned()));
        assert_eq!(standing(None, refused, false), failed());
        assert_eq!(standing(failed(), None, false), failed());
        assert_eq!(standing(failed(), Some(Ok(())), false), None);
        assert_eq!(standing(failed(), None, true), None);
        assert_eq!(standing(None, None, false), None);
    }
}
