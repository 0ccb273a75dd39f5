//! `man`: the manual pages, from the same definitions as `--help`. Called where the packages are made; on a box they are there.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};

use super::Cli;

/// The section of what only administrators call: man(1).
const SECTION: &str = "8";

/// Write the manual pages into a folder: the program's, and one for each command.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// Folder, which must be there
    folder: PathBuf,
}

impl Man {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let mut program = Cli::command().disable_help_subcommand(true);
        program.build();
        let commands = program.get_subcommands().filter(|command| !command.is_hide_set());
        for command in std::iter::once(&program).chain(commands) {
            let page = clap_mangen::Man::new(command.clone()).section(SECTION);
            page.generate_to(&self.folder)
                .with_context(|| format!("cannot write the manual pages into {}", self.folder.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_that_the_unit_names_and_one_for_each_command_are_written() {
        let folder = tempfile::tempdir().unwrap();
        Man { folder: folder.path().to_owned() }.execute().unwrap();
        let unit = include_str!("../../../systemd/fleetkey-agent.service");
        let named: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("Documentation=man:")).collect();
        assert_eq!(named, ["fleetkey-agent(8)"]);
        let page = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(page("fleetkey-agent.8").contains("fleetkey\\-agent\\-run(8)"), "{}", page("fleetkey-agent.8"));
        assert!(page("fleetkey-agent-stay.8").contains("\\-\\-clear"), "{}", page("fleetkey-agent-stay.8"));
        assert!(!folder.path().join("fleetkey-agent-man.8").exists(), "it is for those who make packages");
    }
}
