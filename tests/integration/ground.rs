//! The ground that the tests of the agent's behaviour stand on: a sandbox with accounts, a folder for the `directory`
//! source, and looks at what the agent made of them.
//!
//! Reads key files, status and logs as a stranger would, and shares no code with the agent.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fleetkey_tests::agent::{Agent, AgentConfig};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::log::Log;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::process::Kept;
use fleetkey_tests::proxy::Proxy;
use fleetkey_tests::sandbox::Sandbox;
use fleetkey_tests::{program, wait_until};
use serde_json::Value;

/// How long anything that should happen may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// The agent, inside.
pub(crate) const AGENT: &str = "/usr/bin/fleetkey-agent";

/// The folder of the `directory` source, inside.
pub(crate) const SOURCE: &str = "/srv/fleetkey";

/// The folder of the `system` key files, inside.
pub(crate) const SYSTEM_KEYS: &str = "/etc/ssh/fleetkey/authorized_keys.d";

/// A sandbox with these accounts, and with an empty source.
pub(crate) fn machine(accounts: &[&str]) -> Result<Sandbox> {
    let sandbox = Sandbox::options().in_memory().program(program("fleetkey-agent"), AGENT).start()?;
    for account in accounts {
        sandbox.add_account(account)?;
    }
    for folder in ["people", "groups", "revoked"] {
        sandbox.run("install", &["-d", "-m", "0755", &format!("{SOURCE}/{folder}")])?;
    }
    Ok(sandbox)
}

/// Keys from [`SOURCE`], polled so seldom that what happens soon was triggered by something else.
pub(crate) fn directory() -> AgentConfig {
    AgentConfig::directory(SOURCE).set("poll_interval", "24h")
}

/// Keys from IAM, polled as often as can be, without hints.
pub(crate) fn polling(cloud: &Cloud) -> AgentConfig {
    AgentConfig::iam(cloud).set("poll_interval", "5s").set("push.enabled", false)
}

/// A proxy to the shared moto server, and the account as it is reached by it.
pub(crate) fn proxied(cloud: &Cloud) -> Result<(Proxy, Cloud)> {
    let proxy = Proxy::start(Moto::shared()?.address())?;
    let through = cloud.through(&proxy.endpoint());
    Ok((proxy, through))
}

/// Starts the agent and waits until it has looked and everything is as it should be.
pub(crate) fn in_step<'s>(sandbox: &'s Sandbox, config: &AgentConfig) -> Result<Agent<'s>> {
    let mut agent = Agent::start(sandbox, config)?;
    wait_in_step(&mut agent)?;
    Ok(agent)
}

/// Waits until the agent last said that it is in step.
pub(crate) fn wait_in_step(agent: &mut Agent<'_>) -> Result<()> {
    let waited =
        agent.notices().wait_for("STATUS", SOON, |said| Ok(said.is_some_and(|said| said.starts_with("in step"))));
    waited.with_context(|| format!("the agent says:\n{}", agent.log().text().unwrap_or_default()))?;
    Ok(())
}

/// Puts a file of the source in place at once, as configuration management does: no look sees half of it.
pub(crate) fn put(sandbox: &Sandbox, name: &str, content: impl AsRef<[u8]>) -> Result<()> {
    let aside = format!("{SOURCE}/aside");
    sandbox.write(&aside, content)?;
    fs::rename(sandbox.path(&aside), sandbox.path(SOURCE).join(name)).with_context(|| format!("cannot put {name}"))
}

/// Takes a file of the source away.
pub(crate) fn take(sandbox: &Sandbox, name: &str) -> Result<()> {
    fs::remove_file(sandbox.path(SOURCE).join(name)).with_context(|| format!("cannot take {name}"))
}

/// Registers these keys, and no others, for a person of the source.
pub(crate) fn put_person(sandbox: &Sandbox, person: &str, keys: &[&TestKey]) -> Result<()> {
    put(sandbox, &format!("people/{person}.pub"), lines(keys.iter().map(|key| key.line())))
}

/// Makes these the members of a group of the source.
pub(crate) fn put_group(sandbox: &Sandbox, group: &str, members: &[&str]) -> Result<()> {
    put(sandbox, &format!("groups/{group}"), lines(members.iter().copied()))
}

fn lines<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    texts.flat_map(|text| [text, "\n"]).collect()
}

/// Bars a key in the source.
pub(crate) fn revoke(sandbox: &Sandbox, key: &TestKey) -> Result<()> {
    put(sandbox, &format!("revoked/{}", key.fingerprint().to_hex()), "")
}

/// Where an account keeps its keys, inside.
pub(crate) fn key_file(account: &str) -> String {
    format!("/home/{account}/.ssh/authorized_keys")
}

/// Puts a key file in place as the account's own, as cloud-init or its user would.
pub(crate) fn put_key_file(sandbox: &Sandbox, account: &str, content: impl AsRef<[u8]>) -> Result<()> {
    let owner = format!("--owner={account}");
    sandbox.run("install", &["-d", "-m", "0700", &owner, "-g", account, &format!("/home/{account}/.ssh")])?;
    sandbox.write("/tmp/key-file", content)?;
    sandbox.run("install", &["-m", "0600", &owner, "-g", account, "/tmp/key-file", &key_file(account)])?;
    Ok(())
}

