//! The environment and the arguments in other hands: neither moves an endpoint, a path or an authority, and sshd never
//! takes a wrong call for a yes.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};

use anyhow::{Context as _, Result};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::sandbox::Sandbox;

use crate::ground::{
    ask, ask_in, blob, directory, holds, key_file, machine, polling, put, put_person, run_by, wait_for_keys,
};

/// A home that is not the agent's, which says something else of everything.
const MALLORY: &str = "/home/mallory";

/// Where whoever believes the environment turns up.
struct Trap {
    listener: TcpListener,
    url: String,
}

impl Trap {
    fn set(sandbox: &Sandbox) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        let profile = format!("region = eu-west-1\nendpoint_url = {url}\naws_access_key_id = AKIAEVIL\n");
        let profile = format!("{profile}aws_secret_access_key = evil\n");
        for file in ["config", "credentials"] {
            let text = format!("[default]\n{profile}[evil]\n{profile}[profile evil]\n{profile}");
            sandbox.write(format!("{MALLORY}/.aws/{file}"), text)?;
        }
        sandbox.write(format!("{MALLORY}/agent.toml"), "source = \"directory\"\ndirectory = \"/home/mallory\"\n")?;
        sandbox.run("install", &["-d", "-m", "0777", "/tmp/mallory"])?;
        Ok(Self { listener, url })
    }

    /// Everything in an environment that some library or tool is known to heed.
    fn environment(&self) -> Vec<(&'static str, &str)> {
        let mut environment: Vec<_> = TO_MALLORY.to_vec();
        environment.extend(TO_THE_TRAP.map(|name| (name, self.url.as_str())));
        environment
    }

    /// Nobody came; and somebody who comes is seen.
    fn is_empty(&self) -> Result<bool> {
        let empty = matches!(self.listener.accept(), Err(error) if error.kind() == ErrorKind::WouldBlock);
        let _visitor = TcpStream::connect(self.listener.local_addr()?)?;
        self.listener.accept().context("the trap works")?;
        Ok(empty)
    }
}

/// Names of places.
const TO_THE_TRAP: [&str; 16] = [
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_EC2",
    "AWS_ENDPOINT_URL_IAM",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_SNS",
    "AWS_ENDPOINT_URL_SQS",
    "AWS_ENDPOINT_URL_STS",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "FLEETKEY_AWS_ENDPOINT_URL",
];

/// Names of files, credentials and switches.
const TO_MALLORY: [(&str, &str); 28] = [
    ("AWS_ACCESS_KEY_ID", "AKIAEVIL"),
    ("AWS_SECRET_ACCESS_KEY", "evil"),
    ("AWS_SESSION_TOKEN", "evil"),
    ("AWS_PROFILE", "evil"),
    ("AWS_DEFAULT_PROFILE", "evil"),
    ("AWS_REGION", "eu-west-1"),
    ("AWS_DEFAULT_REGION", "eu-west-1"),
    ("AWS_CONFIG_FILE", "/home/mallory/.aws/config"),
    ("AWS_SHARED_CREDENTIALS_FILE", "/home/mallory/.aws/credentials"),
    ("AWS_CA_BUNDLE", "/home/mallory/ca.pem"),
    ("AWS_EC2_METADATA_DISABLED", "true"),
    ("AWS_ROLE_ARN", "arn:aws:iam::666666666666:role/evil"),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", "/home/mallory/token"),
    ("AWS_USE_FIPS_ENDPOINT", "true"),
    ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
    ("AWS_MAX_ATTEMPTS", "0"),
    ("SSL_CERT_FILE", "/home/mallory/ca.pem"),
    ("SSL_CERT_DIR", "/home/mallory"),
    ("HOME", MALLORY),
    ("XDG_CONFIG_HOME", MALLORY),
    ("XDG_STATE_HOME", MALLORY),
    ("XDG_RUNTIME_DIR", MALLORY),
    ("TMPDIR", "/tmp/mallory"),
    ("FLEETKEY_CONFIG", "/home/mallory/agent.toml"),
    ("FLEETKEY_SOURCE", "directory"),
    ("FLEETKEY_DIRECTORY", MALLORY),
    ("STATE_DIRECTORY", MALLORY),
    ("RUNTIME_DIRECTORY", MALLORY),
];

/// Lines of the log without their first word, the time.
fn without_times(log: &str) -> Vec<&str> {
    log.lines().map(|line| line.split_once(' ').map_or(line, |(_, rest)| rest)).collect()
}

