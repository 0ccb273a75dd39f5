//! How far many small steps have come: a bar on a terminal, and a line at its start elsewhere.

use indicatif::{ProgressBar, ProgressStyle};

use crate::printer::Printer;

/// A course of steps; gone from the terminal when dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// One of `steps` steps, which does `what`.
    pub(crate) fn new(printer: Printer, what: &str, steps: usize) -> Self {
        if !printer.draws() {
            printer.note(what);
            return Self { bar: None };
        }
        let bar = ProgressBar::new(steps as u64);
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} ({elapsed})") {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        Self { bar: Some(bar) }
    }

    /// One more step is done.
    pub(crate) fn step(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
