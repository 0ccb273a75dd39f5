//! `check-config`: is the configuration valid, and what does it come to.

use std::process::ExitCode;

use clap::Args;

use super::Configured;
use super::output::{data, note};
use crate::config::describe;
use crate::write::look_up;

#[derive(Debug, Args)]
pub(super) struct CheckConfig {
    #[command(flatten)]
    configured: Configured,
}

impl CheckConfig {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        self.configured.log.start(None);
        let loaded = self.configured.load()?;
        data(describe(&loaded.settings))?;
        let unknown = loaded.unknown_accounts(|account| look_up(account).is_ok());
        for problem in &unknown {
            note(&problem.to_string());
        }
        Ok(if unknown.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
