use std::fs;

use super::*;
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
    found.map(|found| String::from_utf8(found.lines).unwrap())
}

fn filled(folder: &Path) -> Store {
    let store = store(folder);
    let line = |byte, line| LookupLine { fingerprint: key(byte).fingerprint(), for_emergencies: false, line };
    let lines = [line(1, "ssh-ed25519 ONE alice"), line(2, "no-pty ssh-ed25519 TWO bob")];
    store.save_lookup(&"ubuntu".parse().unwrap(), &host("i-1"), &lines);
    store.save_serving(&Moment::now(), Duration::from_mins(1)).unwrap();
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

#[test]
fn a_look_up_lets_in_nobody_but_for_emergencies_once_the_agent_is_dead_for_longer_than_max_stale() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let line = |byte, for_emergencies, line| LookupLine { fingerprint: key(byte).fingerprint(), for_emergencies, line };
    let both = [line(1, false, "ssh-ed25519 ONE alice"), line(2, true, "ssh-ed25519 TWO break-glass")];
    store.save_lookup(&"ubuntu".parse().unwrap(), &host("i-1"), &both);
    let looked_up = || store.look_up(&"ubuntu".parse().unwrap(), None, &host("i-1")).unwrap();
    let only_emergency = LookedUp { lines: b"ssh-ed25519 TWO break-glass\n".to_vec(), stale: true };
    assert_eq!(looked_up(), only_emergency, "nobody said how long it holds");
    let mut reached = Moment::now();
    store.save_serving(&reached, Duration::from_hours(72)).unwrap();
    assert!(!looked_up().stale);
    assert_eq!(lines(&store, "ubuntu", Some(1), "i-1").unwrap(), "ssh-ed25519 ONE alice\n");
    (reached.boot_id, reached.wall) = (String::new(), reached.wall - Duration::from_hours(73));
    store.save_serving(&reached, Duration::from_hours(72)).unwrap();
    assert_eq!(looked_up(), only_emergency);
    assert_eq!(lines(&store, "ubuntu", Some(1), "i-1").unwrap(), "");
    assert_eq!(lines(&store, "ubuntu", Some(2), "i-1").unwrap(), "ssh-ed25519 TWO break-glass\n");
}

#[test]
fn one_line_of_a_thousand_is_found_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let keys: Vec<_> =
        (0..=255).map(|byte| (key(byte).fingerprint(), format!("{byte}{}", "x".repeat(byte.into())))).collect();
    for kept in [0, 1, 2, 3, 6, 50, 254, 255] {
        let some = keys.iter().step_by(kept + 1);
        let some: Vec<_> = some
            .map(|(fingerprint, line)| LookupLine {
                fingerprint: *fingerprint,
                for_emergencies: line.len() % 7 == 0,
                line,
            })
            .collect();
        store.save_lookup(&"ubuntu".parse().unwrap(), &host("i-1"), &some);
        store.save_serving(&Moment::now(), Duration::from_mins(1)).unwrap();
        for (at, (fingerprint, line)) in keys.iter().enumerate() {
            let found = store.look_up(&"ubuntu".parse().unwrap(), Some(*fingerprint), &host("i-1")).unwrap();
            let expected = if at % (kept + 1) == 0 { format!("{line}\n") } else { String::new() };
            assert_eq!(String::from_utf8(found.lines).unwrap(), expected);
        }
    }
}
