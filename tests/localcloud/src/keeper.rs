//! The process between a cloud and its owner: it starts the one, waits for the end of the other, and cleans up.
//!
//! It holds what the kernel does not remove by itself when processes end, a folder and control groups, and is bound to
//! its owner by its standard input alone: the end of that is the end of the owner.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use fleetkey_tests::nspawn::script;
use fleetkey_tests::process::{Kept, bound, children};
use fleetkey_tests::scratch::Scratch;

use crate::groups::Groups;
use crate::hello::Hello;
use crate::requirements;

/// Process 1 of a cloud: waits for its orphans too, and ends with the program that it runs, and all else with it.
/// A shell gives what it starts aside no standard input of its own accord.
const INIT: &str = "exec 3<&0; \"$@\" <&3 3<&- & wait $!";

/// Time between two looks whether the cloud still runs.
const TICK: Duration = Duration::from_millis(100);

/// Keeps a cloud until standard input ends, and says one line on standard output: where it is, or what is wrong.
pub fn keep(enforce_iam: bool) -> Result<()> {
    let outcome = start(enforce_iam);
    let said = match &outcome {
        Ok((_, hello)) => serde_json::to_string(hello)?,
        Err(error) => serde_json::to_string(&Hello::Failed(format!("{error:#}")))?,
    };
    writeln!(std::io::stdout(), "{said}")?;
    let Ok((mut parts, Hello::Up(_))) = outcome else {
        return Ok(());
    };
    let ended = owner_ends();
    while let Err(mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(TICK) {
        if parts.process.ended()?.is_some() {
            bail!("the cloud ended by itself; its log said:\n{}", log_of(parts.scratch.path()));
        }
    }
    Ok(())
}

/// What is dropped in order: the processes, the groups that they were in, the folder that they wrote to.
struct Parts {
    process: Kept,
    _groups: Groups,
    scratch: Scratch,
}

fn start(enforce_iam: bool) -> Result<(Parts, Hello)> {
    requirements::check()?;
    let root_file_system = root_file_system()?;
    let groups = Groups::create()?;
    let scratch = Scratch::new()?;
    let log = std::fs::File::create(scratch.path().join("log"))?;
    // Of the machine's network: a socket stays in the namespace in which it was made.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free loopback port")?;
    let mut command = bound("unshare");
    command.args(["--net", "--mount", "--propagation", "private", "--pid", "--mount-proc"]);
    command.args(["--fork", "--kill-child=KILL", "--", "sh", "-c", INIT, "sh"]);
    command.arg(std::env::current_exe()?).arg("serve");
    command.arg("--folder").arg(scratch.path()).arg("--root-file-system").arg(root_file_system);
    command.args(["--groups", groups.name()]);
    if enforce_iam {
        command.arg("--enforce-iam");
    }
    command.stdin(OwnedFd::from(listener)).stdout(Stdio::piped()).stderr(log);
    let mut process = Kept::start("the cloud", command)?;
    let output = process.child_mut().stdout.take().context("stdout was asked for")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    ensure!(!line.is_empty(), "the cloud did not come up; its log says:\n{}", log_of(scratch.path()));
    let mut hello: Hello = serde_json::from_str(&line).with_context(|| format!("the cloud says {line:?}"))?;
    if let Hello::Up(up) = &mut hello {
        up.init = children(process.pid()).first().copied().context("the cloud has ended")?;
    }
    Ok((Parts { process, _groups: groups, scratch }, hello))
}

/// Debian with cloud-init; made by the first who asks, which takes a minute.
fn root_file_system() -> Result<String> {
    let output = Command::new(script("rootfs")).arg("cloud").stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "there is no root file system for boxes: tests/rootfs says why, above");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Told when standard input ends.
fn owner_ends() -> mpsc::Receiver<()> {
    let (ends, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 64];
        while !matches!(std::io::stdin().read(&mut bytes), Ok(0) | Err(_)) {}
        let _ = ends.send(());
    });
    told
}

fn log_of(folder: &Path) -> String {
    std::fs::read(folder.join("log")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
