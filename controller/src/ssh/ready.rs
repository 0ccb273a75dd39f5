//! Waiting for a box that boots: until sshd answers, until somebody may log in, until cloud-init is through.
//!
//! Each look is one run of the system's ssh that asks nobody anything. A host key that is not the known one ends every
//! wait at once; all else may pass: a port that is closed, a key that is not installed yet.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::anyhow;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::cloud_init::{self, Status};
use super::command::{PROGRAM, Ssh, not_installed};
use super::host_keys::changed;
use crate::refusal::Refusal;
use crate::wait::{Look, WaitError, Waiter};

/// What a proxy says that would go round in a circle, between the name of the box and the machine that leads to it.
const CIRCLE: &str = "is on the way to itself:";

/// How long a port that is open takes to answer at most, on a bad line too.
const ANSWER: Duration = Duration::from_secs(3);

/// The exit status of ssh itself, which a remote command could have as well: ssh(1).
const SSH_FAILED: i32 = 255;

/// What asks cloud-init; the form that all its versions have.
const ASK_CLOUD_INIT: &str = "cloud-init status --long";

/// What shows the end of cloud-init's log, which not every account may read.
const SHOW_LOG: &str = "sudo -n tail -n 20 /var/log/cloud-init-output.log 2>/dev/null \
    || tail -n 20 /var/log/cloud-init-output.log";

/// What came of one run of ssh.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// The remote command ran.
    Ran { code: i32, stdout: String, stderr: String },
    /// sshd is the right one, and takes none of these keys.
    KeyRefused { offered: Vec<String> },
    /// Not the right sshd.
    HostKeyChanged,
    /// No connection; ssh's reason.
    Unreachable(String),
}

/// Why a box is not connected to over a machine that leads to the box itself.
pub(crate) fn circle(id: &str, over: &str) -> Refusal {
    round(&format!("box {id} {CIRCLE} {over} leads to it"))
}

fn round(message: &str) -> Refusal {
    Refusal::new(message).hint(
        "name another machine, or have fleetkey ssh-config --install, with this --jump, write a way to the box that is not \
         over itself",
    )
}

/// Waits until the box's sshd answers with a host key that is known. Logs nobody in.
pub(crate) async fn wait_until_answering(waiter: &Waiter, ssh: &Ssh) -> anyhow::Result<()> {
    let what = format!("box {} answers to ssh at {}", ssh.id(), ssh.address());
    let outcome = waiter.wait(&what, async || match run(ssh, ssh.knock()).await? {
        Answer::Ran { .. } | Answer::KeyRefused { .. } => Ok(Look::Done(())),
        Answer::Unreachable(why) => Ok(Look::NotYet(why)),
        Answer::HostKeyChanged => Err(changed(ssh.id(), ssh.known_hosts()).into()),
    });
    outcome.await.map_err(WaitError::into_anyhow)
}

/// Whether nothing at all comes back from the port that ssh would connect to. Where ssh's own configuration leads it over
/// other machines, or cannot be told, that is not known.
pub(crate) async fn is_deaf(ssh: &Ssh) -> bool {
    let asked = tokio::process::Command::from(ssh.asked()).stdin(Stdio::null()).kill_on_drop(true).output().await;
    let Ok(asked) = asked else { return false };
    let Some(port) = straight_port(&String::from_utf8_lossy(&asked.stdout)) else { return false };
    timeout(ANSWER, TcpStream::connect((ssh.address(), port))).await.is_err()
}

/// The port that ssh connects to itself, of what `ssh -G` prints: ssh(1).
fn straight_port(printed: &str) -> Option<u16> {
    let value = |name: &str| printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let over_others =
        ["proxycommand", "proxyjump"].into_iter().any(|name| value(name).is_some_and(|way| way != "none"));
    value("port")?.parse().ok().filter(|_| !over_others)
}

