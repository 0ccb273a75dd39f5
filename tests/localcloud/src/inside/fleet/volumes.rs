//! EBS volumes beside root volumes: a sparse file each, which is kept while boxes come and go.
//!
//! A volume is a loop device while it hangs on a box that runs, under the name that Xen's disks have. There is no udev in
//! a box, and no NVMe.

use std::fs::{self, File};
use std::os::linux::fs::MetadataExt as _;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use aws_sdk_ec2::types::{self, Filter, Instance};
use fleetkey_tests::cloud::Cloud;
use nix::sys::stat::{major, minor};

use crate::inside::run;

/// A volume that hangs on a box that runs.
#[derive(Debug)]
pub(super) struct Plugged {
    /// `vol-...`
    pub(super) id: String,
    /// Where it is in the box, such as `/dev/xvdf`.
    node: String,
    device: u64,
    /// The loop device ends when nobody has it open any more: with this, and what the box has mounted.
    _held: File,
}

impl Plugged {
    /// Makes a disk of a volume, whose file is as large as moto says, and has it in a box.
    pub(super) async fn plug(cloud: &Path, volume: &types::Volume, device: &str, init: u32) -> Result<Self> {
        let id = volume.volume_id().context("a volume has an id")?.to_owned();
        let bytes = u64::try_from(volume.size().unwrap_or(0))? << 30;
        let folder = cloud.join("volumes");
        fs::create_dir_all(&folder)?;
        let file = folder.join(&id);
        // Volumes only grow.
        File::options().create(true).truncate(false).write(true).open(&file)?.set_len(bytes)?;
        let mut losetup = tokio::process::Command::new("losetup");
        losetup.args(["--show", "--find"]).arg(&file).stdin(Stdio::null()).kill_on_drop(true);
        let made = losetup.output().await.context("cannot run losetup")?;
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        ensure!(made.status.success(), "no loop device for {id}: {}", said.trim());
        let disk = String::from_utf8(made.stdout)?.trim().to_owned();
        let held = File::open(&disk);
        // From now on it ends by itself.
        run("losetup", &["--detach", &disk], "").await?;
        let held = held.with_context(|| format!("cannot open {disk}"))?;
        let letters = device.trim_start_matches("/dev/").trim_start_matches("xvd").trim_start_matches("sd");
        let node = format!("/dev/xvd{letters}");
        let plugged = Self { id, node, device: held.metadata()?.st_rdev(), _held: held };
        plugged.make_node(init).await?;
        Ok(plugged)
    }

    async fn make_node(&self, init: u32) -> Result<()> {
        let (major, minor) = (major(self.device).to_string(), minor(self.device).to_string());
        let target = format!("--target={init}");
        let mknod = ["mknod", &self.node, "b", &major, &minor];
        run("nsenter", &[&[target.as_str(), "--mount", "--root", "--"], &mknod[..]].concat(), "").await
    }

    /// Takes it out of the box, which must not have it mounted.
    pub(super) async fn unplug(self, init: u32) -> Result<()> {
        let target = format!("--target={init}");
        run("nsenter", &[&target, "--mount", "--root", "--", "rm", "--force", &self.node], "").await
    }
}

/// The volumes that hang on an instance beside its root volume, as moto has them, each with its device name.
pub(super) async fn of(account: &Cloud, instance: &Instance) -> Result<Vec<(types::Volume, String)>> {
    let id = instance.instance_id().unwrap_or_default();
    let attached = Filter::builder().name("attachment.instance-id").values(id).build();
    let found = account.ec2().describe_volumes().filters(attached).send().await?.volumes.unwrap_or_default();
    // The first in the mapping is the root volume, whatever its name.
    let root = instance.root_device_name().unwrap_or_default().to_owned();
    let device = |volume: &types::Volume| volume.attachments().first()?.device().map(str::to_owned);
    let found = found.into_iter().filter_map(|volume| Some((device(&volume)?, volume)));
    let is_root = |device: &str| device == root || ["/dev/sda1", "/dev/xvda"].contains(&device);
    Ok(found.filter(|(device, _)| !is_root(device)).map(|(device, volume)| (volume, device)).collect())
}
