//! What the tests share: one cloud, launches, waits, logins.

use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aws_sdk_ec2::operation::run_instances::builders::RunInstancesFluentBuilder;
use aws_sdk_ec2::primitives::Blob;
use aws_sdk_ec2::types::{Instance, InstanceStateName, InstanceType};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetkey_localcloud::{CloudBox, LocalCloud, Options};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::scratch::Scratch;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// The cloud of all tests that end none. It ends with this process.
pub(crate) fn shared() -> Result<&'static LocalCloud> {
    static SHARED: OnceLock<Result<LocalCloud, String>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| LocalCloud::start(Options::default()).map_err(|error| format!("{error:#}")));
    shared.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}

/// A launch of one small box, to be added to.
pub(crate) fn launch(cloud: &LocalCloud) -> RunInstancesFluentBuilder {
    let launch = cloud.account().ec2().run_instances().image_id(cloud.image_id());
    launch.instance_type(InstanceType::T3Micro).min_count(1).max_count(1)
}

/// A launch with a key pair of this name, imported for it.
pub(crate) async fn launch_with_key(
    cloud: &LocalCloud,
    key: &TestKey,
    name: &str,
) -> Result<RunInstancesFluentBuilder> {
    let import = cloud.account().ec2().import_key_pair().key_name(name).public_key_material(Blob::new(key.line()));
    import.send().await?;
    Ok(launch(cloud).key_name(name))
}

/// User-data as EC2 takes it.
pub(crate) fn encoded(user_data: impl AsRef<[u8]>) -> String {
    STANDARD.encode(user_data)
}

/// Launches, and waits until the box runs.
pub(crate) async fn up(cloud: &LocalCloud, launch: RunInstancesFluentBuilder) -> Result<(Instance, CloudBox)> {
    let launched = launch.send().await?;
    let id = launched.instances().first().and_then(|instance| instance.instance_id()).context("an instance")?;
    let instance = wait_for_state(&cloud.account(), id, "running").await?;
    let booted = running(cloud, id)?;
    Ok((instance, booted))
}

/// The box of an instance that runs.
pub(crate) fn running(cloud: &LocalCloud, id: &str) -> Result<CloudBox> {
    cloud.running(id).with_context(|| format!("{id} says that it runs; the log says:\n{}", cloud.log()))
}

/// An instance as EC2 tells it.
pub(crate) async fn describe(account: &Cloud, id: &str) -> Result<Instance> {
    let described = account.ec2().describe_instances().instance_ids(id).send().await?;
    let first = described.reservations().first().and_then(|reservation| reservation.instances().first());
    first.cloned().context("an instance that was launched is described")
}

/// The name of an instance's state.
pub(crate) fn state(instance: &Instance) -> &str {
    instance.state().and_then(|state| state.name()).map(InstanceStateName::as_str).unwrap_or_default()
}

pub(crate) async fn wait_for_state(account: &Cloud, id: &str, wanted: &str) -> Result<Instance> {
    let start = Instant::now();
    loop {
        let instance = describe(account, id).await?;
        if state(&instance) == wanted {
            return Ok(instance);
        }
        ensure!(start.elapsed() < PATIENCE, "{id} is {} and not {wanted}", state(&instance));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The host keys that cloud-init printed, one a line, once it has.
pub(crate) async fn host_keys(account: &Cloud, id: &str) -> Result<String> {
    let start = Instant::now();
    loop {
        let output = account.ec2().get_console_output().instance_id(id).latest(true).send().await?;
        let console = String::from_utf8(STANDARD.decode(output.output().unwrap_or_default())?)?.replace('\r', "");
        let keys = console.split_once("-----BEGIN SSH HOST KEY KEYS-----\n");
        let keys = keys.and_then(|(_, rest)| rest.split_once("-----END SSH HOST KEY KEYS-----"));
        if let Some((keys, _)) = keys {
            return Ok(keys.to_owned());
        }
        ensure!(start.elapsed() < PATIENCE, "no host keys in the console of {id}:\n{console}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Runs a command on a box as its administrator, by an ssh that knows the host keys and trusts no other.
pub(crate) fn ssh(cloud: &LocalCloud, address: &str, key: &TestKey, host_keys: &str, line: &str) -> Result<Output> {
    let folder = Scratch::new()?;
    let known: Vec<String> = host_keys.lines().map(|key| format!("{address} {key}\n")).collect();
    let file = folder.path().join("known_hosts");
    std::fs::write(&file, known.concat())?;
    let mut command = cloud.command("ssh");
    command.args(["-F", "none", "-T", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"]);
    command.args([
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "GlobalKnownHostsFile=/dev/null",
        "-o",
        "ConnectTimeout=60",
    ]);
    command.arg("-o").arg(format!("UserKnownHostsFile={}", file.display()));
    command.arg("-i").arg(key.private()).arg(format!("admin@{address}")).arg(line);
    Ok(command.stdin(Stdio::null()).output()?)
}

/// What a command wrote to stdout.
///
/// # Errors
/// When it failed; with what it wrote to stderr.
pub(crate) fn stdout(output: &Output) -> Result<String> {
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// Runs a program of this machine.
pub(crate) fn here(program: &str, arguments: &[&str]) -> Result<String> {
    stdout(&Command::new(program).args(arguments).stdin(Stdio::null()).output()?)
}
