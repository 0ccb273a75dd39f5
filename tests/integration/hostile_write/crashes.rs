//! R4: the helper is killed, or its system calls fail, at every single one of them.

use std::collections::HashMap;
use std::fs;

use fleetkey_agent::write::Change;

use super::{NEW, OLD, Stage, names};

/// Every system call of a program as strace wrote it down: its name, and the how-manieth of that name it is.
fn calls(trace: &str) -> Vec<(String, usize)> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let names = trace.lines().filter_map(|line| line.split_once('(')).map(|(name, _)| name);
    names
        .map(|name| {
            let count = counts.entry(name).or_default();
            *count += 1;
            (name.to_owned(), *count)
        })
        // Without its first, nothing would run at all.
        .skip(1)
        .collect()
}

/// Tampers with each system call of an update in turn, from the state that `reset` makes.
fn tamper_with_every_call(stage: &Stage, tampering: &str, before: Option<&[u8]>, reset: impl Fn()) {
    reset();
    let (recorder, trace) = stage.traced("record", "");
    assert!(recorder.update(&stage.file(), |_| Change::Replace(NEW.to_vec())).unwrap().changed);
    let calls = calls(&fs::read_to_string(trace).unwrap());
    assert!(calls.iter().any(|(name, _)| name.starts_with("rename")), "{calls:?}");

    let mut unchanged = 0;
    for (name, count) in &calls {
        reset();
        let inject = format!("-e inject={name}:{tampering}:when={count}");
        let (writer, _) = stage.traced("tampered", &inject);
        let result = writer.update(&stage.file(), |_| Change::Replace(NEW.to_vec()));
        let found = fs::read(stage.keys()).ok();
        assert!(
            found.as_deref() == before || found.as_deref() == Some(NEW),
            "{inject}: neither old nor new but {found:?}"
        );
        let is_new = found.as_deref() == Some(NEW);
        assert!(is_new || result.is_err(), "{inject}: told as done: {result:?}");
        unchanged += usize::from(!is_new);

        stage.replace().unwrap();
        assert_eq!(fs::read(stage.keys()).unwrap(), NEW, "{inject}");
        assert_eq!(names(&stage.ssh()), ["authorized_keys"], "{inject}: litter");
    }
    assert!(unchanged > 0 && unchanged < calls.len(), "{unchanged} of {} calls came before the rename", calls.len());
}

#[test]
fn r4_kill_9_at_every_system_call_leaves_the_old_file_or_the_new_one() {
    let Some(stage) = Stage::set_with_keys(61040) else { return };
    tamper_with_every_call(&stage, "signal=KILL", Some(OLD), || stage.put_keys());
}

#[test]
fn r4_kill_9_at_every_system_call_of_a_first_write_leaves_no_file_or_the_new_one() {
    let Some(stage) = Stage::set(61041) else { return };
    tamper_with_every_call(&stage, "signal=KILL", None, || drop(fs::remove_dir_all(stage.ssh())));
}

#[test]
fn r4_a_full_disk_at_every_system_call_leaves_the_old_file_or_the_new_one() {
    let Some(stage) = Stage::set_with_keys(61042) else { return };
    tamper_with_every_call(&stage, "error=ENOSPC", Some(OLD), || stage.put_keys());
}

#[test]
fn r4_a_broken_disk_at_every_system_call_leaves_the_old_file_or_the_new_one() {
    let Some(stage) = Stage::set_with_keys(61043) else { return };
    tamper_with_every_call(&stage, "error=EIO", Some(OLD), || stage.put_keys());
}
