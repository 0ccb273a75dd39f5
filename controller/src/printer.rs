//! The one place that prints: data on stdout; notes, warnings, hints and errors on stderr.
//!
//! What comes from outside (names, comments, reasons) never reaches a terminal with its control characters.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};

use clap::ValueEnum;
use serde::Serialize;

use crate::table::Table;

/// The form of the data on stdout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Columns for people.
    #[default]
    Table,
    /// One JSON document for programs.
    Json,
}

/// How much is said on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Warnings and errors only.
    Quiet,
    /// Notes too.
    Normal,
    /// Details too.
    Verbose,
}

/// A kind of line on stderr: its label and the colour of the label (SGR parameters of ECMA-48).
struct Kind {
    label: &'static str,
    sgr: &'static str,
}

const NOTE: Kind = Kind { label: "", sgr: "" };
const WARNING: Kind = Kind { label: "warning", sgr: "33;1" };
const HINT: Kind = Kind { label: "hint", sgr: "36;1" };
const ERROR: Kind = Kind { label: "error", sgr: "31;1" };

/// Prints in the way that the global flags ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    verbosity: Verbosity,
    output: Output,
    color: bool,
}

impl Printer {
    /// A printer that colours labels only on a terminal, and not where `NO_COLOR` is set (<https://no-color.org>).
    pub(crate) fn new(verbosity: Verbosity, output: Output) -> Self {
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { verbosity, output, color: !forbidden && io::stderr().is_terminal() }
    }

    /// The same, with this form of the data on stdout where one is given.
    #[must_use]
    pub(crate) fn with_output(self, output: Option<Output>) -> Self {
        Self { output: output.unwrap_or(self.output), ..self }
    }

    /// The form of the data on stdout that was asked for.
    pub(crate) fn output(self) -> Output {
        self.output
    }

    /// Prints the outcome of a command to stdout, in the form asked for.
    ///
    /// # Errors
    /// When stdout cannot be written. A reader that has gone away is not an error.
    pub(crate) fn data(self, table: &Table, json: &impl Serialize) -> io::Result<()> {
        let text = match self.output {
            Output::Table => printable(&table.to_string()).into_owned(),
            Output::Json => serde_json::to_string_pretty(json)? + "\n",
        };
        write_out(text.as_bytes())
    }

    /// Whether progress can be drawn: somebody looks at stderr, and wants to be told.
    pub(crate) fn draws(self) -> bool {
        self.verbosity >= Verbosity::Normal && io::stderr().is_terminal()
    }

    /// Says what happens, unless `--quiet`.
    pub(crate) fn note(self, text: &str) {
        if self.verbosity >= Verbosity::Normal {
            self.line(&NOTE, text);
        }
    }

    /// Says what only `--verbose` asks for.
    pub(crate) fn detail(self, text: &str) {
        if self.verbosity >= Verbosity::Verbose {
            self.line(&NOTE, text);
        }
    }

    /// Says what may not be as the user expects.
    pub(crate) fn warn(self, text: &str) {
        self.line(&WARNING, text);
    }

    /// Says what could be done next, unless `--quiet`.
    pub(crate) fn hint(self, text: &str) {
        if self.verbosity >= Verbosity::Normal {
            self.line(&HINT, text);
        }
    }

    /// Says why the command failed: the error and its causes on one line, then the hints of its refusals.
    pub(crate) fn error(self, error: &anyhow::Error) {
        let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
        self.line(&ERROR, &causes.join(": "));
        for hint in crate::refusal::hints(error) {
            self.line(&HINT, hint);
        }
    }

    fn line(self, kind: &Kind, text: &str) {
        // Nobody can be told that stderr is closed.
        let _ = writeln!(io::stderr().lock(), "{}", render(kind, text, self.color));
    }
}

/// Prints a text to stdout, byte for byte; on a terminal without its control characters.
///
/// # Errors
/// When stdout cannot be written. A reader that has gone away is not an error.
pub(crate) fn put(text: &str) -> io::Result<()> {
    let shown = if io::stdout().is_terminal() { printable(text) } else { Cow::Borrowed(text) };
    write_out(shown.as_bytes())
}

fn write_out(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Shows what would be touched and asks. Even `--quiet` does not hide what is being asked.
///
/// # Errors
/// When stdin cannot be read.
pub(crate) fn ask(table: &Table, question: &str) -> io::Result<bool> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "{}{} [y/N] ", printable(&table.to_string()), printable(question))?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
}

/// One line on stderr, without its line break.
fn render(kind: &Kind, text: &str, color: bool) -> String {
    let text = printable(text);
    match kind.label {
        "" => text.into_owned(),
        label if color => format!("\x1b[{}m{label}\x1b[0m: {text}", kind.sgr),
        label => format!("{label}: {text}"),
    }
}

/// The text with every control character other than a line break replaced.
fn printable(text: &str) -> Cow<'_, str> {
    let bad = |c: char| c.is_control() && c != '\n';
    if text.contains(bad) { Cow::Owned(text.replace(bad, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_coloured_only_when_asked() {
        assert_eq!(render(&HINT, "do it", false), "hint: do it");
        assert_eq!(render(&HINT, "do it", true), "\x1b[36;1mhint\x1b[0m: do it");
        assert_eq!(render(&NOTE, "done", true), "done");
    }

    #[test]
    fn t5_no_control_character_from_outside_reaches_the_terminal() {
        let text = "red\x1b[31m\x07 \u{9b}31m\rover\0";
        let line = render(&ERROR, text, false);
        assert_eq!(line, "error: red\u{fffd}[31m\u{fffd} \u{fffd}31m\u{fffd}over\u{fffd}");
    }
}
