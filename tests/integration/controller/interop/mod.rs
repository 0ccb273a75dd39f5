//! A fleet that moves over: CGCloud on one side, Fleetkey on the other, in one account, each reading what the other wrote.
//!
//! CGCloud is played by `cgcloud.py`, which shares no line with Fleetkey and follows CGCloud's own code: names, bucket,
//! message, tags, and its agent.

mod boxes;
mod keys;
mod names;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::moto;
use fleetkey_tests::process::{Kept, bound};
use serde_json::Value;
use tempfile::TempDir;

use super::fleetkey::Operator;

/// CGCloud's topic.
const TOPIC: &str = "cgcloud-agent-notifications";

/// One machine with CGCloud on it, in an account that others are in too.
struct CgCloud {
    cloud: Cloud,
    folder: TempDir,
}

impl CgCloud {
    fn new(cloud: &Cloud) -> Result<Self> {
        Ok(Self { cloud: cloud.clone(), folder: TempDir::new()? })
    }

    /// CGCloud's bucket in this account.
    fn bucket(&self) -> String {
        format!("{}-cgcloud", self.cloud.account_id())
    }

    /// Where a file of this name is.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/controller/interop/cgcloud.py");
        let credentials = self.cloud.credentials();
        let mut command = bound(moto::environment()?.join("bin/python"));
        command.arg(script).args(arguments).env_clear().current_dir(self.folder.path());
        command.env("AWS_ENDPOINT_URL", self.cloud.endpoint()).env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_ACCESS_KEY_ID", credentials.access_key_id());
        command.env("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key());
        command.env("AWS_SESSION_TOKEN", credentials.session_token().unwrap_or_default());
        command.stdin(Stdio::null());
        Ok(command)
    }

    /// Runs one of its verbs, and gives what it printed.
    fn run(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.command(arguments)?.output().context("python can be run")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "CGCloud's {arguments:?}: {said}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The error of a verb that it refuses.
    fn refused(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments)?.output().context("python can be run")?;
        ensure!(!output.status.success(), "CGCloud's {arguments:?} is not refused");
        Ok(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    /// Its agent, which keeps this file as those specs say; ended when dropped.
    fn agent(&self, host: &str, file: &str, specs: &[&str]) -> Result<Kept> {
        Kept::start("CGCloud's agent", self.command(&[&["agent", host, file], specs].concat())?)
    }

    /// The lines of the file that its agent keeps; none when it has not begun to.
    fn lines(&self, file: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// An operator of Fleetkey in the account in which CGCloud is.
async fn beside() -> Result<(Operator, CgCloud)> {
    let operator = Operator::new("alice").await?;
    let old = CgCloud::new(&operator.cloud)?;
    Ok((operator, old))
}
