//! Who and what is at work on the box, as far as the list of processes tells.
//!
//! The list, and not utmp: Debian 13 has none, and nothing that runs without a terminal, as rsync and sftp do, was ever in
//! one. Of a process only what the kernel itself knows is read (name, owner, parent, start). Never its command line:
//! that lies in the process's own memory, and whoever owns that can make the read hang.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

/// Where the kernel lists processes.
const PROC: &str = "/proc";
/// How often the kernel counts in a second where it tells programs of times (`USER_HZ`; proc_pid_stat(5)): the same on
/// every architecture that Linux runs on but Alpha and Itanium.
const TICKS_PER_SECOND: u32 = 100;
/// The names of sshd's processes. Since OpenSSH 9.8 one for each connection is `sshd-session`, since 9.9 `sshd-auth` is
/// the part of it that talks to strangers.
const SSHD: [&str; 3] = ["sshd", "sshd-session", "sshd-auth"];
/// Programs, by the 15 letters that the kernel keeps, each of which is somebody at a terminal: at the serial console,
/// by Session Manager, by mosh.
const TERMINALS: [&str; 3] = ["login", "ssm-session-wor", "mosh-server"];
/// Programs that are not to be cut short, however little load they make: setup at boot, and changes of packages.
const WORK: [&str; 8] = ["cloud-init", "apt", "apt-get", "dpkg", "dnf", "dnf5", "yum", "rpm"];

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) id: i32,
    pub(super) parent: i32,
    /// The user whom it runs as.
    pub(super) user: u32,
    /// Its name, of at most 15 bytes; whoever runs it chooses it.
    pub(super) name: String,
    /// When it was started, since boot.
    pub(super) started: Duration,
}

/// All processes. One that ends meanwhile is left out.
///
/// # Errors
/// When the list itself cannot be read.
pub(super) fn list() -> io::Result<Vec<Process>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir(PROC)? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        let read = |file: &str| fs::read_to_string(format!("{PROC}/{id}/{file}")).ok();
        // A name may be anything; status has it escaped, stat as it is, in the last brackets.
        let stat = fs::read(format!("{PROC}/{id}/stat")).unwrap_or_default();
        processes.extend(read("status").and_then(|status| parse(id, &String::from_utf8_lossy(&stat), &status)));
    }
    Ok(processes)
}

/// A process from the text of its `stat` and `status`: proc_pid_stat(5), proc_pid_status(5).
fn parse(id: i32, stat: &str, status: &str) -> Option<Process> {
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let mut fields = after.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let ticks: u64 = fields.nth(17)?.parse().ok()?;
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_ascii_whitespace().next()?;
    let started = Duration::from_millis(ticks.saturating_mul(1000) / u64::from(TICKS_PER_SECOND));
    Some(Process { id, parent, user: user.parse().ok()?, name: name.to_owned(), started })
}

/// The users who are on the box by ssh or at a terminal, once for each session. `stranger` is the user as whom sshd talks
/// to those who have not proved who they are.
///
/// A connection of ssh is a process of sshd's with others below it: while nobody has logged in, one that runs as
/// `stranger`; after that the user's own, with or without a terminal.
pub(super) fn sessions(processes: &[Process], stranger: Option<u32>) -> Vec<u32> {
    let by_id: BTreeMap<i32, &Process> = processes.iter().map(|process| (process.id, process)).collect();
    let parent = |process: &Process| by_id.get(&process.parent).copied();
    let is_sshd = |process: &Process| SSHD.contains(&process.name.as_str());
    let is_stranger = |process: &Process| process.name == "sshd-auth" || Some(process.user) == stranger;
    let mut connections: BTreeMap<i32, (bool, u32)> = BTreeMap::new();
    for process in processes {
        let Some(above) = parent(process).filter(|above| is_sshd(above)) else { continue };
        // What listens has connections below it, which look like what root's own session has.
        let of_listener = is_sshd(process) && process.user == 0 && !parent(above).is_some_and(is_sshd);
        if of_listener {
            continue;
        }
        let proved = !is_stranger(process);
        let connection = connections.entry(above.id).or_insert((true, process.user));
        connection.0 &= proved;
    }
    let by_ssh: Vec<i32> = connections.iter().filter(|(_, (proved, _))| *proved).map(|(id, _)| *id).collect();
    // A user's own process of sshd has processes below it too: one session is one, the upper.
    let is_upper = |id: &&i32| by_id.get(id).is_some_and(|process| !by_ssh.contains(&process.parent));
    let by_ssh: Vec<u32> = by_ssh.iter().filter(is_upper).map(|id| connections[id].1).collect();
    let at_terminals = processes.iter().filter(|process| TERMINALS.contains(&process.name.as_str()));
    by_ssh.into_iter().chain(at_terminals.map(|process| process.user)).collect()
}

