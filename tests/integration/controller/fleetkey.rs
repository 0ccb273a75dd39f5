//! The program, run in an account of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_credential_types::Credentials;
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::program;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a run may take on a busy machine.
const DEADLINE: Duration = Duration::from_mins(2);

/// An operator's machine: a home with credentials, and nothing else in the environment.
pub(super) struct Operator {
    pub(super) cloud: Cloud,
    home: TempDir,
    endpoint: String,
}

/// What one run of the program said.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// The program while it runs, killed when dropped.
pub(super) struct Running {
    child: Child,
    /// What of stderr was read while it ran.
    said: Vec<u8>,
}

impl Running {
    /// Another program, whose output is piped.
    pub(super) fn of(child: Child) -> Self {
        Self { child, said: Vec::new() }
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.child.id().context("the program has ended already")?;
        Ok(kill(Pid::from_raw(i32::try_from(id)?), signal)?)
    }

    /// Waits until it has said this on stderr.
    pub(super) async fn says(&mut self, words: &str) -> Result<()> {
        let stderr = self.child.stderr.as_mut().context("stderr is a pipe")?;
        let said = &mut self.said;
        let says = async {
            while !String::from_utf8_lossy(said).contains(words) {
                anyhow::ensure!(stderr.read_buf(said).await? > 0, "it ended without saying {words:?}");
            }
            Ok(())
        };
        timeout(DEADLINE, says).await.context("it does not say so")?
    }

    /// Waits until it has ended.
    pub(super) async fn end(self) -> Result<Ran> {
        let mut output = self.child.wait_with_output().await?;
        output.stderr.splice(..0, self.said);
        Operator::ran(output)
    }
}

impl Ran {
    /// Panics with all that the program said unless it ended with this code.
    #[track_caller]
    pub(super) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }

    /// The actions of the steps and their results, `put done`, of `--output json`.
    pub(super) fn steps(&self) -> Result<Vec<String>> {
        let json: serde_json::Value = serde_json::from_str(&self.stdout).context("stdout is JSON")?;
        let steps = json["steps"].as_array().context("there are steps")?;
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        Ok(steps.iter().map(|step| format!("{} {}", text(&step["action"]), text(&step["result"]))).collect())
    }
}

impl Operator {
    /// One who acts as the IAM user of this name, in a new account.
    pub(super) async fn new(user: &str) -> Result<Self> {
        let cloud = Cloud::new().await?;
        cloud.create_user(user).await?;
        let made = cloud.iam().create_access_key().user_name(user).send().await?;
        let key = made.access_key().context("CreateAccessKey gives a key")?;
        let credentials = Credentials::new(key.access_key_id(), key.secret_access_key(), None, None, "test");
        Self::with(cloud, &credentials)
    }

    /// One with these credentials.
    pub(super) fn with(cloud: Cloud, credentials: &Credentials) -> Result<Self> {
        let home = TempDir::new()?;
        std::fs::create_dir(home.path().join(".aws"))?;
        let file = cloud.with_credentials(credentials.clone()).credentials_file();
        std::fs::write(home.path().join(".aws/credentials"), file)?;
        let endpoint = cloud.endpoint().to_owned();
        Ok(Self { cloud, home, endpoint })
    }

    /// The same, going through another endpoint from now on.
    pub(super) fn go_through(&mut self, endpoint: String) {
        self.endpoint = endpoint;
    }

    /// Where something of this name is in the home.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file into the home and gives its path.
    pub(super) fn file(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.path(name);
        std::fs::write(&path, content)?;
        Ok(path)
    }

    /// A key's public half as a file.
    pub(super) fn key_file(&self, key: &TestKey) -> Result<PathBuf> {
        self.file(&format!("{}.pub", key.fingerprint().to_hex()), &format!("{}\n", key.line()))
    }

