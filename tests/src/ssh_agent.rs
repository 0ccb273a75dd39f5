//! An ssh-agent that holds one key: how an operator's programs find it without a file in a home.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;

use crate::keys::TestKey;
use crate::process::{Kept, bound};
use crate::scratch::Scratch;
use crate::wait_until;

/// How long an agent may take to listen; it takes milliseconds.
const SOON: Duration = Duration::from_secs(30);

/// A running ssh-agent, gone when dropped.
#[derive(Debug)]
pub struct SshAgent {
    _process: Kept,
    folder: Scratch,
}

impl SshAgent {
    /// Starts an agent that knows this key.
    pub fn holding(key: &TestKey) -> Result<Self> {
        let folder = Scratch::new()?;
        let socket = folder.path().join("agent");
        let mut command = bound("ssh-agent");
        command.args(["-D", "-a"]).arg(&socket).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Kept::start("an ssh-agent", command)?;
        // The socket is there a moment before the agent listens.
        wait_until("an ssh-agent takes the key", SOON, || Ok(socket.exists() && add(key, &socket)?))?;
        Ok(Self { _process: process, folder })
    }

    /// What `SSH_AUTH_SOCK` is to say.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("agent")
    }
}

fn add(key: &TestKey, socket: &Path) -> Result<bool> {
    let mut command = Command::new("ssh-add");
    command.arg("-q").arg(key.private()).env("SSH_AUTH_SOCK", socket).stderr(Stdio::null());
    Ok(command.status()?.success())
}