#[tokio::test]
async fn t10_nothing_in_the_environment_changes_where_the_agent_asks_or_what_it_writes() -> Result<()> {
    let cloud = Cloud::new().await?;
    let sandbox = machine(&["ubuntu"])?;
    let trap = Trap::set(&sandbox)?;
    let (alice, bob) = (TestKey::new("alice")?, TestKey::new("bob")?);
    cloud.put_person_key("alice", &alice).await?;
    cloud.import_key_pair("bob", &bob).await?;
    cloud.create_user("alice").await?;
    cloud.create_group("ops").await?;
    cloud.add_to_group("alice", "ops").await?;
    polling(&cloud).grant("ubuntu", &["@@ops", "bob"]).write(&sandbox)?;
    let before = sandbox.run("find", &[MALLORY, "/tmp/mallory"])?;

    let environment = trap.environment();
    let synced = ask_in(&sandbox, &["sync"], &environment)?;
    assert_eq!(synced.code, Some(0), "{synced:?}");
    assert!(holds(&sandbox, "ubuntu", &[&alice, &bob])?);
    let fingerprint = alice.fingerprint().to_string();
    for arguments in [
        vec!["explain", "ubuntu", "--fingerprint", &fingerprint],
        vec!["sync", "--dry-run"],
        vec!["authorized-keys", "ubuntu"],
        vec!["check-config"],
    ] {
        let (hostile, plain) = (ask_in(&sandbox, &arguments, &environment)?, ask(&sandbox, &arguments)?);
        assert_eq!(hostile.code, Some(0), "{arguments:?}: {hostile:?}");
        assert_eq!(hostile.stdout, plain.stdout, "{arguments:?}");
        assert_eq!(without_times(&hostile.stderr), without_times(&plain.stderr), "{arguments:?}");
    }
    sandbox.run("rm", &[&key_file("ubuntu")])?;
    let (_agent, log) = run_by(&sandbox, "exec \"$@\"", &environment)?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &bob]).with_context(|| log.text().unwrap_or_default())?;
    cloud.remove_from_group("alice", "ops").await?;
    wait_for_keys(&sandbox, "ubuntu", &[&bob])?;

    assert!(trap.is_empty()?);
    assert_eq!(sandbox.run("find", &[MALLORY, "/tmp/mallory"])?, before);
    Ok(())
}

#[test]
fn t10_a_time_zone_in_the_environment_makes_no_key_last_longer() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    let alice = TestKey::new("alice")?;
    put(&sandbox, "people/alice.pub", format!("expiry-time=\"20400101000000Z\" {}\n", alice.line()))?;
    directory().grant("ubuntu", &["alice"]).write(&sandbox)?;
    assert_eq!(ask(&sandbox, &["sync"])?.code, Some(0));
    let honest = sandbox.read(key_file("ubuntu"))?;
    // Fourteen hours ahead of UTC: written by that clock, the key would outlive its time by as much.
    for zone in ["Pacific/Kiritimati", ":Pacific/Kiritimati", "XXX-14"] {
        assert_eq!(ask_in(&sandbox, &["sync"], &[("TZ", zone)])?.code, Some(0));
        assert_eq!(sandbox.read(key_file("ubuntu"))?, honest, "TZ={zone}");
    }
    Ok(())
}

#[test]
fn t12_a_wrong_call_of_any_command_exits_2_and_prints_nothing_on_stdout() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    put_person(&sandbox, "alice", &[&TestKey::new("alice")?])?;
    directory().grant("ubuntu", &["alice"]).write(&sandbox)?;
    assert_eq!(ask(&sandbox, &["sync"])?.code, Some(0));
    let mut calls = vec![vec![], vec!["--nonsense"], vec!["ubuntu"], vec!["ubuntu", "SHA256:abc"]];
    for command in ["run", "sync", "check-config", "status", "authorized-keys", "explain"] {
        calls.extend([vec![command, "--nonsense"], vec![command, "a", "b", "c"], vec![command, ""]]);
    }
    // What sshd may end up asking, by a typing error in its configuration or by a name that somebody chose.
    calls.extend(
        [
            vec!["--help"],
            vec!["-h"],
            vec!["--version"],
            vec!["-V"],
            vec![],
            vec!["ubuntu", "--help"],
            vec!["ubuntu", "alice"],
            vec!["ubuntu", "SHA256:"],
            vec!["-u"],
            vec!["../ubuntu"],
            vec!["ubuntu\n"],
            vec!["%u"],
            vec!["ubuntu", "--state-folder"],
        ]
        .map(|arguments| [&["authorized-keys"], &arguments[..]].concat()),
    );
    for arguments in calls {
        let answer = ask(&sandbox, &arguments)?;
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(2), ""), "{arguments:?}: {}", answer.stderr);
    }
    Ok(())
}

#[test]
fn t12_authorized_keys_says_nothing_of_accounts_that_are_not_managed_and_fails_where_it_cannot_tell() -> Result<()> {
    let sandbox = machine(&["ubuntu", "other"])?;
    let alice = TestKey::new("alice")?;
    put_person(&sandbox, "alice", &[&alice])?;
    directory().grant("ubuntu", &["alice"]).write(&sandbox)?;
    assert_eq!(ask(&sandbox, &["sync"])?.code, Some(0));
    let known = ask(&sandbox, &["authorized-keys", "ubuntu", &alice.fingerprint().to_string()])?;
    assert!(known.code == Some(0) && known.stdout.contains(blob(&alice)), "{known:?}");
    let stranger = TestKey::new("stranger")?.fingerprint().to_string();
    for arguments in [vec!["ubuntu", &stranger], vec!["other"], vec!["root"], vec!["nobody-here"]] {
        let answer = ask(&sandbox, &[&["authorized-keys"], &arguments[..]].concat())?;
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(0), ""), "{arguments:?}");
    }
    // A file of another box, or a damaged one, is no answer.
    let file = "/var/lib/fleetkey/lookup/ubuntu";
    for damage in ["s/^# fleetkey-lookup 1 .*/# fleetkey-lookup 1 {}/", "1d"] {
        let whole = sandbox.read(file)?;
        sandbox.run("sed", &["-i", damage, file])?;
        let answer = ask(&sandbox, &["authorized-keys", "ubuntu"])?;
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(1), ""), "{damage}: {}", answer.stderr);
        sandbox.write(file, whole)?;
    }
    Ok(())
}