    /// Runs the program with these arguments, without a terminal.
    pub(super) async fn run(&self, arguments: &[&str]) -> Result<Ran> {
        self.run_with(arguments, &[("FLEETKEY_ZONE", "us-west-2a")]).await
    }

    /// The same with these environment variables in place of the zone.
    pub(super) async fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Ran> {
        let output = timeout(DEADLINE, self.command(arguments, variables).output()).await;
        Self::ran(output.with_context(|| format!("fleetkey {} does not end", arguments.join(" ")))??)
    }

    /// Starts the program with these arguments; it is killed when dropped.
    pub(super) fn start(&self, arguments: &[&str]) -> Result<Running> {
        let child = self.command(arguments, &[("FLEETKEY_ZONE", "us-west-2a")]).spawn()?;
        Ok(Running { child, said: Vec::new() })
    }

    /// The program with these arguments and variables, without a terminal; ended when dropped.
    pub(super) fn command(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(program("fleetkey"));
        command.args(arguments).env_clear().env("HOME", self.home.path()).env("AWS_ENDPOINT_URL", &self.endpoint);
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_MAX_ATTEMPTS", "1").envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs the program on a terminal, where somebody types this answer; what it shows is all in `stdout`.
    pub(super) async fn at_a_terminal(&self, arguments: &[&str], answer: &str) -> Result<Ran> {
        self.asked(arguments, answer, async || Ok(())).await
    }

    /// The same, where this is done before the answer is typed, once the program asks.
    pub(super) async fn asked(
        &self,
        arguments: &[&str],
        answer: &str,
        meanwhile: impl AsyncFnOnce() -> Result<()>,
    ) -> Result<Ran> {
        let command = self.command(arguments, &[("FLEETKEY_ZONE", "us-west-2a")]);
        let line = format!("{} {}", program("fleetkey").display(), arguments.join(" "));
        let variables = command.as_std().get_envs().filter_map(|(name, value)| Some((name, value?)));
        let mut terminal = Command::new("script");
        terminal.args(["-qec", &line, "/dev/null"]).env_clear().envs(variables).kill_on_drop(true);
        let mut running = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut shown = Vec::new();
        let stdout = running.stdout.as_mut().context("stdout is a pipe")?;
        let asks = async {
            while !shown.ends_with(b"[y/N] ") && stdout.read_buf(&mut shown).await? > 0 {}
            anyhow::Ok(())
        };
        timeout(DEADLINE, asks).await.context("nothing is asked")??;
        meanwhile().await?;
        running.stdin.as_mut().context("stdin is a pipe")?.write_all(answer.as_bytes()).await?;
        let mut output =
            timeout(DEADLINE, running.wait_with_output()).await.context("the question is not answered")??;
        output.stdout.splice(..0, shown);
        Self::ran(output)
    }

    fn ran(output: Output) -> Result<Ran> {
        let text = |bytes| String::from_utf8(bytes).context("the program prints UTF-8");
        Ok(Ran { code: output.status.code(), stdout: text(output.stdout)?, stderr: text(output.stderr)? })
    }

    /// `register-key FILE --output json` and more.
    pub(super) async fn register(&self, file: &Path, more: &[&str]) -> Result<Ran> {
        let file = file.to_str().context("the path is text")?;
        self.run(&[&["register-key", file, "--output", "json"], more].concat()).await
    }

    /// `revoke-key --yes --output json` and more.
    pub(super) async fn revoke(&self, more: &[&str]) -> Result<Ran> {
        self.run(&[&["revoke-key", "--yes", "--output", "json"], more].concat()).await
    }

    /// The key pairs of the region: name to public half, `type base64`.
    pub(super) async fn pairs(&self) -> Result<BTreeMap<String, String>> {
        let answer = self.cloud.ec2().describe_key_pairs().include_public_key(true).send().await?;
        let pairs = answer.key_pairs().iter();
        let half = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        Ok(pairs.filter_map(|pair| Some((pair.key_name()?.to_owned(), half(pair.public_key()?.trim())))).collect())
    }
}
