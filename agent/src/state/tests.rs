use proptest::prelude::*;

use super::*;
use crate::key_set::tests::{entry, key};

fn host(instance_id: &str) -> HostIdentity {
    HostIdentity { instance_id: Some(instance_id.to_owned()), product_uuid: None, machine_id: Some("m".to_owned()) }
}

fn full() -> State {
    let account: AccountName = "ubuntu".parse().unwrap();
    let mut state = State::new(host("i-1"), Moment::now());
    state.serial = 7;
    state.key_set.accounts.insert(account.clone(), vec![entry("alice", "@@dev", 1), entry("bob", "b*", 2)]);
    state.revoked.insert(key(3).fingerprint());
    state.governed.extend([key(1).fingerprint(), key(2).fingerprint()]);
    state.managed.insert(account, BTreeSet::from([Mode::Shared, Mode::System]));
    state.failing.insert(Part::Group("dev".parse().unwrap()), Moment::now());
    state.failing.insert(Part::Source, Moment::now());
    state
}

#[test]
fn a_state_is_read_back_as_it_was() {
    let state = full();
    assert_eq!(State::parse(&state.to_bytes(), &host("i-1")).unwrap(), state);
}

#[test]
fn r6_a_state_that_came_with_an_image_is_refused() {
    let error = State::parse(&full().to_bytes(), &host("i-2")).unwrap_err();
    assert!(matches!(error, StateError::OtherBox), "{error}");
}

#[test]
fn a_state_of_another_version_is_refused_by_its_number() {
    let text = String::from_utf8(full().to_bytes()).unwrap().replace("\"version\":1", "\"version\":2");
    let error = State::parse(text.as_bytes(), &host("i-1")).unwrap_err();
    assert_eq!(error.to_string(), "the state file has version 2; this agent reads version 1");
}

proptest! {
    #[test]
    fn a_damaged_state_is_an_error_and_never_half_a_state(cut in 0..900_usize, byte in any::<u8>()) {
        let mut bytes = full().to_bytes();
        let at = cut.min(bytes.len() - 2);
        let truncated = State::parse(&bytes[..at], &host("i-1"));
        prop_assert!(truncated.is_err());
        bytes[at] = byte;
        let _ = State::parse(&bytes, &host("i-1"));
    }
}
