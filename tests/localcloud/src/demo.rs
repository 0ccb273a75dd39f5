//! The last act of the demo: an operator launches a box, people come and go, and the box is imaged and brought back.
//!
//! Everything that the operator does is the real `fleetkey`, and every login a real ssh. Nothing outlives the act.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::demo::{Outcome, Stop, Story};
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::program;
use fleetkey_tests::scratch::Scratch;
use fleetkey_tests::ssh_agent::SshAgent;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::{LocalCloud, Options};

/// What is launched.
const ROLE: &str = "generic-debian-12-box";

/// Whom the box lets in.
const GROUP: &str = "developers";

/// Where the boxes are, as names go.
const NAMESPACE: &str = "/demo/";

/// What alice leaves on the box, to find it again.
const NOTE: &str = "remember me";

/// How long a change may take to reach a box, and a box to boot. On an idle machine it is moments, and ten seconds.
const PATIENCE: Duration = Duration::from_mins(3);

/// Time between two looks.
const TICK: Duration = Duration::from_millis(50);

/// Makes the packages of programs that are built.
const PACKAGING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/build");

/// Plays the act; all that it built is gone when this returns.
pub fn play(story: &mut Story<'_>, runtime: &Runtime) -> Result<(), Stop> {
    story.act("Act 3. An operator launches a box, images it and brings it back");
    let cloud = story.prepare("a small EC2 on this machine", || LocalCloud::start(Options::default()))?;
    let cancel = story.cancel();
    let office =
        story.prepare("an account, its people, the agent's package", || Office::open(&cloud, runtime, cancel))?;
    story.note(
        "    Each line is the real program; boxes boot a Debian of their own, and set themselves up by cloud-init.",
    );
    office.tell(story)
}

/// The operator's desk.
struct Office<'c> {
    cloud: &'c LocalCloud,
    account: Cloud,
    runtime: &'c Runtime,
    cancel: CancellationToken,
    home: Scratch,
    topic: String,
    alice: TestKey,
    bob: TestKey,
    /// Holds alice's key, since the desk is hers.
    keys: SshAgent,
}

impl<'c> Office<'c> {
    fn open(cloud: &'c LocalCloud, runtime: &'c Runtime, cancel: CancellationToken) -> Result<Self> {
        let account = cloud.account();
        let topic = runtime.block_on(async {
            for user in ["alice", "bob"] {
                account.create_user(user).await?;
            }
            account.create_group(GROUP).await?;
            account.create_topic(Cloud::TOPIC).await
        })?;
        let (alice, bob) = (TestKey::new("alice@laptop")?, TestKey::new("bob@laptop")?);
        let keys = SshAgent::holding(&alice)?;
        let office = Self { cloud, account, runtime, cancel, home: Scratch::new()?, topic, alice, bob, keys };
        for (name, key) in [("alice", &office.alice), ("bob", &office.bob)] {
            std::fs::write(office.home.path().join(format!("{name}.pub")), format!("{}\n", key.line()))?;
        }
        office.build_package()?;
        Ok(office)
    }

