//! Whether the agent is being stopped because the box powers off: then its queue is of no more use to anybody.
//!
//! Asks systemd and changes nothing. When it cannot tell, the answer is no, and the queue is kept.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tracing::warn;

use crate::config::settings::DeleteQueue;

/// How long systemd may take to list its jobs while it shuts the box down.
const LIMIT: Duration = Duration::from_secs(2);
/// The units whose start ends the box for good: not `reboot.target`, `kexec.target` and `soft-reboot.target`.
const FINAL_UNITS: [&str; 2] = ["poweroff.target", "halt.target"];

/// Whether the queue is to be removed now that the agent stops.
pub async fn removal_is_due(setting: DeleteQueue) -> bool {
    match setting {
        DeleteQueue::Never => false,
        DeleteQueue::Exit => true,
        DeleteQueue::Poweroff => powering_off().await,
    }
}

/// Whether the box is powering off or halting. A reboot is neither. Takes at most two seconds.
pub async fn powering_off() -> bool {
    let mut systemctl = Command::new("systemctl");
    systemctl
        .args(["list-jobs", "--plain", "--no-legend", "--no-pager"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    match tokio::time::timeout(LIMIT, systemctl.output()).await {
        Ok(Ok(output)) => ends_the_box(&String::from_utf8_lossy(&output.stdout)),
        Ok(Err(error)) => {
            warn!(%error, "systemctl cannot be run to see whether the box powers off; the queue is kept");
            false
        }
        Err(_) => {
            warn!("systemctl did not list its jobs within {LIMIT:?}; the queue is kept");
            false
        }
    }
}

/// Whether the jobs listed include the start of a final unit. Columns: job, unit, type, state; see systemctl(1).
fn ends_the_box(jobs: &str) -> bool {
    jobs.lines().any(|line| {
        let mut columns = line.split_whitespace().skip(1);
        columns.next().is_some_and(|unit| FINAL_UNITS.contains(&unit)) && columns.next() == Some("start")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_poweroff_or_halt_ends_the_box() {
        let poweroff = "1520 fleetkey-agent.service stop running\n1441 poweroff.target start waiting\n";
        assert!(ends_the_box(poweroff));
        assert!(ends_the_box("   7 halt.target         start waiting\n"));
    }

    #[test]
    fn a_reboot_a_restart_and_idle_do_not() {
        assert!(!ends_the_box("1441 reboot.target start waiting\n1520 fleetkey-agent.service stop running\n"));
        assert!(!ends_the_box("90 fleetkey-agent.service restart waiting\n"));
        assert!(!ends_the_box("12 poweroff.target stop waiting\n"));
        assert!(!ends_the_box("12 my-poweroff.target start waiting\n"));
        assert!(!ends_the_box("No jobs running.\n"));
        assert!(!ends_the_box(""));
    }
}
