//! Operators: people with an IAM user, a home and keys of their own, who run the real `fleetkey` in the local cloud.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aws_sdk_ec2::types::{Filter, Instance, InstanceStateName};
use fleetkey_localcloud::CloudBox;
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::process::{Kept, bound, signal};
use fleetkey_tests::ssh_agent::SshAgent;
use fleetkey_tests::{program, wait_until};
use nix::sys::signal::Signal;
use tempfile::{NamedTempFile, TempDir};

use crate::world::World;

/// The role of most boxes here.
pub(crate) const ROLE: &str = "generic-debian-12-box";

/// How long anything that should happen may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// How long one command of an operator may take: a box boots within it.
const PATIENCE: Duration = Duration::from_mins(3);

/// The words that make an ssh of a test ask nobody anything.
const UNATTENDED: [&str; 4] = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=60"];

/// A person who runs `fleetkey`.
pub(crate) struct Operator {
    pub(crate) world: &'static World,
    /// The cloud's account, for calls of the test's own.
    pub(crate) account: Cloud,
    pub(crate) name: String,
    pub(crate) key: TestKey,
    namespace: String,
    home: TempDir,
    /// Holds the person's one key, as an operator's desktop does.
    keys: SshAgent,
    /// Whether others use the boxes of the namespace after this person.
    shares_boxes: bool,
}

/// What one run of the program said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Panics with all that the program said unless it ended with this code.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }
}

/// The program while it runs; killed when dropped.
pub(crate) struct Running {
    process: Kept,
    stdout: NamedTempFile,
    stderr: NamedTempFile,
}

impl Running {
    /// What it has said on stderr so far.
    pub(crate) fn said(&self) -> Result<String> {
        text(&self.stderr)
    }

    /// What it has printed on stdout so far.
    pub(crate) fn heard(&self) -> Result<String> {
        text(&self.stdout)
    }

    /// Whether it runs no more.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.process.ended()?.is_some())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, which: Signal) -> Result<()> {
        signal(self.process.pid(), which)
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Result<Ran> {
        let waited = self.process.wait(PATIENCE);
        let status = waited.with_context(|| format!("it said:\n{}", self.said().unwrap_or_default()))?;
        Ok(Ran { code: status.code(), stdout: text(&self.stdout)?, stderr: text(&self.stderr)? })
    }
}

impl Operator {
    /// A new person in the cloud's account, who works in this namespace and has registered a key.
    pub(crate) async fn new(name: &str, namespace: &str) -> Result<Self> {
        let person = Self::unregistered(name, namespace).await?;
        let file = person.file("key.pub", &format!("{}\n", person.key.line()))?;
        person.run(&["register-key", utf8(&file)?])?.ended(0);
        Ok(person)
    }

    /// One whose key nobody has heard of.
    pub(crate) async fn unregistered(name: &str, namespace: &str) -> Result<Self> {
        let world = World::get()?;
        let account = world.cloud.account();
        account.create_user(name).await?;
        let allowed = account.iam().put_user_policy().user_name(name).policy_name("all");
        let all = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
        allowed.policy_document(all).send().await?;
        let made = account.iam().create_access_key().user_name(name).send().await?;
        let credentials = made.access_key().context("CreateAccessKey gives a key")?;
        // In the cloud's folder, which goes with the cloud also when the tests are killed.
        let home = TempDir::new_in(world.cloud.folder())?;
        std::fs::create_dir(home.path().join(".aws"))?;
        let lines = format!(
            "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            credentials.access_key_id(),
            credentials.secret_access_key()
        );
        std::fs::write(home.path().join(".aws/credentials"), lines)?;
        let key = TestKey::new(name)?;
        let keys = SshAgent::holding(&key)?;
        let (name, namespace) = (name.to_owned(), namespace.to_owned());
        Ok(Self { world, account, name, key, namespace, home, keys, shares_boxes: false })
    }

    /// Leaves the boxes of the namespace to others.
    pub(crate) fn sharing_boxes(mut self) -> Self {
        self.shares_boxes = true;
        self
    }

