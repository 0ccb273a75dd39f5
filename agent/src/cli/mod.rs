//! The command line: what can be asked of the agent, and how it answers.
//!
//! Data goes to stdout, notes and errors to stderr. Exit codes: 0 done, 1 failed or no, 2 usage.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use fleetkey_common::error_text::one_line;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::settings::Settings;
use crate::config::{self, Flags, Loaded};
use crate::idle::hold::{HOLDER_ARGUMENT, holder_main};
use crate::write::{HELPER_ARGUMENT, helper_main};

mod authorized_keys;
mod check_config;
mod explain;
mod man;
mod output;
mod run;
mod status;
mod stay;
mod sync;

/// The exit code for a wrong call.
const USAGE: u8 = 2;

/// The most threads for file work. They come and go with the work; more than a few are there only while file systems
/// hang, and then they must not be all taken.
const BLOCKING_THREADS: usize = 64;

/// What a thread for file work needs of stack, in bytes.
const STACK: usize = 512 * 1024;

#[derive(Debug, Parser)]
#[command(name = "fleetkey-agent", version, about = "Keeps authorized_keys on this instance in step with IAM")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The one command that sshd calls, alone.
#[derive(Debug, Parser)]
#[command(name = "fleetkey-agent", version)]
enum ForSshd {
    /// Print an account's keys for sshd's AuthorizedKeysCommand, from what is on this box alone
    AuthorizedKeys(authorized_keys::AuthorizedKeys),
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep the key files in step, until stopped: what the service does
    Run(run::Run),
    /// Bring the key files in step once
    Sync(sync::Sync),
    /// Say whether the configuration is valid, and what it comes to
    CheckConfig(check_config::CheckConfig),
    /// Say how the running agent stands
    Status(status::StatusCommand),
    /// Hold it off that the box powers off for want of use; for everybody who is logged in
    Stay(stay::Stay),
    /// Print an account's keys for sshd's AuthorizedKeysCommand, from what is on this box alone
    AuthorizedKeys(authorized_keys::AuthorizedKeys),
    /// Say whether a key is let in here, by which grant, and if not, what is missing
    Explain(explain::Explain),
    #[command(hide = true)]
    Man(man::Man),
}

/// What the commands have in common that read the configuration.
#[derive(Debug, Args)]
struct Configured {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_FILE)]
    config: PathBuf,
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    log: Log,
}

#[derive(Debug, Args)]
struct Log {
    /// Where the log goes, and how; journald by itself under systemd, else text on stderr
    #[arg(long, value_name = "FORM", value_enum)]
    log: Option<LogForm>,
    /// The least level that is logged: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: LevelFilter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogForm {
    /// Lines for people, on stderr
    Text,
    /// A JSON object a line, on stderr
    Json,
    /// The journal's own protocol, with a field for each value
    Journald,
}

impl Configured {
    /// The settings, with warnings told on the way.
    fn load(&self) -> anyhow::Result<Loaded> {
        let loaded = config::load(&self.config, &self.flags)?;
        for warning in &loaded.warnings {
            tracing::warn!(action = "config", "{warning}");
        }
        Ok(loaded)
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        Ok(self.load()?.settings)
    }
}

impl Log {
    /// Sets up the log. The journal gets a field for each value, with `FLEETKEY_` in front.
    fn start(&self, default_level: Option<LevelFilter>) {
        let level = default_level.unwrap_or(self.log_level);
        // The SDK tells of every connection at info; what matters of it comes back as an error of the call.
        let filter = Targets::new()
            .with_default(LevelFilter::WARN.min(level))
            .with_targets([("fleetkey_agent", level), ("fleetkey_common", level)]);
        let form = self.log.unwrap_or_else(|| {
            if std::env::var_os("JOURNAL_STREAM").is_some() { LogForm::Journald } else { LogForm::Text }
        });
        let journal = (form == LogForm::Journald).then(tracing_journald::layer).and_then(Result::ok);
        let layer = match (journal, form) {
            (Some(journal), _) => {
                let journal = journal.with_field_prefix(Some("FLEETKEY".to_owned()));
                journal.with_syslog_identifier("fleetkey-agent".to_owned()).boxed()
            }
            // That stderr is closed can be told nobody: it would be told on stderr.
            (None, LogForm::Json) => {
                let layer = fmt::layer().json().flatten_event(true).log_internal_errors(false);
                layer.with_writer(std::io::stderr).boxed()
            }
            (None, _) => fmt::layer()
                .log_internal_errors(false)
                .with_writer(std::io::stderr)
                .with_target(false)
                .with_ansi(std::io::stderr().is_terminal())
                .boxed(),
        };
        // A second call, as tests make, changes nothing.
        let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    }
}

/// Runs the program on its arguments.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|first| first == HELPER_ARGUMENT) {
        return helper_main();
    }
    if arguments.get(1).is_some_and(|first| first == HOLDER_ARGUMENT) {
        return holder_main();
    }
    // Somebody waits at sshd: the other commands with all their flags are not even set up.
    let parsed = if arguments.get(1).is_some_and(|command| command == authorized_keys::NAME) {
        ForSshd::try_parse_from(&arguments).map(|ForSshd::AuthorizedKeys(command)| Command::AuthorizedKeys(command))
    } else {
        Cli::try_parse_from(&arguments).map(|cli| cli.command)
    };
    match parsed {
        Ok(command) => execute(command).unwrap_or_else(|error| {
            output::note(&format!("fleetkey-agent: {}", one_line(error.as_ref())));
            ExitCode::FAILURE
        }),
        Err(error) => refuse(&arguments, &error),
    }
}

/// Help and wrong calls. sshd takes what `authorized-keys` prints for keys and its 0 for yes: it gets neither.
fn refuse(arguments: &[OsString], error: &clap::Error) -> ExitCode {
    let for_sshd = arguments.get(1).is_some_and(|command| command == authorized_keys::NAME);
    if for_sshd || error.use_stderr() {
        output::note(error.to_string().trim_end());
        return ExitCode::from(USAGE);
    }
    match output::data(error.to_string()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(command) => command.execute(),
        Command::Sync(command) => command.execute(),
        Command::CheckConfig(command) => command.execute(),
        Command::Status(command) => command.execute(),
        Command::Stay(command) => command.execute(),
        Command::AuthorizedKeys(command) => command.execute(),
        Command::Explain(command) => command.execute(),
        Command::Man(command) => command.execute(),
    }
}

/// Runs async work on this thread.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().max_blocking_threads(BLOCKING_THREADS).thread_stack_size(STACK);
    let runtime = runtime.build().context("cannot start the async runtime")?;
    let outcome = runtime.block_on(work);
    // Not waiting for threads: those that are still at work wait for file systems that give no answer.
    runtime.shutdown_background();
    outcome
}

/// The program that writes in homes: this one, also after an upgrade has put another in its place on disk.
fn helper() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// An error unless this is root: nobody else can write the key files of others.
fn require_root(what: &str) -> anyhow::Result<()> {
    anyhow::ensure!(nix::unistd::geteuid().is_root(), "{what} needs root; run it with sudo");
    Ok(())
}
