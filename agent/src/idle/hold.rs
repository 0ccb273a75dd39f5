//! `stay`: a person holds the box on, by a process of their own that does nothing until the time is over.
//!
//! The agent sees it in the list of processes, with the owner and the start as the kernel has them, and asks nobody. So
//! there is no socket, no file and no folder that others could write to, and whoever makes such a process by other means
//! can do what `stay` lets them do anyway: keep the box on. Nothing that a user does here can power it off.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, setsid};

use super::processes::{Process, list};

/// The hidden first argument that makes this program the process that holds the box on; the minutes follow.
pub const HOLDER_ARGUMENT: &str = "stay-holder";

/// The name of such a process is this, the minutes, and [`UNIT`]: the kernel keeps 15 bytes, which is days enough.
const NAME: &str = "fleetkey+";
/// What follows the minutes.
const UNIT: &str = "m";
/// The most minutes that a name has room for.
const MOST_MINUTES: u64 = 99_999;
/// How long a new holder may take to have its name.
const START_LIMIT: Duration = Duration::from_secs(5);
/// Time between two looks for it.
const TICK: Duration = Duration::from_millis(10);
/// Exit status for a wrong call.
const USAGE: u8 = 2;

/// Somebody who holds the box on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hold {
    /// The user whose it is.
    pub(super) user: u32,
    /// For how long yet.
    pub(super) left: Duration,
}

/// Those who hold the box on at `now`, since boot: each user once, however many of these processes a user has, who holds it
/// longest first. A hold counts from the start of its process, for what it asks and no longer than `most`.
pub(super) fn holds(processes: &[Process], most: Duration, now: Duration) -> Vec<Hold> {
    let mut longest: BTreeMap<u32, Duration> = BTreeMap::new();
    for process in processes {
        let Some(asked) = asked(&process.name) else { continue };
        let left = (process.started + asked.min(most)).saturating_sub(now);
        let before = longest.entry(process.user).or_default();
        *before = left.max(*before);
    }
    let longest = longest.into_iter().filter(|(_, left)| !left.is_zero());
    let mut holds: Vec<Hold> = longest.map(|(user, left)| Hold { user, left }).collect();
    holds.sort_by_key(|hold| std::cmp::Reverse(hold.left));
    holds
}

/// For how long a process of this name asks; `None` when it is none of these.
fn asked(name: &str) -> Option<Duration> {
    let minutes = name.strip_prefix(NAME)?.strip_suffix(UNIT)?;
    let plain = (1..=5).contains(&minutes.len()) && minutes.bytes().all(|byte| byte.is_ascii_digit());
    minutes.parse().ok().filter(|_| plain).map(Duration::from_mins)
}

/// The time in whole minutes, as a holder keeps it: what is begun counts.
pub fn in_minutes(time: Duration) -> u64 {
    time.as_secs().div_ceil(60).clamp(1, MOST_MINUTES)
}

/// Starts a holder, which outlives the caller and the caller's session.
///
/// # Errors
/// When it does not come up.
pub fn start(program: &Path, minutes: u64) -> io::Result<()> {
    let mut command = Command::new(program);
    command.arg0("fleetkey-stay").args([HOLDER_ARGUMENT, &minutes.to_string()]).env_clear().current_dir("/");
    // An ssh that runs `stay` waits until nobody has its streams any more.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let id = i32::try_from(child.id()).map_err(io::Error::other)?;
    let deadline = Instant::now() + START_LIMIT;
    loop {
        if list()?.iter().any(|process| process.id == id && asked(&process.name).is_some()) {
            return Ok(());
        }
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(format!("the process that holds the box on has ended: {status}")));
        }
        if Instant::now() > deadline {
            child.kill()?;
            return Err(io::Error::other("the process that holds the box on does not come up"));
        }
        std::thread::sleep(TICK);
    }
}

/// The holders of a user, or of everybody.
///
/// # Errors
/// When they cannot be looked for.
pub fn of(user: Option<u32>) -> io::Result<Vec<i32>> {
    let is_one = |process: &Process| asked(&process.name).is_some() && user.is_none_or(|user| user == process.user);
    Ok(list()?.iter().filter(|process| is_one(process)).map(|process| process.id).collect())
}

