//! The owner's handle of a cloud.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use aws_credential_types::Credentials;
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::process::let_end;

use crate::cloud_box::CloudBox;
use crate::hello::{Hello, Up};
use crate::inside;

/// How long the end of everything may take; under a second when the machine is idle.
const PATIENCE: Duration = Duration::from_mins(1);

/// How a cloud is started.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Whether signatures and IAM policies are checked, as AWS does; moto does not unless told.
    pub enforce_iam: bool,
}

/// A running cloud. Ends, with all in it, when dropped or when this process does, in whatever way.
#[derive(Debug)]
pub struct LocalCloud {
    keeper: Child,
    /// Held open for as long as the cloud is wanted.
    alive: Option<ChildStdin>,
    up: Up,
}

impl LocalCloud {
    /// Starts a cloud and waits until its API answers. The first one on a machine makes the root file system, which
    /// takes a minute.
    ///
    /// # Errors
    /// What is missing on this machine: root, namespaces, a package. What the cloud says when it does not come up.
    pub fn start(options: Options) -> Result<Self> {
        let mut command = Command::new(fleetkey_tests::program("fleetkey-localcloud"));
        command.arg("keep");
        if options.enforce_iam {
            command.arg("--enforce-iam");
        }
        // Ctrl-C at the owner's terminal is the owner's; the keeper goes by what becomes of the owner.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut keeper = command.spawn().context("cannot start the keeper of a cloud")?;
        let alive = keeper.stdin.take();
        let output = keeper.stdout.take().context("stdout was asked for")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        match serde_json::from_str(&line) {
            Ok(Hello::Up(up)) => Ok(Self { keeper, alive, up }),
            Ok(Hello::Failed(reason)) => {
                drop(alive);
                keeper.wait()?;
                bail!("{reason}")
            }
            Err(error) => bail!("the keeper of the cloud says {line:?}: {error}"),
        }
    }

    /// Where the AWS API is, for boxes and for what [`LocalCloud::command`] runs.
    pub fn endpoint(&self) -> &str {
        &self.up.endpoint
    }

    /// Where the AWS API is, for processes of the machine, such as this one.
    pub fn outer_endpoint(&self) -> &str {
        &self.up.outer_endpoint
    }

    /// The cloud's one account, for calls from this process.
    pub fn account(&self) -> Cloud {
        let up = &self.up;
        let token = Some(up.session_token.clone());
        let credentials = Credentials::new(&up.access_key_id, &up.secret_access_key, token, None, "local cloud");
        Cloud::with(up.account_id.clone(), &up.outer_endpoint, credentials)
    }

    /// The id of the machine image of Debian 12.
    pub fn image_id(&self) -> &str {
        &self.up.image_id
    }

    /// A command of this machine in the cloud's network, with endpoint, region and credentials of the cloud in its
    /// environment. It reaches boxes by their addresses and nothing else.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.up.init)).args(["--net", "--"]).arg(program);
        command.envs(self.environment());
        command
    }

    /// What [`LocalCloud::command`] puts into the environment.
    pub fn environment(&self) -> [(&'static str, String); 7] {
        let up = &self.up;
        [
            ("AWS_ENDPOINT_URL", up.endpoint.clone()),
            ("AWS_REGION", Cloud::REGION.to_owned()),
            ("AWS_DEFAULT_REGION", Cloud::REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", up.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", up.secret_access_key.clone()),
            ("AWS_SESSION_TOKEN", up.session_token.clone()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    /// The box of an instance; `None` when there is none that runs.
    pub fn running(&self, instance_id: &str) -> Option<CloudBox> {
        CloudBox::of(self.up.init, &self.up.folder, instance_id)
    }

    /// What an instance has printed to its console since it was last started; empty when it never was.
    pub fn console(&self, instance_id: &str) -> String {
        inside::console(&self.up.folder, instance_id)
    }

    /// Takes an instance off the network, as if its cable were pulled, until [`LocalCloud::restore_network`]; also
    /// one that is stopped, and starts so.
    pub fn cut_network(&self, instance_id: &str) -> Result<()> {
        self.control(&format!("/boxes/{instance_id}/cut"))
    }

    /// Undoes [`LocalCloud::cut_network`].
    pub fn restore_network(&self, instance_id: &str) -> Result<()> {
        self.control(&format!("/boxes/{instance_id}/restore"))
    }

    /// The cloud's folder on this machine: logs, and the disks of boxes.
    pub fn folder(&self) -> &Path {
        &self.up.folder
    }

    /// What the cloud noted, and what it could not do.
    pub fn log(&self) -> String {
        let read = std::fs::read(self.up.folder.join("log"));
        read.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The process id of the keeper, whose end is the cloud's.
    pub fn keeper_pid(&self) -> u32 {
        self.keeper.id()
    }

    fn control(&self, path: &str) -> Result<()> {
        use std::io::{Read as _, Write as _};
        let address = self.up.outer_endpoint.trim_start_matches("http://");
        let mut stream = std::net::TcpStream::connect(address).context("the cloud is gone")?;
        let head = format!("POST {}{path} HTTP/1.1\r\nHost: {address}", inside::CONTROL);
        write!(stream, "{head}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "the cloud answers {path} with {answer}");
        Ok(())
    }
}

impl Drop for LocalCloud {
    fn drop(&mut self) {
        drop(self.alive.take());
        let_end(&mut self.keeper, PATIENCE);
    }
}
