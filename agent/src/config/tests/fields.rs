//! Every field there is: in the file, as a flag, in the schema.

use clap::{Args, Command};

use super::super::settings::SourceSettings;
use super::super::{Flags, Loaded, describe, schema};
use super::{loaded, problems, with_flags};

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
