//! A real sshd inside a sandbox, and logins to it with the real client.
//!
//! Neither reads any configuration, key or known host of the machine.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::keys::TestKey;
use crate::log::Log;
use crate::process::{Kept, describe};
use crate::sandbox::Sandbox;
use crate::wait_until;

/// The folder, inside, of the server's configuration and host key.
const FOLDER: &str = "/run/test-sshd";

/// How long the server may take to listen.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// What every server is told, after the caller's own lines: sshd_config(5) takes the first value of each.
const CONFIGURATION: &str = "\
StrictModes yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
LogLevel VERBOSE
MaxStartups 100
PrintMotd no
";

/// A running sshd on a loopback port of the sandbox's network.
#[derive(Debug)]
pub struct Sshd<'sandbox> {
    sandbox: &'sandbox Sandbox,
    process: Kept,
    log: Log,
    port: u16,
    known_hosts: PathBuf,
}

impl<'sandbox> Sshd<'sandbox> {
    /// Starts sshd with these lines of sshd_config(5), such as `AuthorizedKeysFile ...`, and waits until it listens.
    pub fn start(sandbox: &'sandbox Sandbox, lines: &str) -> Result<Self> {
        let host_key = format!("{FOLDER}/host_key");
        if !sandbox.path(&host_key).exists() {
            sandbox.run("mkdir", &["-p", "-m", "0700", FOLDER])?;
            sandbox.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &host_key])?;
        }
        let public = sandbox.read(format!("{host_key}.pub"))?;
        // Nobody can hold a port for sshd, which opens its own: when another is faster, it is tried again.
        for _ in 0..5 {
            let port = free_port()?;
            let pid_file = format!("PidFile none\nListenAddress 127.0.0.1:{port}\nHostKey {host_key}\n");
            let file = format!("{FOLDER}/sshd_config_{port}");
            sandbox.write(&file, format!("{lines}\n{CONFIGURATION}{pid_file}"))?;
            let log = Log::new()?;
            let mut command = sandbox.command("/usr/sbin/sshd");
            command.args(["-D", "-e", "-f", &file]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.writer()?);
            let mut process = Kept::start("sshd", command)?;
            if listens(&mut process, &log)? {
                let known_hosts = sandbox.scratch().join(format!("known_hosts_{port}"));
                fs::write(&known_hosts, format!("[127.0.0.1]:{port} {public}"))?;
                return Ok(Self { sandbox, process, log, port, known_hosts });
            }
        }
        bail!("sshd found every port taken, five times over")
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the command that runs sshd.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What sshd wrote.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Whether the key lets one log in to the account and run a command.
    ///
    /// # Errors
    /// When the client could not find that out: no connection, another host key, a failed command.
    pub fn can_log_in(&self, account: &str, key: &TestKey) -> Result<bool> {
        let output = self.client(account, key).arg("true").stdin(Stdio::null()).output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => Ok(true),
            Some(255) if stderr.contains("Permission denied") => Ok(false),
            _ => bail!("ssh: {}: {stderr}\nsshd says:\n{}", describe(output.status), self.log.text()?),
        }
    }

    /// Waits until [`Sshd::can_log_in`] answers `wanted`; returns the time that took, a login at a time.
    pub fn wait_for_login(&self, account: &str, key: &TestKey, wanted: bool, deadline: Duration) -> Result<Duration> {
        let what = format!("{account} {} with {}", if wanted { "lets in" } else { "turns away" }, key.fingerprint());
        wait_until(&what, deadline, || Ok(self.can_log_in(account, key)? == wanted))
    }

    /// The ssh client, ready for the words of a remote command.
    pub fn client(&self, account: &str, key: &TestKey) -> Command {
        let mut command = self.sandbox.host_command("ssh");
        command.args(["-F", "none", "-T", "-p", &self.port.to_string(), "-l", account, "-i"]).arg(key.private());
        let known_hosts = format!("UserKnownHostsFile={}", self.known_hosts.display());
        for option in [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "StrictHostKeyChecking=yes",
            "GlobalKnownHostsFile=/dev/null",
            "ConnectTimeout=60",
            "PreferredAuthentications=publickey",
            known_hosts.as_str(),
        ] {
            command.args(["-o", option]);
        }
        command.arg("127.0.0.1");
        command
    }
}

/// Waits until sshd listens; false when its port was taken.
fn listens(process: &mut Kept, log: &Log) -> Result<bool> {
    let mut up = false;
    wait_until("sshd listens", START_DEADLINE, || {
        let text = log.text()?;
        up = text.contains("Server listening on");
        let ended = process.ended()?;
        let taken = text.contains("Address already in use");
        ensure!(up || taken || ended.is_none(), "sshd ended: {text}");
        Ok(up || ended.is_some())
    })?;
    Ok(up)
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
