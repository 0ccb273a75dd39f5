use std::fs;

use super::*;
use crate::clock::Moment;
use crate::key_set::tests::key;

fn store(folder: &Path) -> Store {
    let paths = PathSettings { state: folder.join("state"), runtime: folder.join("run"), system_keys: PathBuf::new() };
    Store::new(&paths)
}

fn host(instance_id: &str) -> HostIdentity {
    HostIdentity { instance_id: Some(instance_id.to_owned()), product_uuid: None, machine_id: None }
}

fn mode(path: PathBuf) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn lines(store: &Store, account: &str, wanted: Option<u8>, instance: &str) -> io::Result<String> {
    let wanted = wanted.map(|byte| key(byte).fingerprint());
    let found = store.look_up(&account.parse().unwrap(), wanted, &host(instance));
    found.map(|bytes| String::from_utf8(bytes).unwrap())
}

fn filled(folder: &Path) -> Store {
    let store = store(folder);
    let keys = [(key(1).fingerprint(), "ssh-ed25519 ONE alice"), (key(2).fingerprint(), "no-pty ssh-ed25519 TWO bob")];
    store.save_lookup(&"ubuntu".parse().unwrap(), &host("i-1"), &keys);
    store
}

#[test]
fn a_look_up_gives_all_lines_or_those_of_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    assert_eq!(lines(&store, "ubuntu", None, "i-1").unwrap(), "ssh-ed25519 ONE alice\nno-pty ssh-ed25519 TWO bob\n");
    assert_eq!(lines(&store, "ubuntu", Some(2), "i-1").unwrap(), "no-pty ssh-ed25519 TWO bob\n");
    assert_eq!(lines(&store, "ubuntu", Some(3), "i-1").unwrap(), "");
    assert_eq!(lines(&store, "jenkins", None, "i-1").unwrap(), "");
}

#[test]
fn r6_a_look_up_file_that_came_with_an_image_lets_nobody_in() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    assert!(lines(&store, "ubuntu", None, "i-2").is_err());
    fs::write(folder.path().join("state/lookup/ubuntu"), "ssh-ed25519 headless\n").unwrap();
    assert!(lines(&store, "ubuntu", None, "i-1").is_err());
}

#[test]
fn t8_nothing_of_the_agents_own_is_writable_by_others_and_the_state_is_readable_by_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    store.save_state(b"{}").unwrap();
    store.save_status(b"{}");
    let at = |name: &str| folder.path().join(name);
    assert_eq!((mode(at("state")), mode(at("state/state.json"))), (0o711, 0o600));
    assert_eq!((mode(at("state/lookup")), mode(at("state/lookup/ubuntu"))), (0o750, 0o640));
    assert_eq!(mode(at("run/status.json")), 0o600);
}

#[test]
fn an_account_without_a_grant_loses_its_look_up_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    store.remove_lookup(&"ubuntu".parse().unwrap());
    store.remove_lookup(&"ubuntu".parse().unwrap());
    assert_eq!(lines(&store, "ubuntu", None, "i-1").unwrap(), "");
}

#[test]
fn a_state_is_kept_and_a_damaged_one_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    assert_eq!(store.load_state(&host("i-1")), LastGood::None);
    let state = State::new(host("i-1"), Moment::now());
    store.save_state(&state.to_bytes()).unwrap();
    assert_eq!(store.load_state(&host("i-2")), LastGood::AnotherBoxs);
    assert_eq!(store.load_state(&host("i-1")), LastGood::Ours(Box::new(state)));
    store.save_state(b"{").unwrap();
    assert_eq!(store.load_state(&host("i-1")), LastGood::None);
}
