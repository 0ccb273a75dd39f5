//! T3: the account's user swaps the temporary file, the folder and the final name while the agent writes.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use fleetkey_agent::write::{Change, TEMPORARY_PREFIX, stamp};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::{NEW, Stage, again, portrait, role, writer};

const TEST: &str = "hostile_write::race::t3_a_racer_during_10_000_writes_changes_nothing_outside_its_home";
const WRITES: usize = 10_000;
const RACER: u32 = 61070;

/// Where there is a file system without a disk, so that 10,000 writes do not wait for one.
const MEMORY: &str = "/dev/shm";

/// The racer's end, whatever becomes of the test.
struct Racer(Child);

impl Drop for Racer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Puts something of the racer's in place of every temporary file that shows up for a while.
fn swap_temporary_files(home: &Path, hold: Duration) {
    let (ssh, shadow) = (home.join(".ssh"), home.with_file_name("shadow"));
    let until = Instant::now() + hold;
    while Instant::now() < until {
        for entry in fs::read_dir(&ssh).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
                let _ = fs::remove_file(entry.path());
                let _ = if fastrand::bool() {
                    symlink(&shadow, entry.path())
                } else {
                    fs::hard_link(&shadow, entry.path())
                };
            }
        }
    }
}

/// One round of mischief in a home; every step may fail, as the agent races against it.
fn mischief(home: &Path) {
    let outside = home.parent().unwrap();
    let (ssh, away) = (home.join(".ssh"), home.join("away"));
    let (keys, shadow) = (ssh.join("authorized_keys"), outside.join("shadow"));
    let hold = || swap_temporary_files(home, Duration::from_micros(fastrand::u64(0..2000)));
    match fastrand::u8(0..8) {
        0 => {
            let _ = fs::rename(&ssh, &away);
            let _ = symlink(outside.join(if fastrand::bool() { "victim" } else { "neighbour" }), &ssh);
            hold();
            let _ = fs::remove_file(&ssh);
            let _ = fs::rename(&away, &ssh);
        }
        1 => {
            let _ = fs::remove_file(&keys);
            let _ = symlink(&shadow, &keys);
            hold();
        }
        2 => {
            let _ = fs::remove_file(&keys);
            let _ = fs::hard_link(&shadow, &keys);
            hold();
        }
        3 => {
            let _ = fs::remove_file(&keys);
            let _ = mkfifo(&keys, Mode::S_IRWXU);
            hold();
        }
        _ => hold(),
    }
    let _ = fs::remove_file(&keys);
    std::thread::sleep(Duration::from_micros(fastrand::u64(0..4000)));
}

fn victims(stage: &Stage) -> Vec<(u32, u32, u32, Vec<u8>)> {
    let names = ["shadow", "victim", "victim/authorized_keys", "neighbour", "neighbour/authorized_keys", "."];
    names.iter().map(|name| portrait(&stage.outside(name))).collect()
}

fn put_victims(stage: &Stage) {
    fs::write(stage.outside("shadow"), "root:secret").unwrap();
    fs::set_permissions(stage.outside("shadow"), Permissions::from_mode(0o644)).unwrap();
    for (name, owner) in [("victim", 0), ("neighbour", 61999)] {
        let (folder, file) = (stage.outside(name), stage.outside(name).join("authorized_keys"));
        fs::create_dir(&folder).unwrap();
        fs::write(&file, name).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        for path in [&folder, &file] {
            chown(path, Some(owner), Some(owner)).unwrap();
        }
    }
}

#[test]
fn t3_a_racer_during_10_000_writes_changes_nothing_outside_its_home() {
    if let Some(home) = role() {
        // This process is the racer, started below.
        let end = Instant::now() + Duration::from_hours(1);
        while Instant::now() < end {
            mischief(Path::new(&home));
        }
        return;
    }
    let Some(stage) = Stage::set_below(Path::new(MEMORY), RACER) else { return };
    stage.put_keys();
    put_victims(&stage);
    let before = victims(&stage);
    let home = stage.account.home.to_str().unwrap();
    let mut racer = Racer(again("/proc/self/exe", &[], TEST, home).uid(RACER).gid(RACER).spawn().unwrap());

    let (mut written, mut failed) = (0, 0);
    for round in 0..WRITES {
        let keys = format!("ssh-ed25519 AAAA{round}\n");
        match writer().update(&stage.file(), |_| Change::Replace(keys.clone().into_bytes())) {
            Ok(outcome) => written += usize::from(outcome.changed),
            Err(_) => failed += 1,
        }
        // Root's own looks at the same place.
        let _ = stamp(&stage.file());
        if round % 500 == 0 {
            assert_eq!(victims(&stage), before, "after {round} writes");
        }
    }
    assert!(racer.0.try_wait().unwrap().is_none(), "the racer raced to the end");
    drop(racer);
    assert_eq!(victims(&stage), before);
    assert!(written > WRITES / 100 && failed > WRITES / 1000, "{written} written, {failed} failed: no race");

    let _ = writeln!(std::io::stderr(), "{written} of {WRITES} written, {failed} refused or failed");

    // Once the user lets go, one update puts everything right.
    let _ = fs::remove_file(stage.ssh());
    let _ = fs::rename(stage.account.home.join("away"), stage.ssh());
    let _ = fs::remove_file(stage.keys());
    assert!(stage.replace().unwrap().changed);
    assert_eq!(portrait(&stage.keys()), (RACER, RACER, 0o100_600, NEW.to_vec()));
    assert_eq!(super::names(&stage.ssh()), ["authorized_keys"]);
}
