//! What operators do wrong, each with what they are told.

use super::{EXAMPLE, problems, warnings};

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file_then_of_the_flags() {
    let text = r#"
source = "IAM"
poll_intervall = "60s"

[[grant]]
account = "ubuntu"
keys = ["@dev-*", "__me__", "al ice", ""]

[guard]
max_removed = "150%"
"#;
    insta::assert_snapshot!(problems(text, &["--max-stale=0s", "--region=us-west-2a"]), @r#"
    2:10: source: "IAM" is not one of "iam", "directory" (did you mean "iam"?)
    3:1: unknown field "poll_intervall" (did you mean "poll_interval"?)
    7:9: grant 1: key spec "@dev-*" has a pattern behind an @; users and groups are named in full
    7:19: grant 1: key spec "__me__" is for the controller, which knows its caller; name the person here
    7:29: grant 1: key spec "al ice": person name "al ice" has the character ' '; allowed are letters, digits and _+=,.@-
    7:39: grant 1: key spec "" names nobody; write alice, dev-*, @alice or @@group
    10:15: guard.max_removed: "150%" is more than all; give "0%" to "100%"
    --max-stale: "0s" is out of range; give 1m to 30days
    --region: "us-west-2a" is an availability zone; its region is "us-west-2"
    "#);
}

#[test]
fn unknown_fields_say_what_may_have_been_meant() {
    insta::assert_snapshot!(problems("sorce = 'iam'\n[gaurd]\n[aws]\nregoin = 'x'\nqwertyuiop = 1", &[]), @r#"
    1:1: unknown field "sorce" (did you mean "source"?)
    2:2: unknown field "gaurd" (did you mean "guard"?)
    4:1: aws: unknown field "regoin" (did you mean "region"?)
    5:1: aws: unknown field "qwertyuiop"; known are region, bucket, endpoint_url, ca_bundle, credentials_file
    "#);
    insta::assert_snapshot!(problems("keys = []\n[guard]\npoll_interval = '60s'\ntopic = 'x'\nenabled = true", &[]), @r#"
    1:1: unknown field "keys"; keys stands in a [[grant]]
    3:1: guard: unknown field "poll_interval"; poll_interval stands at the top of the file, above the first [table]
    4:1: guard: unknown field "topic"; topic stands in [push]
    5:1: guard: unknown field "enabled"; known are max_removed, break_glass, max_stale
    "#);
    insta::assert_snapshot!(problems("[[grant]]\naccount = 'a'\nkey = ['b']", &[]), @r#"
    1:1: grant 1: keys is missing; write keys = ["@@developers", "alice"]
    3:1: grant 1: unknown field "key" (did you mean "keys"?)
    "#);
}

#[test]
fn values_of_the_wrong_type_are_told_with_an_example() {
    let text = r#"
poll_interval = 60
registries = "s3"
[guard]
max_removed = 0.5
[push]
enabled = "yes"
[instance]
account_id = 123456789012
[render]
allowed_options = [true, "command"]
[paths]
state = {}
"#;
    insta::assert_snapshot!(problems(text, &[]), @r#"
    2:17: poll_interval: expected a string such as poll_interval = "60s", found a number without quotes
    3:14: registries: expected a list such as registries = ["s3", "ec2"], found a string
    5:15: guard.max_removed: expected a string such as max_removed = "50%", found a fraction without quotes
    7:11: push.enabled: expected true or false, such as enabled = true, found a string
    9:14: instance.account_id: expected a string such as account_id = "123456789012", found a number without quotes
    11:20: render.allowed_options: expected a list of strings such as allowed_options = ["command"], found true or false
    13:9: paths.state: expected a string such as state = "/var/lib/fleetkey", found a table
    "#);
}

#[test]
fn tables_of_the_wrong_kind_are_told_with_their_brackets() {
    insta::assert_snapshot!(problems("[grant]\naccount = 'a'", &[]), @"1:1: grant: there can be several grants: write [[grant]], in double brackets");
    insta::assert_snapshot!(problems("grant = ['ubuntu=alice']\nguard = 1\n[[push]]\n", &[]), @"
    1:10: grant 1: write [[grant]], and account and keys on the lines below it
    2:9: guard: write [guard], and its fields on the lines below it
    3:1: push: there can be only one: write [push], in single brackets
    ");
}

#[test]
fn what_is_not_toml_or_not_text_is_told_by_line_and_column_alone() {
    insta::assert_snapshot!(problems("source = iam\nsorce = 1", &["--max-stale=1"]), @"1:10: not valid TOML: invalid float, expected `inf`; write text in quotes");
    insta::assert_snapshot!(problems("source = 'iam'\nsource = 'iam'\n[guard]\n[guard]\n", &[]), @"
    2:1: not valid TOML: duplicate key
    4:2: not valid TOML: duplicate key
    ");
    let told = super::interpret(super::Path::new("f"), b"# caf\xc3\xa9\n# caf\xe9", &super::Flags::default());
    assert_eq!(told.unwrap_err().to_string(), "f:2:6: the file is not UTF-8 from here on; save it as UTF-8");
}

#[test]
fn columns_count_characters() {
    assert_eq!(
        problems("aws = { bucket = 'keys-of-ours', 'é' = 'é', region = 'x' }", &[]).lines().last(),
        Some("1:54: aws.region: \"x\" is not a region; write it like \"us-west-2\"")
    );
}

#[test]
fn a_source_that_is_none_is_told() {
    insta::assert_snapshot!(problems("source = 'snapshot'", &[]), @r#"1:10: source: the source "snapshot" comes with a later release; give "iam" or "directory""#);
    insta::assert_snapshot!(problems("source = 'diretory'", &[]), @r#"1:10: source: "diretory" is not one of "iam", "directory" (did you mean "directory"?)"#);
    insta::assert_snapshot!(problems("source = 'ldap'", &[]), @r#"1:10: source: "ldap" is not one of "iam", "directory""#);
    insta::assert_snapshot!(problems("source = 'iam'\nregistries = []", &[]), @r#"2:14: registries: no registry is named; give at least one of "s3", "ec2", "iam""#);
    insta::assert_snapshot!(problems("source = 'iam'\nregistries = ['s3', 'directory']", &["--registry=S3"]), @r#"--registry: "S3" is not one of "s3", "ec2", "iam" (did you mean "s3"?)"#);
}

#[test]
fn what_does_not_go_with_the_source_is_an_error_in_the_file_and_a_warning_under_a_flag() {
    let directory = "source = 'directory'\nregistries = ['s3']\n[push]\nenabled = true";
    insta::assert_snapshot!(problems(directory, &[]), @r#"
    2:14: registries: only the source "iam" asks registries; write source = "iam", or take registries out
    4:11: push.enabled: push tells of changes in IAM, and the source "directory" is watched on the disk; take this out, or write source = "iam"
    "#);
    insta::assert_snapshot!(problems("registries = ['s3']", &[]), @r#"1:14: registries: only the source "iam" asks registries; write source = "iam", or take registries out"#);
    let iam = directory.replace("'directory'", "'iam'");
    insta::assert_snapshot!(warnings(&iam, &["--source=directory"]), @r#"
    2:14: registries: not used: the source is "directory", which asks no registries
    4:11: push.enabled: push tells of changes in IAM, and the source "directory" is watched on the disk; take this out, or write source = "iam"
    "#);
}

#[test]
fn settings_that_have_no_effect_are_warned_of() {
    let text = r#"
source = "iam"
directory = "/srv/keys"
registries = ["s3", "s3"]
[[grant]]
account = "ubuntu"
keys = []
[[grant]]
account = "git"
keys = ["alice", "alice"]
[push]
enabled = false
topic = "t"
[aws]
endpoint_url = "http://10.0.0.1:5000"
[render]
allowed_options = ["no-pty"]
[metrics]
interval = "5m"
[autostop]
action = "terminate"
"#;
    insta::assert_snapshot!(warnings(text, &[]), @r#"
    3:13: directory: not used: the source is "iam", which reads no folder
    4:21: registries: "s3" stands twice; take one out
    7:8: grant 1: keys is empty: nobody but holders of break-glass keys is let in
    10:18: grant 2: key spec "alice" stands twice; take one out
    13:9: push.topic: not used: push is off
    15:16: aws.endpoint_url: answers come without TLS: whoever is on the network between can let in anyone; for tests only
    17:20: render.allowed_options: "no-pty" only takes away, and is always allowed; take it out
    19:12: metrics.interval: not used: metrics are off; write enabled = true in [metrics], or --metrics
    21:10: autostop.action: not used: nothing stops the box; write after = "2h" in [autostop], or --autostop 2h
    "#);
}

#[test]
fn grants_that_are_not_whole_or_not_at_one_are_told() {
    let text = r#"
[[grant]]
account = "ubuntu"
[[grant]]
keys = ["alice"]
[[grant]]
account = ""
keys = ["alice"]
mode = "Shared"
[[grant]]
account = "../root"
keys = ["@"]
[[grant]]
account = "git"
keys = ["alice"]
mode = "system"
[[grant]]
account = "git"
keys = ["bob"]
"#;
    insta::assert_snapshot!(problems(text, &[]), @r#"
    2:1: grant 1: keys is missing; write keys = ["@@developers", "alice"]
    4:1: grant 2: account is missing; write account = "ubuntu"
    7:11: grant 3: the account is empty; name a Linux account, such as "ubuntu"
    9:8: grant 3: mode "Shared" is not one of "shared", "exclusive", "system" (did you mean "shared"?)
    11:11: grant 4: account name "../root" has the character '.'; allowed are a letter or _, then letters, digits and _.@$-
    12:9: grant 4: key spec "@" names nobody; write alice, dev-*, @alice or @@group
    17:1: grant 6: account git has mode "shared" here and "system" in grant 5 (line 16); give all its grants one mode
    "#);
}

#[test]
fn a_grant_by_flag_is_told_with_all_that_was_typed() {
    let words = [
        "--grant=ubuntu",
        "--grant",
        "=alice",
        "--grant",
        "git=a,,b:sytem",
        "--grant=x=a:shared",
        "--grant=x=b:system",
    ];
    insta::assert_snapshot!(problems(EXAMPLE, &words), @r#"
    --grant "ubuntu": has no =; write --grant ACCOUNT=SPEC,SPEC, such as --grant ubuntu=@@developers
    --grant "=alice": the account is empty; name a Linux account, such as "ubuntu"
    --grant "git=a,,b:sytem": mode "sytem" is not one of "shared", "exclusive", "system" (did you mean "system"?)
    --grant "git=a,,b:sytem": key spec "" names nobody; write alice, dev-*, @alice or @@group
    --grant "x=b:system": account x has mode "system" here and "shared" in --grant "x=a:shared"; give all its grants one mode
    "#);
}

#[test]
fn values_out_of_bounds_are_told() {
    let words = [
        "--poll-interval=1s",
        "--max-stale=400days",
        "--max-removed=0.5",
        "--metrics-interval=1s",
        "--delete-queue=reboot",
        "--push-topic=hints.fifo",
        "--bucket=s3://keys/people",
        "--instance-id=i-12",
        "--account-id=1234-5678-9012",
        "--metrics-namespace=AWS/EC2",
        "--autostop=5s",
        "--autostop-action=hibernate",
        "--autostop-max-load=-1",
        "--autostop-max-stay=60days",
        "--allow-option=permit-open",
        "--state-folder=var",
        "--runtime-folder=/run/../x",
        "--system-keys=/",
    ];
    insta::assert_snapshot!(problems(EXAMPLE, &words), @r#"
    --poll-interval: "1s" is out of range; give 5s to 1day
    --max-stale: "400days" is out of range; give 1m to 30days
    --max-removed: "0.5" is not a percentage; write it as "50%"
    --allow-option: "permit-open" is no option of authorized_keys (did you mean "permitopen"?)
    --push-topic: "hints.fifo" is a FIFO topic; hints go by a standard topic
    --delete-queue: "reboot" is not one of "poweroff", "exit", "never"
    --bucket: "s3://keys/people" is an address; write the bucket's name alone, "keys"
    --instance-id: "i-12" is no instance id: i- and 8 or 17 hex digits, or, outside EC2, 1 to 40 letters, digits, - and _
    --account-id: "1234-5678-9012" is not an AWS account id; write its 12 digits without dashes
    --metrics-interval: "1s" is out of range; give 1m to 1h
    --metrics-namespace: "AWS/EC2" begins with AWS/, which is for AWS itself
    --autostop: "5s" is out of range; give 1m to 30days
    --autostop-action: "hibernate" is not one of "stop", "terminate" (did you mean "terminate"?)
    --autostop-max-load: "-1" is not a load; write it as uptime prints it, such as "0.5"
    --autostop-max-stay: "60days" is out of range; give 1m to 30days
    --state-folder: the path "var" is relative; write it in full, from /
    --runtime-folder: the path "/run/../x" has .. in it; write where it leads
    --system-keys: the path "/" is the root of the whole system; name something below it
    "#);
}

#[test]
fn a_stale_limit_below_the_poll_interval_is_told() {
    insta::assert_snapshot!(problems("poll_interval = '2h'\n[guard]\nmax_stale = '1h'", &[]), @r#"3:13: guard.max_stale: "1h" is less than poll_interval (2h): every key set would be stale before the next look"#);
}

#[test]
fn folders_that_are_one_are_told() {
    insta::assert_snapshot!(problems("[paths]\nstate = '/srv/x'\nruntime = '/srv/x/'", &[]), @r#"3:11: paths.runtime: "/srv/x/" is the folder of another setting of [paths] too; give each its own"#);
    insta::assert_snapshot!(problems("[paths]\nstate = '/run/fleetkey'", &[]), @r#"2:9: paths.state: "/run/fleetkey" is the folder of another setting of [paths] too; give each its own"#);
}

#[test]
fn urls_that_lead_nowhere_are_told_and_passwords_in_them_are_not_printed() {
    let told = |url: &str| problems("", &["--endpoint-url", url]);
    insta::assert_snapshot!(told("aws.example.net"), @r#"--endpoint-url: "aws.example.net" is no http or https URL; write it like "https://aws.example.net""#);
    insta::assert_snapshot!(told("https://"), @r#"--endpoint-url: the URL "https://" has no valid host; write it like "https://aws.example.net:8443""#);
    insta::assert_snapshot!(told("https://host:99999"), @r#"--endpoint-url: the URL "https://host:99999" has no valid port; write it like "https://aws.example.net:8443""#);
    insta::assert_snapshot!(told("https://host/?x"), @r#"--endpoint-url: the URL "https://host/?x" has a query or fragment; write it like "https://aws.example.net:8443""#);
    insta::assert_snapshot!(told("https://ho st"), @r#"--endpoint-url: the URL "https://ho st" has a blank, a control character or a letter outside ASCII; write it like "https://aws.example.net:8443""#);
    insta::assert_snapshot!(told("https://[::1"), @r#"--endpoint-url: the URL "https://[::1" has no valid host; write it like "https://aws.example.net:8443""#);
    let secret = told("https://bob:secret@host");
    assert!(!secret.contains("secret"), "{secret}");
    insta::assert_snapshot!(secret, @"--endpoint-url: the URL has an @ in it; write it without user name and password");
}
