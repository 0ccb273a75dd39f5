//! The configuration as operators write it, right and wrong.

use std::fmt::Write;

use clap::{Args, Command, FromArgMatches};
use fleetkey_common::registry::Registry;

use super::settings::{CredentialsSource, Grant, Mode, SourceSettings};
use super::*;

mod fields;
mod hostile;
mod mistakes;

/// Flags as typed.
fn flags(words: &[&str]) -> Flags {
    let command = Flags::augment_args(Command::new("run").no_binary_name(true));
    Flags::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap()
}

fn with_flags(text: &str, words: &[&str]) -> Result<Loaded, Problems> {
    interpret(Path::new("/etc/fleetkey/agent.toml"), text.as_bytes(), &flags(words))
}

fn loaded(text: &str) -> Loaded {
    with_flags(text, &[]).unwrap()
}

/// All problems, one a line, with the file's path left out.
fn problems(text: &str, words: &[&str]) -> String {
    with_flags(text, words).unwrap_err().to_string().replace("/etc/fleetkey/agent.toml:", "")
}

/// All warnings, one a line, with the file's path left out.
fn warnings(text: &str, words: &[&str]) -> String {
    let loaded = with_flags(text, words).unwrap();
    let mut lines = String::new();
    for warning in &loaded.warnings {
        writeln!(lines, "{warning}").unwrap();
    }
    lines.trim_end().replace("/etc/fleetkey/agent.toml:", "")
}

fn grant(account: &str, keys: &[&str], mode: Mode) -> Grant {
    let keys = keys.iter().map(|key| key.parse().unwrap()).collect();
    Grant { account: account.parse().unwrap(), keys, mode }
}

/// The example of the design page.
const EXAMPLE: &str = r#"
source = "iam"                       # "iam" | "snapshot" | "directory"
registries = ["s3", "ec2"]
poll_interval = "60s"                # the fallback; jittered

[[grant]]
account = "ubuntu"
keys = ["@@developers", "alice"]

[[grant]]
account = "jenkins"
keys = ["@@ci"]
mode = "exclusive"                   # "shared" keeps other people's lines, the default

[guard]
max_removed = "50%"                  # a larger cut, if also of more than 5 keys, must be seen twice,
                                     # 10 s apart, before it is applied; revocations by name are exempt
break_glass = "/etc/fleetkey/break_glass.pub"
max_stale = "72h"                    # how long last-known-good serves when the source cannot be reached
"#;

