//! `fleetkey rsync`: copies files to a box, or from it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::anyhow;
use clap::Args;
use clap_complete::ArgValueCompleter;

use super::reach::ReachFlags;
use crate::complete;
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::selection::Among;
use crate::settings::Settings;
use crate::ssh::not_installed;
use crate::ssh::words::{RsyncError, rsync};

/// The program.
const PROGRAM: &str = "rsync";

/// The option that hands names to the box as they are, so that no shell there reads them; rsync 3.0 and later.
const PROTECT: &str = "-s";

/// The option of rsync that asks for the opposite.
const UNPROTECT: &str = "--old-args";

/// Copy files to or from a box with rsync.
///
/// A path that begins with a colon is on the box: `:logs/` below the account's home, `:/var/log` from the root, `:` the
/// home itself. All that follows the role is rsync's, so options of this command come before it. Give values of rsync's
/// long options with `=`. This program then becomes rsync, which goes through the same ssh as `fleetkey ssh`.
#[derive(Debug, Args)]
#[command(override_usage = "fleetkey rsync [OPTIONS] <ROLE> <RSYNC_ARGS>...")]
pub(super) struct Rsync {
    #[command(flatten)]
    among: Among,
    #[command(flatten)]
    reach: ReachFlags,
    /// Options for ssh, as in a shell: '-p 2222 -i my.pem'
    #[arg(short = 'e', long, value_name = "OPTIONS", allow_hyphen_values = true, value_parser = split)]
    ssh_opts: Option<Words>,
    /// Role of the box, in the namespace unless it begins with a slash; then options and paths for rsync
    #[arg(value_name = "ROLE", required = true, num_args = 1.., trailing_var_arg = true,
        add = ArgValueCompleter::new(complete::role_then_paths))]
    words: Vec<OsString>,
}

/// Words that a flag has as one.
#[derive(Debug, Clone)]
struct Words(Vec<OsString>);

fn split(text: &str) -> Result<Words, shell_words::ParseError> {
    Ok(Words(shell_words::split(text)?.into_iter().map(OsString::from).collect()))
}

impl Rsync {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let mut words = self.words;
        let role =
            words.remove(0).into_string().map_err(|role| Refusal::usage(format!("{} is no role", role.display())))?;
        // What is wrong with the paths is said before anything is asked.
        rsync(words.clone(), "").map_err(refuse)?;
        let options = self.ssh_opts.map(|Words(words)| words).unwrap_or_default();
        if options.first().is_some_and(|word| !word.as_encoded_bytes().starts_with(b"-")) {
            return Err(Refusal::usage(format!("--ssh-opts takes options of ssh, not {}", options[0].display())).into());
        }
        let ssh = self.reach.reach(settings, printer, &role, &self.among, options).await?;
        let words = rsync(words, &format!("{}@{}", ssh.account(), ssh.address())).map_err(|error| anyhow!(error))?;
        let mut command = Command::new(PROGRAM);
        command.arg("-e").arg(ssh.for_rsync());
        if !words.iter().any(|word| word == UNPROTECT) {
            command.arg(PROTECT);
        }
        // Comes back only if it fails.
        Err(not_installed(PROGRAM, command.args(words).exec()))
    }
}

fn refuse(error: RsyncError) -> Refusal {
    let refusal = Refusal::usage(&error);
    match error {
        RsyncError::Shell(_) => refusal.hint("give options for ssh before the role, with --ssh-opts"),
        RsyncError::Elsewhere(path) => refusal
            .hint(format!("a path on the box begins with a colon; a file here is ./{}", path.display()))
            .hint("values of rsync's long options are given with =, such as --exclude=PATTERN"),
        RsyncError::Nowhere => refusal.hint("a path on the box begins with a colon, such as :logs/; : is its home"),
    }
}
