//! What the bench is doing, on stderr: it takes long. The table alone goes to stdout, and not from here.

use std::io::Write as _;
use std::time::Instant;

/// The progress of one run.
#[derive(Debug)]
pub(super) struct Progress {
    started: Instant,
}

impl Progress {
    /// Of a run that begins now.
    pub(super) fn new() -> Self {
        Self { started: Instant::now() }
    }

    /// Says something, with the seconds since the start.
    pub(super) fn say(&self, what: &str) {
        // Whoever closed stderr does not want to know.
        let _ = writeln!(std::io::stderr(), "bench {:4} s: {what}", self.started.elapsed().as_secs());
    }
}
