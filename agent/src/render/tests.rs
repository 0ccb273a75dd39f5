use fleetkey_common::restrictions::Restrictions;
use proptest::prelude::*;

use super::*;
use crate::key_set::tests::key;

fn granted(person: &str, byte: u8) -> GrantedKey {
    GrantedKey { person: person.parse().unwrap(), key: key(byte), restrictions: Restrictions::default() }
}

fn wanted(keys: &[(&str, u8)]) -> Vec<String> {
    let keys: Vec<_> = keys.iter().map(|(person, byte)| granted(person, *byte)).collect();
    lines(&keys, &TimeZone::UTC, true)
}

fn governed(bytes: &[u8]) -> BTreeSet<Fingerprint> {
    bytes.iter().map(|&byte| key(byte).fingerprint()).collect()
}

fn text(rendered: &Rendered) -> &str {
    std::str::from_utf8(&rendered.bytes).unwrap()
}

const BEGIN_LINE: &str = "# BEGIN fleetkey: kept by fleetkey-agent; a change between these lines is undone\n";
const END_LINE: &str = "# END fleetkey\n";

#[test]
fn a_new_file_holds_the_block_with_a_line_for_each_key() {
    let rendered = shared(b"", &wanted(&[("alice", 1), ("bob", 2)]), &BTreeSet::new());
    assert_eq!(text(&rendered), format!("{BEGIN_LINE}{} alice\n{} bob\n{END_LINE}", key(1), key(2)));
    assert!(!rendered.block_differed);
}

#[test]
fn options_stand_before_the_key_and_the_expiry_is_in_the_boxs_own_time() {
    let restrictions = Restrictions {
        options: BTreeSet::from(["no-pty".to_owned()]),
        expires: Some("2026-12-31T22:30:00Z".parse().unwrap()),
    };
    let alice = GrantedKey { restrictions, ..granted("alice", 1) };
    let zone = TimeZone::fixed(jiff::tz::offset(2));
    let line = |expiry| lines(std::slice::from_ref(&alice), &zone, expiry).remove(0);
    assert_eq!(line(true), format!("expiry-time=\"20270101003000\",no-pty {} alice", key(1)));
    assert_eq!(line(false), format!("no-pty {} alice", key(1)));
}

#[test]
fn r1_when_the_last_key_goes_the_block_is_really_empty() {
    let full = shared(b"", &wanted(&[("alice", 1)]), &BTreeSet::new());
    let empty = shared(&full.bytes, &[], &governed(&[1]));
    assert_eq!(text(&empty), format!("{BEGIN_LINE}{END_LINE}"));
}

#[test]
fn r5_and_fault_3_lines_of_others_survive_byte_for_byte() {
    let others = format!(
        "# a comment\r\n\r\n  {}  her laptop\r\ncommand=\"echo \\\"#\\\"\",no-pty {} x # y\nssh-dss AAAA\n\x01\u{ff}\nlast line without an end {}",
        key(7),
        key(8),
        "x".repeat(1 << 20)
    );
    let rendered = shared(others.as_bytes(), &wanted(&[("alice", 1)]), &governed(&[1]));
    assert_eq!(text(&rendered), format!("{BEGIN_LINE}{} alice\n{END_LINE}{others}", key(1)));
    assert_eq!(rendered.foreign, [key(7), key(8)]);
    let again = shared(&rendered.bytes, &[], &governed(&[1]));
    assert_eq!(text(&again), format!("{BEGIN_LINE}{END_LINE}{others}"));
    assert_eq!(retired(&again.bytes, &governed(&[1])).bytes, others.as_bytes());
}

#[test]
fn the_block_stays_where_it_stands() {
    let old = format!("before\n{BEGIN_LINE}{} alice\n{END_LINE}after\n", key(1));
    let rendered = shared(old.as_bytes(), &wanted(&[("bob", 2)]), &BTreeSet::new());
    assert_eq!(text(&rendered), format!("before\n{BEGIN_LINE}{} bob\n{END_LINE}after\n", key(2)));
}

#[test]
fn a_line_that_somebody_adds_to_the_block_goes() {
    let old = format!("{BEGIN_LINE}{} alice\n{} intruder\n{END_LINE}", key(1), key(66));
    let rendered = shared(old.as_bytes(), &wanted(&[("alice", 1)]), &BTreeSet::new());
    assert_eq!(text(&rendered), format!("{BEGIN_LINE}{} alice\n{END_LINE}", key(1)));
    assert!(rendered.block_differed);
}

