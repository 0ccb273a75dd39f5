use std::collections::BTreeMap;

use super::super::library::tests::Folder;
use super::*;

/// A role with these options.
fn role(options: &str) -> Result<Role, RoleError> {
    let folder = Folder::new();
    folder.role("mine", format!("extends: [generic-debian-12-box]\noptions:\n{options}"));
    folder.load("mine")
}

const OPTIONS: &str = "
  word: {help: any text, default: hello}
  count: {type: int, min: 1, max: 9, default: 3}
  open: {type: bool, default: false}
  tier: {choices: [small, large], default: small}
  space: {type: size, default: 20G}
  token: {help: who you are, required: true}
  rest: {}
";

fn resolved(given: &[(&str, &str)]) -> String {
    let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    match role(OPTIONS).unwrap().resolve_options(&given) {
        Ok(values) => {
            let lines: Vec<String> = values.tags().iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            lines.join("\n") + "\n"
        }
        Err(RoleError::Option { message, hint }) => format!("{message}\n{hint}"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn values_and_defaults_become_tags_and_what_is_not_set_does_not() {
    insta::assert_snapshot!(resolved(&[("token", "t"), ("count", "9"), ("open", "true")]), @r#"
    count="9"
    open="true"
    space="20G"
    tier="small"
    token="t"
    word="hello"
    "#);
}

#[test]
fn what_an_option_does_not_take_is_told() {
    insta::assert_snapshot!(resolved(&[("token", "t"), ("tokn", "t")]), @r#"role mine has no option "tokn" (did you mean "token"?); it has count, open, rest, space, tier, token, word"#);
    insta::assert_snapshot!(resolved(&[]), @r"
    role mine needs option token: who you are
    give -O token=VALUE (string)
    ");
    insta::assert_snapshot!(resolved(&[("token", "t"), ("count", "10")]), @r"
    option count is 10, which is out of range: int 1 to 9
    `fleetkey role options mine` says what there is
    ");
    insta::assert_snapshot!(resolved(&[("token", "t"), ("count", "many")]), @r#"
    option count is "many", which is no whole number
    `fleetkey role options mine` says what there is
    "#);
    insta::assert_snapshot!(resolved(&[("token", "t"), ("open", "yes")]), @r#"
    option open is "yes"; give true or false
    `fleetkey role options mine` says what there is
    "#);
    insta::assert_snapshot!(resolved(&[("token", "t"), ("tier", "smal")]), @r#"
    option tier is "smal"; give small, large (did you mean "small"?)
    `fleetkey role options mine` says what there is
    "#);
    insta::assert_snapshot!(resolved(&[("token", "t"), ("space", "20GB")]), @r#"
    option space is "20GB", which is no size; give a number and K, M, G or T, such as 20G
    `fleetkey role options mine` says what there is
    "#);
}

#[test]
fn t5_values_that_cannot_be_tags_are_refused() {
    insta::assert_snapshot!(resolved(&[("token", &"x".repeat(257))]), @r"
    option token has more than 256 characters, the most that a tag of EC2 has
    `fleetkey role options mine` says what there is
    ");
    insta::assert_snapshot!(resolved(&[("token", "a\0b")]), @r"
    option token has a control character
    `fleetkey role options mine` says what there is
    ");
    assert!(resolved(&[("token", &"\u{e9}".repeat(256))]).contains("token="));
}

#[test]
fn faults_of_options_are_told_all_at_once() {
    let options = "
  Name: {}
  generation: {}
  a: {type: integer}
  b: {type: int, min: 1, default: 0}
  c: {type: choice}
  d: {min: 1}
  e: {required: true, default: x}
  f: {hlep: x}
  g: [x]
  h: {type: bool, default: 'yes'}
";
    let error = role(options).unwrap_err().to_string();
    let told: Vec<&str> = error.lines().map(|line| line.split_once("mine.yaml:").unwrap().1).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    4:3: an option's name is a small letter, then at most 63 of a-z 0-9 _
    5:3: generation is a tag that every box has; give the option another name
    6:13: type "integer" is none of string, int, bool, choice, size (did you mean "int"?)
    7:35: the default is 0, which is out of range: int from 1
    8:6: choices is missing; an option of type choice lists its words
    9:12: only an option of type int has min
    10:17: an option that has a default is never missing; take out required or default
    11:7: unknown field "hlep" in option f (did you mean "help"?)
    12:6: option g is a map, and here stands a list
    13:28: the default is "yes"; give true or false
    "#);
}

#[test]
fn sizes_are_powers_of_1024() {
    for (text, wanted) in [
        ("0", Some(0)),
        ("512", Some(512)),
        ("512B", Some(512)),
        ("1K", Some(1024)),
        ("20G", Some(20 << 30)),
        ("2T", Some(2 << 40)),
        ("", None),
        ("G", None),
        ("-1G", None),
        ("1.5G", None),
        ("1 G", None),
        ("1g", None),
        ("1GB", None),
        ("99999999999T", None),
        ("\u{661}G", None),
    ] {
        assert_eq!(bytes(text), wanted, "{text:?}");
    }
}

#[test]
fn a_type_is_said_in_words() {
    let kinds: BTreeMap<String, String> =
        role(OPTIONS).unwrap().options.into_iter().map(|(name, spec)| (name, spec.kind.words())).collect();
    assert_eq!(kinds["count"], "int 1 to 9");
    assert_eq!(kinds["tier"], "small|large");
}
