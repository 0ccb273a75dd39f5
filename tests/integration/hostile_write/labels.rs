//! R13: files are born with the label that the SELinux policy names.
//!
//! The policy is played by a script, and the kernel here has no SELinux: what is seen is that the helper asks for the
//! label before it creates anything, and that the keys are written even when the kernel refuses it.

use std::fs;

use fleetkey_agent::write::{Change, KeyFile, LabelSource, Note, Writer};

use super::{NEW, Stage, portrait};

fn labelled(stage: &Stage, writer: Writer) -> Writer {
    let program = stage.script("matchpathcon", r#"[ "$1 $2" = "-n -m" ] && echo "system_u:object_r:${3}_t:s0""#);
    writer.with_labels(LabelSource { switch: stage.folder.path().into(), program })
}

fn position(trace: &str, parts: &[&str]) -> usize {
    let found = trace.lines().position(|line| parts.iter().all(|part| line.contains(part)));
    found.unwrap_or_else(|| panic!("no line with {parts:?} in {trace}"))
}

#[test]
fn r13_the_label_of_the_policy_is_set_before_the_folder_and_the_file_are_created() {
    let Some(stage) = Stage::set(61050) else { return };
    let (writer, trace) = stage.traced("r13", "");
    let outcome = labelled(&stage, writer).update(&stage.file(), |_| Change::Replace(NEW.to_vec())).unwrap();
    assert!(outcome.changed);
    // This kernel's word for "no such label", or the lack of the file.
    assert!(outcome.notes.iter().any(|note| matches!(note, Note::LabelNotSet(Some(_)))), "{:?}", outcome.notes);
    assert_eq!(portrait(&stage.keys()).3, NEW);

    let trace = fs::read_to_string(trace).unwrap();
    let steps = [
        position(&trace, &["write(", "attr/fscreate>", "system_u:object_r:dir_t:s0"]),
        position(&trace, &["mkdirat(", ".ssh"]),
        position(&trace, &["write(", "attr/fscreate>", "system_u:object_r:file_t:s0"]),
        position(&trace, &["openat(", "O_CREAT"]),
    ];
    assert!(steps.is_sorted(), "{steps:?} in {trace}");
}

#[test]
fn r13_system_files_are_labelled_too_and_a_policy_without_an_opinion_is_noted() {
    let Some(stage) = Stage::set(61051) else { return };
    let file = KeyFile::System { folder: stage.outside("keys.d"), account: stage.account.clone() };
    let (writer, trace) = stage.traced("r13-system", "");
    assert!(labelled(&stage, writer).update(&file, |_| Change::Replace(NEW.to_vec())).unwrap().changed);
    let trace = fs::read_to_string(trace).unwrap();
    let label = position(&trace, &["write(", "attr/fscreate>", "system_u:object_r:file_t:s0"]);
    assert!(label < position(&trace, &["openat(", "O_CREAT"]), "{trace}");

    let (writer, trace) = stage.traced("r13-none", "");
    let program = stage.script("none", "echo '<<none>>'");
    let writer = writer.with_labels(LabelSource { switch: stage.folder.path().into(), program });
    let outcome = writer.update(&file, |_| Change::Replace(b"other".to_vec())).unwrap();
    assert_eq!(outcome.notes, [Note::LabelNotSet(None)]);
    assert!(!fs::read_to_string(trace).unwrap().contains("fscreate"));
}
