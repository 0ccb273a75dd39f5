//! The running agent: one loop that owns everything, and turns triggers into looks at the source and passes over the
//! key files.
//!
//! A look takes as long as the network does, and the loop goes on meanwhile: drift is put right, the watchdog is fed,
//! and a stop is obeyed.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fleetkey_common::public_key::{Fingerprint, PublicKey};
use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::clock::since_boot;
use crate::config::settings::{Settings, SourceSettings};
use crate::config::{self, Flags};
use crate::drift::{Drift, Hints};
use crate::engine::{Engine, Scope};
use crate::idle::{AutostopStatus, Keeper};
use crate::instance::HostIdentity;
use crate::report::{Status, Surroundings};
use crate::schedule::{Due, FetchOutcome, Schedule};
use crate::source::Fault;
use crate::supervisor::Supervisor;

mod cloud;
mod lookout;

pub use cloud::{Cloud, connect, source_of};
use lookout::{LOOK_LIMIT, Looked, Lookout, no_answer};

/// How long to wait for further changes of a file before looking at it: an editor makes several at once.
const SETTLE: Duration = Duration::from_millis(20);

/// The least time between two passes that drift asks for, however fast somebody changes files.
const DRIFT_GAP: Duration = Duration::from_millis(200);

/// How often the loop feeds the watchdog when systemd names no time.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// What the agent was started with.
#[derive(Debug)]
pub struct Start {
    /// The configuration file, read again at SIGHUP.
    pub config: PathBuf,
    /// The flags that lie over it.
    pub flags: Flags,
    /// What they came to.
    pub settings: Settings,
    /// The program that writes in homes: the agent's own.
    pub helper: PathBuf,
}

/// Runs until it is told to stop.
pub async fn run(start: Start) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let mut agent = Agent::new(start).await;
    agent.serve_last_good().await;
    agent.supervisor.ready();
    while agent.turn(&mut signals).await {}
    agent.stop().await;
    Ok(())
}

/// The signals that the agent obeys.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// A question to the registries that is under way: whose keys stand on other people's lines.
type Question =
    Pin<Box<dyn Future<Output = (Vec<PublicKey>, Result<std::collections::BTreeSet<Fingerprint>, Fault>)> + Send>>;

/// All that the loop owns.
struct Agent {
    config: PathBuf,
    flags: Flags,
    settings: Arc<Settings>,
    engine: Engine,
    schedule: Schedule,
    lookout: Lookout,
    question: Option<Question>,
    drift: Drift,
    hints: Arc<Hints>,
    pushes: Arc<Notify>,
    push_health: watch::Receiver<String>,
    keeper: Keeper,
    idleness: watch::Receiver<Option<AutostopStatus>>,
    supervisor: Supervisor,
    heartbeat: tokio::time::Interval,
    /// When a pass that drift asked for may start.
    drift_at: Option<Instant>,
    last_drift_pass: Option<Instant>,
    /// When the first of the keys expires that the last pass let in.
    expires_at: Option<Timestamp>,
    started_at: Timestamp,
    looked_at: Option<Timestamp>,
    config_error: Option<String>,
    /// Whether the registries may know more than when unknown keys were last asked about.
    pushed: bool,
}

/// What woke the loop.
enum Event {
    Stop,
    Reload,
    Pushed,
    PushHealth,
    Idleness,
    FilesChanged,
    SourceChanged,
    DriftDue,
    Due(Due),
    Looked(Box<Looked>),
    Answered(Vec<PublicKey>, Result<std::collections::BTreeSet<Fingerprint>, Fault>),
    Heartbeat,
}

impl Agent {
    async fn new(start: Start) -> Self {
        let Start { config, flags, settings, helper } = start;
        let settings = Arc::new(settings);
        let configured = settings.clone();
        let engine = crate::blocking::run(move || {
            let host = HostIdentity::read("/".as_ref(), configured.instance.id.as_deref());
            Engine::open(configured, host, helper)
        });
        let engine = engine.await;
        let hints = Arc::new(Hints::default());
        let pushes = Arc::new(Notify::new());
        let supervisor = Supervisor::new();
        let mut heartbeat = interval(supervisor.watchdog().unwrap_or(HEARTBEAT));
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let keeper = Keeper::new(&settings);
        let lookout = Lookout::new(Arc::clone(&settings), Arc::clone(&pushes));
        Self {
            config,
            flags,
            push_health: lookout.push_health(),
            idleness: keeper.status(),
            keeper,
            lookout,
            schedule: Schedule::new(settings.poll_interval, since_boot()),
            drift: Drift::new(Arc::clone(&hints)),
            settings,
            engine,
            question: None,
            hints,
            pushes,
            supervisor,
            heartbeat,
            drift_at: None,
            last_drift_pass: None,
            expires_at: None,
            started_at: Timestamp::now(),
            looked_at: None,
            config_error: None,
            pushed: false,
        }
    }

