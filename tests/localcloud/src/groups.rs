//! The control groups of a cloud and its boxes, in version 1 or 2 of them.
//!
//! A cloud's groups carry the process id and start time of its keeper in their name, so that a later start can tell
//! whose are left over. They are made and swept under a lock.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Where the machine has its control groups.
const ROOT: &str = "/sys/fs/cgroup";

/// How the groups of every cloud are called at first.
const PREFIX: &str = "fleetkey-cloud-";

/// Making and sweeping take turns by this lock.
const LOCK: &str = "/run/fleetkey-cloud.lock";

/// How long processes that were killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// The groups of one cloud, one for each hierarchy that systemd uses; removed when dropped.
#[derive(Debug)]
pub(crate) struct Groups {
    name: String,
}

impl Groups {
    /// Removes the groups of keepers that are gone, and makes those of this process.
    pub(crate) fn create() -> Result<Self> {
        let lock = File::create(LOCK).with_context(|| format!("cannot make {LOCK}"))?;
        lock.lock().with_context(|| format!("cannot lock {LOCK}"))?;
        sweep()?;
        let pid = std::process::id();
        let start = start_time(pid).context("this process has a start time")?;
        let groups = Self { name: format!("{PREFIX}{pid}-{start}") };
        for folder in in_hierarchies(&groups.name) {
            fs::create_dir(&folder).with_context(|| format!("cannot make the control group {}", folder.display()))?;
        }
        Ok(groups)
    }

    /// The name to give to [`of_box`].
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for folder in in_hierarchies(&self.name) {
            remove_in_time(&folder);
        }
    }
}

/// Removes a group whose processes were all killed: it can be once the last of them is gone.
fn remove_in_time(folder: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while remove(folder).is_err() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The folders of one box's groups, for each hierarchy.
pub(crate) fn of_box(cloud: &str, instance: &str) -> Vec<PathBuf> {
    in_hierarchies(cloud).into_iter().map(|folder| folder.join(instance)).collect()
}

/// Removes a group and those below it.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

fn sweep() -> Result<()> {
    for root in roots() {
        for entry in fs::read_dir(&root).with_context(|| format!("cannot list {}", root.display()))? {
            let entry = entry?;
            if is_left_over(&entry.file_name().to_string_lossy()) {
                remove_in_time(&entry.path());
            }
        }
    }
    Ok(())
}

/// Whether a group is a cloud's whose keeper is gone.
fn is_left_over(name: &str) -> bool {
    let owner = name.strip_prefix(PREFIX).and_then(|owner| owner.split_once('-'));
    let Some((Ok(pid), Ok(start))) = owner.map(|(pid, start)| (pid.parse(), start.parse::<u64>())) else {
        return false;
    };
    start_time(pid) != Some(start)
}

/// When a process started, in the kernel's ticks: with the id, its name for good. See proc_pid_stat(5).
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(19)?.parse().ok()
}

fn in_hierarchies(name: &str) -> Vec<PathBuf> {
    roots().into_iter().map(|root| root.join(name)).collect()
}

/// The hierarchies that systemd puts processes in: one in version 2, two beside each other in version 1.
fn roots() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        return vec![root.to_owned()];
    }
    ["systemd", "unified"].map(|name| root.join(name)).into_iter().filter(|path| path.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_left_over_when_its_keeper_is_gone_or_its_number_is_another_process() {
        let me = std::process::id();
        let start = start_time(me).expect("this process has a start time");
        assert!(!is_left_over(&format!("{PREFIX}{me}-{start}")));
        assert!(is_left_over(&format!("{PREFIX}{me}-{}", start + 1)));
        assert!(is_left_over(&format!("{PREFIX}4194304-1")));
        for other in ["user.slice", "fleetkey-box-1", "fleetkey-cloud-x-y", "fleetkey-cloud-1"] {
            assert!(!is_left_over(other), "{other}");
        }
    }
}
