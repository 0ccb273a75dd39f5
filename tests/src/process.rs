//! Child processes that end with this one.
//!
//! Two nets: [`Kept`] ends its child when dropped, also on panic, and the kernel ends children made by [`bound`] when
//! this process dies in any other way. Never ends a process by name.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::{LazyLock, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait_until;

/// Arguments of setpriv(1) that take the right to set the clock from a program and all that it starts: no namespace has a
/// wall clock of its own, so that whatever sets it inside sets the machine's.
pub(crate) const WITHOUT_THE_CLOCK: [&str; 4] = ["--bounding-set", "-sys_time", "--inh-caps", "-sys_time"];

/// One child to start, and where to send it.
struct Order {
    command: Command,
    reply: mpsc::Sender<io::Result<Child>>,
}

/// The thread that forks. A parent-death signal is sent when the *thread* that forked ends (prctl(2),
/// `PR_SET_PDEATHSIG`), and a test's thread ends long before its process does; this one never ends.
static NURSERY: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
    let (orders, waiting) = mpsc::channel::<Order>();
    std::thread::spawn(move || {
        for Order { mut command, reply } in waiting {
            // An asker that has gone away gets its child ended, as if it had dropped it.
            if let Err(mpsc::SendError(Ok(mut orphan))) = reply.send(command.spawn()) {
                let _ = orphan.kill();
                let _ = orphan.wait();
            }
        }
    });
    orders
});

/// A command that runs `program` so that the kernel kills it when this process dies.
pub fn bound(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// A child process that is killed and waited for when this value is dropped.
#[derive(Debug)]
pub struct Kept {
    child: Child,
    name: String,
}

impl Kept {
    /// Starts `command`, on the one thread for which [`bound`] holds; `name` is for messages.
    pub fn start(name: &str, command: Command) -> Result<Self> {
        let (reply, answer) = mpsc::channel();
        let gone = || anyhow!("the thread that starts children has ended");
        NURSERY.send(Order { command, reply }).map_err(|_| gone())?;
        let child = answer.recv().map_err(|_| gone())?.with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name: name.to_owned() })
    }

    /// The process id of the command.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The child's pipes.
    pub fn child_mut(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it still runs after `deadline`.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let mut status = None;
        let what = format!("{} ends", self.name);
        wait_until(&what, deadline, || {
            status = self.ended()?;
            Ok(status.is_some())
        })?;
        status.with_context(|| format!("{what}, without a status"))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Both fail only when it has ended and was waited for, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the end of a child that has been told to end; after `patience`, kills it. Only this process's own child, which
/// is not yet reaped, can be meant.
pub fn let_end(child: &mut Child, patience: Duration) {
    let deadline = Instant::now() + patience;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a signal to one process.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    kill(nix_pid(pid)?, signal).with_context(|| format!("cannot send {signal} to process {pid}"))
}

/// Whether a process of this id runs and is no zombie.
pub fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // proc_pid_stat(5): the state is the first field behind the name, which may itself hold spaces and brackets.
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
}

/// The direct children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed.split_ascii_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// A short account of how a process ended, for messages.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown end".to_owned(),
    }
}

fn nix_pid(pid: u32) -> Result<Pid> {
    i32::try_from(pid).ok().filter(|&pid| pid > 0).map(Pid::from_raw).with_context(|| format!("{pid} is no process id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_started_by_a_thread_that_ended_lives_on_and_ends_when_dropped() -> Result<()> {
        let child = std::thread::spawn(|| {
            let mut command = bound("sleep");
            command.arg("60");
            Kept::start("sleep", command)
        })
        .join()
        .map_err(|_| anyhow!("the thread panicked"))??;
        std::thread::sleep(Duration::from_millis(50));
        let pid = child.pid();
        assert!(runs(pid));
        drop(child);
        assert!(!runs(pid));
        Ok(())
    }

    #[test]
    fn a_program_that_does_not_exist_is_an_error_that_names_it() {
        let error = Kept::start("nothing", Command::new("/nonexistent")).expect_err("there is no such program");
        assert!(error.to_string().contains("nothing"), "{error}");
    }
}
