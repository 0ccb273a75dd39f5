//! The box with a real systemd, by itself: that it boots, is closed off, and leaves nothing behind.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fleetkey_tests::in_box::InBox as _;
use fleetkey_tests::nspawn::{SystemdBox, root_file_system, script};
use fleetkey_tests::sandbox::Sandbox;

const STAND_IN: &str = "[Service]\nType=notify\nExecStart=sh -c 'systemd-notify --ready --status=\"Hello\"; exec sleep 1d'\n\
    NotifyAccess=all\nStateDirectory=stand-in\n";

fn gone(process: u32) -> bool {
    !Path::new("/proc").join(process.to_string()).exists()
}

/// The control groups of boxes whose name begins with `name`.
fn groups(name: &str) -> Vec<String> {
    let pattern = format!("fleetkey-{name}*");
    let found = Command::new("find").args(["/sys/fs/cgroup", "-type", "d", "-name", &pattern]).output();
    String::from_utf8_lossy(&found.expect("find can be run").stdout).lines().map(str::to_owned).collect()
}

#[test]
fn a_box_boots_a_real_systemd_that_runs_units_and_starts_them_again_when_killed() {
    let booted = SystemdBox::builder()
        .file("/etc/systemd/system/stand-in.service", 0o644, STAND_IN.to_owned() + "Restart=always\nRestartSec=0\n")
        .enable("stand-in.service")
        .boot();
    assert_eq!(booted.property("stand-in", "ActiveState"), "active");
    assert_eq!(booted.property("stand-in", "StatusText"), "Hello");
    assert!(booted.path("/var/lib/stand-in").is_dir());
    let first = booted.property("stand-in", "MainPID");
    booted.sh(&format!("kill -KILL {first}"));
    booted.wait_for("systemd to start it again", |booted| {
        ![first.as_str(), "0"].contains(&booted.property("stand-in", "MainPID").as_str())
    });
    assert_eq!(booted.sh("systemctl is-active ssh"), "active");
}

#[test]
fn a_box_has_its_own_network_files_and_exit_statuses() {
    let booted = SystemdBox::builder().file("/etc/greeting", 0o600, "hello").boot();
    assert_eq!(booted.sh("ls /sys/class/net"), "lo");
    assert_eq!(booted.sh("cat /etc/greeting; stat -c %a:%U / /etc/greeting"), "hello755:root\n600:root");
    booted.write("/etc/greeting", "changed");
    assert_eq!(booted.sh("cat /etc/greeting"), "changed");
    assert_eq!(booted.read("/etc/nothing"), None);
    assert_eq!(booted.status("exit 42").code(), Some(42));
    assert!(!Path::new("/etc/greeting").exists());
    assert!(!root_file_system().join("etc/greeting").exists());
}

#[test]
fn nothing_in_a_box_may_set_the_clock_that_is_the_machines_own() {
    // CAP_SYS_TIME (capabilities(7)).
    const SYS_TIME: u64 = 1 << 25;
    let may_set = |status: &str| {
        let sets = status.lines().filter_map(|line| line.strip_prefix("Cap")?.split_once(':'));
        let sets: Vec<_> = sets.map(|(_, set)| u64::from_str_radix(set.trim(), 16).expect("it is in hex")).collect();
        assert_eq!(sets.len(), 5, "{status}");
        sets.into_iter().any(|set| set & SYS_TIME != 0)
    };
    let booted = SystemdBox::builder().boot();
    assert!(!may_set(&booted.sh("cat /proc/self/status")));
    assert!(!may_set(&booted.sh("cat /proc/1/status")));
    let sandbox = Sandbox::new().expect("a sandbox can be made");
    assert!(!may_set(&sandbox.run("cat", &["/proc/self/status"]).expect("it can be read")));
}

#[test]
fn nothing_is_left_of_a_box_that_was_dropped() {
    let booted = SystemdBox::builder().boot();
    let init = booted.init();
    let inside = booted.command("sleep").arg("1d").spawn();
    let mut inside = inside.expect("nsenter can be run");
    drop(booted);
    assert!(gone(init));
    assert!(!inside.wait().expect("it can be waited for").success());
}

#[test]
fn nothing_is_left_of_a_box_whose_owner_was_killed() {
    let name = format!("orphan-{}", std::process::id());
    let console = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    // Stands for the test process: it alone holds the other end of the box's standard input.
    let mut owner = Command::new("sleep").arg("1d").stdout(Stdio::piped()).spawn().expect("sleep can be run");
    let held = owner.stdout.take().expect("standard output is piped");
    let mut keeper = Command::new(script("box"))
        .arg(&name)
        .arg(root_file_system())
        .arg(console.path())
        .stdin(held)
        .stdout(Stdio::piped())
        .spawn()
        .expect("tests/box can be run");
    let mut line = String::new();
    let output = keeper.stdout.take().expect("standard output is piped");
    BufReader::new(output).read_line(&mut line).expect("it prints a line");
    let init: u32 = line.trim().parse().expect("it prints the id of the box's init");
    assert!(!gone(init));
    assert!(!groups(&name).is_empty());

    owner.kill().expect("one's own child can be killed");
    owner.wait().expect("one's own child can be waited for");
    let start = Instant::now();
    while keeper.try_wait().expect("one's own child can be waited for").is_none() {
        assert!(start.elapsed() < Duration::from_secs(30), "the box outlives its owner");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(gone(init));
    assert_eq!(groups(&name), Vec::<String>::new());
}
