//! The one place that prints: data on stdout, notes on stderr. A reader that has gone away, as `head` does, has what it
//! wanted: that is neither an error nor a reason to panic.

use std::io::{self, Write as _};

use anyhow::Context as _;

/// Prints what was asked for, as it is.
pub(super) fn data(text: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_ref()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// Says something beside it, on a line of its own.
pub(super) fn note(text: &str) {
    // Nobody can be told that stderr is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
