//! EC2 as a play: its answers to looks come one after another, and what it is asked to do is written down.
//!
//! moto goes from one state to another at once, so that what happens between the two is shown by this.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use fleetkey_tests::stub::{Answer, Request, Stub};

/// The box of the play.
pub(super) const BOX: &str = "i-0123456789abcdef0";

/// An answer: status and XML within the response element.
type Line = (u16, String);

/// What was answered last is answered again when nothing more is on the list.
#[derive(Default)]
struct Script {
    lines: Vec<(&'static str, VecDeque<Line>)>,
    done: Vec<String>,
}

impl Script {
    fn answer(&mut self, request: &Request) -> Answer {
        let action = request.field("Action").unwrap_or_default();
        let about =
            ["InstanceId.1", "InstanceId", "ImageId", "SnapshotId"].iter().find_map(|field| request.field(field));
        if !action.starts_with("Describe") {
            self.done.push(format!("{action} {}", about.unwrap_or_default()).trim_end().to_owned());
        }
        let lines = self.lines.iter_mut().find(|(of, _)| *of == action).map(|(_, lines)| lines);
        let (status, body) = match lines {
            Some(lines) if lines.len() > 1 => lines.pop_front().unwrap_or_default(),
            Some(lines) => lines.front().cloned().unwrap_or_default(),
            None => (200, String::new()),
        };
        match status {
            200 => Answer::new(200, "text/xml", format!("<{action}Response>{body}</{action}Response>")),
            _ => Answer::new(status, "text/xml", format!("<Response><Errors>{body}</Errors></Response>")),
        }
    }
}

/// A running play, gone when dropped.
pub(super) struct Play {
    stub: Stub,
    script: Arc<Mutex<Script>>,
}

impl Play {
    /// Each action with its answers in order; other actions succeed.
    pub(super) fn start(lines: Vec<(&'static str, Vec<Line>)>) -> Result<Self> {
        let lines = lines.into_iter().map(|(action, lines)| (action, lines.into())).collect();
        let script = Arc::new(Mutex::new(Script { lines, done: Vec::new() }));
        let own = Arc::clone(&script);
        let answer = move |request: &Request| own.lock().unwrap_or_else(PoisonError::into_inner).answer(request);
        Ok(Self { stub: Stub::start(answer)?, script })
    }

    /// One in which the box is seen in these states, one after another.
    pub(super) fn of_states(states: &[&str]) -> Result<Self> {
        Self::start(vec![("DescribeInstances", states.iter().map(|state| (200, boxed(state, ""))).collect())])
    }

    /// The endpoint to give to a client.
    pub(super) fn endpoint(&self) -> String {
        self.stub.endpoint()
    }

    /// What was asked for that is no look, in order.
    pub(super) fn done(&self) -> Vec<String> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).done.clone()
    }

    /// The next request that was not looked at yet.
    pub(super) async fn next_request(&mut self) -> Result<Request> {
        self.stub.next_request().await
    }
}

/// The box `/web` in a state, with more of its description.
pub(super) fn boxed(state: &str, more: &str) -> String {
    format!(
        "<reservationSet><item><instancesSet><item><instanceId>{BOX}</instanceId>\
        <instanceState><name>{state}</name></instanceState>{more}<tagSet>\
        <item><key>Name</key><value>web</value></item><item><key>generation</key><value>0</value></item>\
        </tagSet></item></instancesSet></item></reservationSet>"
    )
}

/// An error of EC2's.
pub(super) fn error(code: &str, message: &str) -> Line {
    (400, format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>"))
}
