//! `fleetkey man`: the manual pages, from the same definitions as `--help`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};

use super::Cli;

/// Write the manual pages into a folder, one for each command.
///
/// The packages have them: man fleetkey-create is the page of fleetkey create.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// Folder, which must be there, such as ~/.local/share/man/man1
    folder: PathBuf,
}

impl Man {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let folder = &self.folder;
        clap_mangen::generate_to(Cli::command(), folder)
            .with_context(|| format!("cannot write the manual pages into {}", folder.display()))
    }
}
