//! What a child process writes, kept in a file that has no name, so that it needs no reader and leaves nothing behind.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::wait_until;

/// The output of a child process, readable while it runs.
#[derive(Debug)]
pub struct Log {
    file: File,
}

impl Log {
    /// An empty log.
    pub fn new() -> Result<Self> {
        Ok(Self { file: tempfile::tempfile().context("cannot make a file for a log")? })
    }

    /// An end to write to, for a child's stdout or stderr. Ends of one log share their position.
    pub fn writer(&self) -> Result<Stdio> {
        Ok(self.file.try_clone().context("cannot share a log")?.into())
    }

    /// All that was written so far; bytes that are not UTF-8 are shown as U+FFFD.
    pub fn text(&self) -> Result<String> {
        let length = self.file.metadata()?.len();
        let mut bytes = vec![0; usize::try_from(length)?];
        self.file.read_exact_at(&mut bytes, 0).context("cannot read a log")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The whole lines written so far.
    pub fn lines(&self) -> Result<Vec<String>> {
        let text = self.text()?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        Ok(whole.lines().map(str::to_owned).collect())
    }

    /// Waits for a whole line for which `wanted` holds, and returns it.
    ///
    /// # Errors
    /// When there is none by `deadline`; the message holds the log.
    pub fn wait_for(&self, what: &str, deadline: Duration, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let mut found = None;
        let waited = wait_until(what, deadline, || {
            found = self.lines()?.into_iter().find(|line| wanted(line));
            Ok(found.is_some())
        });
        waited.with_context(|| format!("the log says:\n{}", self.text().unwrap_or_default()))?;
        found.context("the line was seen")
    }
}
