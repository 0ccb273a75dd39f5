//! `run`: a cloud for as long as a shell or a command runs.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use fleetkey_tests::cloud::Cloud;

use crate::cloud::{LocalCloud, Options};

/// What a shell of its own would not be known without.
const MARK: &str = "FLEETKEY_LOCALCLOUD";

/// Starts a cloud, says what is where, runs the command (or the user's shell) in it, and takes everything down.
pub fn run(options: Options, command: &[OsString]) -> Result<ExitCode> {
    let mut stderr = std::io::stderr();
    writeln!(stderr, "starting a cloud on this machine; the first time, this makes a Debian, which takes a minute")?;
    let cloud = LocalCloud::start(options)?;
    let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/bash".into());
    if command.is_empty() {
        tell(&mut stderr, &cloud)?;
    }
    let (program, arguments) = command.split_first().unwrap_or((&shell, &[]));
    let mut child = cloud.command("setpriv");
    // It ends with this process, when that is killed.
    child
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program)
        .args(arguments)
        .env("PATH", path()?)
        .env(MARK, cloud.endpoint());
    let status = wait(child).with_context(|| format!("cannot run {}", program.display()))?;
    drop(cloud);
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// Waits for the command's end. Ctrl-C at the terminal is meant for the command, and not for the cloud around it.
fn wait(command: std::process::Command) -> Result<std::process::ExitStatus> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut child = tokio::process::Command::from(command).spawn()?;
        loop {
            tokio::select! {
                status = child.wait() => return Ok(status?),
                _ = tokio::signal::ctrl_c() => {}
            }
        }
    })
}

/// The project's programs as built come first.
fn path() -> Result<OsString> {
    let me = std::env::current_exe()?;
    let folder = me.parent().context("a program lies in a folder")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path)))?)
}

/// Says what is where.
fn tell(to: &mut impl Write, cloud: &LocalCloud) -> std::io::Result<()> {
    let rows = [
        ("API", cloud.endpoint().to_owned()),
        ("region", Cloud::REGION.to_owned()),
        ("account", cloud.account().account_id().to_owned()),
        ("image", format!("{} (Debian 12, log in as admin)", cloud.image_id())),
        ("files", cloud.folder().display().to_string()),
        ("to end it", "leave this shell".to_owned()),
    ];
    rows.iter().try_for_each(|(name, value)| writeln!(to, "  {name:<10} {value}"))
}
