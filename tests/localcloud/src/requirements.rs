//! What a machine must have before a cloud can be started on it.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail, ensure};

/// Programs, and the Debian packages that they come from.
const PROGRAMS: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("mmdebstrap", "mmdebstrap"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("systemd-nspawn", "systemd-container"),
    ("unshare", "util-linux"),
];

/// Says what is missing and how to get it.
pub(crate) fn check() -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the local cloud boots machines in namespaces of their own, which needs root: run it with sudo, or by `make cloud`"
    );
    for (program, package) in PROGRAMS {
        ensure!(is_installed(program), "{program} is not installed: run `make deps`, or install the package {package}");
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "true"]);
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "this machine lets nobody make network, mount and process namespaces ({}): in a container, the local \
             cloud needs one that is privileged",
            said.trim()
        );
    }
    Ok(())
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Not every user's path has these.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(Into::into));
    folders.into_iter().any(|folder| Path::new(&folder).join(program).is_file())
}