#[test]
fn a_governed_key_outside_the_block_is_taken_out_and_if_granted_stands_in_the_block() {
    let old = format!("{} launch\nfrom=\"10.0.0.0/8\" {} mine\n{} stranger\n", key(1), key(2), key(3));
    let rendered = shared(old.as_bytes(), &wanted(&[("alice", 1)]), &governed(&[1, 2]));
    assert_eq!(text(&rendered), format!("{BEGIN_LINE}{} alice\n{END_LINE}{} stranger\n", key(1), key(3)));
    assert_eq!(rendered.taken, [key(1).fingerprint(), key(2).fingerprint()]);
    assert_eq!(rendered.foreign, [key(3)]);
}

#[test]
fn a_marker_without_its_other_half_makes_no_other_line_the_agents() {
    for old in [
        format!("{BEGIN_LINE}{} hers\n", key(3)),
        format!("{} hers\n{END_LINE}", key(3)),
        format!("{END_LINE}{} hers\n{BEGIN_LINE}", key(3)),
    ] {
        let rendered = shared(old.as_bytes(), &wanted(&[("alice", 1)]), &BTreeSet::new());
        assert_eq!(text(&rendered), format!("{BEGIN_LINE}{} alice\n{END_LINE}{} hers\n", key(1), key(3)), "{old}");
        assert!(rendered.block_differed);
    }
}

#[test]
fn of_several_blocks_the_first_stays() {
    let block = format!("{BEGIN_LINE}{} alice\n{END_LINE}", key(1));
    let old = format!("a\n{block}b\n{block}c\n");
    let rendered = shared(old.as_bytes(), &wanted(&[("alice", 1)]), &BTreeSet::new());
    assert_eq!(text(&rendered), format!("a\n{block}b\nc\n"));
}

#[test]
fn a_whole_file_is_the_keys_and_nothing_else() {
    assert_eq!(whole(&wanted(&[("alice", 1)])), format!("{} alice\n", key(1)).as_bytes());
    assert_eq!(whole(&[]), b"");
}

/// A line of a key file: somebody's key, a marker, a comment, or noise.
fn any_line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (0..6_u8, "[ -~]{0,20}").prop_map(|(byte, comment)| format!("{} {comment}", key(byte)).into_bytes()),
        (0..6_u8).prop_map(|byte| format!("no-pty,command=\"a b\" {}", key(byte)).into_bytes()),
        Just(BEGIN_LINE.trim_end().as_bytes().to_vec()),
        Just(END_LINE.trim_end().as_bytes().to_vec()),
        "#[ -~\r]{0,20}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>().prop_filter("no line end", |byte| *byte != b'\n'), 0..20),
    ]
}

fn any_file() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(any_line(), 0..12), any::<bool>()).prop_map(|(lines, ends)| {
        let mut bytes = lines.join(&b'\n');
        if ends {
            bytes.push(b'\n');
        }
        bytes
    })
}

/// The lines outside every block that hold no governed key.
fn kept_lines(bytes: &[u8], governed: &BTreeSet<Fingerprint>) -> Vec<u8> {
    retired(bytes, governed).bytes
}

proptest! {
    #[test]
    fn rendering_twice_is_rendering_once(old in any_file(), keys in prop::collection::vec(0..6_u8, 0..4)) {
        let wanted = wanted(&keys.iter().map(|&byte| ("alice", byte)).collect::<Vec<_>>());
        let governed = governed(&keys);
        let once = shared(&old, &wanted, &governed);
        let twice = shared(&once.bytes, &wanted, &governed);
        prop_assert_eq!(&once.bytes, &twice.bytes);
        prop_assert!(!twice.block_differed && twice.taken.is_empty());
    }

    #[test]
    fn other_peoples_lines_are_the_same_before_and_after(old in any_file(), keys in prop::collection::vec(0..3_u8, 0..4)) {
        let wanted = wanted(&keys.iter().map(|&byte| ("alice", byte)).collect::<Vec<_>>());
        let governed = governed(&keys);
        let rendered = shared(&old, &wanted, &governed);
        prop_assert_eq!(kept_lines(&old, &governed), kept_lines(&rendered.bytes, &governed));
    }

    #[test]
    fn what_is_rendered_is_read_back_as_the_keys_wanted(keys in prop::collection::btree_set(0..200_u8, 0..20)) {
        let keys: Vec<_> = keys.into_iter().map(|byte| ("alice", byte)).collect();
        let read: Vec<_> = whole(&wanted(&keys))
            .split(|&byte| byte == b'\n')
            .filter_map(|line| match key_line::read(line) {
                Line::Key { key, .. } => Some(key),
                _ => None,
            })
            .collect();
        prop_assert_eq!(read, keys.iter().map(|(_, byte)| key(*byte)).collect::<Vec<_>>());
    }
}
