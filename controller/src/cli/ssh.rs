//! `fleetkey ssh`: logs in to a box, or runs a command there.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;

use clap::Args;

use super::reach::ReachFlags;
use crate::printer::Printer;
use crate::selection::Selector;
use crate::settings::Settings;
use crate::ssh::words::split_ssh;
use crate::ssh::{PROGRAM, not_installed};

/// Log in to a box, or run a command there, with ssh.
///
/// The box's host key is taken from its console and never trusted on first use. This program then becomes the system's
/// ssh: terminal, signals and exit code are ssh's own. What follows the role is ssh's: a command, whose words are joined
/// by blanks; behind --, options of ssh as well.
#[derive(Debug, Args)]
pub(super) struct Ssh {
    #[command(flatten)]
    selector: Selector,
    #[command(flatten)]
    reach: ReachFlags,
    /// Command to run on the box; behind --, options of ssh, then the command
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    words: Vec<OsString>,
}

impl Ssh {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let (options, command) = split_ssh(self.words);
        let Selector { role, among } = self.selector;
        let ssh = self.reach.reach(settings, printer, &role, &among, options).await?;
        // Comes back only if it fails.
        Err(not_installed(PROGRAM, ssh.login(&command).exec()))
    }
}
