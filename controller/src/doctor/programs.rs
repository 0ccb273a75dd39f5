//! The programs of this machine that others of the commands become: ssh and rsync.

use std::process::Stdio;

use tokio::process::Command;

use super::world::World;
use super::{Blocked, Finding};

const NAME: &str = "programs";

/// A program, how it says its version, and what it is for.
struct Program {
    name: &'static str,
    version: &'static str,
    needed: bool,
    mend: &'static str,
}

const PROGRAMS: [Program; 2] = [
    Program {
        name: "ssh",
        version: "-V",
        needed: true,
        mend: "install OpenSSH's client: apt install openssh-client, dnf install openssh-clients",
    },
    Program {
        name: "rsync",
        version: "--version",
        needed: false,
        mend: "install it: apt install rsync, dnf install rsync",
    },
];

pub(super) async fn look(_: &World) -> Result<Vec<Finding>, Blocked> {
    let mut findings = Vec::new();
    for program in PROGRAMS {
        findings.push(match version(&program).await {
            Ok(version) => Finding::ok(NAME, version),
            Err(error) if program.needed => {
                Finding::missing(NAME, format!("{} cannot be run: {error}", program.name)).mend(program.mend)
            }
            Err(error) => {
                let what = format!("{0} cannot be run, so that fleetkey {0} cannot: {error}", program.name);
                Finding::warning(NAME, what).mend(program.mend)
            }
        });
    }
    Ok(findings)
}

/// The first line in which a program says its version.
async fn version(program: &Program) -> std::io::Result<String> {
    let mut command = Command::new(program.name);
    command.arg(program.version).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await?;
    // ssh says it on stderr.
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| !line.trim().is_empty());
    Ok(line.map_or_else(|| format!("{} is there", program.name), |line| line.trim().chars().take(60).collect()))
}
