//! The bench: what Fleetkey takes of time, memory and calls, next to what somebody would otherwise run, in one run on
//! one machine. The AWS API is played by moto on loopback.
//!
//! It shows what it found, good or bad: it subtracts nothing, and writes nothing into the repository.

use anyhow::{Context as _, Result};
use tokio::runtime::{self, Runtime};

use crate::cloud::Cloud;
use crate::moto::Moto;
use progress::Progress;

mod account;
mod calls;
mod controller;
mod latency;
mod lookup;
mod machine;
mod people;
mod progress;
mod repeat;
mod report;
mod resident;
mod rivals;
mod samples;
mod sync;
mod watch;

pub use repeat::{repeat, repeat_to_json};
pub use report::{Report, Row, Unit};

/// Where the agent is inside a sandbox.
const AGENT: &str = "/usr/bin/fleetkey-agent";

/// The account whose keys are kept, and its key file, inside a sandbox.
const ACCOUNT: &str = "ubuntu";
const KEY_FILE: &str = "/home/ubuntu/.ssh/authorized_keys";

/// People in the group of an ordinary team, where no other number is said.
const PEOPLE: usize = 20;

/// A part of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// From a pushed change to the key file.
    Latency,
    /// `authorized-keys`.
    Lookup,
    /// Memory, processor time and calls of the service.
    Resident,
    /// One sync of groups of several sizes.
    Sync,
    /// What is installed.
    Size,
    /// The operator's program.
    Controller,
    /// The operator's program on a large account.
    Account,
}

impl Section {
    /// All, in the order of the table. The syncs come late: moto is slower once it holds 10,000 people.
    pub const ALL: [Self; 7] =
        [Self::Latency, Self::Lookup, Self::Resident, Self::Controller, Self::Account, Self::Sync, Self::Size];

    /// The name by which it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Lookup => "lookup",
            Self::Resident => "resident",
            Self::Sync => "sync",
            Self::Size => "size",
            Self::Controller => "controller",
            Self::Account => "account",
        }
    }
}

/// How much is measured.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Fewer samples, no group of 10,000.
    pub quick: bool,
    /// Ten idle minutes measured, not one scaled.
    pub full_idle: bool,
    /// These sections alone; all, when there is none.
    pub only: Vec<Section>,
}

/// A run of the bench.
struct Bench {
    options: Options,
    runtime: Runtime,
    moto: Moto,
    progress: Progress,
    report: Report,
}

impl Bench {
    /// A new AWS account on the moto server.
    fn cloud(&self) -> Result<Cloud> {
        self.runtime.block_on(Cloud::on(&self.moto))
    }
}

/// Measures everything; takes an hour, or a few minutes if it is to be quick. Says on stderr what it is doing.
///
/// A section that fails costs its own rows alone: the report holds those of the others, and the failures are given
/// beside it.
///
/// # Errors
/// When moto does not start.
pub fn run(options: Options) -> Result<(Report, Vec<anyhow::Error>)> {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let report = Report { machine: machine::machine(), ..Report::default() };
    let mut bench = Bench { options, runtime, moto: Moto::start()?, progress: Progress::new(), report };
    let mut failures = Vec::new();
    for section in Section::ALL {
        if !bench.options.only.is_empty() && !bench.options.only.contains(&section) {
            continue;
        }
        let measured = match section {
            Section::Latency => latency::run(&mut bench),
            Section::Lookup => lookup::run(&mut bench),
            Section::Resident => resident::run(&mut bench),
            Section::Sync => sync::run(&mut bench),
            Section::Size => lookup::sizes(&mut bench),
            Section::Controller => controller::run(&mut bench),
            Section::Account => account::run(&mut bench),
        };
        if let Err(failure) = measured.with_context(|| format!("the section {} failed", section.name())) {
            bench.progress.say(&format!("{failure:#}"));
            failures.push(failure);
        }
    }
    bench.progress.say("done");
    Ok((bench.report, failures))
}
