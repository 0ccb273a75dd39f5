//! When a box powers itself off for want of use: what a role says of it, what an operator says over that, and how it is
//! told to the agent, to EC2 and to people. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::fields::{Findings, find};
use super::node::{Node, Value};
use super::words::AutostopAction;
use crate::refusal::Refusal;

/// The bounds of all times here, which are the agent's own: below, nobody would have the time to log in.
const BOUNDS: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(30 * 24));
/// The most load that can be named.
const MOST_LOAD: f64 = 10_000.0;

/// A time such as `2h`, of a minute to 30 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (least, most) = BOUNDS;
        match humantime::parse_duration(text) {
            Ok(time) if (least..=most).contains(&time) => Ok(Self(time)),
            Ok(_) => Err(format!("{text:?} is out of range; give 1m to 30days")),
            Err(_) => Err(format!("{text:?} is no time such as 45m or 2h")),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// When a box powers itself off, and what EC2 does with it then.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Autostop {
    /// After that long without a session and with little load.
    pub(crate) after: Span,
    /// What EC2 does with it.
    pub(crate) action: AutostopAction,
    /// The load that still counts as little; `None` is the agent's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_load: Option<f64>,
    /// How long a person holds it off at once, at most; `None` is the agent's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_stay: Option<Span>,
}

/// What an operator says over the role.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Asked {
    /// It is left on, whatever the role says.
    pub(crate) never: bool,
    /// The time.
    pub(crate) after: Option<Span>,
    /// What EC2 does.
    pub(crate) action: Option<AutostopAction>,
}

impl Autostop {
    /// What holds for a box: the role's own, with what the operator says in its place. Without an agent nobody would power
    /// the box off: the role's wish then counts for nothing, and the operator's is refused.
    ///
    /// # Errors
    /// When the operator says what cannot be.
    pub(crate) fn settle(role: Option<Self>, asked: Asked, agent: bool) -> Result<Option<Self>, Refusal> {
        let says = asked.after.is_some() || asked.action.is_some();
        if says && !agent {
            return Err(Refusal::usage("a box without the agent does not power itself off")
                .hint("leave --autostop out, or --no-agent"));
        }
        if asked.never || !agent {
            return Ok(None);
        }
        let action = asked.action.or(role.map(|role| role.action)).unwrap_or(AutostopAction::Stop);
        match (asked.after, role) {
            (None, None) if says => Err(Refusal::usage("--autostop-action says what, and nothing says when")
                .hint("give --autostop too, such as --autostop 2h")),
            (None, None) => Ok(None),
            (after, Some(role)) => Ok(Some(Self { after: after.unwrap_or(role.after), action, ..role })),
            (Some(after), None) => Ok(Some(Self { after, action, max_load: None, max_stay: None })),
        }
    }

    /// What holds for a spot instance that is asked for once: it cannot be off and come back, so EC2 terminates it.
    ///
    /// # Errors
    /// When the operator says that it is to be stopped.
    pub(crate) fn on_spot(self, asked: Asked) -> Result<Self, Refusal> {
        if asked.action == Some(AutostopAction::Stop) {
            return Err(Refusal::usage(
                "--autostop-action stop: a spot instance that was asked for once cannot be stopped",
            )
            .hint("leave it out, and the box is terminated when nobody uses it; or leave out the spot flags"));
        }
        Ok(Self { action: AutostopAction::Terminate, ..self })
    }

    /// In words, as the box's tag has it: `stop after 2h`.
    pub(crate) fn tag(&self) -> String {
        format!("{} after {}", self.action, self.after)
    }

    /// The fields of `[autostop]` in `agent.toml`, each with its value as text.
    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![("after", self.after.to_string()), ("action", self.action.to_string())];
        fields.extend(self.max_load.map(|load| ("max_load", load.to_string())));
        fields.extend(self.max_stay.map(|stay| ("max_stay", stay.to_string())));
        fields
    }
}

/// Reads the field of a role.
pub(super) fn read(node: &Node, findings: &mut Findings) -> Option<Autostop> {
    let entries = findings.map(node, "autostop", &["after", "action", "max_load", "max_stay"]);
    let Some(after) = find(&entries, "after") else {
        findings.missing(&node.place, "autostop.after", "say after how long, such as 2h, or autostop: null");
        return None;
    };
    let after = findings.parsed(after, "autostop.after");
    let action = find(&entries, "action");
    let action = action.and_then(|node| findings.word(node, "autostop.action", AutostopAction::WORDS));
    let max_load = find(&entries, "max_load").and_then(|node| load(node, findings));
    let max_stay = find(&entries, "max_stay").and_then(|node| findings.parsed(node, "autostop.max_stay"));
    Some(Autostop { after: after?, action: action.unwrap_or(AutostopAction::Stop), max_load, max_stay })
}

fn load(node: &Node, findings: &mut Findings) -> Option<f64> {
    let load = match &node.value {
        Value::Float(load) => Some(*load),
        Value::Int(load) => load.to_string().parse().ok(),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    };
    let load = load.filter(|load| (0.0..=MOST_LOAD).contains(load));
    if load.is_none() {
        findings.error(&node.place, format!("autostop.max_load is a load such as 0.5, of 0 to {MOST_LOAD}"));
    }
    load
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str) -> Span {
        text.parse().unwrap()
    }

    fn role() -> Autostop {
        let (after, max_stay) = (span("8h"), Some(span("2days")));
        Autostop { after, action: AutostopAction::Terminate, max_load: Some(1.5), max_stay }
    }

    #[test]
    fn the_operator_comes_before_the_role_field_by_field() {
        let settle = |asked| Autostop::settle(Some(role()), asked, true).unwrap();
        assert_eq!(settle(Asked::default()), Some(role()));
        let after = Some(span("2h"));
        assert_eq!(settle(Asked { after, ..Asked::default() }), Some(Autostop { after: span("2h"), ..role() }));
        let action = Some(AutostopAction::Stop);
        assert_eq!(settle(Asked { action, ..Asked::default() }).unwrap().tag(), "stop after 8h");
        assert_eq!(settle(Asked { never: true, ..Asked::default() }), None);
    }

    #[test]
    fn without_a_word_of_anybody_a_box_stays_on_and_a_box_that_is_to_go_is_stopped_unless_said() {
        assert_eq!(Autostop::settle(None, Asked::default(), true).unwrap(), None);
        let asked = Asked { after: Some(span("90m")), ..Asked::default() };
        assert_eq!(Autostop::settle(None, asked, true).unwrap().unwrap().tag(), "stop after 1h 30m");
    }

    #[test]
    fn what_nobody_would_carry_out_is_refused() {
        let asked = Asked { after: Some(span("2h")), ..Asked::default() };
        insta::assert_snapshot!(Autostop::settle(None, asked, false).unwrap_err(), @"a box without the agent does not power itself off");
        assert_eq!(Autostop::settle(Some(role()), Asked::default(), false).unwrap(), None);
        let asked = Asked { action: Some(AutostopAction::Stop), ..Asked::default() };
        insta::assert_snapshot!(Autostop::settle(None, asked, true).unwrap_err(), @"--autostop-action says what, and nothing says when");
    }

    #[test]
    fn times_have_bounds() {
        for bad in ["", "2", "59s", "31days", "-1h", "soon"] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?}");
        }
        assert_eq!(span("120m").to_string(), "2h");
    }
}
