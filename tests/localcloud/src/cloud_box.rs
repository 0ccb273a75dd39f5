//! The owner's handle of a box that runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::inside;

/// How long something in a box may take to come true.
const PATIENCE: Duration = Duration::from_mins(1);

/// Time between two looks.
const TICK: Duration = Duration::from_millis(25);

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

    /// A command that runs `program` in the box as root; its exit status is the program's. Like everything in a box,
    /// it cannot set the clock, which is the machine's.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        // First into the cloud, whose /proc knows the box's init by the number that the cloud gave it.
        command.arg(format!("--target={}", self.cloud)).args(["--mount", "--pid", "--net", "--"]);
        command.arg("nsenter").arg(format!("--target={}", self.init)).args(["--all", "--root", "--wd", "--"]);
        command.args(["setpriv", "--bounding-set=-sys_time", "--"]);
        let clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"];
        command.args(clean).arg(program).stdin(Stdio::null());
        command
    }

    /// Runs a line of shell in the box and returns what it printed, without the last newline.
    ///
    /// # Panics
    /// When it fails.
    pub fn sh(&self, line: &str) -> String {
        let output = self.command("sh").args(["-ec", line]).output().expect("nsenter can be run");
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "in the box, `{line}` ended with {}:\n{stdout}{stderr}", output.status);
        stdout.trim_end_matches('\n').to_owned()
    }

    /// How a line of shell ends in the box; what it prints is dropped.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn status(&self, line: &str) -> ExitStatus {
        let (out, err) = (Stdio::null(), Stdio::null());
        self.command("sh").args(["-c", line]).stdout(out).stderr(err).status().expect("nsenter can be run")
    }

    /// A property of a unit, as `systemctl show` prints it.
    pub fn property(&self, unit: &str, property: &str) -> String {
        self.sh(&format!("systemctl show --value --property={property} {unit}"))
    }

    /// Where this machine sees a file of the box. Not for paths with absolute links in them: those would be followed
    /// on this machine.
    pub fn path(&self, inside: &str) -> PathBuf {
        let proc = Path::new("/proc").join(self.cloud.to_string()).join("root/proc");
        proc.join(self.init.to_string()).join("root").join(inside.trim_start_matches('/'))
    }

    /// The bytes of a file of the box; `None` when there is none.
    ///
    /// # Panics
    /// When it is there and cannot be read.
    pub fn read(&self, inside: &str) -> Option<Vec<u8>> {
        match fs::read(self.path(inside)) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => panic!("cannot read the box's {inside}: {error}"),
        }
    }

    /// What the box has printed to its console since it was started.
    pub fn console(&self) -> String {
        inside::console(&self.folder, &self.instance_id)
    }

    /// Waits until `condition` holds, and says how long that took.
    ///
    /// # Panics
    /// After a minute; with `what`, and the ends of the box's journal and console.
    pub fn wait_for(&self, what: &str, condition: impl Fn(&Self) -> bool) -> Duration {
        let start = Instant::now();
        while !condition(self) {
            if start.elapsed() > PATIENCE {
                let journal = self.command("journalctl").args(["--no-pager", "--lines=60"]).output();
                let journal = journal.map(|output| text(&output.stdout)).unwrap_or_default();
                panic!("waited {PATIENCE:?} for {what}\n{journal}\n{}", self.console());
            }
            std::thread::sleep(TICK);
        }
        start.elapsed()
    }

    /// Waits until cloud-init has done all that it means to in this boot.
    ///
    /// # Panics
    /// After a minute.
    pub fn wait_for_cloud_init(&self) -> Duration {
        self.wait_for("cloud-init to be done", |booted| booted.path("/run/cloud-init/result.json").exists())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
