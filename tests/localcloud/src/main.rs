//! `fleetkey-localcloud`: a small EC2 on this machine, for as long as a shell or a command runs.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fleetkey_localcloud::{Options, inside, keeper, run};

/// A small EC2 on this machine: the API by the moto server, boxes by systemd-nspawn
#[derive(Debug, Parser)]
#[command(name = "fleetkey-localcloud", version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start a cloud, run a command in it, and take everything down after
    Run {
        /// Check signatures and IAM policies, as AWS does
        #[arg(long)]
        enforce_iam: bool,
        /// What to run; your shell if nothing is said
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    /// Between a cloud and its owner; started by `run` and by tests
    #[command(hide = true)]
    Keep {
        #[arg(long)]
        enforce_iam: bool,
    },
    /// The cloud itself, in namespaces of its own; started by `keep`
    #[command(hide = true)]
    Serve(inside::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Run { enforce_iam, command } => run::run(Options { enforce_iam }, &command),
        Verb::Keep { enforce_iam } => keeper::keep(enforce_iam).map(|()| ExitCode::SUCCESS),
        Verb::Serve(arguments) => inside::serve(&arguments).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        ExitCode::FAILURE
    })
}
