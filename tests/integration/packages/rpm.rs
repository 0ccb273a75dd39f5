//! The RPM: what it holds, what rpm makes of it in an empty root, and its scriptlets in a box with a real systemd, run as
//! rpm would run them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use fleetkey_tests::in_box::InBox as _;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::nspawn::SystemdBox;
use fleetkey_tests::packages::Packages;
use tempfile::TempDir;

use super::{KEY_FILE, UNIT, grant, keys, lets_in, prepared, wait_in_step};

/// How distributions with RPMs have it: what they do not know stays off.
const DISTRIBUTION: &str = "/usr/lib/systemd/system-preset/99-default-disable.preset";

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What rpm says of the package in this form.
fn query(form: &str) -> String {
    let package = Packages::built().unwrap().rpm().unwrap();
    output("rpm", &["--query", "--package", "--queryformat", form, package.to_str().unwrap()])
}

/// rpm on an empty root of its own, no scriptlets run.
fn rpm(root: &Path, arguments: &[&str]) {
    let root = root.to_str().unwrap();
    let fixed = ["--root", root, "--dbpath", "/var/lib/rpm", "--noscripts", "--nodeps", "--nosignature"];
    output("rpm", &[&fixed, arguments].concat());
}

/// An empty root with the package in it.
fn installed() -> TempDir {
    let root = TempDir::new().unwrap();
    let package = Packages::built().unwrap().rpm().unwrap();
    rpm(root.path(), &["--install", package.to_str().unwrap()]);
    root
}

#[test]
fn it_holds_what_the_debian_package_holds_and_one_file_that_turns_the_service_on() {
    let packages = Packages::built().unwrap();
    let owned = |path: &str| !path.starts_with("/usr/share/doc/") && !path.ends_with('/');
    let listed = output("dpkg-deb", &["--contents", packages.deb().unwrap().to_str().unwrap()]);
    let deb: BTreeSet<String> = listed
        .lines()
        .filter_map(|line| Some((line.split(' ').next()?, line.rsplit(" .").next()?)))
        .filter(|(mode, path)| mode.starts_with('-') && owned(path))
        .map(|(mode, path)| format!("{mode} {path}"))
        .collect();
    let listed = query("[%{FILEMODES:perms} %{FILENAMES}\n]");
    let (preset, rpm): (BTreeSet<String>, _) = listed
        .lines()
        .filter(|line| line.starts_with('-') && line.split_once(' ').is_some_and(|(_, path)| owned(path)))
        .map(str::to_owned)
        .partition(|line| line.contains("system-preset"));
    assert_eq!(rpm, deb);
    assert!(rpm.len() > 5, "{rpm:?}");
    assert_eq!(Vec::from_iter(preset), ["-rw-r--r-- /usr/lib/systemd/system-preset/80-fleetkey-agent.preset"]);
    let owners: BTreeSet<_> = query("[%{FILEUSERNAME}:%{FILEGROUPNAME}\n]").lines().map(str::to_owned).collect();
    assert_eq!(Vec::from_iter(owners), ["root:root"]);
    assert_eq!(
        query("%{NAME} %{ARCH} %{PAYLOADCOMPRESSOR}"),
        format!("fleetkey-agent {} gzip", std::env::consts::ARCH)
    );
}

#[test]
fn rpm_keeps_a_configuration_that_was_changed_and_what_was_put_beside_it() {
    let root = installed();
    let (configuration, alices) =
        (root.path().join("etc/fleetkey/agent.toml"), root.path().join("etc/fleetkey/directory/people/alice.pub"));
    std::fs::write(&configuration, "source = \"iam\"\n").unwrap();
    std::fs::write(&alices, "a key\n").unwrap();
    let package = Packages::built().unwrap().rpm().unwrap();
    rpm(root.path(), &["--upgrade", "--force", package.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(&configuration).unwrap(), "source = \"iam\"\n");
    rpm(root.path(), &["--erase", "fleetkey-agent"]);
    assert!(!configuration.exists() && !root.path().join("usr/bin/fleetkey-agent").exists());
    let saved = root.path().join("etc/fleetkey/agent.toml.rpmsave");
    assert_eq!(std::fs::read_to_string(saved).unwrap(), "source = \"iam\"\n");
    assert!(alices.exists());
}

#[test]
fn a_configuration_that_is_there_before_the_package_is_kept() {
    let root = TempDir::new().unwrap();
    let configuration = root.path().join("etc/fleetkey/agent.toml");
    std::fs::create_dir_all(configuration.parent().unwrap()).unwrap();
    std::fs::write(&configuration, "source = \"iam\"\n").unwrap();
    let package = Packages::built().unwrap().rpm().unwrap();
    rpm(root.path(), &["--install", package.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(&configuration).unwrap(), "source = \"iam\"\n");
}

/// Runs a scriptlet as rpm does: with how many versions are installed once it is done.
fn scriptlet(booted: &SystemdBox, tag: &str, count: u32) -> String {
    booted.write("/root/scriptlet", query(&format!("%{{{tag}}}\n")));
    booted.sh(&format!("cd /; sh /root/scriptlet {count} 2>&1"))
}

#[test]
fn its_scriptlets_turn_the_service_on_restart_it_on_upgrade_and_stop_it_on_removal() {
    let alice = TestKey::new("alice").unwrap();
    let root = installed();
    let files = output("find", &[root.path().to_str().unwrap(), "-type", "f", "-not", "-path", "*/var/*"]);
    let mut builder = prepared(&alice, &[]).file(DISTRIBUTION, 0o644, "disable *\n");
    for file in files.lines().map(Path::new) {
        let inside = format!("/{}", file.strip_prefix(root.path()).unwrap().display());
        let mode = if inside.starts_with("/usr/bin/") { 0o755 } else { 0o644 };
        builder = builder.file(&inside, mode, std::fs::read(file).unwrap());
    }
    let booted = builder.boot();
    booted.sh("mkdir -p /etc/fleetkey/directory/people");
    let state = || booted.sh(&format!("systemctl is-enabled {UNIT} || true; systemctl is-active {UNIT} || true"));
    scriptlet(&booted, "POSTIN", 1);
    assert_eq!(state(), "enabled\nactive");
    wait_in_step(&booted);
    grant(&booted, &alice);
    let agent = booted.property(UNIT, "MainPID");

    // An upgrade: the new one's POSTIN, then the old one's PREUN and POSTUN.
    scriptlet(&booted, "POSTIN", 2);
    assert_eq!(scriptlet(&booted, "PREUN", 1), "");
    assert_eq!(booted.property(UNIT, "MainPID"), agent, "it runs until the new files are all there");
    scriptlet(&booted, "POSTUN", 1);
    wait_in_step(&booted);
    assert_ne!(booted.property(UNIT, "MainPID"), agent);
    assert_eq!(state(), "enabled\nactive");

    let before = keys(&booted);
    let said = scriptlet(&booted, "PREUN", 0);
    assert!(said.contains("whoever can log in now still can"), "{said}");
    assert_eq!(state(), "disabled\ninactive");
    booted.sh("rm /usr/lib/systemd/system/fleetkey-agent.service");
    scriptlet(&booted, "POSTUN", 0);
    assert!(!booted.path("/var/lib/fleetkey").exists());
    assert_eq!(keys(&booted), before, "{KEY_FILE}");
    assert!(lets_in(&booted));
}