/// Waits until the operator can log in to the account with a key and without being asked anything.
pub(crate) async fn wait_until_reachable(waiter: &Waiter, ssh: &Ssh) -> anyhow::Result<()> {
    let (id, account) = (ssh.id(), ssh.account());
    let mut refused: Option<Vec<String>> = None;
    let what = format!("box {id} lets in {account}");
    let outcome = waiter.wait(&what, async || match run(ssh, ssh.probe("true")).await? {
        Answer::Ran { code: 0, .. } => Ok(Look::Done(())),
        Answer::Ran { code, stdout, stderr } => Err(anyhow!("{}{}", stdout.trim(), stderr.trim())
            .context(Refusal::new(format!("box {id} lets in {account}, and even `true` ends there with {code}")))),
        Answer::KeyRefused { offered } => {
            refused = Some(offered);
            Ok(Look::NotYet("sshd answers, and takes none of your keys yet".to_owned()))
        }
        Answer::Unreachable(why) => {
            refused = None;
            Ok(Look::NotYet(why))
        }
        Answer::HostKeyChanged => Err(changed(id, ssh.known_hosts()).into()),
    });
    let outcome = outcome.await;
    match (outcome, refused) {
        (Err(error @ WaitError::TimedOut { .. }), Some(offered)) => {
            Err(anyhow::Error::from(error).context(not_let_in(ssh, &offered)))
        }
        (outcome, _) => outcome.map_err(WaitError::into_anyhow),
    }
}

/// Waits until cloud-init is through. Returns what it complains of, if it was through all the same.
pub(crate) async fn wait_for_cloud_init(waiter: &Waiter, ssh: &Ssh) -> anyhow::Result<Option<String>> {
    let id = ssh.id();
    let what = format!("cloud-init is through on box {id}");
    let outcome = waiter.wait(&what, async || {
        let (code, stdout) = match run(ssh, ssh.probe(ASK_CLOUD_INIT)).await? {
            Answer::Ran { code, stdout, .. } => (code, stdout),
            Answer::Unreachable(why) => return Ok(Look::NotYet(why)),
            Answer::KeyRefused { .. } => return Ok(Look::NotYet("your keys are not taken now".to_owned())),
            Answer::HostKeyChanged => return Err(changed(id, ssh.known_hosts()).into()),
        };
        match cloud_init::read(code, &stdout) {
            Status::Done => Ok(Look::Done(None)),
            Status::Degraded(why) => Ok(Look::Done(Some(why))),
            Status::Running(how) => Ok(Look::NotYet(how)),
            Status::Failed(why) => Err(anyhow!(why).context(failed(ssh, log(ssh).await))),
            Status::Absent => Ok(Look::Done(Some("there is no cloud-init on the box".to_owned()))),
        }
    });
    outcome.await.map_err(WaitError::into_anyhow)
}

fn not_let_in(ssh: &Ssh, offered: &[String]) -> Refusal {
    let offered = match offered {
        [] => "ssh had no key to offer; see ssh-add -l, and IdentityFile in ~/.ssh/config".to_owned(),
        keys => format!("these keys were offered: {}", keys.join(", ")),
    };
    Refusal::new(format!("box {} does not let you in as {}", ssh.id(), ssh.account())).hint(offered).hint(
        "those may log in whom the box was made for, with the keys that they registered: fleetkey register-key \
         registers one, and the agent on the box looks at least once a minute",
    )
}

fn failed(ssh: &Ssh, log: Option<String>) -> Refusal {
    let refusal = Refusal::new(format!("cloud-init failed on box {}", ssh.id()));
    match log {
        Some(log) => refusal.hint(format!("its output ends so:\n{log}")),
        None => refusal.hint("its output is in /var/log/cloud-init-output.log on the box"),
    }
}

/// The end of cloud-init's log; `None` where it cannot be had.
async fn log(ssh: &Ssh) -> Option<String> {
    match run(ssh, ssh.probe(SHOW_LOG)).await {
        Ok(Answer::Ran { stdout, .. }) if !stdout.trim().is_empty() => Some(stdout.trim_end().to_owned()),
        _ => None,
    }
}

