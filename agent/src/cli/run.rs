//! `run`: the service.

use std::process::ExitCode;

use clap::Args;

use super::{Configured, block_on, helper, require_root};
use crate::app::{self, Start};
use crate::lock;
use crate::write::look_up;

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    configured: Configured,
}

impl Run {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        self.configured.log.start(None);
        require_root("run")?;
        let loaded = self.configured.load()?;
        // cloud-init may be about to make the account: it is looked up anew at every pass.
        for problem in loaded.unknown_accounts(|account| look_up(account).is_ok()) {
            tracing::warn!(action = "config", "{problem}");
        }
        let _lock = lock::take(&loaded.settings.paths.runtime)?;
        let Configured { config, flags, .. } = self.configured;
        block_on(app::run(Start { config, flags, settings: loaded.settings, helper: helper() }))?;
        Ok(ExitCode::SUCCESS)
    }
}
