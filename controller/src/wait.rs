//! Waiting for something in AWS or on a box: what for is shown, how long is limited, and Ctrl-C ends it.
//!
//! Nothing here undoes anything: whoever waits hears why it ended, and decides.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::printer::Printer;

/// The first pause between two looks; each is half as long again as the one before, up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause between two looks: a fleet's worth of waiting commands must not be throttled.
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// How often a terminal is shown that the program is alive.
const TICK: Duration = Duration::from_millis(100);

/// Reads the value of `--timeout`: a time that is not over at once.
pub(crate) fn parse_timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err("give a time such as 90s or 15m".to_owned()),
    }
}

/// What a look found.
#[derive(Debug)]
pub(crate) enum Look<T> {
    /// What was waited for.
    Done(T),
    /// Not yet; in what state it is now, in a word or two.
    NotYet(String),
}

/// Why a wait ended without what was waited for.
#[derive(Debug, Error)]
pub(crate) enum WaitError {
    /// The time is up.
    #[error("waited {} in vain: {what}; at last: {state}", humantime::format_duration(*timeout))]
    TimedOut {
        /// What was waited for.
        what: String,
        /// In what state it was at the last look.
        state: String,
        /// For how long.
        timeout: Duration,
    },
    /// Somebody asked the program to end.
    #[error("interrupted while waiting: {0}")]
    Interrupted(String),
    /// A look failed, or found that there is nothing more to wait for.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl WaitError {
    /// The error for whoever passes it on: that of a look that failed stands by itself, so that its hints are found.
    pub(crate) fn into_anyhow(self) -> anyhow::Error {
        match self {
            WaitError::Failed(error) => error,
            error => error.into(),
        }
    }
}

/// Waits on behalf of one command.
#[derive(Debug, Clone)]
pub(crate) struct Waiter {
    printer: Printer,
    interrupted: CancellationToken,
    deadline: Instant,
    timeout: Duration,
}

impl Waiter {
    /// All its waits together end after `timeout`, or when `interrupted` is cancelled.
    pub(crate) fn new(printer: Printer, interrupted: CancellationToken, timeout: Duration) -> Self {
        // A time that no clock reaches is as good as none.
        let deadline = Instant::now().checked_add(timeout).unwrap_or_else(|| Instant::now() + Duration::from_hours(24));
        Self { printer, interrupted, deadline, timeout }
    }

    /// One that ends with this one, and after `time` at the latest.
    pub(crate) fn within(&self, time: Duration) -> Self {
        let timeout = time.min(self.remaining());
        Self { deadline: Instant::now() + timeout, timeout, ..self.clone() }
    }

    /// For how long it goes on.
    pub(crate) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Whether somebody asked the program to end: for between two waits.
    pub(crate) fn check(&self, what: &str) -> Result<(), WaitError> {
        if self.interrupted.is_cancelled() { Err(WaitError::Interrupted(what.to_owned())) } else { Ok(()) }
    }

    /// Waits for work that may change something, such as `make security group web`. It is let go in the middle when the
    /// time is up or the program is interrupted: nobody knows then how far it came.
    pub(crate) async fn act<T>(&self, what: &str, work: impl Future<Output = T>) -> Result<T, WaitError> {
        tokio::select! {
            biased;
            () = self.interrupted.cancelled() => Err(WaitError::Interrupted(what.to_owned())),
            done = work => Ok(done),
            () = tokio::time::sleep_until(self.deadline) => {
                let state = "no answer yet".to_owned();
                Err(WaitError::TimedOut { what: what.to_owned(), state, timeout: self.timeout })
            }
        }
    }

    /// Looks until what is waited for is there: `what` is a statement, such as `box i-... is running`.
    ///
    /// `look` is cut off in the middle when the time is up or the program is interrupted, so it must change nothing.
    pub(crate) async fn wait<T>(
        &self,
        what: &str,
        look: impl AsyncFnMut() -> anyhow::Result<Look<T>>,
    ) -> Result<T, WaitError> {
        let shown = Shown::new(self.printer, what);
        let mut state = "not seen yet".to_owned();
        let looks = Self::look_on(look, |now| {
            shown.state(now);
            now.clone_into(&mut state);
        });
        let end = tokio::select! {
            biased;
            () = self.interrupted.cancelled() => End::Interrupted,
            found = looks => End::Looked(found),
            () = tokio::time::sleep_until(self.deadline) => End::TimedOut,
        };
        shown.end();
        match end {
            End::Looked(found) => found.map_err(WaitError::Failed),
            End::Interrupted => Err(WaitError::Interrupted(what.to_owned())),
            End::TimedOut => Err(WaitError::TimedOut { what: what.to_owned(), state, timeout: self.timeout }),
        }
    }

