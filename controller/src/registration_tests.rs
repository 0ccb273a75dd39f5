//! What registering comes to, for every state that the registries can be in.

use super::*;

const ALICE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJcqWYodY0gyb5IvG5gmbH+STkPFE6zhSgRMTi+fCI4n";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJcqWYodY0gyb5IvG5gmbH+STkPFE6zhSgRMTi+fCI4m";

fn file(line: &str) -> KeyFile {
    KeyFile::parse(line.as_bytes(), "id.pub").unwrap()
}

fn sha256(line: &str) -> Fingerprint {
    file(line).key.fingerprint()
}

fn request() -> Request {
    Request {
        person: "alice".parse().unwrap(),
        file: file(ALICE),
        expires: None,
        force: false,
        by: "arn:aws:iam::123456789012:user/root-of-all".to_owned(),
        now: "2026-11-21T10:00:00Z".parse().unwrap(),
    }
}

fn pair(name: &str, line: &str) -> KeyPair {
    let key = file(line).key;
    let fingerprint = key.ec2_fingerprint().to_string();
    KeyPair { id: format!("key-{name}"), name: name.to_owned(), fingerprint, key: Some(key), ..KeyPair::default() }
}

fn person_file(person: &str, lines: &[&str]) -> PersonFile {
    let person: PersonName = person.parse().unwrap();
    let keys: Vec<_> = lines.iter().map(|line| sha256(line)).collect();
    PersonFile { path: person_key(&person, keys[0]), person, keys }
}

/// The actions of a plan, each with its place.
fn actions(plan: &Plan) -> Vec<String> {
    let rows = plan.steps.iter().map(|step| serde_json::to_value(step.row(crate::work::Outcome::Planned)).unwrap());
    rows.map(|row| format!("{} {}", row["action"].as_str().unwrap(), row["place"].as_str().unwrap())).collect()
}

fn refusal(request: &Request, facts: &Facts) -> (String, Vec<String>) {
    let error = anyhow::Error::from(plan(request, facts).unwrap_err());
    (error.to_string(), crate::refusal::hints(&error).into_iter().map(str::to_owned).collect())
}

/// All that a finished registration leaves behind.
fn registered(request: &Request, expires: Option<Timestamp>) -> Facts {
    let mut facts = Facts { people: vec![person_file("alice", &[ALICE])], ..Facts::default() };
    let mut held = pair("alice", ALICE);
    held.tags.extend(expires.map(|moment| (EXPIRES_TAG.to_owned(), moment.to_string())));
    facts.pairs.push(held);
    for path in object_keys(request, &facts.pairs) {
        let Work::Put { body, metadata, .. } = put(request, expires, path.clone()).work else { unreachable!() };
        facts.objects.insert(path, Object { body: body.into_bytes(), metadata });
    }
    facts
}

#[test]
fn a_new_key_goes_to_every_registry_with_the_persons_folder_last() {
    let plan = plan(&request(), &Facts::default()).unwrap();
    let hex = sha256(ALICE).to_hex();
    let named = ssh_pubkey_key(&file(ALICE).key.ec2_fingerprint());
    let expected = [
        format!("put {named}"),
        "import key pair alice".into(),
        format!("put people/alice/{hex}.pub"),
        "hint agents".into(),
    ];
    assert_eq!(actions(&plan), expected);
}

#[test]
fn what_is_registered_already_takes_nothing_but_the_hint() {
    assert_eq!(actions(&plan(&request(), &registered(&request(), None)).unwrap()), ["hint agents"]);
    let expires = Some("2027-01-01T00:00:00Z".parse().unwrap());
    let again = Request { expires: Some(expires), ..request() };
    assert_eq!(actions(&plan(&again, &registered(&again, expires)).unwrap()), ["hint agents"]);
}