    /// Before anything is asked of anybody: what was good when the agent last ran is good now.
    async fn serve_last_good(&mut self) {
        if self.engine.last_good_serves() {
            self.pass(Scope::All).await;
        } else {
            tracing::warn!(
                action = "last-good-too-old",
                "the last good key set is older than max_stale; key files stay as they are until the source is asked"
            );
            self.tell();
        }
    }

    /// Waits for one event and deals with it; false when it is time to stop.
    async fn turn(&mut self, signals: &mut Signals) -> bool {
        match self.next_event(signals).await {
            Event::Stop => return false,
            Event::Heartbeat => {
                self.supervisor.alive();
                // The clock may have been set, or the box have slept.
                self.schedule.expires_in(self.expires_in(), since_boot());
                self.ask_about_other_lines();
            }
            Event::Reload => self.reload().await,
            Event::Pushed => {
                self.pushed = true;
                self.schedule.ask();
            }
            Event::PushHealth | Event::Idleness => self.tell(),
            Event::FilesChanged => self.note_drift(),
            Event::SourceChanged => {
                if matches!(self.settings.source, SourceSettings::Directory { .. }) {
                    self.pushed = true;
                    tokio::time::sleep(SETTLE).await;
                    self.schedule.ask();
                }
            }
            Event::DriftDue => {
                self.drift_at = None;
                self.last_drift_pass = Some(Instant::now());
                self.pass(Scope::All).await;
            }
            Event::Due(Due::Write) => self.pass(Scope::All).await,
            Event::Due(Due::Retry) => {
                let due = self.schedule.due_retries(since_boot());
                self.pass(Scope::Only(due)).await;
            }
            Event::Due(Due::Fetch) => {
                self.schedule.fetch_started(since_boot());
                self.lookout.start(self.engine.specs(), self.engine.cache());
            }
            Event::Looked(looked) => self.take(*looked).await,
            Event::Answered(candidates, known) => {
                self.question = None;
                if self.engine.learn(&candidates, known, since_boot()) {
                    self.pass(Scope::All).await;
                }
            }
        }
        true
    }

