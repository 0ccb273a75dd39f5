//! What shared code logs while a command runs, said by the printer's rules: warnings always, the rest with `--verbose`.
//!
//! Only the project's own crates are heard: what the AWS SDK logs is about requests, which may carry secrets.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::printer::Printer;

/// Where events that are heard come from: `fleetkey`, `fleetkey_common`.
const OURS: &str = "fleetkey";

/// From now on, events are said by this printer. For the start of the program.
pub(crate) fn hear(printer: Printer) {
    let say = move |level: Level, text: &str| {
        if level <= Level::WARN { printer.warn(text) } else { printer.detail(text) }
    };
    // It fails only where something hears already, and nothing else in this program does.
    let _ = subscriber::set_global_default(heard_by(say));
}

/// A subscriber that hands each event of ours to `say`, as one line.
fn heard_by(say: impl Fn(Level, &str) + Send + Sync + 'static) -> impl Subscriber + Send + Sync {
    let ours = Targets::new().with_target(OURS, LevelFilter::DEBUG);
    tracing_subscriber::registry().with(Hearer { say }.with_filter(ours))
}

struct Hearer<F> {
    say: F,
}

impl<S: Subscriber, F: Fn(Level, &str) + 'static> Layer<S> for Hearer<F> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        (self.say)(*event.metadata().level(), &line.text());
    }
}

/// An event as a line: its message, then its fields in brackets, as they were given.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn text(&self) -> String {
        if self.fields.is_empty() { self.message.clone() } else { format!("{} ({})", self.message, self.fields) }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let separator = if self.fields.is_empty() { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, "{separator}{name} {value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn events_of_ours_are_one_line_each_with_their_fields_and_others_are_not_heard() {
        let (said, lines) = mpsc::channel();
        let heard = heard_by(move |level, text| said.send(format!("{level} {text}")).unwrap());
        subscriber::with_default(heard, || {
            tracing::warn!(target: "fleetkey_common::registry", object = ?"revoked/x", "names no key");
            tracing::debug!(target: "fleetkey_common::aws::trust", number = 3, error = %"odd", "left out");
            tracing::warn!(target: "fleetkey_common::aws", person = "alice", "odd");
            tracing::warn!(target: "aws_config::profile", "authorization: secret");
            tracing::trace!(target: "fleetkey_common::aws", "too much");
        });
        let lines: Vec<String> = lines.try_iter().collect();
        let expected = [
            "WARN names no key (object \"revoked/x\")",
            "DEBUG left out (number 3, error odd)",
            "WARN odd (person alice)",
        ];
        assert_eq!(lines, expected);
    }
}
