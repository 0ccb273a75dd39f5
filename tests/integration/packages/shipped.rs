//! What `make packages` has made, where it was run: linked for an old glibc, and at work in a box.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use fleetkey_tests::in_box::InBox as _;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::program;
use tempfile::TempDir;

use super::{grant, prepared, wait_in_step};

/// The glibc of CentOS 7, older than that of any distribution that is served.
const GLIBC: (u32, u32) = (2, 17);

/// Set by whoever has run `make packages`, so that a test without its packages fails.
const REQUIRED: &str = "FLEETKEY_TEST_PACKAGES";

/// The Debian packages beside the programs as built; none where `make packages` was not run.
fn shipped() -> Vec<PathBuf> {
    let agent = program("fleetkey-agent");
    let folder = agent.ancestors().map(|folder| folder.join("packages")).find(|folder| folder.is_dir());
    let entries = folder.and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten();
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut debs: Vec<_> = files.filter(|file| file.to_string_lossy().ends_with("_amd64.deb")).collect();
    debs.sort();
    debs
}

/// Whoever runs the tests should know what was not tested, also of a test that passes.
fn skipped() {
    assert!(std::env::var_os(REQUIRED).is_none(), "{REQUIRED} is set, and there are no packages");
    let _ = writeln!(std::io::stderr(), "not tested: `make packages` was not run");
}

#[test]
fn no_program_needs_a_glibc_that_is_newer_than_promised() {
    let packages = shipped();
    if packages.is_empty() {
        return skipped();
    }
    assert_eq!(packages.len(), 2, "{packages:?}");
    for package in packages {
        let tree = TempDir::new().unwrap();
        let extracted = Command::new("dpkg-deb").arg("--extract").arg(&package).arg(tree.path()).status();
        assert!(extracted.unwrap().success());
        let program = std::fs::read_dir(tree.path().join("usr/bin")).unwrap().next().unwrap().unwrap().path();
        let symbols = Command::new("objdump").arg("--dynamic-syms").arg(&program).output().unwrap();
        let symbols = String::from_utf8(symbols.stdout).unwrap();
        let versions: Vec<(u32, u32)> = symbols
            .split("GLIBC_")
            .skip(1)
            .filter_map(|rest| {
                let mut numbers = rest.split(|c: char| !c.is_ascii_digit()).map(str::parse);
                Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
            })
            .collect();
        assert!(versions.len() > 20, "{}: {symbols}", program.display());
        let newest = versions.iter().max().unwrap();
        assert!(*newest <= GLIBC, "{} needs {newest:?}", program.display());
    }
}

#[test]
fn the_agent_of_the_package_does_its_work_in_a_box() {
    let packages = shipped();
    let Some(agent) = packages.iter().find(|package| package.to_string_lossy().contains("fleetkey-agent_")) else {
        return skipped();
    };
    let alice = TestKey::new("alice").unwrap();
    let all: Vec<_> = packages.iter().map(PathBuf::as_path).collect();
    let booted = prepared(&alice, &all).boot();
    booted.sh("dpkg --install /root/fleetkey*.deb");
    wait_in_step(&booted);
    grant(&booted, &alice);
    let versions = booted.sh("fleetkey --version; fleetkey-agent --version");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(versions, format!("fleetkey {version}\nfleetkey-agent {version}"), "{}", agent.display());
}
