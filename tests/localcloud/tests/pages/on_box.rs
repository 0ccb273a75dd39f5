//! A root's shell on a box, in a clone of the repository.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_sdk_ec2::types::{Filter, Instance};
use fleetkey_localcloud::{CloudBox, LocalCloud};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::in_box::InBox as _;
use fleetkey_tests::pages::Shell;
use fleetkey_tests::wait_until;

/// Where the clone is.
const CLONE: &str = "/root/fleetkey";

/// The files of the operator's home that the clone on a box has too.
const FILES: &str = "packaging systemd target *.pub";

/// A shell on a box that runs.
pub(crate) struct OnBox {
    booted: CloudBox,
    pub(crate) shell: Shell,
}

impl OnBox {
    /// The id of the instance that was launched last, of those that run.
    pub(crate) async fn newest(account: &Cloud) -> Result<Option<String>> {
        let running = Filter::builder().name("instance-state-name").values("running").build();
        let told = account.ec2().describe_instances().filters(running).send().await?;
        let mut found: Vec<&Instance> =
            told.reservations().iter().flat_map(aws_sdk_ec2::types::Reservation::instances).collect();
        found.sort_by_key(|one| one.launch_time().map(aws_sdk_ec2::primitives::DateTime::as_nanos));
        Ok(found.last().and_then(|one| one.instance_id()).map(str::to_owned))
    }

    /// Enters a box; waits until it is up.
    pub(crate) fn enter(cloud: &LocalCloud, id: &str, home: &Path) -> Result<Self> {
        let mut found = None;
        wait_until(&format!("the box of {id} runs"), Duration::from_mins(1), || {
            found = cloud.running(id);
            Ok(found.is_some())
        })?;
        let booted = found.with_context(|| format!("{id} runs"))?;
        booted.wait_for_cloud_init();
        copy(home, &booted)?;
        let mut shell = Shell::start(booted.command("bash"))?;
        let ran = shell.run(&format!("cd {CLONE}"), Duration::from_secs(20))?;
        ensure!(ran.code == 0, "the clone on the box: {}", ran.output);
        Ok(Self { booted, shell })
    }

    /// Whether the box still runs, in the same boot.
    pub(crate) fn is_up(&mut self) -> Result<bool> {
        Ok(self.booted.path("/").exists() && self.shell.is_there()?)
    }
}

/// Copies the clone into the box, links followed: programs are links.
fn copy(home: &Path, booted: &CloudBox) -> Result<()> {
    let mut pack = Command::new("sh");
    pack.args(["-ec", &format!("cd \"$1\"; exec tar -ch {FILES}"), "sh"]).arg(home).stdout(Stdio::piped());
    let mut packing = pack.spawn()?;
    let mut unpack = booted.command("sh");
    unpack.args(["-ec", &format!("mkdir -p {CLONE}; tar -xC {CLONE} --no-same-owner")]);
    let unpacked = unpack.stdin(packing.stdout.take().context("stdout was asked for")?).status()?;
    ensure!(packing.wait()?.success() && unpacked.success(), "the clone cannot be copied to the box");
    Ok(())
}
