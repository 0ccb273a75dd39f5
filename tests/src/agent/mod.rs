//! The agent, run inside a sandbox as systemd would run it, watched from outside.
//!
//! Nothing here knows what the agent should do: it starts it, listens, and measures.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use crate::log::Log;
use crate::process::{Kept, children, describe, signal};
use crate::sandbox::Sandbox;
use crate::wait_until;

mod config;
mod notify;

pub use config::AgentConfig;
pub use notify::{Notice, NotifySocket};

/// Where the agent is inside a sandbox.
const PROGRAM: &str = "/usr/bin/fleetkey-agent";

/// How long systemd would wait for a sign of life: short, so that tests see many.
const WATCHDOG: Duration = Duration::from_secs(2);

/// How long a start and an end may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// A running agent; killed when dropped.
#[derive(Debug)]
pub struct Agent<'sandbox> {
    sandbox: &'sandbox Sandbox,
    process: Kept,
    pid: u32,
    log: Log,
    notify: NotifySocket,
}

impl<'sandbox> Agent<'sandbox> {
    /// Writes the configuration and starts `fleetkey-agent run`. Does not wait until it is ready.
    pub fn start(sandbox: &'sandbox Sandbox, config: &AgentConfig) -> Result<Self> {
        config.write(sandbox)?;
        Self::start_as_is(sandbox, &[])
    }

    /// Starts `fleetkey-agent run` with these further arguments, on whatever configuration there is.
    pub fn start_as_is(sandbox: &'sandbox Sandbox, arguments: &[&str]) -> Result<Self> {
        Self::launch(sandbox, arguments, WATCHDOG)
    }

    /// The same as [`Agent::start`], with another watchdog time, such as that of the shipped unit.
    pub fn start_with_watchdog(sandbox: &'sandbox Sandbox, config: &AgentConfig, watchdog: Duration) -> Result<Self> {
        config.write(sandbox)?;
        Self::launch(sandbox, &[], watchdog)
    }

    fn launch(sandbox: &'sandbox Sandbox, arguments: &[&str], watchdog: Duration) -> Result<Self> {
        let log = Log::new()?;
        let notify = NotifySocket::bind(sandbox)?;
        let mut command = sandbox.command(PROGRAM);
        command.args(["run", "--config", AgentConfig::FILE, "--log", "json"]).args(arguments);
        command.env("NOTIFY_SOCKET", notify.inside()).env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        // As the shipped unit has it.
        command.env("MALLOC_ARENA_MAX", "1").env("MALLOC_TRIM_THRESHOLD_", "131072");
        command.stdin(Stdio::null()).stdout(log.writer()?).stderr(log.writer()?);
        let mut process = Kept::start("the agent", command)?;
        let pid = wait_for_program(&mut process, &log)?;
        Ok(Self { sandbox, process, pid, log, notify })
    }

    /// The agent's process id, by the host's count.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it wrote to stdout and stderr: JSON lines.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What it told systemd.
    pub fn notices(&mut self) -> &mut NotifySocket {
        &mut self.notify
    }

    /// Waits for `READY=1`; returns the time that took.
    pub fn wait_ready(&mut self) -> Result<Duration> {
        let (log, process) = (&self.log, &mut self.process);
        self.notify.wait_for("READY", DEADLINE, |ready| {
            if let Some(status) = process.ended()? {
                bail!("the agent ended, {}, before it was ready: {}", describe(status), log.text()?);
            }
            Ok(ready == Some("1"))
        })
    }

    /// Sends it a signal.
    pub fn signal(&mut self, which: Signal) -> Result<()> {
        // As long as the command that runs it has not ended, its id can have gone to nobody else.
        if let Some(status) = self.process.ended()? {
            bail!("the agent has ended, {}: {}", describe(status), self.log.text()?);
        }
        signal(self.pid, which)
    }

    /// Stops it as systemd does, by SIGTERM, and waits until it has ended.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.process.wait(DEADLINE)
    }

    /// Ends it with no warning.
    pub fn kill9(mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.process.wait(DEADLINE).map(drop)
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.process.wait(deadline)
    }

    /// Stops it and starts it again, on the configuration that is there.
    pub fn restart(self) -> Result<Self> {
        let sandbox = self.sandbox;
        self.stop()?;
        Self::start_as_is(sandbox, &[])
    }

    /// Resident memory, in KiB.
    pub fn rss_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).context("the agent is gone")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the agent is a zombie")?;
        line.trim().trim_end_matches(" kB").parse().with_context(|| format!("VmRSS:{line}"))
    }

    /// Open file descriptors.
    pub fn open_descriptors(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid)).context("the agent is gone")?.count())
    }

    /// Processor time used so far, user and system, with its children that have ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).context("the agent is gone")?;
        let (_, fields) = stat.rsplit_once(") ").context("a stat line has a name")?;
        // proc_pid_stat(5): utime, stime, cutime and cstime are fields 14 to 17, and the state, here first, is field 3.
        let ticks = fields.split(' ').skip(11).take(4).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        // USER_HZ is 100 on every architecture that EC2 has.
        Ok(Duration::from_millis(ticks * 10))
    }

    /// What `fleetkey-agent status --json` says, also when it says by its exit status that not all is well.
    pub fn status_json(&self) -> Result<serde_json::Value> {
        let output = self.sandbox.command(PROGRAM).args(["status", "--json"]).stdin(Stdio::null()).output()?;
        serde_json::from_slice(&output.stdout).with_context(|| format!("status --json says {output:?}"))
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        // Fails when it has ended already, which is what is wanted.
        if self.signal(Signal::SIGKILL).is_ok() {
            let _ = self.process.wait(DEADLINE);
        }
    }
}

/// The process id of the agent itself, once the commands that lead into the sandbox have become it.
fn wait_for_program(process: &mut Kept, log: &Log) -> Result<u32> {
    let helpers = [inode("/usr/bin/nsenter")?, inode("/usr/bin/setpriv")?];
    let mut found = None;
    wait_until("the agent's process is there", DEADLINE, || {
        if let Some(status) = process.ended()? {
            bail!("the agent ended at once, {}: {}", describe(status), log.text()?);
        }
        found = children(process.pid()).first().copied().filter(|child| {
            // A script's process runs its interpreter, which is fine too.
            inode(&format!("/proc/{child}/exe")).is_ok_and(|program| !helpers.contains(&program))
        });
        Ok(found.is_some())
    })?;
    found.context("the process was seen")
}

/// The inode number of a program. Overlays show files of the host with the inode numbers that the host has.
fn inode(path: &str) -> Result<u64> {
    Ok(fs::metadata(path).with_context(|| format!("cannot look at {path}"))?.ino())
}