#[test]
fn a_run_that_stopped_anywhere_is_finished_by_the_same_command() {
    let whole = registered(&request(), None);
    let everything = actions(&plan(&request(), &Facts::default()).unwrap());
    for missing in whole.objects.keys() {
        let mut facts = whole.clone();
        facts.objects.remove(missing);
        let rest = actions(&plan(&request(), &facts).unwrap());
        assert_eq!(rest, [format!("put {missing}"), "hint agents".to_owned()]);
        assert!(rest.iter().all(|step| everything.contains(step)));
    }
    let facts = Facts { pairs: Vec::new(), ..whole };
    assert_eq!(actions(&plan(&request(), &facts).unwrap()), ["import key pair alice", "hint agents"]);
}

#[test]
fn an_object_with_another_key_or_none_under_the_name_is_put_right() {
    for body in [OTHER.as_bytes(), b"", b"rubbish"] {
        let mut facts = registered(&request(), None);
        let path = person_key(&request().person, sha256(ALICE));
        facts.objects.insert(path.clone(), Object { body: body.to_vec(), ..Object::default() });
        assert_eq!(actions(&plan(&request(), &facts).unwrap()), [format!("put {path}"), "hint agents".to_owned()]);
    }
}

#[test]
fn an_expiry_stays_until_another_is_asked_for_and_then_changes_everywhere() {
    let expires: Option<Timestamp> = Some("2027-01-01T00:00:00Z".parse().unwrap());
    let facts = registered(&request(), expires);
    let kept = plan(&request(), &facts).unwrap();
    assert_eq!((actions(&kept).len(), kept.expires), (1, expires));
    assert_eq!(kept.notes, ["the key keeps its expiry, 2027-01-01T00:00:00Z"]);

    let lifted = plan(&Request { expires: Some(None), ..request() }, &facts).unwrap();
    assert_eq!(actions(&lifted).len(), 4, "{:?}", actions(&lifted));
    let Work::Tag { tags, remove, .. } = &lifted.steps[1].work else { panic!("{lifted:?}") };
    assert!(!tags.contains_key(EXPIRES_TAG) && *remove == [EXPIRES_TAG]);

    let mut broken = facts;
    broken.pairs[0].tags.insert(EXPIRES_TAG.to_owned(), "soon".to_owned());
    let (message, hints) = refusal(&request(), &broken);
    assert_eq!(message, "the EC2 key pair alice has the expiry \"soon\", which is no time");
    assert_eq!(hints, ["say what it should be: --expires WHEN, or --expires never"]);
}

#[test]
fn a_revoked_key_is_refused_even_with_force_and_the_reason_is_told() {
    let body = br#"{"who": "bob", "when": "2026-11-20T08:00:00Z", "why": "lost laptop", "person": "alice"}"#;
    let facts = |body: &[u8]| Facts { revoked: Some(body.to_vec()), ..Facts::default() };
    let forced = Request { force: true, ..request() };
    let fingerprint = sha256(ALICE);
    let (message, hints) = refusal(&forced, &facts(body));
    assert_eq!(message, format!("{fingerprint} was revoked as alice's by bob at 2026-11-20T08:00:00Z: lost laptop"));
    assert_eq!(hints, ["a revoked key is never taken again; make a new one with ssh-keygen -t ed25519"]);
    let (message, _) = refusal(&forced, &facts(b""));
    assert_eq!(message, format!("{fingerprint} was revoked; the record of who did and why cannot be read"));
}

#[test]
fn a_key_of_another_person_is_refused_and_with_force_taken_from_them_last() {
    let facts =
        Facts { people: vec![person_file("bob", &[ALICE])], pairs: vec![pair("bob", ALICE)], ..Facts::default() };
    let fingerprint = sha256(ALICE);
    let (message, hints) = refusal(&request(), &facts);
    assert_eq!(message, format!("{fingerprint} is registered as bob's key"));
    assert_eq!(hints, ["--force takes it from bob and gives it to alice"]);
    let only_pair = Facts { people: Vec::new(), ..facts.clone() };
    assert_eq!(refusal(&request(), &only_pair).0, format!("{fingerprint} is registered as bob's key"));

    let steps = actions(&plan(&Request { force: true, ..request() }, &facts).unwrap());
    let last = [format!("remove key pair bob"), format!("remove {}", facts.people[0].path), "hint agents".to_owned()];
    assert_eq!(steps[3..], last);
}

