//! What has to happen next to bring a box where it is wanted, from the state that it is in. Pure.
//!
//! EC2 takes a request in some states only, and what it takes shows a moment later. So the next step depends on the
//! state and on how far the request has come, and never on how long anything took.

use crate::instance::State;

/// What a box is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To run.
    Start,
    /// To be off; by `force` also where its operating system does not shut down.
    Stop {
        /// Whether EC2 pulls the plug.
        force: bool,
    },
    /// To boot again.
    Reboot,
    /// To be gone.
    Terminate,
}

/// How far the request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// EC2 was not asked yet.
    NotAsked,
    /// EC2 took the request, and the state that is seen may still be an old one.
    Asked,
    /// The state shows that EC2 is at work on it.
    UnderWay,
}

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// It is as wished.
    Done,
    /// EC2 takes the request in this state: ask.
    Ask,
    /// Wait for this state.
    Wait(State),
    /// It cannot come about any more.
    Never,
}

impl Wish {
    /// The verb of the command line.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Wish::Start => "start",
            Wish::Stop { .. } => "stop",
            Wish::Reboot => "reboot",
            Wish::Terminate => "terminate",
        }
    }

    /// The state in which the wish is fulfilled.
    pub(crate) fn goal(self) -> State {
        match self {
            Wish::Start | Wish::Reboot => State::Running,
            Wish::Stop { .. } => State::Stopped,
            Wish::Terminate => State::Terminated,
        }
    }

    /// What a box is called for which the wish is fulfilled.
    pub(crate) fn fulfilled(self) -> &'static str {
        match self {
            Wish::Start => "running",
            Wish::Stop { .. } => "stopped",
            Wish::Reboot => "rebooting",
            Wish::Terminate => "terminated",
        }
    }

    /// Whether EC2 is at work on the wish in this state.
    fn moves(self, state: State) -> bool {
        match self {
            Wish::Start => state == State::Pending,
            Wish::Stop { .. } => state == State::Stopping,
            Wish::Reboot => false,
            Wish::Terminate => state == State::ShuttingDown,
        }
    }
}

impl Progress {
    /// How far the request has come once this state was seen.
    pub(crate) fn after(self, wish: Wish, state: State) -> Self {
        if self == Progress::Asked && wish.moves(state) { Progress::UnderWay } else { self }
    }
}

/// The next step towards a wish.
pub(crate) fn next(wish: Wish, state: State, progress: Progress) -> Next {
    let asked = progress != Progress::NotAsked;
    match (wish, state) {
        (Wish::Terminate, State::Terminated) | (Wish::Start, State::Running) | (Wish::Stop { .. }, State::Stopped) => {
            Next::Done
        }
        (Wish::Reboot, State::Running) if asked => Next::Done,
        (Wish::Terminate, State::ShuttingDown) => Next::Wait(State::Terminated),
        (_, State::ShuttingDown | State::Terminated) | (Wish::Reboot, State::Stopping | State::Stopped) => Next::Never,
        // It was about to run and did not: EC2 says why in its reason for the state.
        (Wish::Start, State::Stopped) if progress == Progress::UnderWay => Next::Never,
        (Wish::Start | Wish::Stop { force: false }, State::Stopping) => Next::Wait(State::Stopped),
        (Wish::Stop { .. } | Wish::Reboot, State::Pending) if !asked => Next::Wait(State::Running),
        (Wish::Start, State::Pending) => Next::Wait(State::Running),
        _ if asked => Next::Wait(wish.goal()),
        _ => Next::Ask,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOP: Wish = Wish::Stop { force: false };
    const FORCE: Wish = Wish::Stop { force: true };

    #[test]
    fn from_every_state_the_right_thing_comes_first() {
        use State::{Pending, Running, ShuttingDown, Stopped, Stopping, Terminated};
        let states = [Pending, Running, Stopping, Stopped, ShuttingDown, Terminated];
        let wait = Next::Wait;
        for (wish, expected) in [
            (Wish::Start, [wait(Running), Next::Done, wait(Stopped), Next::Ask, Next::Never, Next::Never]),
            (STOP, [wait(Running), Next::Ask, wait(Stopped), Next::Done, Next::Never, Next::Never]),
            (FORCE, [wait(Running), Next::Ask, Next::Ask, Next::Done, Next::Never, Next::Never]),
            (Wish::Reboot, [wait(Running), Next::Ask, Next::Never, Next::Never, Next::Never, Next::Never]),
        ] {
            let found = states.map(|state| next(wish, state, Progress::NotAsked));
            assert_eq!(found, expected, "{wish:?}");
        }
    }

    #[test]
    fn fault_11_a_box_is_terminated_from_every_state_and_waited_for_through_every_state() {
        use State::{Pending, Running, ShuttingDown, Stopped, Stopping, Terminated};
        for state in [Pending, Running, Stopping, Stopped] {
            assert_eq!(next(Wish::Terminate, state, Progress::NotAsked), Next::Ask, "{state:?}");
            assert_eq!(next(Wish::Terminate, state, Progress::Asked), Next::Wait(Terminated), "{state:?}");
        }
        assert_eq!(next(Wish::Terminate, ShuttingDown, Progress::NotAsked), Next::Wait(Terminated));
        assert_eq!(next(Wish::Terminate, Terminated, Progress::NotAsked), Next::Done);
    }

    #[test]
    fn an_old_state_after_the_request_is_waited_out_and_a_start_that_failed_is_not() {
        let asked = Progress::Asked.after(Wish::Start, State::Stopped);
        assert_eq!(next(Wish::Start, State::Stopped, asked), Next::Wait(State::Running));
        let under_way = asked.after(Wish::Start, State::Pending);
        assert_eq!(next(Wish::Start, State::Pending, under_way), Next::Wait(State::Running));
        assert_eq!(next(Wish::Start, State::Stopped, under_way), Next::Never);
        assert_eq!(next(STOP, State::Running, Progress::Asked), Next::Wait(State::Stopped));
        assert_eq!(next(FORCE, State::Stopping, Progress::Asked), Next::Wait(State::Stopped));
        assert_eq!(next(Wish::Reboot, State::Running, Progress::Asked), Next::Done);
        assert_eq!(Progress::NotAsked.after(Wish::Start, State::Pending), Progress::NotAsked);
    }
}
