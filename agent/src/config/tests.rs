//! The configuration as operators write it, right and wrong.

use std::fmt::Write;

use clap::{Args, Command, FromArgMatches};
use fleetkey_common::registry::Registry;

use super::settings::{CredentialsSource, Grant, Mode, SourceSettings};
use super::*;

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
fn every_field_of_the_file_is_read() {
    let Loaded { settings, warnings, .. } = loaded(EVERY_FIELD);
    assert_eq!(warnings, []);
    insta::assert_snapshot!(describe(&settings), @"
    source         iam, with keys from iam, ec2, s3
    poll interval  2m 30s
    grants         ubuntu  system     dev-*, @alice
    max removed    12.5% of an account's keys at once
    max stale      1day
    break glass    /root/break.pub
    push           topic arn:aws-us-gov:sns:us-gov-west-1:123456789012:cgcloud-agent-notifications, queue deleted at exit
    region         us-gov-west-1
    bucket         123456789012-cgcloud
    endpoint       https://aws.example.net:8443
    trusted CAs    /etc/fleetkey/ca.pem
    credentials    /etc/fleetkey/credentials
    instance id    i-0123456789abcdef0
    account id     012345678901
    metadata       http://[fd00:ec2::254]
    expiry-time    not written into lines
    extra options  command, environment
    status object  off
    metrics        every 1m to CloudWatch namespace Fleet/Keys
    autostop       terminate after 2h 30m without a session and with a load of at most 0.25; stay up to 2days
    state          /srv/state
    runtime        /srv/run
    system keys    /srv/keys
    ");
    // The directory is the one field that goes with no other source.
    let directory = loaded(r#"directory = "/srv/keys/""#).settings.source;
    assert_eq!(directory, SourceSettings::Directory { path: "/srv/keys".into() });
}

const EVERY_FIELD: &str = r#"
source = "iam"
registries = ["iam", "ec2", "s3"]
poll_interval = "2m 30s"
[[grant]]
account = "ubuntu"
keys = ["dev-*", "@alice"]
mode = "system"
[guard]
max_removed = "12.5 %"
break_glass = "/root/break.pub"
max_stale = "1day"
[push]
enabled = true
topic = "arn:aws-us-gov:sns:us-gov-west-1:123456789012:cgcloud-agent-notifications"
delete_queue = "exit"
[aws]
region = "us-gov-west-1"
bucket = "123456789012-cgcloud"
endpoint_url = "https://aws.example.net:8443/"
ca_bundle = "/etc/fleetkey/ca.pem"
credentials_file = "/etc/fleetkey/credentials"
[instance]
id = "i-0123456789abcdef0"
account_id = "012345678901"
metadata_url = "http://[fd00:ec2::254]"
[render]
allowed_options = ["command", "Environment", "command"]
expiry_time = false
[report]
status_object = false
[metrics]
enabled = true
interval = "1m"
namespace = "Fleet/Keys"
[autostop]
after = "150m"
action = "terminate"
max_load = "0.25"
max_stay = "48h"
[paths]
state = "/srv/state"
runtime = "/srv/run"
system_keys = "/srv/keys"
"#;

#[test]
fn every_field_is_a_flag_that_makes_the_same_settings() {
    let words = [
        "--source=iam",
        "--registry=iam,ec2",
        "--registry=s3",
        "--poll-interval=2m 30s",
        "--grant=ubuntu=dev-*,@alice:system",
        "--max-removed=12.5 %",
        "--break-glass=/root/break.pub",
        "--max-stale=1day",
        "--push",
        "--push-topic=arn:aws-us-gov:sns:us-gov-west-1:123456789012:cgcloud-agent-notifications",
        "--delete-queue=exit",
        "--region=us-gov-west-1",
        "--bucket=123456789012-cgcloud",
        "--endpoint-url=https://aws.example.net:8443/",
        "--ca-bundle=/etc/fleetkey/ca.pem",
        "--credentials-file=/etc/fleetkey/credentials",
        "--instance-id=i-0123456789abcdef0",
        "--account-id=012345678901",
        "--metadata-url=http://[fd00:ec2::254]",
        "--allow-option=command",
        "--allow-option=Environment",
        "--no-expiry-time",
        "--no-status-object",
        "--metrics",
        "--metrics-interval=1m",
        "--metrics-namespace=Fleet/Keys",
        "--autostop=150m",
        "--autostop-action=terminate",
        "--autostop-max-load=0.25",
        "--autostop-max-stay=48h",
        "--state-folder=/srv/state",
        "--runtime-folder=/srv/run",
        "--system-keys=/srv/keys",
    ];
    assert_eq!(with_flags("", &words).unwrap().settings, loaded(EVERY_FIELD).settings);
}

#[test]
fn every_field_has_a_flag_and_every_flag_a_field() {
    let command = Flags::augment_args(Command::new("run"));
    let mut known: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    known.retain(|flag| !flag.starts_with("no-"));
    let mut wanted: Vec<_> = schema::FIELDS.iter().map(|field| field.flag).collect();
    wanted.dedup();
    assert_eq!(known, wanted);
}

#[test]
fn every_field_of_the_schema_is_read_and_its_example_holds_good() {
    for field in schema::FIELDS {
        let (table, name) = (field.table, field.name);
        let heading = match table {
            "" => String::new(),
            schema::GRANT => "[[grant]]\naccount = \"a\"\nkeys = [\"a\"]\n".replace(&format!("{name} ="), "#"),
            table => format!("[{table}]\n"),
        };
        // A date is a good value for no field: to be told of it, the field must have been read.
        let told = problems(&format!("{heading}{name} = 2026-01-01"), &[]);
        assert!(told.contains("found a date without quotes"), "{table}.{name}: {told}");
        let source = if name == "source" || name == "directory" { "" } else { "source = \"iam\"\n" };
        let good = format!("{source}{heading}{}", schema::SCHEMA.example(table, name));
        assert!(with_flags(&good, &[]).is_ok(), "{}", problems(&good, &[]));
    }
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