#[test]
fn a_file_of_anothers_that_holds_more_keys_is_never_removed_for_one_of_them() {
    let facts = Facts { people: vec![person_file("bob", &[ALICE, OTHER])], ..Facts::default() };
    let (message, _) = refusal(&Request { force: true, ..request() }, &facts);
    assert!(message.contains("beside other keys of bob"), "{message}");
}

#[test]
fn a_second_key_of_a_person_leaves_the_key_pair_alone() {
    let facts =
        Facts { people: vec![person_file("alice", &[OTHER])], pairs: vec![pair("alice", OTHER)], ..Facts::default() };
    let second = plan(&request(), &facts).unwrap();
    assert!(actions(&second).iter().all(|step| !step.contains("key pair")), "{:?}", actions(&second));
    let other = sha256(OTHER);
    assert_eq!(
        second.notes,
        [format!("EC2 has one key pair of a name, and alice's holds {other}: this key is registered in S3 alone")]
    );
    let forced = plan(&Request { force: true, ..request() }, &facts).unwrap();
    assert!(actions(&forced).contains(&"replace key pair alice".to_owned()));
}

#[test]
fn a_key_pair_with_a_key_that_is_nobodys_known_is_replaced_only_by_force() {
    let facts = Facts { pairs: vec![pair("alice", OTHER)], ..Facts::default() };
    let (message, hints) = refusal(&request(), &facts);
    let other = sha256(OTHER);
    assert_eq!(message, format!("the EC2 key pair alice holds another key, {other}, which is not in people/alice/"));
    assert_eq!(hints.len(), 2);
    let sha1 = "1f:51:ae:28:bf:89:e9:d8:1f:25:5d:37:2d:7d:b8:ca:9f:f5:f1:6f".to_owned();
    let made_by_ec2 = KeyPair { key: None, fingerprint: sha1.clone(), ..pair("alice", OTHER) };
    let (message, _) = refusal(&request(), &Facts { pairs: vec![made_by_ec2], ..Facts::default() });
    assert!(message.contains(&sha1), "{message}");
}

#[test]
fn a_key_type_that_ec2_takes_none_of_goes_to_s3_alone_and_says_so() {
    let ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGsX0fLhLEJH+Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT+NC4v4af5uO5+tKfA+eFivOM1drMV7Oy7ZAaDe/UfU=";
    let request = Request { file: file(ecdsa), ..request() };
    let facts = Facts { pairs: vec![pair("alice", OTHER)], ..Facts::default() };
    let plan = plan(&request, &facts).unwrap();
    assert_eq!(actions(&plan), [format!("put people/alice/{}.pub", sha256(ecdsa).to_hex()), "hint agents".into()]);
    assert_eq!(
        plan.notes,
        [
            "EC2 takes no key of type ecdsa-sha2-nistp256: it is registered in S3 alone, where CGCloud's agents do not find it"
        ]
    );
}

#[test]
fn a_fingerprint_that_ec2_made_by_another_rule_gets_an_object_of_its_own() {
    let odd = "15:7c:72:19:a7:70:4d:d4:6b:38:02:8b:ae:df:d7:87:23:c4:1c:dc:b2:d2:23:d7:67:28:72:77:16:db:25:a3";
    let facts =
        Facts { pairs: vec![KeyPair { fingerprint: odd.to_owned(), ..pair("alice", ALICE) }], ..Facts::default() };
    let steps = actions(&plan(&request(), &facts).unwrap());
    assert_eq!(steps[1], format!("put ssh_pubkey:{odd}"));
    for unusable in ["", "../x", "a b", "a\nb"] {
        assert_eq!(named_by_ec2(unusable), None, "{unusable:?}");
    }
}
