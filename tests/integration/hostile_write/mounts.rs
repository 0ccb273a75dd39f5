//! R14: homes that are full, read-only, or gone. Mounts are made in a mount namespace of the test's own.

use std::fs;
use std::path::Path;
use std::process::Command;

use fleetkey_agent::write::{Change, Outcome, Refusal, WriteError};
use nix::errno::Errno;

use super::{NEW, OLD, Stage, again, names, role, writer};

const TEST: &str = "hostile_write::mounts::r14_r9_a_full_or_read_only_home_keeps_its_keys_and_the_next_try_succeeds";

fn mount(arguments: &[&str], home: &Path) {
    assert!(Command::new("mount").args(arguments).arg(home).status().unwrap().success(), "mount {arguments:?}");
}

fn errno(result: Result<Outcome, WriteError>) -> Errno {
    match result {
        Err(WriteError::Failed { source, .. }) => Errno::from_raw(source.raw_os_error().unwrap()),
        other => panic!("not a failed system call: {other:?}"),
    }
}

#[test]
fn r14_r9_a_full_or_read_only_home_keeps_its_keys_and_the_next_try_succeeds() {
    let Some(stage) = Stage::set(61060) else { return };
    if role().is_none() {
        let me = std::env::current_exe().unwrap();
        let arguments = ["--mount", "--propagation", "private", me.to_str().unwrap()];
        assert!(again("unshare", &arguments, TEST, "inside").status().unwrap().success());
        return;
    }
    let home = &stage.account.home;
    mount(&["-t", "tmpfs", "-o", "size=64k,mode=755,uid=61060,gid=61060", "none"], home);
    stage.put_keys();

    let filler = home.join("filler");
    assert!(fs::write(&filler, vec![0; 1 << 20]).is_err(), "the disk is full");
    let full = stage.replace();
    assert!(full.as_ref().is_err_and(|error| error.to_string().contains("free some space")), "{full:?}");
    assert_eq!(errno(full), Errno::ENOSPC);
    assert_eq!((fs::read(stage.keys()).unwrap(), names(&stage.ssh())), (OLD.to_vec(), vec!["authorized_keys".into()]));
    fs::remove_file(filler).unwrap();
    assert!(stage.replace().unwrap().changed);

    stage.put_keys();
    mount(&["-o", "remount,ro"], home);
    assert_eq!(errno(stage.replace()), Errno::EROFS);
    assert!(!writer().update(&stage.file(), |_| Change::Keep).unwrap().changed, "reading needs no write");
    mount(&["-o", "remount,rw"], home);
    assert!(stage.replace().unwrap().changed);
    assert_eq!(fs::read(stage.keys()).unwrap(), NEW);
}

#[test]
fn r14_a_home_that_is_gone_is_told_and_not_made() {
    let Some(stage) = Stage::set(61061) else { return };
    fs::remove_dir(&stage.account.home).unwrap();
    let error = stage.replace().unwrap_err();
    assert!(matches!(error, WriteError::Refused { refusal: Refusal::Missing, .. }), "{error}");
    assert!(!stage.account.home.exists());
}