    async fn next_event(&mut self, signals: &mut Signals) -> Event {
        let (due_at, due) = self.schedule.next();
        let waits = due_at != Duration::MAX;
        let due_at = Instant::now() + if waits { due_at.saturating_sub(since_boot()) } else { Duration::ZERO };
        let drift_at = self.drift_at;
        let question = async {
            match &mut self.question {
                Some(question) => question.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = signals.terminate.recv() => Event::Stop,
            _ = signals.interrupt.recv() => Event::Stop,
            _ = self.heartbeat.tick() => Event::Heartbeat,
            _ = signals.hangup.recv() => Event::Reload,
            looked = self.lookout.looked() => Event::Looked(Box::new(looked)),
            (candidates, known) = question => Event::Answered(candidates, known),
            () = sleep_until(drift_at.unwrap_or(due_at)), if drift_at.is_some() => Event::DriftDue,
            () = sleep_until(due_at), if waits => Event::Due(due),
            () = self.pushes.notified() => Event::Pushed,
            // The sender is the lookout's own, and lives as long as this.
            Ok(()) = self.push_health.changed() => Event::PushHealth,
            // The keeper's own, too.
            Ok(()) = self.idleness.changed() => Event::Idleness,
            () = self.hints.files.notified() => Event::FilesChanged,
            () = self.hints.source.notified() => Event::SourceChanged,
        }
    }

    /// Somebody may have changed a key file: look soon, but not more often than is good for the box.
    fn note_drift(&mut self) {
        let earliest = self.last_drift_pass.map(|last| last + DRIFT_GAP);
        let soon = Instant::now() + SETTLE;
        self.drift_at.get_or_insert(earliest.map_or(soon, |earliest| earliest.max(soon)));
    }

    /// What a look found becomes what the box does.
    async fn take(&mut self, looked: Looked) {
        if let Some(cloud) = looked.connected {
            // A state that was bound to another instance came here with an image.
            let instance_id = Some(cloud.identity.instance_id.clone());
            self.engine.bind(HostIdentity { instance_id, ..self.engine.state().host.clone() });
            self.lookout.connected(cloud);
        }
        self.looked_at = Some(Timestamp::now());
        let look = self.engine.take(&looked.findings, since_boot());
        let outcome = FetchOutcome { failed: look.failed, confirm_at: look.confirm_at };
        self.schedule.fetch_done(outcome, fastrand::f64() * 2.0 - 1.0, since_boot());
        if std::mem::take(&mut self.pushed) {
            self.engine.forget_unknown();
            // An answer that is under way may be from before the change.
            self.question = None;
        }
        self.pass(Scope::All).await;
    }

    /// One pass over the key files, and what follows from it.
    async fn pass(&mut self, scope: Scope) {
        let pass = self.engine.pass(scope).await;
        self.schedule.written(&pass.tried, &pass.failed, since_boot());
        // A key that expired meanwhile is to go everywhere: a pass over some files does not make that undue.
        if pass.scope == Scope::All {
            self.expires_at = pass.expires_at;
        }
        self.schedule.expires_in(self.expires_in(), since_boot());
        self.drift.watch(&self.settings, pass.homes);
        self.ask_about_other_lines();
        self.tell();
    }

    /// How long until a key expires that the last pass let in; zero when that is past.
    fn expires_in(&self) -> Option<Duration> {
        let wait = self.expires_at?.duration_since(Timestamp::now());
        Some(wait.try_into().unwrap_or(Duration::ZERO))
    }

    /// Asks the registries whose keys stand on other people's lines, unless they were asked of late.
    fn ask_about_other_lines(&mut self) {
        if self.question.is_some() {
            return;
        }
        let candidates = self.engine.candidates(since_boot());
        let Some(source) = self.lookout.source().filter(|_| !candidates.is_empty()) else { return };
        self.question = Some(
            async move {
                let known = timeout(LOOK_LIMIT, source.known(&candidates)).await;
                let known = known.unwrap_or_else(|_| Err(no_answer()));
                (candidates, known)
            }
            .boxed(),
        );
    }

    /// SIGHUP: a configuration that is not valid changes nothing.
    async fn reload(&mut self) {
        let (config, flags) = (self.config.clone(), self.flags.clone());
        match crate::blocking::run(move || config::load(&config, &flags)).await {
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    tracing::warn!(action = "reload", "{warning}");
                }
                self.config_error = None;
                self.settings = Arc::new(loaded.settings);
                self.engine.reconfigure(Arc::clone(&self.settings));
                self.lookout.reconfigure(Arc::clone(&self.settings)).await;
                self.keeper.reconfigure(&self.settings).await;
                self.question = None;
                self.schedule = Schedule::new(self.settings.poll_interval, since_boot());
                tracing::info!(action = "reload", "the configuration was read again");
                self.pass(Scope::All).await;
            }
            Err(error) => {
                let text = fleetkey_common::error_text::one_line(&error);
                tracing::error!(action = "reload", "the configuration is not valid, the one before stays: {text}");
                self.config_error = Some(text);
                self.tell();
            }
        }
    }

    /// Tells systemd, the box and the bucket how things are.
    fn tell(&mut self) {
        let surroundings = Surroundings {
            instance_id: self.lookout.instance_id().or_else(|| self.engine.state().host.instance_id.clone()),
            started_at: self.started_at,
            looked_at: self.looked_at,
            push: self.push_health.borrow().clone(),
            config_error: self.config_error.clone(),
            autostop: self.idleness.borrow().clone(),
        };
        let status = Status::new(&self.engine, surroundings);
        self.supervisor.status(&status.headline());
        self.engine.show(&status);
        self.lookout.show(&status);
    }

    async fn stop(mut self) {
        self.supervisor.stopping();
        self.keeper.stop().await;
        tracing::info!(action = "stop", "stopping; key files stay as they are");
        self.engine.save().await;
        self.lookout.stop().await;
    }
}