#[test]
fn the_example_of_the_design_is_read_without_a_warning() {
    let Loaded { settings, warnings, .. } = loaded(EXAMPLE);
    assert_eq!(warnings, []);
    assert_eq!(settings.source, SourceSettings::Iam { registries: vec![Registry::S3, Registry::Ec2] });
    let grants =
        [grant("ubuntu", &["@@developers", "alice"], Mode::Shared), grant("jenkins", &["@@ci"], Mode::Exclusive)];
    assert_eq!(settings.grants, grants);
    insta::assert_snapshot!(describe(&settings), @"
    source         iam, with keys from s3, ec2
    poll interval  1m
    grants         ubuntu   shared     @@developers, alice
                   jenkins  exclusive  @@ci
    max removed    50% of an account's keys at once
    max stale      3days
    break glass    /etc/fleetkey/break_glass.pub
    push           topic fleetkey-agent-notifications, queue deleted at poweroff
    region         the instance's own
    bucket         <account id>-fleetkey
    credentials    the instance profile
    instance id    from the metadata service
    account id     from the metadata service
    metadata       http://169.254.169.254
    expiry-time    written into lines
    extra options  none
    status object  kept in the bucket
    metrics        off
    autostop       off
    state          /var/lib/fleetkey
    runtime        /run/fleetkey
    system keys    /etc/ssh/fleetkey/authorized_keys.d
    ");
}

#[test]
fn an_empty_file_has_every_default_and_grants_nothing() {
    let Loaded { settings, warnings, .. } = loaded("");
    assert_eq!(warnings, []);
    assert!(settings.grants.is_empty());
    insta::assert_debug_snapshot!(settings, @r#"
    Settings {
        source: Directory {
            path: "/etc/fleetkey/directory",
        },
        poll_interval: 60s,
        grants: [],
        guard: GuardSettings {
            max_removed: 0.5,
            break_glass: "/etc/fleetkey/break_glass.pub",
            max_stale: 259200s,
        },
        render: RenderSettings {
            allowed_options: [],
            expiry_time: true,
        },
        push: None,
        aws: AwsSettings {
            region: None,
            bucket: None,
            endpoint_url: None,
            ca_bundle: None,
            credentials: Instance,
        },
        instance: InstanceSettings {
            id: None,
            account_id: None,
            metadata_url: "http://169.254.169.254",
        },
        report: ReportSettings {
            status_object: false,
        },
        metrics: None,
        autostop: None,
        paths: PathSettings {
            state: "/var/lib/fleetkey",
            runtime: "/run/fleetkey",
            system_keys: "/etc/ssh/fleetkey/authorized_keys.d",
        },
    }
    "#);
    insta::assert_snapshot!(describe(&settings), @"
    source         directory /etc/fleetkey/directory
    poll interval  1m
    grants         none: no account is managed
    max removed    50% of an account's keys at once
    max stale      3days
    break glass    /etc/fleetkey/break_glass.pub
    push           off
    region         the instance's own
    bucket         <account id>-fleetkey
    credentials    the instance profile
    instance id    from the metadata service
    account id     from the metadata service
    metadata       http://169.254.169.254
    expiry-time    written into lines
    extra options  none
    status object  off
    metrics        off
    autostop       off
    state          /var/lib/fleetkey
    runtime        /run/fleetkey
    system keys    /etc/ssh/fleetkey/authorized_keys.d
    ");
}

#[test]
fn flags_are_laid_over_the_file_field_by_field_and_their_grants_replace_all_of_its_grants() {
    let words = ["--grant=admin=@root-team", "--grant", "admin=bob", "--grant=nobody=", "--max-stale=1h"];
    let settings = with_flags(EXAMPLE, &words).unwrap().settings;
    let grants = [grant("admin", &["@root-team", "bob"], Mode::Shared), grant("nobody", &[], Mode::Shared)];
    assert_eq!(settings.grants, grants);
    assert_eq!(settings.guard.max_stale.as_secs(), 3600);
    assert_eq!(settings.guard.break_glass, Path::new("/etc/fleetkey/break_glass.pub"));
    assert_eq!(settings.source, loaded(EXAMPLE).settings.source);
}

#[test]
fn of_a_switch_and_its_opposite_the_last_holds() {
    assert!(with_flags(EXAMPLE, &["--no-push"]).unwrap().settings.push.is_none());
    assert!(with_flags(EXAMPLE, &["--no-push", "--push"]).unwrap().settings.push.is_some());
    let off = "source = \"iam\"\n[push]\nenabled = false";
    assert!(loaded(off).settings.push.is_none());
    assert!(with_flags(off, &["--push"]).unwrap().settings.push.is_some());
}

#[test]
fn the_status_object_is_kept_by_default_where_the_source_uses_the_bucket() {
    let kept = |text: &str| loaded(text).settings.report.status_object;
    assert!(kept("source = \"iam\""));
    assert!(!kept("source = \"iam\"\nregistries = [\"ec2\"]"));
    assert!(kept("source = \"iam\"\nregistries = [\"ec2\"]\naws = { bucket = \"keys-of-ours\" }"));
    assert!(!kept("source = \"directory\""));
    assert!(kept("[report]\nstatus_object = true"));
}

#[test]
fn two_grants_for_an_account_in_one_mode_are_one_grant() {
    let text = r#"
        [[grant]]
        account = "ubuntu"
        keys = ["alice", "bob"]
        [[grant]]
        account = "ubuntu"
        keys = ["bob", "carol"]
        mode = "shared"
    "#;
    assert_eq!(loaded(text).settings.grants, [grant("ubuntu", &["alice", "bob", "carol"], Mode::Shared)]);
}

#[test]
fn accounts_that_do_not_exist_are_told_with_the_place_that_names_them() {
    let text = "[[grant]]\naccount = \"ubuntu\"\nkeys = []\n[[grant]]\nkeys = []\naccount = \"jenkins\"\n";
    let told = |loaded: &Loaded| -> Vec<String> {
        loaded.unknown_accounts(|account| account.as_str() == "ubuntu").iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        told(&loaded(text)),
        ["/etc/fleetkey/agent.toml:6:11: grant 2: account jenkins does not exist here; make it, or correct its name"]
    );
    assert_eq!(
        told(&with_flags(text, &["--grant=git=alice"]).unwrap()),
        ["--grant \"git=alice\": account git does not exist here; make it, or correct its name"]
    );
}

#[test]
fn t6_no_option_that_gives_something_is_allowed_unless_it_is_named() {
    assert_eq!(loaded(EXAMPLE).settings.render.allowed_options, [""; 0]);
    let text = "[render]\nallowed_options = [\"permitopen\"]";
    assert_eq!(loaded(text).settings.render.allowed_options, ["permitopen"]);
    let never = problems("[render]\nallowed_options = ['cert-authority']", &[]);
    assert!(never.starts_with("2:20: render.allowed_options: option cert-authority cannot be allowed"), "{never}");
}

#[test]
fn credentials_are_the_instance_profile_unless_a_file_is_named() {
    assert_eq!(loaded(EXAMPLE).settings.aws.credentials, CredentialsSource::Instance);
    let named = with_flags(EXAMPLE, &["--credentials-file=/etc/c"]).unwrap();
    assert_eq!(named.settings.aws.credentials, CredentialsSource::File("/etc/c".into()));
}

#[test]
fn a_file_loads_from_the_disk_and_a_broken_one_tells_its_own_path() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, EXAMPLE).unwrap();
    assert_eq!(load(file.path(), &Flags::default()).unwrap().settings, loaded(EXAMPLE).settings);
    std::fs::write(&file, "source = 'iam").unwrap();
    let told = load(file.path(), &Flags::default()).unwrap_err().to_string();
    assert!(told.starts_with(&format!("{}:1:", file.path().display())), "{told}");
}