    async fn look_on<T>(
        mut look: impl AsyncFnMut() -> anyhow::Result<Look<T>>,
        mut say: impl FnMut(&str),
    ) -> anyhow::Result<T> {
        let mut pause = FIRST_PAUSE;
        loop {
            match look().await? {
                Look::Done(found) => return Ok(found),
                Look::NotYet(state) => say(&state),
            }
            tokio::time::sleep(pause).await;
            pause = longer(pause);
        }
    }
}

fn longer(pause: Duration) -> Duration {
    (pause + pause / 2).min(LAST_PAUSE)
}

/// How a wait ended.
enum End<T> {
    Looked(anyhow::Result<T>),
    Interrupted,
    TimedOut,
}

/// What a person sees of a wait: a line that moves on a terminal, else a line at its start.
struct Shown {
    bar: Option<ProgressBar>,
    what: String,
}

impl Shown {
    fn new(printer: Printer, what: &str) -> Self {
        let bar = printer.draws().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                bar.set_style(style);
            }
            bar.set_message(format!("waiting: {what}"));
            bar.enable_steady_tick(TICK);
            bar
        });
        if bar.is_none() {
            printer.note(&format!("waiting: {what}"));
        }
        Self { bar, what: what.to_owned() }
    }

    fn state(&self, state: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("waiting: {}; now: {}", self.what, state.replace(char::is_control, " ")));
        }
    }

    fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::printer::{Output, Verbosity};

    fn waiter(timeout: Duration) -> (Waiter, CancellationToken) {
        let token = CancellationToken::new();
        (Waiter::new(Printer::new(Verbosity::Quiet, Output::Table), token.clone(), timeout), token)
    }

    #[tokio::test]
    async fn a_wait_ends_with_what_was_waited_for() {
        let (waiter, _token) = waiter(Duration::from_mins(5));
        let mut looks = 0;
        let found = waiter.wait("it is there", async || {
            looks += 1;
            Ok(if looks == 3 { Look::Done("it") } else { Look::NotYet("away".into()) })
        });
        assert_eq!(found.await.unwrap(), "it");
    }

    #[tokio::test]
    async fn a_wait_within_another_ends_with_it_or_before_and_hears_the_same_interrupt() {
        let (outer, token) = waiter(Duration::from_mins(5));
        let inner = outer.within(Duration::from_millis(20));
        let error = inner.wait::<()>("a", async || Ok(Look::NotYet("no".into()))).await.unwrap_err();
        assert!(matches!(error, WaitError::TimedOut { timeout, .. } if timeout == Duration::from_millis(20)));
        assert!(outer.within(Duration::from_hours(1)).remaining() <= Duration::from_mins(5));
        token.cancel();
        assert!(inner.check("a").is_err());
    }

    #[test]
    fn looks_grow_rarer_up_to_a_limit() {
        let pauses: Vec<u128> = std::iter::successors(Some(FIRST_PAUSE), |pause| Some(longer(*pause)))
            .take(10)
            .map(|pause| pause.as_millis())
            .collect();
        assert_eq!(pauses, [200, 300, 450, 675, 1012, 1518, 2278, 3417, 5000, 5000]);
    }

    #[tokio::test]
    async fn a_wait_in_vain_says_what_for_how_long_and_what_was_seen_last() {
        let (waiter, _token) = waiter(Duration::from_millis(90));
        let error = waiter.wait::<()>("box i-1 is running", async || Ok(Look::NotYet("pending".into()))).await;
        let error = error.unwrap_err().to_string();
        assert_eq!(error, "waited 90ms in vain: box i-1 is running; at last: pending");
    }

    #[tokio::test]
    async fn an_interrupt_ends_a_wait_and_a_look_that_hangs() {
        let (waiter, token) = waiter(Duration::from_mins(5));
        waiter.check("a").unwrap();
        let wait = waiter.wait::<()>("a", async || std::future::pending().await);
        let (found, ()) = tokio::join!(wait, async { token.cancel() });
        assert!(matches!(found, Err(WaitError::Interrupted(what)) if what == "a"));
        assert!(waiter.check("a").is_err());
    }

    #[tokio::test]
    async fn a_look_that_fails_ends_the_wait() {
        let (waiter, _token) = waiter(Duration::from_mins(5));
        let found = waiter.wait::<()>("a", async || Err(anyhow::anyhow!("terminated"))).await;
        assert_eq!(found.unwrap_err().to_string(), "terminated");
    }
}
