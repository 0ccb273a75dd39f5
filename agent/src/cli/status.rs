//! `status`: how the running agent stands.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;

use super::output::{data, note};
use crate::config::settings::PathSettings;
use crate::lock;
use crate::report::Status;
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct StatusCommand {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    /// The agent's runtime folder
    #[arg(long, value_name = "FOLDER", default_value = "/run/fleetkey")]
    runtime_folder: PathBuf,
}

impl StatusCommand {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        super::require_root("status")?;
        let runtime = self.runtime_folder;
        let running = lock::is_held(&runtime);
        let paths = PathSettings { runtime, state: PathBuf::new(), system_keys: PathBuf::new() };
        let bytes = match Store::new(&paths).load_status() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                anyhow::bail!(
                    "the agent has not run since the box started; start it with: systemctl start fleetkey-agent"
                )
            }
            Err(error) => return Err(error).context("cannot read the status"),
        };
        let status: Status = serde_json::from_slice(&bytes).context("the status file is damaged")?;
        if self.json {
            data(format!("{}\n", String::from_utf8_lossy(&bytes).trim_end()))?;
        } else {
            data(status.to_text(Timestamp::now()))?;
        }
        if !running {
            note("the agent is NOT running; this is how it stood when it ended");
        }
        Ok(if running && status.in_step() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