/// The first program found that is not to be cut short.
pub(super) fn work(processes: &[Process]) -> Option<&str> {
    processes.iter().map(|process| process.name.as_str()).find(|name| WORK.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: u32 = 105;

    fn process(id: i32, parent: i32, user: u32, name: &str) -> Process {
        Process { id, parent, user, name: name.to_owned(), started: Duration::ZERO }
    }

    /// sshd listens as process 10.
    fn found(more: &[(i32, i32, u32, &str)]) -> Vec<u32> {
        let mut all = vec![process(1, 0, 0, "systemd"), process(10, 1, 0, "sshd")];
        all.extend(more.iter().map(|&(id, parent, user, name)| process(id, parent, user, name)));
        sessions(&all, Some(STRANGER))
    }

    #[test]
    fn a_login_with_or_without_a_terminal_is_a_session() {
        assert_eq!(found(&[(20, 10, 0, "sshd"), (21, 20, 1000, "sshd"), (22, 21, 1000, "bash")]), [1000]);
        assert_eq!(found(&[(20, 10, 0, "sshd"), (21, 20, 1000, "sshd"), (22, 21, 1000, "rsync")]), [1000]);
        // sftp within sshd, and a connection that only forwards.
        assert_eq!(found(&[(20, 10, 0, "sshd"), (21, 20, 1000, "sshd"), (22, 21, 1000, "sshd")]), [1000]);
        assert_eq!(found(&[(20, 10, 0, "sshd"), (21, 20, 1000, "sshd")]), [1000]);
        let newer = [(20, 10, 0, "sshd-session"), (21, 20, 1000, "sshd-session"), (22, 21, 1000, "bash")];
        assert_eq!(found(&newer), [1000]);
    }

    #[test]
    fn roots_own_login_is_a_session_too() {
        assert_eq!(found(&[(20, 10, 0, "sshd"), (21, 20, 0, "bash")]), [0]);
        assert_eq!(found(&[(20, 10, 0, "sshd"), (21, 20, 0, "sshd")]), [0]);
    }

    #[test]
    fn whoever_has_not_proved_who_they_are_is_none() {
        assert!(found(&[]).is_empty());
        assert!(found(&[(20, 10, 0, "sshd")]).is_empty());
        assert!(found(&[(20, 10, 0, "sshd"), (21, 20, STRANGER, "sshd")]).is_empty());
        // While sshd asks a program for keys, or PAM for a password.
        let asking = [(20, 10, 0, "sshd"), (21, 20, STRANGER, "sshd"), (22, 20, 990, "fleetkey-agent")];
        assert!(found(&asking).is_empty());
        assert!(found(&[(20, 10, 0, "sshd"), (21, 20, STRANGER, "sshd"), (22, 20, 0, "sshd")]).is_empty());
        assert!(found(&[(20, 10, 0, "sshd-session"), (21, 20, 74, "sshd-auth")]).is_empty());
    }

    #[test]
    fn several_sessions_are_several_and_what_users_left_behind_is_none() {
        let two = [(20, 10, 0, "sshd"), (21, 20, 1000, "sshd"), (30, 10, 0, "sshd"), (31, 30, 1001, "sshd")];
        assert_eq!(found(&two), [1000, 1001]);
        assert!(found(&[(40, 1, 1000, "tmux: server"), (41, 40, 1000, "bash")]).is_empty());
        assert_eq!(found(&[(50, 1, 0, "login"), (60, 1, 0, "ssm-session-wor")]), [0, 0]);
    }

    #[test]
    fn processes_are_read_whatever_their_name() {
        let stat = "77 (a) b (c\n) S 20 77 77 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 12345 1000 10 18446744073709551615";
        let status = "Name:\ta) b (c\\n\nUmask:\t0022\nUid:\t1000\t0\t0\t0\nGid:\t1000\t1000\t1000\t1000\n";
        let read = parse(77, stat, status).unwrap();
        assert_eq!((read.parent, read.user, read.name.as_str()), (20, 1000, "a) b (c\n"));
        assert_eq!(read.started, Duration::from_millis(123_450));
        assert_eq!(parse(77, "77 (a", status), None);
        assert_eq!(parse(77, stat, "Name: a\n"), None);
    }

    #[test]
    fn this_process_is_in_the_list_and_was_started_before_now() {
        let mine = i32::try_from(std::process::id()).unwrap();
        let found = list().unwrap().into_iter().find(|process| process.id == mine).unwrap();
        assert!(found.started <= crate::clock::since_boot() && found.parent > 0);
    }

    #[test]
    fn setup_and_changes_of_packages_are_work() {
        let all = [process(1, 0, 0, "systemd"), process(5, 1, 0, "unattended-upgr"), process(9, 1, 0, "dpkg")];
        assert_eq!(work(&all), Some("dpkg"));
        assert_eq!(work(&all[..2]), None);
    }
}