/// Ends these holders. One that has just ended by itself is no error.
///
/// # Errors
/// When one cannot be ended.
pub fn end(holders: &[i32]) -> io::Result<()> {
    for id in holders {
        match kill(Pid::from_raw(*id), Signal::SIGTERM) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Runs the holder: the whole of the program when its first argument is [`HOLDER_ARGUMENT`].
pub fn holder_main() -> ExitCode {
    let mut arguments = std::env::args().skip(2);
    let minutes =
        arguments.next().and_then(|text| text.parse().ok()).filter(|minutes| (1..=MOST_MINUTES).contains(minutes));
    let (Some(minutes), None) = (minutes, arguments.next()) else { return ExitCode::from(USAGE) };
    // Whoever is the first of their group keeps it; such a one is no shell's to end.
    let _ = setsid();
    let named = CString::new(format!("{NAME}{minutes}{UNIT}")).ok().and_then(|name| prctl::set_name(&name).ok());
    if named.is_none() {
        return ExitCode::FAILURE;
    }
    std::thread::sleep(Duration::from_mins(minutes));
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn process(user: u32, name: &str, started: u64) -> Process {
        Process { id: 7, parent: 1, user, name: name.to_owned(), started: Duration::from_mins(started) }
    }

    fn left(name: &str, started: u64, most: Duration, now: u64) -> Option<u64> {
        let found = holds(&[process(1000, name, started)], most, Duration::from_mins(now));
        found.first().map(|hold| hold.left.as_secs() / 60)
    }

    #[test]
    fn a_holder_holds_from_its_start_for_what_it_asks() {
        assert_eq!(left("fleetkey+240m", 100, DAY, 100), Some(240));
        assert_eq!(left("fleetkey+240m", 100, DAY, 339), Some(1));
        assert_eq!(left("fleetkey+240m", 100, DAY, 340), None);
    }

    #[test]
    fn t8_whatever_a_process_calls_itself_it_holds_no_longer_than_the_most() {
        let most = Duration::from_hours(2);
        assert_eq!(left("fleetkey+99999m", 100, most, 100), Some(120));
        assert_eq!(left("fleetkey+99999m", 100, most, 220), None);
    }

    #[test]
    fn t8_a_user_with_a_thousand_holders_is_one_who_holds_the_box_on() {
        let mut many: Vec<Process> = (0..1000).map(|at| process(1001, "fleetkey+60m", at)).collect();
        many.extend([process(1000, "fleetkey+60m", 900), process(1002, "fleetkey+240m", 900)]);
        let found = holds(&many, DAY, Duration::from_mins(1000));
        let found: Vec<(u32, u64)> = found.iter().map(|hold| (hold.user, hold.left.as_secs() / 60)).collect();
        assert_eq!(found, [(1002, 140), (1001, 59)]);
    }

    #[test]
    fn t5_a_name_that_is_not_whole_holds_nothing() {
        for name in [
            "fleetkey+m",
            "fleetkey+1",
            "fleetkey+-1m",
            "fleetkey++1m",
            "fleetkey+0m",
            "fleetkey+1m\n",
            "fleetkey+ 1m",
            "fleetkey+999999m",
            "fleetkey",
            "xfleetkey+1m",
            "fleetkey+1h",
            "fleetkey-agent",
            "",
        ] {
            assert_eq!(left(name, 100, DAY, 100), None, "{name:?}");
        }
    }

    #[test]
    fn a_time_is_kept_in_whole_minutes_in_fifteen_bytes() {
        assert_eq!(in_minutes(Duration::from_hours(4)), 240);
        assert_eq!(in_minutes(Duration::from_secs(61)), 2);
        assert_eq!(in_minutes(Duration::ZERO), 1);
        let longest = format!("{NAME}{}{UNIT}", in_minutes(Duration::MAX));
        assert_eq!((longest.len(), asked(&longest)), (15, Some(Duration::from_mins(MOST_MINUTES))));
    }
}
