//! One run of a box: systemd-nspawn and what runs below it, from power on to power off.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use fleetkey_tests::process::{Kept, bound, children, describe, signal};
use nix::sys::signal::Signal;

use super::disk::Disk;
use crate::groups;
use crate::inside::{run, utf8};

/// How long a box may take until its init runs; a fraction of a second when the machine is idle.
const START: Duration = Duration::from_mins(1);

/// How long a box may take to go down in order, before its power is cut.
const SHUTDOWN: Duration = Duration::from_mins(1);

/// After what time a box that still runs is told again to power off.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// SIGRTMIN+4, by which systemd powers off; see systemd(1).
const POWER_OFF: &str = "-38";

/// Time between two looks.
const TICK: Duration = Duration::from_millis(20);

/// What systemd-nspawn ends with when the box wants to be started again.
const REBOOTS: i32 = 133;

/// Puts the shell into the groups named before `--`, and becomes what is named after: systemd-nspawn must be alone in
/// its groups.
const ENTER_GROUPS: &str =
    "while [ \"$1\" != -- ]; do echo 0 >\"$1/cgroup.procs\" || exit; shift; done; shift; exec \"$@\"";

/// A box that runs.
#[derive(Debug)]
pub(super) struct Machine {
    process: Kept,
    groups: Vec<std::path::PathBuf>,
}

/// Why a box that nobody stopped has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It was told to reboot, from inside.
    Reboot,
    /// Anything else.
    Off,
}

impl Machine {
    /// Boots a mounted disk and waits until its init runs.
    pub(super) async fn boot(disk: &Disk, instance_id: &str, host_name: &str, cloud_groups: &str) -> Result<Self> {
        let groups = groups::of_box(cloud_groups, instance_id);
        for group in &groups {
            std::fs::create_dir_all(group).with_context(|| format!("cannot make {}", group.display()))?;
        }
        let mut command = bound("sh");
        command.args(["-c", ENTER_GROUPS, "sh"]).args(&groups);
        // Told the namespace by an option, systemd-nspawn would show the box the cloud's interfaces in /sys.
        command.args(["--", "nsenter"]).arg(joined("--net=", &disk.network()));
        command.args(["systemd-nspawn", "--quiet"]).arg(joined("--directory=", &disk.root()));
        command.env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network");
        // How a box of the older kind knows that it is on EC2.
        command.arg(format!("--bind-ro={}:/sys/hypervisor/uuid", utf8(&disk.uuid(instance_id)?)?));
        command.arg(format!("--machine={instance_id}")).arg(format!("--hostname={host_name}"));
        command.args(["--register=no", "--keep-unit", "--resolv-conf=off", "--timezone=off", "--link-journal=no"]);
        // A box rules over its own network, and never over the clock, which is the machine's.
        command.args(["--capability=CAP_NET_ADMIN", "--drop-capability=CAP_SYS_TIME,CAP_SYS_MODULE", "--boot"]);
        let console = OpenOptions::new().create(true).append(true).open(disk.console())?;
        command.stdin(Stdio::null()).stdout(File::try_clone(&console)?).stderr(console);
        let process = Kept::start(&format!("the box of {instance_id}"), command)?;
        let mut machine = Self { process, groups };
        let init = machine.wait_for_init().await.with_context(|| {
            let said = std::fs::read(disk.console()).unwrap_or_default();
            let said = String::from_utf8_lossy(&said);
            format!("its console ends with {:?}", said.trim_end().lines().next_back().unwrap_or_default())
        })?;
        disk.tell_init(Some(init))?;
        Ok(machine)
    }

    async fn wait_for_init(&mut self) -> Result<u32> {
        let deadline = Instant::now() + START;
        loop {
            if let Some(init) = find_init(self.process.pid()) {
                return Ok(init);
            }
            if let Some(status) = self.process.ended()? {
                bail!("it ended before its init ran: {}", describe(status));
            }
            if Instant::now() > deadline {
                bail!("its init did not run within {START:?}");
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Waits until the box has ended by itself, and says what it wanted.
    pub(super) async fn ends(&mut self) -> End {
        loop {
            match self.process.ended() {
                Ok(Some(status)) if status.code() == Some(REBOOTS) => return End::Reboot,
                Ok(None) => tokio::time::sleep(TICK * 5).await,
                Ok(Some(_)) | Err(_) => return End::Off,
            }
        }
    }

    /// Shuts the box down in order, or cuts its power when that takes too long.
    pub(super) async fn shut_down(mut self) {
        let mut asked: Option<Instant> = None;
        let deadline = Instant::now() + SHUTDOWN;
        while matches!(self.process.ended(), Ok(None)) && Instant::now() < deadline {
            // An init that has only just begun does not hear the first one.
            if asked.is_none_or(|asked| asked.elapsed() > ASK_AGAIN) {
                asked = Some(Instant::now());
                if let Some(init) = find_init(self.process.pid()) {
                    let _ = run("kill", &[POWER_OFF, &init.to_string()], "").await;
                }
            }
            tokio::time::sleep(TICK).await;
        }
        // Killed itself, systemd-nspawn would leave the box running.
        if matches!(self.process.ended(), Ok(None))
            && let Some(init) = find_init(self.process.pid())
        {
            let _ = signal(init, Signal::SIGKILL);
        }
        let groups = std::mem::take(&mut self.groups);
        let deadline = Instant::now() + SHUTDOWN;
        while matches!(self.process.ended(), Ok(None)) && Instant::now() < deadline {
            tokio::time::sleep(TICK).await;
        }
        drop(self);
        while groups.iter().any(|group| groups::remove(group).is_err()) && Instant::now() < deadline {
            tokio::time::sleep(TICK).await;
        }
    }
}

/// The process below `ancestor` that is number 1 of a namespace of its own, once it has become the box's init.
fn find_init(ancestor: u32) -> Option<u32> {
    children(ancestor).into_iter().find_map(|child| {
        let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let numbers: Vec<_> = field("NSpid:").unwrap_or_default().split_ascii_whitespace().collect();
        let is_first = numbers.len() > 1 && numbers.last() == Some(&"1");
        if is_first && field("Name:") == Some("systemd") { Some(child) } else { find_init(child) }
    })
}

fn joined(option: &str, path: &Path) -> std::ffi::OsString {
    let mut word = std::ffi::OsString::from(option);
    word.push(path);
    word
}
