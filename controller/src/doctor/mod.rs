//! `fleetkey doctor`: checks by themselves, each a file here and a line in [`CHECKS`]. They look, and change nothing.
//!
//! A check never fails: what it could not find out is a finding too. One that hangs is cut off and stops no other.

use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde::Serialize;

use crate::aws::CallError;

mod bucket;
mod clock;
mod credentials;
mod key;
mod package;
mod permissions;
mod programs;
mod region;
mod statement;
mod topic;
mod world;

pub(crate) use world::World;

/// A check: what its lines are called, and how they come about.
struct Check {
    name: &'static str,
    look: for<'a> fn(&'a World) -> Looking<'a>,
}

type Looking<'a> = Pin<Box<dyn Future<Output = Result<Vec<Finding>, Blocked>> + 'a>>;

macro_rules! checks {
    ($($module:ident),+ $(,)?) => {
        /// All of them, in the order in which they are shown.
        const CHECKS: &[Check] = &[$(Check {
            name: stringify!($module),
            look: |world| Box::pin($module::look(world)),
        }),+];
    };
}

checks![programs, credentials, clock, region, bucket, topic, key, package, permissions];

/// How a thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// As it should be.
    Ok,
    /// It works, and may not for long, or not for everything.
    Warning,
    /// Something does not work.
    Missing,
    /// It could not be looked at, and may be as it should.
    Unknown,
}

impl State {
    /// In a word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Missing => "missing",
            State::Unknown => "not known",
        }
    }
}

/// A line of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was looked at.
    pub(crate) check: &'static str,
    /// How it stands.
    pub(crate) state: State,
    /// What was seen.
    pub(crate) what: String,
    /// The command that mends it, or what else does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mend: Option<String>,
}

impl Finding {
    fn new(check: &'static str, state: State, what: impl Into<String>) -> Self {
        Self { check, state, what: what.into(), mend: None }
    }

    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, State::Ok, what)
    }

    fn warning(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, State::Warning, what)
    }

    fn missing(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, State::Missing, what)
    }

    fn unknown(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, State::Unknown, what)
    }

    /// A call that failed: what the caller may not look at is not known, and an answer that does not come is missing.
    fn failed(check: &'static str, error: &CallError) -> Self {
        match error.missing_permission() {
            Some(permission) => Self::unknown(check, format!("the caller may not look: it lacks {permission}")),
            None => Self::missing(check, error.to_string())
                .mend("see to the network: the route, the proxy, or the VPC endpoint of the service that is named"),
        }
    }

    #[must_use]
    fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }
}

/// A check cannot be made, for what another line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocked(&'static str);

/// Makes all checks at once, and gives their findings in order. `done` hears of each check that has ended.
pub(crate) async fn examine(world: &World, limit: Duration, mut done: impl FnMut(&str, usize)) -> Vec<Finding> {
    let one = async |at: usize, check: &Check| {
        let found = match tokio::time::timeout(limit, (check.look)(world)).await {
            Ok(Ok(findings)) => findings,
            Ok(Err(Blocked(other))) => vec![Finding::unknown(check.name, format!("not looked at: see {other}"))],
            Err(_) => {
                let what = format!("no answer within {}", humantime::format_duration(limit));
                vec![Finding::missing(check.name, what).mend("see to the network, or give it longer: --timeout 1m")]
            }
        };
        (at, found)
    };
    let mut running: FuturesUnordered<_> = CHECKS.iter().enumerate().map(|(at, check)| one(at, check)).collect();
    let mut findings: Vec<Vec<Finding>> = vec![Vec::new(); CHECKS.len()];
    while let Some((at, found)) = running.next().await {
        done(CHECKS[at].name, running.len());
        findings[at] = found;
    }
    findings.concat()
}