/// Runs ssh to its end; it is killed when nobody waits for it any more.
async fn run(ssh: &Ssh, command: Command) -> anyhow::Result<Answer> {
    let mut command = tokio::process::Command::from(command);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.map_err(|error| not_installed(PROGRAM, error))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().ok_or_else(|| anyhow!("ssh to box {} was ended: {}", ssh.id(), output.status))?;
    let place = Place { address: ssh.address().to_string(), straight: ssh.is_straight() };
    let stderr = text(&output.stderr);
    let answer = answer(&place, code, text(&output.stdout), &stderr);
    // That does not pass, however long it is waited for.
    let circle = stderr.lines().map(str::trim_end).find(|line| line.contains(CIRCLE));
    match (&answer, circle) {
        (Answer::Unreachable(_), Some(line)) => Err(round(line.strip_prefix("error: ").unwrap_or(line)).into()),
        _ => Ok(answer),
    }
}

/// Where ssh was to log in. Those that it starts for machines on the way speak on the same stderr.
struct Place {
    address: String,
    straight: bool,
}

impl Place {
    /// Whether this is the line by which ssh tells that the login is over and all that follows is the remote command's.
    fn is_entered(&self, line: &str) -> bool {
        let here = line.strip_prefix("Authenticated to ").and_then(|rest| rest.strip_prefix(self.address.as_str()));
        here.is_some_and(|rest| rest.starts_with(' ') && (self.straight || rest.starts_with(" (via proxy) ")))
    }
}

/// Tells from ssh's exit status and what it says with `-v` what came of it.
fn answer(place: &Place, code: i32, stdout: String, stderr: &str) -> Answer {
    const OFFERING: &str = "debug1: Offering public key: ";
    let lines = || stderr.lines().map(str::trim_end);
    // What ssh itself says, and not what it tells of its work.
    let said = || lines().filter(|line| !is_noise(line));
    let says = |text: &str| said().any(|line| line.contains(text));
    if lines().any(|line| place.is_entered(line)) || code != SSH_FAILED {
        let stderr = said().collect::<Vec<_>>().join("\n");
        return Answer::Ran { code, stdout, stderr };
    }
    // What was said before the connection was cut is of the way, not of the box.
    let cut = said().any(is_consequence);
    if !cut && (says("Host key verification failed") || says("REMOTE HOST IDENTIFICATION HAS CHANGED")) {
        return Answer::HostKeyChanged;
    }
    if !cut && (says("Permission denied") || says("Too many authentication failures")) {
        let offered = lines().filter_map(|line| line.strip_prefix(OFFERING)).map(str::to_owned);
        return Answer::KeyRefused { offered: offered.collect() };
    }
    let because = said().rfind(|line| !is_consequence(line)).or_else(|| said().next_back());
    Answer::Unreachable(because.unwrap_or("ssh says nothing").to_owned())
}

/// What ssh says when the program that was to connect it has ended, with whose own words before it.
fn is_consequence(line: &str) -> bool {
    line.starts_with("kex_exchange_identification: ") || line.starts_with("Connection closed by UNKNOWN port ")
}

