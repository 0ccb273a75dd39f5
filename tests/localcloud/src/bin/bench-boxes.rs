//! The part of `make bench` that needs boxes: from `fleetkey create` to a box that can be used, less the box's own boot.

#![allow(clippy::print_stdout, reason = "the table goes there")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use fleetkey_localcloud::{LocalCloud, Options};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::in_box::InBox as _;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::program;
use fleetkey_tests::scratch::Scratch;
use fleetkey_tests::ssh_agent::SshAgent;

/// Boxes that are launched, one after another.
const RUNS: usize = 5;

/// What is launched.
const ROLE: &str = "generic-debian-12-box";

/// Makes the packages of programs that are built.
const PACKAGING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/build");

/// Prints how long a box was booting: from the start of its init to the end of cloud-init, which stands in the file by
/// the clock on the wall. The kernel tells the start by the time since the machine's own start.
const BOOTED: &str = r#"import json, time
finished = json.load(open("/run/cloud-init/status.json"))["v1"]["modules-final"]["finished"]
started = int(open("/proc/1/stat").read().rsplit(")", 1)[1].split()[19]) / 100
print(finished - (time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + started))"#;

fn main() -> Result<()> {
    let cloud = LocalCloud::start(Options::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(cloud.account().create_topic(Cloud::TOPIC))?;
    let (home, alice) = (Scratch::new()?, TestKey::new("alice@bench")?);
    let keys = SshAgent::holding(&alice)?;
    let fleetkey = |arguments: &[&str]| {
        let mut command = cloud.command("env");
        command.arg(format!("--chdir={}", home.path().display())).arg(program("fleetkey")).args(arguments);
        command.env("HOME", home.path()).env("FLEETKEY_NAMESPACE", "/bench/").env("SSH_AUTH_SOCK", keys.socket());
        command.env("XDG_STATE_HOME", home.path().join("state"));
        done(&mut command)
    };
    std::fs::write(home.path().join("alice.pub"), format!("{}\n", alice.line()))?;
    fleetkey(&["register-key", "alice.pub", "--person", "alice"])?;
    fleetkey(&["agent", "publish", &package(home.path())?])?;

    let (mut all, mut own) = (Vec::new(), Vec::new());
    for run in 1..=RUNS {
        eprint_progress(run);
        let start = Instant::now();
        let made = fleetkey(&["create", ROLE, "--keypairs", "alice", "--output", "json"])?;
        let took = start.elapsed();
        let made: serde_json::Value = serde_json::from_str(&made)?;
        let id = made["id"].as_str().context("create prints the id")?;
        let booted = cloud.running(id).context("the box runs")?;
        let boot = Duration::from_secs_f64(booted.sh(&format!("python3 -c '{BOOTED}'")).trim().parse()?);
        all.push(took);
        own.push(took.saturating_sub(boot));
        fleetkey(&["terminate", ROLE, "-I", id, "--yes"])?;
    }
    println!("| what | median | runs | aim | |\n| --- | ---: | ---: | ---: | --- |");
    println!("| `fleetkey create` to a box that can be used | {:.2} s | {RUNS} | | |", median(&mut all));
    let own = median(&mut own);
    let met = if own <= 3.0 { "met" } else { "MISSED" };
    println!(
        "| the same less the box's own boot, cloud-init and the agent's installation | {own:.2} s | {RUNS} | 3 s | {met} |"
    );
    Ok(())
}

/// The agent's Debian package, of the program as built.
fn package(home: &Path) -> Result<String> {
    let (programs, packages) = (home.join("programs"), home.join("packages"));
    std::fs::create_dir(&programs)?;
    std::os::unix::fs::symlink(program("fleetkey-agent"), programs.join("fleetkey-agent"))?;
    let made = done(Command::new(PACKAGING).arg(programs).arg(packages).arg(std::env::consts::ARCH))?;
    made.lines()
        .find(|line| Path::new(line).extension().is_some_and(|kind| kind == "deb"))
        .map(str::to_owned)
        .context("a .deb")
}

/// What a command prints, which must not fail.
fn done(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

fn eprint_progress(run: usize) {
    use std::io::Write as _;
    // Nobody can be told that stderr is closed.
    let _ = writeln!(std::io::stderr(), "bench: box {run} of {RUNS}");
}