/// The bytes of a file inside; none when there is no such file.
pub(crate) fn bytes(sandbox: &Sandbox, inside: &str) -> Result<Vec<u8>> {
    match fs::read(sandbox.path(inside)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.with_context(|| format!("cannot read {inside}")),
    }
}

/// The base64 of the key on each line of a key file.
pub(crate) fn blobs(sandbox: &Sandbox, inside: &str) -> Result<BTreeSet<String>> {
    let text = String::from_utf8_lossy(&bytes(sandbox, inside)?).into_owned();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    Ok(lines.filter_map(|line| line.split(' ').find(|word| word.starts_with("AAAA"))).map(str::to_owned).collect())
}

/// The base64 of a key.
pub(crate) fn blob(key: &TestKey) -> &str {
    key.line().split(' ').nth(1).unwrap_or_default()
}

/// Whether an account's key file lets in these keys and no others.
pub(crate) fn holds(sandbox: &Sandbox, account: &str, keys: &[&TestKey]) -> Result<bool> {
    let wanted: BTreeSet<_> = keys.iter().map(|key| blob(key).to_owned()).collect();
    Ok(blobs(sandbox, &key_file(account))? == wanted)
}

/// Waits until an account's key file lets in these keys and no others; returns the time that took.
pub(crate) fn wait_for_keys(sandbox: &Sandbox, account: &str, keys: &[&TestKey]) -> Result<Duration> {
    let comments: Vec<_> = keys.iter().filter_map(|key| key.line().split(' ').nth(2)).collect();
    let what = format!("{account} lets in {comments:?} alone");
    let waited = wait_until(&what, SOON, || holds(sandbox, account, keys));
    waited.with_context(|| {
        let file = bytes(sandbox, &key_file(account)).unwrap_or_default();
        format!("the file holds:\n{}\nthe status is:\n{:#}", String::from_utf8_lossy(&file), status(sandbox))
    })
}

/// The agent's status, as it lies on the box; null when there is none.
pub(crate) fn status(sandbox: &Sandbox) -> Value {
    let text = sandbox.read("/run/fleetkey/status.json").unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Waits for a status for which `wanted` holds, and returns it.
pub(crate) fn wait_for_status(sandbox: &Sandbox, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut last = Value::Null;
    let outcome = wait_until(what, SOON, || {
        last = status(sandbox);
        Ok(wanted(&last))
    });
    outcome.with_context(|| format!("the status is:\n{last:#}"))?;
    Ok(last)
}

/// How many looks at the source the agent has taken.
pub(crate) fn syncs(sandbox: &Sandbox) -> u64 {
    status(sandbox)["counters"]["syncs"].as_u64().unwrap_or_default()
}

/// Waits until as many more looks are done.
pub(crate) fn wait_for_looks(sandbox: &Sandbox, more: u64) -> Result<()> {
    let before = syncs(sandbox);
    let what = format!("{more} more looks");
    wait_for_status(sandbox, &what, |now| now["counters"]["syncs"].as_u64() >= Some(before + more)).map(drop)
}

/// What a command of the agent said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command of the agent to its end.
pub(crate) fn ask(sandbox: &Sandbox, arguments: &[&str]) -> Result<Answer> {
    ask_in(sandbox, arguments, &[])
}

/// The same with more in its environment.
pub(crate) fn ask_in(sandbox: &Sandbox, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Answer> {
    let mut command = sandbox.command(AGENT);
    let output = command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null()).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Answer { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) })
}

/// Starts the agent by a line of shell, which ends in `"$@"`, with more in its environment. It is killed when dropped.
pub(crate) fn run_by(sandbox: &Sandbox, line: &str, environment: &[(&str, &str)]) -> Result<(Kept, Log)> {
    let log = Log::new()?;
    let mut command = sandbox.command("sh");
    command.args(["-c", line, "sh", AGENT, "run", "--log", "json"]).envs(environment.iter().copied());
    command.stdin(Stdio::null()).stdout(log.writer()?).stderr(log.writer()?);
    Ok((Kept::start("the agent", command)?, log))
}

/// A file of the repository.
pub(crate) fn shipped(path: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Everything about every file below these folders: kind, mode, owner, size, times of change, content.
pub(crate) fn portrait(sandbox: &Sandbox, folders: &[&str]) -> Result<String> {
    let script = "find \"$@\" ! -path '/run/notify*' -printf '%p %y %m %U:%G %s %T@ %C@ %l\\n' | sort
                  find \"$@\" -type f -exec sha256sum {} + | sort";
    let portrait = sandbox.run("sh", &[&["-c", script, "sh"], folders].concat())?;
    ensure!(portrait.lines().count() > folders.len(), "nothing is below {folders:?}");
    Ok(portrait)
}
