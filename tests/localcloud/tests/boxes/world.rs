//! The one cloud of this process, with the agent's package in its bucket.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, ensure};
use fleetkey_localcloud::{CloudBox, LocalCloud, Options};
use fleetkey_tests::{program, wait_until};

use crate::operator::SOON;

/// The agent's unit.
pub(crate) const UNIT: &str = "fleetkey-agent.service";

/// A cloud that all tests share, each in a namespace of its own. It ends with this process.
pub(crate) struct World {
    pub(crate) cloud: LocalCloud,
    /// The agent's Debian package.
    pub(crate) package: PathBuf,
}

impl World {
    /// The zone of all boxes.
    pub(crate) const ZONE: &str = "us-west-2a";

    /// The world; the first who asks makes it.
    pub(crate) fn get() -> Result<&'static Self> {
        static WORLD: OnceLock<Result<World, String>> = OnceLock::new();
        let made = WORLD.get_or_init(|| Self::make().map_err(|error| format!("{error:#}")));
        made.as_ref().map_err(|reason| anyhow!("there is no cloud to test in: {reason}"))
    }

    fn make() -> Result<Self> {
        let cloud = LocalCloud::start(Options::default())?;
        // Gone with the cloud, as no static value is when this process ends.
        let package = make_package(cloud.folder())?;
        let mut command = cloud.command(program("fleetkey"));
        command.args(["agent", "publish"]).arg(&package).stdin(Stdio::null());
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "fleetkey agent publish {}: {said}", package.display());
        Ok(Self { cloud, package })
    }

    /// The box of an instance that was launched or started just now.
    pub(crate) fn wait_for_box(&self, id: &str) -> Result<CloudBox> {
        let mut found = None;
        wait_until(&format!("the box of {id} runs"), SOON, || {
            found = self.cloud.running(id);
            Ok(found.is_some())
        })?;
        found.with_context(|| format!("{id} runs"))
    }
}

/// Makes the agent's Debian package of the program as built, into `folder`.
fn make_package(folder: &Path) -> Result<PathBuf> {
    let programs = folder.join("programs");
    std::fs::create_dir(&programs)?;
    std::os::unix::fs::symlink(program("fleetkey-agent"), programs.join("fleetkey-agent"))?;
    let output = folder.join("packages");
    let mut command = Command::new(repository().join("packaging/build"));
    command.arg(&programs).arg(&output).arg("x86_64").stdin(Stdio::null());
    let made = command.output().context("packaging/build can be run")?;
    ensure!(made.status.success(), "packaging/build: {}", String::from_utf8_lossy(&made.stderr));
    let listed = String::from_utf8_lossy(&made.stdout).into_owned();
    let package = listed.lines().find(|line| line.ends_with(".deb"));
    package.map(PathBuf::from).with_context(|| format!("packaging/build made no Debian package: {listed}"))
}

/// Waits until the agent of a box says that everything is as it should be.
pub(crate) fn wait_in_step(booted: &CloudBox) {
    booted.wait_for("the agent to be in step", |booted| status_text(booted).starts_with("in step"));
}

/// What the agent tells systemd of itself.
pub(crate) fn status_text(booted: &CloudBox) -> String {
    booted.property(UNIT, "StatusText")
}

/// The agent's status as it lies on the box; null when there is none.
pub(crate) fn status(booted: &CloudBox) -> serde_json::Value {
    let text = booted.read("/run/fleetkey/status.json").unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// A file of the repository.
pub(crate) fn shipped(path: &str) -> Result<String> {
    let path = repository().join(path);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
