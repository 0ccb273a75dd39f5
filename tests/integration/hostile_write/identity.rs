//! Who the helper is, whom it obeys, and how the agent gets on without it.

use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fleetkey_agent::write::{Change, WriteError, Writer};

use super::{NEW, OLD, Stage, agent, writer};

/// The folder in `/proc`, and the `status` in it, of the one process that runs under a user id.
fn process_of(uid: u32) -> (PathBuf, String) {
    let ids = format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n");
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let mut found = processes
        .filter_map(|process| Some((process.path(), fs::read_to_string(process.path().join("status")).ok()?)))
        .filter(|(_, status)| status.contains(&ids));
    let process = found.next().expect("a process runs under that id");
    assert!(found.next().is_none(), "more than one process runs under that id");
    process
}

#[test]
fn the_helper_is_the_account_and_nothing_more() {
    let Some(stage) = Stage::set_with_keys(61020) else { return };
    let outcome = writer().update(&stage.file(), |_| {
        let (process, status) = process_of(61020);
        for line in [
            "Gid:\t61020\t61020\t61020\t61020",
            "Groups:\t ",
            "NoNewPrivs:\t1",
            "CapPrm:\t0000000000000000",
            "CapEff:\t0000000000000000",
            "CapAmb:\t0000000000000000",
        ] {
            assert!(status.lines().any(|found| found == line), "{line:?} is not in {status}");
        }
        for descriptor in fs::read_dir(process.join("fd")).unwrap() {
            let leads_to = fs::read_link(descriptor.unwrap().path()).unwrap();
            let is_expected = leads_to == Path::new("/dev/null")
                || leads_to.starts_with(&stage.account.home)
                || leads_to.to_string_lossy().starts_with("socket:");
            assert!(is_expected, "{} came along", leads_to.display());
        }
        assert!(fs::read(process.join("environ")).unwrap().is_empty());
        assert_eq!(fs::read_link(process.join("cwd")).unwrap(), Path::new("/"));
        Change::Replace(NEW.to_vec())
    });
    assert!(outcome.unwrap().changed);
}

#[test]
fn a_helper_that_is_still_root_touches_nothing() {
    let Some(stage) = Stage::set_with_keys(61021) else { return };
    // Asked to be the account, but started with root's rights by this test itself.
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let head = r#"{"Open":{"uid":61021,"gid":61021,"stripped":true,"target":"Home"}}"#;
    for part in [head.as_bytes(), stage.account.home.as_os_str().as_encoded_bytes()] {
        ours.write_all(&u32::try_from(part.len()).unwrap().to_be_bytes()).unwrap();
        ours.write_all(part).unwrap();
    }
    let output = Command::new(agent()).arg("write-helper").stdin(OwnedFd::from(theirs)).output().unwrap();
    assert!(output.status.success(), "it answered");
    let answer = std::io::read_to_string(&ours).unwrap();
    assert!(answer.contains("Identity"), "{answer}");
    assert_eq!(fs::read(stage.keys()).unwrap(), OLD);
}

#[test]
fn t12_a_helper_that_nobody_asked_exits_2_and_prints_nothing_on_stdout() {
    let (socket, _other) = UnixStream::pair().unwrap();
    let (talking, mut talker) = UnixStream::pair().unwrap();
    talker.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    drop(talker);
    let cases: [(&[&str], Stdio); 6] = [
        (&["write-helper"], Stdio::null()),
        (&["write-helper"], Stdio::piped()),
        (&["write-helper"], OwnedFd::from(talking).into()),
        (&["write-helper", "--help"], Stdio::null()),
        (&["write-helper", "--help"], OwnedFd::from(socket.try_clone().unwrap()).into()),
        (&["write-helper", "mallory", "extra"], OwnedFd::from(socket).into()),
    ];
    for (arguments, stdin) in cases {
        let output = Command::new(agent()).args(arguments).stdin(stdin).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_helper_that_hangs_is_killed_in_time() {
    let Some(stage) = Stage::set_with_keys(61022) else { return };
    let hanging = Writer::new(stage.script("hang", "exec sleep 1000")).with_limit(Duration::from_millis(300));
    let began = Instant::now();
    let error = hanging.update(&stage.file(), |_| Change::Keep).unwrap_err();
    assert!(matches!(error, WriteError::TimedOut { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let left = Command::new("pgrep").args(["-u", "61022"]).output().unwrap();
    assert!(left.stdout.is_empty(), "still running: {left:?}");
}

#[test]
fn a_helper_that_lies_or_dies_is_told_with_what_it_said() {
    let Some(stage) = Stage::set_with_keys(61023) else { return };
    for line in
        ["echo 'no luck' >&2; exit 7", "echo 'no luck' >&2; head -c 100 /dev/zero | tr '\\0' '\\377' >&0; exit 7"]
    {
        let error = Writer::new(stage.script("liar", line)).update(&stage.file(), |_| Change::Keep).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("exit status: 7") && message.contains("no luck"), "{message}");
    }
    let absent = Writer::new(stage.outside("absent")).update(&stage.file(), |_| Change::Keep).unwrap_err();
    assert!(matches!(absent, WriteError::Start { .. }), "{absent}");
    assert_eq!(fs::read(stage.keys()).unwrap(), OLD);
}
