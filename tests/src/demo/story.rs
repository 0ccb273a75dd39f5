//! The telling: steps one after the other, each shown, timed, and the end of it all when it does not hold.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use super::layout::{Layout, Times};
use super::screen::Screen;

/// How many of the agent's last lines are shown when a step does not hold.
const LOG_LINES: usize = 12;

/// How long after a failure an interruption may come to light: the children hear of Ctrl-C as soon as this program.
const INTERRUPTION_LAG: Duration = Duration::from_millis(50);

/// Why the story ends before its end. What there is to say of it has been shown.
#[derive(Debug)]
pub enum Stop {
    /// This step did not hold.
    Failed(String),
    /// Somebody interrupted it.
    Interrupted,
}

/// How a step came out.
#[derive(Debug, Default)]
pub struct Outcome {
    detail: Option<String>,
    file: Option<Duration>,
    all: Option<Duration>,
    quote: Vec<String>,
}

impl Outcome {
    /// It held; the time to show is that of the whole step.
    pub fn held() -> Self {
        Self::default()
    }

    /// It held: the key file was right after `file`, and a login showed it after `all`.
    pub fn after(file: Duration, all: Duration) -> Self {
        Self { file: Some(file), all: Some(all), ..Self::default() }
    }

    /// More to say on its line.
    #[must_use]
    pub fn saying(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Lines to show below it.
    #[must_use]
    pub fn quoting(mut self, text: &str) -> Self {
        self.quote = text.lines().map(str::to_owned).collect();
        self
    }
}

/// The story as told so far.
#[derive(Debug)]
pub struct Story<'screen> {
    screen: &'screen Screen,
    layout: Layout,
    cancel: CancellationToken,
    steps: usize,
}

impl<'screen> Story<'screen> {
    /// Nothing told yet. `cancel` is cancelled when somebody interrupts.
    pub(super) fn new(screen: &'screen Screen, layout: Layout, cancel: CancellationToken) -> Self {
        Self { screen, layout, cancel, steps: 0 }
    }

    /// How many steps were told.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// What is cancelled when somebody interrupts.
    pub fn cancel(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Shows a heading.
    pub fn title(&self, text: &str) {
        self.screen.line(self.layout.title(text));
    }

    /// Starts an act.
    pub fn act(&self, text: &str) {
        self.screen.line(String::new());
        self.title(text);
    }

    /// Says something aside.
    pub fn note(&self, text: &str) {
        self.screen.line(self.layout.note(text));
    }

    /// Shows a line as it is.
    pub fn say(&self, text: String) {
        self.screen.line(text);
    }

    /// Says what the two columns of times are.
    pub fn columns(&self, first: &str, second: &str) {
        self.screen.line(self.layout.columns(first, second));
    }

    /// Builds what the steps need. Its line has no number.
    pub fn prepare<T>(&self, doing: &str, work: impl FnOnce() -> Result<T>) -> Result<T, Stop> {
        let start = Instant::now();
        self.screen.waiting(None, doing);
        let built = work().map_err(|error| self.failed(None, doing, start, &error))?;
        self.screen.line(self.layout.done(None, true, doing, Times { file: None, all: start.elapsed() }));
        Ok(built)
    }

    /// Tells one step.
    pub fn step(&mut self, doing: &str, work: impl FnOnce() -> Result<Outcome>) -> Result<(), Stop> {
        let start = Instant::now();
        let number = Some(self.steps + 1);
        self.screen.waiting(number, doing);
        let outcome = work().map_err(|error| self.failed(number, doing, start, &error))?;
        self.steps += 1;
        let text = outcome.detail.map_or_else(|| doing.to_owned(), |detail| format!("{doing}: {detail}"));
        let times = Times { file: outcome.file, all: outcome.all.unwrap_or_else(|| start.elapsed()) };
        self.screen.line(self.layout.done(number, true, &text, times));
        for line in outcome.quote {
            self.screen.line(self.layout.quote(&line));
        }
        Ok(())
    }

    /// Shows why a step did not hold.
    fn failed(&self, number: Option<usize>, doing: &str, start: Instant, error: &anyhow::Error) -> Stop {
        let times = Times { file: None, all: start.elapsed() };
        if !self.cancel.is_cancelled() {
            std::thread::sleep(INTERRUPTION_LAG);
        }
        if self.cancel.is_cancelled() {
            return Stop::Interrupted;
        }
        self.screen.line(self.layout.done(number, false, doing, times));
        for line in format!("{error:#}").lines() {
            self.screen.line(self.layout.quote(line));
        }
        Stop::Failed(number.map_or_else(|| doing.to_owned(), |number| format!("step {number}, {doing}")))
    }

    /// Shows the end of the agent's log, JSON lines, when a step did not hold.
    pub(super) fn show_log(&self, stop: &Stop, log: &str) {
        if !matches!(stop, Stop::Failed(_)) {
            return;
        }
        self.screen.line(self.layout.quote(""));
        self.screen.line(self.layout.quote("the agent's last log lines:"));
        let lines: Vec<_> = log.lines().collect();
        for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
            self.screen.line(self.layout.quote(&readable(line)));
        }
    }
}

/// A log line for people: time, level and message of a JSON line; any other line as it is.
fn readable(line: &str) -> String {
    let Ok(json) = serde_json::from_str::<serde_json::Value>(line) else { return line.to_owned() };
    let text = |field: &str| json[field].as_str().unwrap_or_default().to_owned();
    let time = text("timestamp");
    let clock = time.split_once('T').map_or(time.as_str(), |(_, clock)| clock);
    format!("{} {:<5} {}", clock.get(..12).unwrap_or(clock), text("level"), text("message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_is_shown_by_its_time_level_and_message() {
        let line = r#"{"timestamp":"2026-11-21T02:03:21.123456Z","level":"INFO","message":"hello","x":1}"#;
        assert_eq!(readable(line), "02:03:21.123 INFO  hello");
        assert_eq!(readable("thread panicked"), "thread panicked");
    }
}
