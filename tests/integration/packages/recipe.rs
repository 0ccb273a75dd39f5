//! The recipe itself: the same packages every time, and none of a program that would not run.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use fleetkey_tests::packages::{Packages, build, build_saying, stand_in_sayer};
use tempfile::TempDir;

/// What lintian cannot know: the project has no host, and packages of its own making.
const LINTIAN: &str = "--suppress-tags=bogus-mail-host,bogus-mail-host-in-debian-changelog";

/// A folder with programs that do nothing.
fn programs(names: &[&str]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for name in names {
        std::fs::copy("/bin/true", folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn both_programs_get_both_packages_and_the_same_input_gives_the_same_bytes() {
    let programs = programs(&["fleetkey", "fleetkey-agent"]);
    let outputs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let says = stand_in_sayer(programs.path()).unwrap();
    let made = outputs.each_ref().map(|output| {
        let listed = build_saying(programs.path(), output.path(), "x86_64", &says).unwrap();
        let bytes: Vec<_> = listed.lines().map(|path| std::fs::read(path).unwrap()).collect();
        (listed.lines().map(|path| path.rsplit('/').next().unwrap().to_owned()).collect::<Vec<_>>(), bytes)
    });
    assert!(made[0] == made[1], "{:?} {:?}", made[0].0, made[1].0);
    let version = env!("CARGO_PKG_VERSION");
    let mut wanted = [
        format!("fleetkey-{version}-1.x86_64.rpm"),
        format!("fleetkey-agent-{version}-1.x86_64.rpm"),
        format!("fleetkey-agent_{version}_amd64.deb"),
        format!("fleetkey_{version}_amd64.deb"),
    ];
    wanted.sort();
    let mut names = made[0].0.clone();
    names.sort();
    assert_eq!(names, wanted);
}

#[test]
fn both_packages_of_the_controller_bring_manual_pages_and_completions() {
    let (programs, output, tree) = (programs(&["fleetkey"]), TempDir::new().unwrap(), TempDir::new().unwrap());
    let says = stand_in_sayer(programs.path()).unwrap();
    let silent = build(programs.path(), output.path(), "x86_64").unwrap_err().to_string();
    assert!(silent.contains("said no manual pages"), "{silent}");
    let listed = build_saying(programs.path(), output.path(), "x86_64", &says).unwrap();
    let of = |kind: &str| listed.lines().find(|path| Path::new(path).extension().is_some_and(|found| found == kind));
    let (deb, rpm) = (of("deb"), of("rpm"));
    let extract = Command::new("dpkg-deb").arg("--extract").arg(deb.unwrap()).arg(tree.path()).status();
    assert!(extract.unwrap().success());
    let inside = Command::new("rpm").args(["-qlp", rpm.unwrap()]).output().unwrap().stdout;
    let inside = String::from_utf8(inside).unwrap();
    for (path, shell) in [
        ("usr/share/bash-completion/completions/fleetkey", "bash"),
        ("usr/share/fish/vendor_completions.d/fleetkey.fish", "fish"),
        ("usr/share/zsh/site-functions/_fleetkey", "zsh"),
        ("usr/share/zsh/vendor-completions/_fleetkey", "zsh"),
    ] {
        assert_eq!(std::fs::read_to_string(tree.path().join(path)).unwrap(), format!("for {shell}\n"));
        assert!(inside.lines().any(|line| line == format!("/{path}")), "{path}: {inside}");
    }
    assert!(tree.path().join("usr/share/man/man1/fleetkey.1.gz").exists());
    assert!(inside.contains("/usr/share/man/man1/fleetkey.1.gz\n"), "{inside}");
}

#[test]
fn both_packages_of_the_agent_bring_the_manual_page_that_its_unit_names() {
    let unit = include_str!("../../../systemd/fleetkey-agent.service");
    let named = unit.lines().find_map(|line| line.strip_prefix("Documentation=man:")).unwrap();
    let (name, section) = named.strip_suffix(')').unwrap().split_once('(').unwrap();
    let page = format!("/usr/share/man/man{section}/{name}.{section}.gz\n");
    let packages = Packages::stand_in().unwrap();
    for (program, flag, package) in [("dpkg-deb", "-c", packages.deb()), ("rpm", "-qlp", packages.rpm())] {
        let listed = Command::new(program).arg(flag).arg(package.unwrap()).output().unwrap().stdout;
        let listed = String::from_utf8(listed).unwrap();
        assert!(listed.contains(&page), "{program}: {listed}");
    }
}

#[test]
fn a_program_for_a_newer_glibc_or_another_machine_is_refused_and_so_is_a_folder_without_any() {
    let (all, none, output) = (programs(&["fleetkey-agent"]), programs(&[]), TempDir::new().unwrap());
    let refused = |programs: &TempDir, arguments: &[&str]| {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/build"));
        let ran = command.arg(programs.path()).arg(output.path()).args(arguments).output().unwrap();
        assert!(!ran.status.success());
        String::from_utf8(ran.stderr).unwrap()
    };
    let said = refused(&all, &["x86_64", "glibc=2.2"]);
    assert!(said.contains("fleetkey-agent needs glibc 2.") && said.contains("newer than 2.2"), "{said}");
    assert!(refused(&all, &["aarch64"]).contains("not aarch64"));
    assert!(refused(&all, &["mips"]).contains("mips is neither x86_64 nor aarch64"));
    assert!(refused(&none, &["x86_64"]).contains("build them first"));
    assert!(refused(&all, &[]).contains("usage: "));
    assert_eq!(std::fs::read_dir(output.path()).unwrap().count(), 0);
}

#[test]
fn lintian_has_nothing_to_say() {
    let packages = Packages::stand_in().unwrap();
    let ran = Command::new("lintian").args([LINTIAN, "--fail-on=error,warning"]).arg(packages.deb().unwrap()).output();
    let ran = ran.expect("make deps installs lintian");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
}

#[test]
fn no_package_brings_a_program_that_takes_on_rights_or_a_file_that_others_can_write() {
    let packages = Packages::stand_in().unwrap();
    let tree = TempDir::new().unwrap();
    let extract = Command::new("dpkg-deb").arg("--extract").arg(packages.deb().unwrap()).arg(tree.path()).status();
    assert!(extract.unwrap().success());
    let mut folders = vec![tree.path().to_owned()];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o7022, 0, "{} has mode {mode:o}", entry.path().display());
            seen += 1;
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    assert!(seen > 20, "{seen}");
}
