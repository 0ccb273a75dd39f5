//! What stands in the way of a write, put there by the account's user: refused, told, and left alone.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::time::SystemTime;

use fleetkey_agent::write::{
    Account, Change, KeyFile, Kind, Note, Outcome, Refusal, WriteError, open_folders_no_follow, stamp,
};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Gid, Uid, mkfifo};

use super::{NEW, OLD, Stage, names, portrait, writer};

fn refusal(result: Result<Outcome, WriteError>) -> Refusal {
    match result {
        Err(WriteError::Refused { refusal, .. }) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_key_file_is_made_with_its_folder_then_kept_then_replaced_then_removed() {
    let Some(stage) = Stage::set(61001) else { return };
    let made = stage.replace().unwrap();
    assert!(made.changed);
    assert_eq!(made.notes, [Note::FolderCreated]);
    assert_eq!(portrait(&stage.keys()), (61001, 61001, 0o100_600, NEW.to_vec()));
    assert_eq!(fs::metadata(stage.ssh()).unwrap().mode(), 0o040_700);
    assert_eq!(made.stamp, stamp(&stage.file()).unwrap());

    let kept = stage.replace().unwrap();
    assert_eq!((kept.changed, kept.stamp), (false, made.stamp), "the same bytes are no change");

    fs::set_permissions(stage.keys(), Permissions::from_mode(0o644)).unwrap();
    let replaced = writer().update(&stage.file(), |old| {
        assert_eq!(old, Some(NEW));
        Change::Replace(OLD.to_vec())
    });
    assert!(replaced.unwrap().changed);
    assert_eq!(portrait(&stage.keys()), (61001, 61001, 0o100_644, OLD.to_vec()), "the mode is the old one's");

    let removed = writer().update(&stage.file(), |_| Change::Remove).unwrap();
    assert_eq!((removed.changed, removed.stamp), (true, None));
    assert_eq!(stamp(&stage.file()).unwrap(), None);
    let again = writer().update(&stage.file(), |old| {
        assert_eq!(old, None);
        Change::Remove
    });
    assert!(!again.unwrap().changed);
    assert_eq!(names(&stage.ssh()), [""; 0]);
}

#[test]
fn a_home_without_ssh_gets_none_when_there_is_nothing_to_write() {
    let Some(stage) = Stage::set(61002) else { return };
    assert!(!writer().update(&stage.file(), |_| Change::Keep).unwrap().changed);
    assert!(!stage.ssh().exists());
}

#[test]
fn t1_a_link_to_the_shadow_file_is_neither_read_written_nor_chowned() {
    let Some(stage) = Stage::set(61003) else { return };
    let shadow = stage.outside("shadow");
    fs::write(&shadow, "root:secret").unwrap();
    // Readable, so that it is not for lack of permission that it is left alone.
    fs::set_permissions(&shadow, Permissions::from_mode(0o666)).unwrap();
    stage.make_folder(&stage.ssh(), 0o700);
    symlink(&shadow, stage.keys()).unwrap();
    let before = portrait(&shadow);
    // So old that any reading of it would show.
    let never_read = FileTimes::new().set_accessed(SystemTime::UNIX_EPOCH);
    File::options().write(true).open(&shadow).unwrap().set_times(never_read).unwrap();

    let (writer, trace) = stage.traced("t1", "");
    let result = writer.update(&stage.file(), |_| panic!("nothing is read"));
    assert_eq!(refusal(result), Refusal::NotAFile(Kind::Link));
    let trace = fs::read_to_string(trace).unwrap();
    assert!(trace.contains("\"authorized_keys\"") && !trace.contains("shadow"), "{trace}");
    assert_eq!(fs::metadata(&shadow).unwrap().atime(), 0);
    assert_eq!(portrait(&shadow), before);
}

#[test]
fn t1_root_s_own_key_file_is_no_exception() {
    let Some(stage) = Stage::set(61004) else { return };
    let home = stage.outside("root");
    fs::create_dir(&home).unwrap();
    fs::create_dir(home.join(".ssh")).unwrap();
    let account =
        Account { name: "root".parse().unwrap(), uid: Uid::from_raw(0), gid: Gid::from_raw(0), home: home.clone() };
    let file = KeyFile::Home { account };
    assert!(writer().update(&file, |_| Change::Replace(NEW.to_vec())).unwrap().changed);

    let shadow = stage.outside("shadow");
    fs::write(&shadow, "root:secret").unwrap();
    let before = portrait(&shadow);
    fs::remove_file(home.join(".ssh/authorized_keys")).unwrap();
    symlink(&shadow, home.join(".ssh/authorized_keys")).unwrap();
    let result = writer().update(&file, |_| Change::Replace(NEW.to_vec()));
    assert_eq!(refusal(result), Refusal::NotAFile(Kind::Link));
    assert_eq!(portrait(&shadow), before);

    fs::set_permissions(&home, Permissions::from_mode(0o770)).unwrap();
    let result = writer().update(&file, |_| Change::Keep);
    assert_eq!(refusal(result), Refusal::WritableByOthers { mode: 0o770 });
}

#[test]
fn t2_a_link_in_place_of_ssh_or_of_the_home_leads_nowhere() {
    let Some(stage) = Stage::set(61005) else { return };
    let victim = stage.outside("victim");
    fs::create_dir(&victim).unwrap();
    fs::set_permissions(&victim, Permissions::from_mode(0o777)).unwrap();
    symlink(&victim, stage.ssh()).unwrap();
    assert_eq!(refusal(stage.replace()), Refusal::NotAFolder(Kind::Link));
    assert!(open_folders_no_follow(&stage.account).is_err());
    assert!(stamp(&stage.file()).is_err());

    fs::remove_file(stage.ssh()).unwrap();
    fs::remove_dir(&stage.account.home).unwrap();
    // Not even root's own link: the user database is to say where the home is.
    symlink(&victim, &stage.account.home).unwrap();
    assert_eq!(refusal(stage.replace()), Refusal::NotAFolder(Kind::Link));
    assert!(open_folders_no_follow(&stage.account).is_err());
    assert_eq!(names(&victim), [""; 0]);
}

#[test]
fn t2_somebody_else_s_folder_in_place_of_ssh_or_of_the_home_is_refused() {
    let Some(stage) = Stage::set(61006) else { return };
    stage.make_folder(&stage.ssh(), 0o777);
    chown(stage.ssh(), Some(61999), None).unwrap();
    assert_eq!(refusal(stage.replace()), Refusal::Owner { owner: 61999, wanted: 61006 });
    chown(&stage.account.home, Some(61999), None).unwrap();
    assert_eq!(refusal(stage.replace()), Refusal::Owner { owner: 61999, wanted: 61006 });
    assert_eq!(names(&stage.ssh()), [""; 0]);
}

#[test]
fn t2_on_the_way_to_a_home_only_root_s_links_in_root_s_folders_are_followed() {
    let Some(mut stage) = Stage::set(61007) else { return };
    let link = stage.outside("data");
    symlink(".//../".to_owned() + stage.folder.path().file_name().unwrap().to_str().unwrap(), &link).unwrap();
    stage.account.home = link.join("home");
    assert!(stage.replace().unwrap().changed);

    std::os::unix::fs::lchown(&link, Some(61007), None).unwrap();
    assert_eq!(refusal(stage.replace()), Refusal::ForeignLink);
    std::os::unix::fs::lchown(&link, Some(0), None).unwrap();
    fs::set_permissions(stage.folder.path(), Permissions::from_mode(0o775)).unwrap();
    assert_eq!(refusal(stage.replace()), Refusal::ForeignLink);
    fs::set_permissions(stage.folder.path(), Permissions::from_mode(0o755)).unwrap();

    fs::remove_file(&link).unwrap();
    symlink("data", &link).unwrap();
    assert_eq!(refusal(stage.replace()), Refusal::TooManyLinks);
}

#[test]
fn t4_a_hard_link_a_fifo_a_device_and_a_folder_are_refused_at_once() {
    let Some(stage) = Stage::set_with_keys(61008) else { return };
    let root_file = stage.outside("passwd");
    fs::write(&root_file, OLD).unwrap();
    for (name, expected) in [
        ("hard link", Refusal::HardLinked),
        ("FIFO", Refusal::NotAFile(Kind::Fifo)),
        ("device", Refusal::NotAFile(Kind::Device)),
        ("folder", Refusal::NotAFile(Kind::Folder)),
    ] {
        let _ = fs::remove_file(stage.keys());
        match expected {
            Refusal::HardLinked => fs::hard_link(&root_file, stage.keys()).unwrap(),
            Refusal::NotAFile(Kind::Fifo) => mkfifo(&stage.keys(), Mode::S_IRWXU).unwrap(),
            Refusal::NotAFile(Kind::Device) => {
                mknod(&stage.keys(), SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 3)).unwrap();
            }
            _ => fs::create_dir(stage.keys()).unwrap(),
        }
        let error = stage.replace().unwrap_err();
        let message = error.to_string();
        assert!(message.contains("mallory") && message.contains("/.ssh/authorized_keys"), "{message}");
        assert!(message.contains(name) && message.contains("(rm)"), "{message}");
        assert_eq!(refusal(Err(error)), expected, "{name}");
    }
    assert_eq!(portrait(&root_file), (0, 0, 0o100_644, OLD.to_vec()));
}

#[test]
fn what_sshd_would_not_accept_is_put_right_even_when_the_file_is_kept() {
    let Some(stage) = Stage::set_with_keys(61009) else { return };
    fs::set_permissions(&stage.account.home, Permissions::from_mode(0o775)).unwrap();
    fs::set_permissions(stage.ssh(), Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(stage.keys(), Permissions::from_mode(0o664)).unwrap();
    let outcome = writer().update(&stage.file(), |_| Change::Keep).unwrap();
    let expected = [
        Note::HomeMode { is: 0o775 },
        Note::FolderMode { was: 0o777, now: 0o755 },
        Note::FileMode { was: 0o664, now: 0o644 },
    ];
    assert_eq!(outcome.notes, expected);
    assert_eq!(outcome.stamp, stamp(&stage.file()).unwrap());
    assert_eq!(portrait(&stage.keys()), (61009, 61009, 0o100_644, OLD.to_vec()));
}

#[test]
fn a_file_that_changes_while_the_agent_thinks_is_read_anew() {
    let Some(stage) = Stage::set_with_keys(61010) else { return };
    let mut seen = Vec::new();
    let outcome = writer().update(&stage.file(), |old| {
        seen.push(old.unwrap_or_default().to_vec());
        if seen.len() == 1 {
            fs::write(stage.keys(), "a new line").unwrap();
        }
        Change::Replace([old.unwrap_or_default(), b" and more"].concat())
    });
    assert!(outcome.unwrap().changed);
    assert_eq!(seen, [OLD.to_vec(), b"a new line".to_vec()]);
    assert_eq!(fs::read(stage.keys()).unwrap(), b"a new line and more");

    let mut count = 0;
    let endless = writer().update(&stage.file(), |_| {
        count += 1;
        fs::write(stage.keys(), "x".repeat(count)).unwrap();
        Change::Replace(NEW.to_vec())
    });
    assert_eq!(refusal(endless), Refusal::KeepsChanging);
    assert_eq!(names(&stage.ssh()), ["authorized_keys"]);
}

#[test]
fn a_file_larger_than_the_limit_is_neither_read_nor_written() {
    let Some(stage) = Stage::set_with_keys(61011) else { return };
    let limit = 16 << 20;
    let too_much = || writer().update(&stage.file(), |_| Change::Replace(vec![b'#'; (16 << 20) + 1]));
    assert_eq!(refusal(too_much()), Refusal::TooLarge { limit });
    let just_enough = writer().update(&stage.file(), |_| Change::Replace(vec![b'#'; 16 << 20]));
    assert!(just_enough.unwrap().changed);
    fs::OpenOptions::new().write(true).open(stage.keys()).unwrap().set_len(limit + 1).unwrap();
    assert_eq!(refusal(stage.replace()), Refusal::TooLarge { limit });
}
