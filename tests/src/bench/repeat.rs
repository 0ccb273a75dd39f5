//! Runs a command again and again and times it, from just before its start to just after its end.
//!
//! To time a program inside a sandbox without the commands that lead there, the bench runs itself inside:
//! `bench repeat RUNS PROGRAM ARGUMENTS`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

use crate::sandbox::{Options, Sandbox};

/// Where the bench is inside a sandbox.
const INSIDE: &str = "/usr/bin/fleetkey-bench";

/// What came of running one command again and again, as `bench repeat` prints it.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    nanoseconds: Vec<u64>,
    peak_kib: u64,
}

/// The same, for rows.
#[derive(Debug)]
pub(super) struct Repeated {
    /// How long each run took.
    pub(super) times: Vec<Duration>,
    /// The most memory that any of them held (`ru_maxrss`), in mebibytes.
    pub(super) peak: f64,
}

impl Report {
    fn read(text: &str) -> Result<Repeated> {
        let report: Self = serde_json::from_str(text).with_context(|| format!("bench repeat says {text:?}"))?;
        let times = report.nanoseconds.into_iter().map(Duration::from_nanos).collect();
        Ok(Repeated { times, peak: super::machine::mebibytes(report.peak_kib << 10) })
    }
}

/// The times of `runs` runs of `command`, which must not fail. What it prints goes nowhere; see that it is right first.
pub fn repeat(runs: usize, command: &mut Command) -> Result<Vec<Duration>> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    (0..runs)
        .map(|_| {
            let start = Instant::now();
            let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
            let took = start.elapsed();
            ensure!(status.success(), "{command:?}: {status}");
            Ok(took)
        })
        .collect()
}

/// What a command prints, which must not fail.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// A sandbox with the agent and the bench in it.
pub(super) fn sandbox() -> Result<Sandbox> {
    let me = std::env::current_exe().context("the path of this program is known")?;
    let agent = crate::program("fleetkey-agent");
    Options::default().program(agent, super::AGENT).program(me, INSIDE).start()
}

/// The same as [`repeat`], inside such a sandbox.
pub(super) fn repeat_inside(
    sandbox: &Sandbox,
    runs: usize,
    program: &str,
    arguments: &[&str],
) -> Result<Vec<Duration>> {
    let runs = runs.to_string();
    let report = sandbox.run(INSIDE, &[&["repeat", &runs, program], arguments].concat())?;
    Ok(Report::read(&report)?.times)
}

/// The same as [`repeat`], in a process that has no other children, so that their memory is known.
pub(super) fn repeat_alone(runs: usize, command: &Command) -> Result<Repeated> {
    let mut alone = Command::new(std::env::current_exe().context("the path of this program is known")?);
    alone.args(["repeat", &runs.to_string(), "--"]).arg(command.get_program()).args(command.get_args()).env_clear();
    alone.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Report::read(&output(&mut alone)?)
}

/// What `bench repeat` prints: times and peak memory, as JSON.
pub fn repeat_to_json(runs: usize, program: &Path, arguments: &[String]) -> Result<String> {
    let times = repeat(runs, Command::new(program).args(arguments))?;
    let nanoseconds = times.iter().map(|time| u64::try_from(time.as_nanos())).collect::<Result<_, _>>()?;
    let peak_kib = u64::try_from(getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss())?;
    Ok(serde_json::to_string(&Report { nanoseconds, peak_kib })?)
}
