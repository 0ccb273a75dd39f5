//! The owner's handle of a box that runs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fleetkey_tests::in_box::InBox;

use crate::inside;

/// One boot of an instance's box. Worth nothing once that box has been stopped.
#[derive(Debug, Clone)]
pub struct CloudBox {
    /// Process 1 of the cloud, on the machine.
    cloud: u32,
    /// The box's init, as the cloud counts.
    init: u32,
    folder: PathBuf,
    instance_id: String,
}

impl CloudBox {
    pub(crate) fn of(cloud: u32, folder: &Path, instance_id: &str) -> Option<Self> {
        let init = inside::running_init(folder, instance_id)?;
        let found = Self { cloud, init, folder: folder.to_owned(), instance_id: instance_id.to_owned() };
        found.path("/").exists().then_some(found)
    }

    /// Such as `i-0123456789abcdef0`.
    pub fn instance_id(&self) -> &str {
        &self.instance_id
    }

    /// Waits until cloud-init has done all that it means to in this boot.
    ///
    /// # Panics
    /// After a minute.
    pub fn wait_for_cloud_init(&self) -> Duration {
        self.wait_for("cloud-init to be done", |booted| booted.path("/run/cloud-init/result.json").exists())
    }
}

impl InBox for CloudBox {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        // First into the cloud, whose /proc knows the box's init by the number that the cloud gave it.
        command.arg(format!("--target={}", self.cloud)).args(["--mount", "--pid", "--net", "--"]);
        command.arg("nsenter").arg(format!("--target={}", self.init)).args(["--all", "--root", "--wd", "--"]);
        command.args(["setpriv", "--bounding-set=-sys_time", "--"]);
        let clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"];
        command.args(clean).arg(program).stdin(Stdio::null());
        command
    }

    fn path(&self, inside: &str) -> PathBuf {
        let proc = Path::new("/proc").join(self.cloud.to_string()).join("root/proc");
        proc.join(self.init.to_string()).join("root").join(inside.trim_start_matches('/'))
    }

    fn console(&self) -> String {
        inside::console(&self.folder, &self.instance_id)
    }
}
