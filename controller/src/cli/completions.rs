//! `fleetkey completions`: what a shell needs to complete this program's command lines.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::env::{EnvCompleter, Shells};

use super::Cli;
use crate::printer::{self, Output, Printer, Verbosity};
use crate::refusal::{Refusal, exit_code};

/// The program, as it is found in the path.
const PROGRAM: &str = "fleetkey";

/// The variable by which a shell asks for completions, and says that it is this shell.
const VARIABLE: &str = "FLEETKEY_COMPLETE";

/// Print the completions of a shell, which its start-up file reads.
///
/// For bash, eval "$(fleetkey completions bash)" in ~/.bashrc; for zsh the same in ~/.zshrc, below compinit; for fish,
/// fleetkey completions fish | source in ~/.config/fish/config.fish. The packages install them for all three. Names of boxes
/// and images are those that list and list-images last showed: the network is not waited for.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// The shells that are served.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    fn completer(self) -> &'static dyn EnvCompleter {
        match self {
            Shell::Bash => &clap_complete::env::Bash,
            Shell::Zsh => &clap_complete::env::Zsh,
            Shell::Fish => &clap_complete::env::Fish,
        }
    }
}

impl Completions {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        let completer = self.shell.completer();
        completer.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script).context("writing the script")?;
        printer::put(&String::from_utf8_lossy(&script)).context("writing to standard output")
    }
}

/// Answers a shell that asks for completions, if one does, and gives how the program ends then.
///
/// To be called before anything else: it takes the variable out of the environment.
pub(crate) fn answer() -> Option<ExitCode> {
    let shells = Shells(&[&clap_complete::env::Bash, &clap_complete::env::Zsh, &clap_complete::env::Fish]);
    let here = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(Cli::command).var(VARIABLE).shells(shells);
    match asked.try_complete(std::env::args_os(), here.as_deref()) {
        Ok(answered) => answered.then_some(ExitCode::SUCCESS),
        Err(error) => {
            // No command is run by a variable that was meant for something else, and none looks as if it were.
            let error = anyhow::Error::from(error).context(Refusal::usage(format!("{VARIABLE} is set")));
            Printer::new(Verbosity::Normal, Output::Table).error(&error);
            Some(exit_code(&error))
        }
    }
}
