//! What operators write, and what they are told.

use std::os::unix::fs::PermissionsExt as _;

use fleetkey_common::config_file::Origin;

use super::*;

fn parse(text: &str) -> Result<Document, Problems> {
    Document::parse(Path::new("f"), text.as_bytes())
}

fn problems(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

const GOOD: &str = r#"
default_profile = "prod"
keypairs = ["__me__", "@@developers"]

[profile.prod]
aws_profile = "production"
zone = "us-west-2a"
namespace = "/prod/"
output = "json"
address = "private"

[profile."my.own"]
namespace = "/__me__/"
"#;

#[test]
fn a_profile_is_chosen_by_flag_then_variable_then_by_the_file() {
    let name = |flag, variable: Option<&str>| {
        let chosen = parse(GOOD).unwrap().choose(flag, variable.map(str::to_owned)).unwrap();
        (chosen.profile.clone().unwrap().value, chosen.is_asked_for())
    };
    assert_eq!(name(None, None), ("prod".to_owned(), false));
    assert_eq!(name(None, Some("")), ("prod".to_owned(), false));
    assert_eq!(name(None, Some("my.own")), ("my.own".to_owned(), true));
    assert_eq!(name(Some("prod"), Some("my.own")), ("prod".to_owned(), true));
    let chosen = parse(GOOD).unwrap().choose(None, None).unwrap();
    let keypairs = chosen.top.keypairs.unwrap();
    assert_eq!(keypairs.value, "__me__ @@developers");
    assert!(matches!(keypairs.origin, Origin::File { line: 3, column: 12, .. }), "{}", keypairs.origin);
    assert_eq!(chosen.own.zone.unwrap().origin.to_string(), "f:7:8: profile.prod.zone");
}

#[test]
fn a_profile_that_is_not_there_is_refused_with_those_that_are() {
    let refused = |text: &str, flag: Option<&str>, variable: Option<&str>| {
        let error = parse(text).unwrap().choose(flag, variable.map(str::to_owned)).unwrap_err();
        let error = anyhow::Error::from(error);
        format!("{error}\n{}", crate::refusal::hints(&error).join("\n"))
    };
    insta::assert_snapshot!(refused(GOOD, Some("pord"), None), @r#"
    --profile: there is no profile "pord" (did you mean "prod"?)
    profiles of the configuration: my.own, prod
    "#);
    insta::assert_snapshot!(refused("", None, Some("prod")), @r#"
    FLEETKEY_PROFILE: there is no profile "prod"
    [profile.NAME] in the configuration makes one; fleetkey config path says where it is
    "#);
}

#[test]
fn all_mistakes_are_told_at_once_also_in_profiles_that_are_not_used() {
    let text = r#"
default_profile = "prodd"
regoin = "us-west-2"
profile_default = "x"
bucket = "A/b"
topic = 5

[profile.prod]
region = "us-west-2a/"
zone = "us-west-2"
keypairs = ["@dev-*", ""]
output = "JSON"
address = "pubic"
me = "a/b"
instance_type = "t3"

[profile."a b"]
region = "eu-west-1"
zone = "us-west-2a"
namespace = "prod"
keypairs = []
aws_profile = ""
jump = "-oProxyCommand=x"
via = "vpn"
ssh_from = "nonsense"
"#;
    insta::assert_snapshot!(problems(text), @r#"
    f:2:19: default_profile: there is no [profile.prodd] in this file (did you mean "prod"?)
    f:3:1: unknown field "regoin" (did you mean "region"?)
    f:4:1: unknown field "profile_default" (did you mean "profile"?)
    f:5:10: bucket: "A/b" is not a valid bucket name: 3 to 63 of small letters, digits, . and -
    f:6:9: topic: expected a string such as topic = "fleetkey-agent-notifications", found a number without quotes
    f:9:10: profile.prod.region: "us-west-2a/" is not a valid region name: small letters, digits and -, such as us-west-2
    f:10:8: profile.prod.zone: "us-west-2" is not an availability zone, such as us-west-2a
    f:11:13: profile.prod.keypairs: key spec "@dev-*" has a pattern behind an @; users and groups are named in full
    f:11:23: profile.prod.keypairs: key spec "" names nobody; write alice, dev-*, @alice or @@group
    f:12:10: profile.prod.output: "JSON" is not one of "table", "json" (did you mean "json"?)
    f:13:11: profile.prod.address: "pubic" is not one of "public", "private" (did you mean "public"?)
    f:14:6: profile.prod.me: does not name an IAM user: person name "a/b" has the character '/'; allowed are letters, digits and _+=,.@-
    f:15:17: profile.prod.instance_type: "t3" is not an instance type, which has a family and a size, such as t3.small
    f:17:10: profile.a b: "a b" is not a valid profile name: 1 to 64 of letters, digits, ., _ and -
    f:19:8: profile.a b.zone: us-west-2a is not in region eu-west-1; leave region out: the zone implies it
    f:20:13: profile.a b.namespace: namespace "prod" does not begin and end with a slash; write / or /name/
    f:21:12: profile.a b.keypairs: nobody is named; leave keypairs out, which means __me__
    f:22:15: profile.a b.aws_profile: "" is no profile of AWS's configuration
    f:23:8: profile.a b.jump: "-oProxyCommand=x": give [USER@]HOST[:PORT], and several with commas between them
    f:24:7: profile.a b.via: "vpn" is not one of "direct", "eice", "ssm"
    f:24:7: profile.a b.via: jump names another way; leave one of them out
    f:25:12: profile.a b.ssh_from: "nonsense" is neither auto, any, nor a range of addresses such as 203.0.113.0/24
    "#);
}

#[test]
fn profiles_that_are_no_tables_are_told_how_to_be_written() {
    insta::assert_snapshot!(problems("profile = 'prod'\n"), @"f:1:11: profile: write [profile.NAME], and its fields on the lines below it");
    insta::assert_snapshot!(problems("[profile]\nprod = 'x'\n"), @"f:2:1: profile.prod: write [profile.NAME], and its fields on the lines below it");
    insta::assert_snapshot!(problems("region = us-west-2\n"), @"f:1:10: not valid TOML: string values must be quoted, expected literal string; write text in quotes");
}

#[test]
fn every_field_can_be_written_as_its_example_says_at_the_top_and_in_a_profile() {
    for field in schema::SCHEMA.fields {
        let example = format!("{} = {}", field.name, field.example);
        let text = match (field.table, field.name) {
            ("", schema::DEFAULT_PROFILE) => format!("{example}\n[profile.prod]\n"),
            ("", _) => example,
            (table, _) => format!("[{table}.prod]\n{example}"),
        };
        parse(&text).unwrap_or_else(|problems| panic!("{text}: {problems}"));
    }
    let fields: Vec<_> = Fragment::default().fields().map(|(name, _)| name).collect();
    let mut known = schema::SCHEMA.names_in(schema::PROFILE);
    let mut names = fields.clone();
    known.sort_unstable();
    names.sort_unstable();
    assert_eq!(names, known);
}

#[test]
fn t3_a_file_that_others_can_write_is_not_taken() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), GOOD).unwrap();
    let place = Place { path: file.path().to_owned(), named: true };
    let set_mode = |mode| std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    set_mode(0o644);
    assert!(load(Some(&place)).is_ok());
    for mode in [0o664, 0o646] {
        set_mode(mode);
        let error = anyhow::Error::from(Refusal::from(load(Some(&place)).unwrap_err()));
        let path = file.path().display();
        assert_eq!(
            error.to_string(),
            format!(
                "{path}: others can write to it (mode {mode:04o}), but the file says which account is worked on and by \
                 which way"
            )
        );
        assert_eq!(crate::refusal::hints(&error), [format!("look through it, then run: chmod go-w {path}")]);
    }
}

#[test]
fn only_a_file_that_was_named_must_be_there() {
    let path = PathBuf::from("/nonexistent/config.toml");
    assert_eq!(load(Some(&Place { path: path.clone(), named: false })).unwrap(), Document::default());
    let error = load(Some(&Place { path, named: true })).unwrap_err();
    assert_eq!(error.to_string(), "/nonexistent/config.toml: there is no such file");
    assert_eq!(load(None).unwrap(), Document::default());
    let folder = load(Some(&Place { path: "/".into(), named: true })).unwrap_err();
    assert_eq!(folder.to_string(), "/: not a regular file, so it is hardly a configuration");
}
