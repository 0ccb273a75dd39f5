//! The one cloud of this process, with the agent's package in its bucket.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, ensure};
use fleetkey_localcloud::{CloudBox, LocalCloud, Options};
use fleetkey_tests::in_box::InBox as _;
use fleetkey_tests::packages::Packages;
use fleetkey_tests::{program, wait_until};

use crate::operator::SOON;

/// The agent's unit.
pub(crate) const UNIT: &str = "fleetkey-agent.service";

/// A cloud that all tests share, each in a namespace of its own. It ends with this process.
pub(crate) struct World {
    pub(crate) cloud: LocalCloud,
    /// The agent's Debian package once more, as of a later version.
    pub(crate) later: PathBuf,
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
        // Copied to where they are gone with the cloud, as no static value is when this process ends.
        let packages = Packages::of(&program("fleetkey-agent"))?;
        let raise = "sed -i 's/^Version: .*/&+later/' DEBIAN/control";
        let (package, later) = (cloud.folder().join("agent.deb"), cloud.folder().join("later.deb"));
        std::fs::copy(packages.deb()?, &package)?;
        std::fs::copy(packages.deb_changed("later", raise)?, &later)?;
        let mut command = cloud.command(program("fleetkey"));
        command.args(["agent", "publish"]).arg(&package).stdin(Stdio::null());
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "fleetkey agent publish {}: {said}", package.display());
        Ok(Self { cloud, later })
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

/// Waits until the agent of a box says that everything is as it should be, to systemd and in its status, which it writes
/// after that.
pub(crate) fn wait_in_step(booted: &CloudBox) {
    booted.wait_for("the agent to be in step", |booted| {
        status_text(booted).starts_with("in step") && status(booted)["instance_id"].is_string()
    });
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
