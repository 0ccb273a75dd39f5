//! Key files of root's own, which sshd reads as the account.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use fleetkey_agent::write::{Change, KeyFile, Note, Refusal, WriteError, stamp};

use super::{NEW, OLD, Stage, names, portrait, writer};

fn file(stage: &Stage) -> KeyFile {
    KeyFile::System { folder: stage.outside("ssh/keys.d"), account: stage.account.clone() }
}

#[test]
fn a_system_file_is_root_s_and_readable_by_the_account_alone() {
    let Some(stage) = Stage::set(61030) else { return };
    let replace = |bytes: &[u8]| writer().update(&file(&stage), |_| Change::Replace(bytes.to_vec())).unwrap();
    let made = replace(OLD);
    assert_eq!(made.notes, [Note::FolderCreated]);
    for folder in ["ssh", "ssh/keys.d"] {
        let metadata = fs::metadata(stage.outside(folder)).unwrap();
        assert_eq!((metadata.uid(), metadata.mode()), (0, 0o040_755));
    }
    let path = file(&stage).path();
    assert!(path.ends_with("ssh/keys.d/mallory"));
    assert_eq!(portrait(&path), (0, 61030, 0o100_640, OLD.to_vec()));
    assert_eq!(replace(NEW).stamp, stamp(&file(&stage)).unwrap());
    assert_eq!(portrait(&path), (0, 61030, 0o100_640, NEW.to_vec()));

    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    chown(&path, Some(61030), None).unwrap();
    assert_eq!(replace(NEW).notes, [Note::FileMode { was: 0o666, now: 0o640 }]);
    assert_eq!(portrait(&path), (0, 61030, 0o100_640, NEW.to_vec()));
    assert_eq!(names(path.parent().unwrap()), ["mallory"]);
}

#[test]
fn a_system_folder_that_others_could_change_is_refused() {
    let Some(stage) = Stage::set(61031) else { return };
    let refused = || match writer().update(&file(&stage), |_| Change::Replace(NEW.to_vec())) {
        Err(WriteError::Refused { refusal, .. }) => refusal,
        other => panic!("not refused: {other:?}"),
    };
    fs::create_dir(stage.outside("ssh")).unwrap();
    fs::set_permissions(stage.outside("ssh"), Permissions::from_mode(0o775)).unwrap();
    assert_eq!(refused(), Refusal::WritableByOthers { mode: 0o775 });
    fs::set_permissions(stage.outside("ssh"), Permissions::from_mode(0o755)).unwrap();
    chown(stage.outside("ssh"), Some(61031), None).unwrap();
    assert_eq!(refused(), Refusal::Owner { owner: 61031, wanted: 0 });
    assert_eq!(names(&stage.outside("ssh")), [""; 0]);
}