    /// The person's home.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes a file into the home and gives its path.
    pub(crate) fn file(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.home.path().join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, content)?;
        Ok(path)
    }

    /// A command in the cloud's network, with nothing in its environment but what an operator has.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let within = self.world.cloud.command(program);
        let mut command = bound(within.get_program());
        command.args(within.get_args()).env_clear().stdin(Stdio::null());
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", self.home.path());
        command.env("SSH_AUTH_SOCK", self.keys.socket());
        command.env("AWS_ENDPOINT_URL", self.world.cloud.endpoint()).env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("FLEETKEY_ZONE", World::ZONE).env("FLEETKEY_NAMESPACE", &self.namespace);
        command
    }

    /// Starts `fleetkey` with these arguments.
    pub(crate) fn start(&self, arguments: &[&str]) -> Result<Running> {
        let mut command = self.command(&program("fleetkey"));
        command.args(arguments);
        start(command)
    }

    /// Runs `fleetkey` with these arguments, without a terminal, to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Ran> {
        self.start(arguments)?.wait()
    }

    /// `fleetkey ssh` to the one box of the role, to run these words there.
    pub(crate) fn ssh(&self, words: &[&str]) -> Result<Ran> {
        self.ssh_to(&[ROLE], words)
    }

    /// The same to the box that these arguments choose.
    pub(crate) fn ssh_to(&self, which: &[&str], words: &[&str]) -> Result<Ran> {
        self.run(&[&["ssh"], which, &["--"], &UNATTENDED, words].concat())
    }

    /// Whether the person gets in.
    pub(crate) fn gets_in(&self) -> Result<bool> {
        self.gets_in_to(&[ROLE])
    }

    /// Whether the person gets in to the box that these arguments choose.
    ///
    /// # Errors
    /// When it is not for lack of permission that they do not.
    pub(crate) fn gets_in_to(&self, which: &[&str]) -> Result<bool> {
        let ran = self.ssh_to(which, &["true"])?;
        let refused = ran.stderr.contains("Permission denied (publickey");
        ensure!(ran.code == Some(0) || refused, "fleetkey ssh {which:?} ended with {:?}: {}", ran.code, ran.stderr);
        Ok(ran.code == Some(0))
    }

    /// Waits until the person gets in, or no longer does; returns the time that took.
    pub(crate) fn wait_for_login(&self, lets_in: bool) -> Result<Duration> {
        let what = format!("{} {} the box", self.name, if lets_in { "gets into" } else { "is kept out of" });
        wait_until(&what, SOON, || Ok(self.gets_in()? == lets_in))
    }

    /// `fleetkey create` of the role, and the box that came of it.
    pub(crate) async fn create(&self, more: &[&str]) -> Result<CloudBox> {
        self.run(&[&["create", ROLE], more].concat())?.ended(0);
        self.only_box().await
    }

    /// The one box of the namespace that runs.
    pub(crate) async fn only_box(&self) -> Result<CloudBox> {
        let there = self.instances().await?;
        let ids: Vec<_> = there.iter().filter_map(Instance::instance_id).collect();
        ensure!(ids.len() == 1, "there is not one box but {ids:?}");
        self.world.cloud.running(ids[0]).with_context(|| format!("{} does not run", ids[0]))
    }

    /// The instances of the namespace that are not terminated, as EC2 itself tells of them.
    pub(crate) async fn instances(&self) -> Result<Vec<Instance>> {
        live(&self.account, self.name_filter()).await
    }

    /// All instances that were ever launched in the namespace.
    pub(crate) async fn launched(&self) -> Result<Vec<Instance>> {
        launched(&self.account, self.name_filter()).await
    }

    /// Those whose name is in the namespace: `/ns/role` is `ns_role` in AWS.
    fn name_filter(&self) -> Filter {
        let pattern = format!("{}*", self.namespace.trim_start_matches('/').replace('_', "__").replace('/', "_"));
        Filter::builder().name("tag:Name").values(pattern).build()
    }

    /// Waits until hints reach a box by a queue of its own.
    pub(crate) async fn wait_for_queue(&self, booted: &CloudBox) -> Result<()> {
        let start = Instant::now();
        while !self.account.subscriptions().await?.iter().any(|arn| arn.ends_with(booted.instance_id())) {
            ensure!(start.elapsed() < SOON, "the queue of {} is not subscribed", booted.instance_id());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Tells the agents to look, as the controller does.
    pub(crate) async fn hint(&self) -> Result<()> {
        let arn = self.account.create_topic(Cloud::TOPIC).await?;
        self.account.publish_hint(&arn).await
    }
}

impl Drop for Operator {
    /// Has EC2 terminate the boxes of the namespace: all that run share what the kernel gives root of inotify, which is
    /// enough for sixteen.
    fn drop(&mut self) {
        if self.shares_boxes {
            return;
        }
        // A thread and a client of its own: the test's runtime, which drives connections that it made, stands still here.
        let (account, filter) = (self.world.cloud.account(), self.name_filter());
        let ended = std::thread::spawn(move || terminate(&account, filter)).join();
        if !matches!(ended, Ok(Ok(()))) {
            let mut stderr = std::io::stderr();
            let _ = writeln!(stderr, "the boxes of {} are left to the end of the cloud: {ended:?}", self.name);
        }
    }
}

fn terminate(account: &Cloud, filter: Filter) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let all = async {
        let ids = live(account, filter).await?.into_iter().filter_map(|found| found.instance_id).collect::<Vec<_>>();
        if !ids.is_empty() {
            account.ec2().terminate_instances().set_instance_ids(Some(ids)).send().await?;
        }
        Ok(())
    };
    runtime.block_on(async { tokio::time::timeout(SOON, all).await? })
}

async fn launched(account: &Cloud, filter: Filter) -> Result<Vec<Instance>> {
    let mut pages = account.ec2().describe_instances().filters(filter).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.try_next().await? {
        found.extend(
            page.reservations.unwrap_or_default().into_iter().flat_map(|one| one.instances.unwrap_or_default()),
        );
    }
    Ok(found)
}

async fn live(account: &Cloud, filter: Filter) -> Result<Vec<Instance>> {
    let mut found = launched(account, filter).await?;
    let gone = [InstanceStateName::Terminated, InstanceStateName::ShuttingDown];
    found.retain(|one| {
        let state = one.state().and_then(|state| state.name());
        state.is_none_or(|state| !gone.contains(state))
    });
    Ok(found)
}

/// Starts a command whose output can be looked at while it runs.
pub(crate) fn start(mut command: Command) -> Result<Running> {
    let folder = World::get()?.cloud.folder();
    let (stdout, stderr) = (NamedTempFile::new_in(folder)?, NamedTempFile::new_in(folder)?);
    command.stdout(stdout.reopen()?).stderr(stderr.reopen()?);
    Ok(Running { process: Kept::start("fleetkey", command)?, stdout, stderr })
}

fn text(file: &NamedTempFile) -> Result<String> {
    let mut bytes = Vec::new();
    File::open(file.path())?.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A path as text.
pub(crate) fn utf8(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