    fn build_package(&self) -> Result<()> {
        // A folder with nothing but the agent, so that only its packages are made.
        let folder = self.home.path().join("programs");
        std::fs::create_dir(&folder)?;
        std::os::unix::fs::symlink(program("fleetkey-agent"), folder.join("fleetkey-agent"))?;
        let mut command = Command::new(PACKAGING);
        command.arg(folder).arg(self.packages()).arg(std::env::consts::ARCH);
        let output = command.stdin(Stdio::null()).output().context("cannot run packaging/build")?;
        ensure!(output.status.success(), "packaging/build: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn packages(&self) -> std::path::PathBuf {
        self.home.path().join("packages")
    }

    fn tell(&self, story: &mut Story<'_>) -> Result<(), Stop> {
        story.step("fleetkey register-key, alice's and bob's", || self.register())?;
        story.step("fleetkey agent publish", || self.publish())?;
        story.step(&format!("fleetkey create {ROLE} -k alice @@{GROUP}"), || self.create())?;
        story.step(&format!("fleetkey ssh {ROLE}"), || self.leave_note())?;
        story.step(&format!("bob joins {GROUP}"), || self.bob_joins())?;
        story.step(&format!("bob leaves {GROUP}"), || self.bob_leaves())?;
        story.step("fleetkey stop", || self.done(&["stop", ROLE], "off, its disk kept"))?;
        story.step("fleetkey image", || self.done(&["image", ROLE], "taken"))?;
        story.step("fleetkey terminate", || self.done(&["terminate", ROLE, "--yes"], "gone"))?;
        story.step("fleetkey recreate, from the image", || self.recreate())?;
        story.step("fleetkey list", || self.list())
    }

    fn register(&self) -> Result<Outcome> {
        for name in ["alice", "bob"] {
            self.fleetkey(&["register-key", &format!("{name}.pub"), "--person", name])?;
        }
        Ok(Outcome::held())
    }

    fn publish(&self) -> Result<Outcome> {
        let packages =
            std::fs::read_dir(self.packages())?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        let is_debian = |path: &&std::path::PathBuf| path.extension().is_some_and(|kind| kind == "deb");
        let named = |path: &&std::path::PathBuf| path.to_string_lossy().contains("fleetkey-agent");
        let package = packages.iter().filter(is_debian).find(named).context("packaging/build makes a .deb")?;
        self.fleetkey(&["agent", "publish", &package.to_string_lossy()])?;
        Ok(Outcome::held().saying("the .deb is in the bucket, under its digest"))
    }

    fn create(&self) -> Result<Outcome> {
        self.fleetkey(&["create", ROLE, "--keypairs", "alice", &format!("@@{GROUP}")])?;
        Ok(Outcome::held().saying("it runs, and its host key is known"))
    }

    fn leave_note(&self) -> Result<Outcome> {
        self.expect("alice", &self.alice, true)?;
        let said = self.login(&self.alice, &format!("echo {NOTE} >note; hostname"))?;
        ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        Ok(Outcome::held().saying(format!("alice is in, on {}", String::from_utf8_lossy(&said.stdout).trim())))
    }

    fn bob_joins(&self) -> Result<Outcome> {
        self.expect("bob, who is in no group,", &self.bob, false)?;
        self.runtime.block_on(self.account.add_to_group("bob", GROUP))?;
        self.follow("bob may log in", true)?;
        Ok(Outcome::held().saying("he is in"))
    }

    fn bob_leaves(&self) -> Result<Outcome> {
        self.runtime.block_on(self.account.remove_from_group("bob", GROUP))?;
        self.follow("bob may not log in", false)?;
        self.expect("alice", &self.alice, true)?;
        Ok(Outcome::held().saying("he is out"))
    }

    fn recreate(&self) -> Result<Outcome> {
        self.fleetkey(&["recreate", ROLE, "-i", "-1", "--keypairs", "alice", &format!("@@{GROUP}")])?;
        let said = self.login(&self.alice, "cat note")?;
        let note = String::from_utf8_lossy(&said.stdout);
        ensure!(note.trim() == NOTE, "alice's note says {note:?} {}", String::from_utf8_lossy(&said.stderr));
        self.expect("bob", &self.bob, false)?;
        Ok(Outcome::held().saying("alice's file is there, bob is still out"))
    }

    fn list(&self) -> Result<Outcome> {
        Ok(Outcome::held().quoting(&self.fleetkey(&["list"])?))
    }

    fn done(&self, arguments: &[&str], detail: &str) -> Result<Outcome> {
        self.fleetkey(arguments)?;
        Ok(Outcome::held().saying(detail))
    }

    /// Publishes the hint, and waits until bob is let in, or is not.
    fn follow(&self, what: &str, wanted: bool) -> Result<()> {
        self.runtime.block_on(self.account.publish_hint(&self.topic))?;
        let start = Instant::now();
        while self.gets_in(&self.bob)? != wanted {
            ensure!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        }
        Ok(())
    }

    fn expect(&self, who: &str, key: &TestKey, wanted: bool) -> Result<()> {
        let said = if wanted { "is refused" } else { "gets in" };
        ensure!(self.gets_in(key)? == wanted, "{who} {said}");
        Ok(())
    }

    fn gets_in(&self, key: &TestKey) -> Result<bool> {
        let said = self.login(key, "true")?;
        let text = String::from_utf8_lossy(&said.stderr);
        match said.status.code() {
            Some(0) => Ok(true),
            Some(255) if text.contains("Permission denied") => Ok(false),
            _ => bail!("{}: {text}", said.status),
        }
    }

    /// Logs in with one key and no other.
    fn login(&self, key: &TestKey, line: &str) -> Result<Output> {
        let key = key.private().to_string_lossy().into_owned();
        let options = ["-i", &key, "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes", line];
        self.run(&[&["ssh", ROLE, "--"][..], &options[..]].concat())
    }

    /// Runs `fleetkey`, which must succeed; what it prints.
    fn fleetkey(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "fleetkey {}: {}: {said}", arguments.join(" "), output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs `fleetkey` at the operator's desk, and ends it if somebody interrupts.
    fn run(&self, arguments: &[&str]) -> Result<Output> {
        let home = self.home.path();
        let mut command = self.cloud.command("env");
        command.arg(format!("--chdir={}", home.display())).arg(program("fleetkey")).args(arguments);
        command.env("HOME", home).env("FLEETKEY_NAMESPACE", NAMESPACE).env("FLEETKEY_ME", "alice");
        command.env("SSH_AUTH_SOCK", self.keys.socket());
        for foreign in ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "AWS_PROFILE"] {
            command.env_remove(foreign);
        }
        let (out, err) = (Printed::new(home, "out")?, Printed::new(home, "err")?);
        let mut child = command.stdin(Stdio::null()).stdout(out.file()?).stderr(err.file()?).spawn()?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if self.cancel.is_cancelled() {
                // The cloud, and with it whatever it was about, is about to be gone.
                child.kill()?;
                child.wait()?;
                bail!("interrupted");
            }
            std::thread::sleep(TICK);
        };
        Ok(Output { status, stdout: out.read()?, stderr: err.read()? })
    }
}

/// What a program prints, in a file: a pipe that nobody reads meanwhile would stop it.
struct Printed(std::path::PathBuf);

impl Printed {
    fn new(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(format!("printed.{name}"));
        std::fs::write(&path, "")?;
        Ok(Self(path))
    }

    fn file(&self) -> Result<std::fs::File> {
        Ok(std::fs::OpenOptions::new().append(true).open(&self.0)?)
    }

    fn read(&self) -> Result<Vec<u8>> {
        Ok(std::fs::read(&self.0)?)
    }
}