/// Lines that `-v` adds.
fn is_noise(line: &str) -> bool {
    const STARTS: [&str; 5] = ["debug1: ", "OpenSSH_", "Authenticated to ", "Transferred: sent ", "Bytes per second: "];
    line.is_empty() || STARTS.iter().any(|start| line.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What ssh prints with `-v` before all else.
    const START: &str = "OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19 27 Jan 2026\r\n\
        debug1: Reading configuration data /etc/ssh/ssh_config\r\n";

    fn answer_to(code: i32, stderr: &str) -> Answer {
        let place = Place { address: "10.0.0.1".to_owned(), straight: true };
        answer(&place, code, String::new(), &format!("{START}{stderr}"))
    }

    #[test]
    fn what_a_machine_on_the_way_says_is_not_taken_for_what_the_box_says() {
        let answer_over = |stderr: &str| {
            let place = Place { address: "10.0.0.1".to_owned(), straight: false };
            answer(&place, 255, String::new(), &format!("{START}{stderr}"))
        };
        let bastion = "Authenticated to 10.0.0.1 ([10.0.0.1]:2222) using \"publickey\".\r\n\
            Authenticated to bastion (via proxy) using \"publickey\".\r\n";
        let refused = format!("{bastion}admin@10.0.0.1: Permission denied (publickey).\r\n");
        assert_eq!(answer_over(&refused), Answer::KeyRefused { offered: Vec::new() });
        let entered = format!("{bastion}Authenticated to 10.0.0.1 (via proxy) using \"publickey\".\r\nno\r\n");
        assert!(matches!(answer_over(&entered), Answer::Ran { code: 255, .. }));
        for why in ["Host key verification failed.", "alice@bastion: Permission denied (publickey)."] {
            let cut = format!("{why}\r\nConnection closed by UNKNOWN port 65535\r\n");
            assert_eq!(answer_over(&cut), Answer::Unreachable(why.to_owned()));
        }
    }

    #[test]
    fn a_closed_port_a_refused_key_and_a_changed_host_key_are_told_apart() {
        let closed = "debug1: connect to address 10.0.0.1 port 22: Connection refused\r\n\
            ssh: connect to host 10.0.0.1 port 22: Connection refused\r\n";
        let why = "ssh: connect to host 10.0.0.1 port 22: Connection refused";
        assert_eq!(answer_to(255, closed), Answer::Unreachable(why.into()));

        let refused = "debug1: Host 'i-0123456789abcdef0' is known and matches the ED25519 host key.\r\n\
            debug1: Offering public key: /home/a/.ssh/id_ed25519 ED25519 SHA256:abc agent\r\n\
            admin@10.0.0.1: Permission denied (publickey).\r\n";
        let offered = vec!["/home/a/.ssh/id_ed25519 ED25519 SHA256:abc agent".to_owned()];
        assert_eq!(answer_to(255, refused), Answer::KeyRefused { offered });

        let changed = "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n\
            Host key for i-0123456789abcdef0 has changed and you have requested strict checking.\r\n\
            Host key verification failed.\r\n";
        let unknown = "No ED25519 host key is known for i-0123456789abcdef0 and you have requested strict checking.\r\n\
            Host key verification failed.\r\n";
        assert_eq!(answer_to(255, changed), Answer::HostKeyChanged);
        assert_eq!(answer_to(255, unknown), Answer::HostKeyChanged);
        assert_eq!(answer_to(255, ""), Answer::Unreachable("ssh says nothing".into()));
        let tunnel = "An error occurred (AccessDeniedException) when calling StartSession\r\n\
            kex_exchange_identification: Connection closed by remote host\r\nConnection closed by UNKNOWN port 65535\r\n";
        let why = "An error occurred (AccessDeniedException) when calling StartSession";
        assert_eq!(answer_to(255, tunnel), Answer::Unreachable(why.into()));
        let alone = "Connection closed by UNKNOWN port 65535\r\n";
        assert_eq!(answer_to(255, alone), Answer::Unreachable(alone.trim_end().into()));
    }

    #[test]
    fn the_port_is_that_of_ssh_itself_where_it_goes_straight() {
        let printed = "host 10.0.0.1\nhostname 10.0.0.1\nport 2222\nproxyusefdpass no\n";
        assert_eq!(straight_port(printed), Some(2222));
        assert_eq!(straight_port(&format!("{printed}proxycommand none\n")), Some(2222));
        assert_eq!(straight_port(&format!("{printed}proxyjump bastion\n")), None);
        assert_eq!(straight_port(&format!("{printed}proxycommand nc %h %p\n")), None);
        assert_eq!(straight_port(""), None);
    }

    #[test]
    fn what_a_remote_command_says_is_not_taken_for_what_ssh_says() {
        let stderr = "Authenticated to 10.0.0.1 ([10.0.0.1]:22) using \"publickey\".\r\n\
            debug1: Sending command: true\r\nHost key verification failed.\r\n\
            Transferred: sent 2544, received 2600 bytes, in 0.0 seconds\r\n";
        let ran = |code| Answer::Ran { code, stdout: String::new(), stderr: "Host key verification failed.".into() };
        assert_eq!(answer_to(255, stderr), ran(255));
        assert_eq!(answer_to(1, stderr), ran(1));
    }
}
