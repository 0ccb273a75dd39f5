//! Sandboxes, sshd and the agent's frame, and what is left of them.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use fleetkey_tests::agent::{Agent, AgentConfig};
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::process::{children, runs};
use fleetkey_tests::sandbox::Sandbox;
use fleetkey_tests::scratch::Scratch;
use fleetkey_tests::sshd::Sshd;
use fleetkey_tests::wait_until;
use nix::sys::signal::Signal;
use std::os::unix::process::ExitStatusExt as _;

/// A stand-in for the agent: says what it hears to systemd and to its log. A shell cannot trap a signal that it was
/// started to ignore, as by `nohup`, so it is started to hear it.
const STAND_IN: &str = r#"#!/usr/bin/env -S --default-signal=HUP sh
if [ "$1" = status ]; then echo '{"serial": 7}'; exit; fi
trap 'systemd-notify --status=reloading' HUP
trap 'echo "{\"message\":\"bye\"}"; exit 0' TERM
echo "{\"message\":\"started $*\"}" >&2
systemd-notify --ready --status='0 keys'
while :; do systemd-notify WATCHDOG=1; sleep 0.05; done
"#;

/// Starts a process that leaves its session, its parent and the command's output.
const DAEMON: &str = "setsid --fork sleep 3600 >/dev/null 2>&1";

/// Set for the process that a test kills.
const OWNER: &str = "FLEETKEY_TEST_OWNER";

/// Whether any process still sees a mount whose line names this text.
fn mounted(text: &str) -> Result<bool> {
    for entry in fs::read_dir("/proc")? {
        let mounts = fs::read_to_string(entry?.path().join("mountinfo")).unwrap_or_default();
        if mounts.contains(text) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The scratch folder of a sandbox, as its own mounts name it.
fn scratch_of(sandbox: &Sandbox) -> Result<String> {
    let mounts = sandbox.read("/proc/1/mountinfo")?;
    let upper = mounts.split("upperdir=").nth(1).context("an overlay has an upper folder")?;
    let scratch = upper.split("/box/").next().context("it is below the scratch folder")?;
    Ok(scratch.to_owned())
}

#[test]
fn what_is_done_in_a_sandbox_does_not_reach_the_host() -> Result<()> {
    let sandbox = Sandbox::options().start()?;
    sandbox.add_account("fleetkey-guest")?;
    sandbox.write("/etc/fleetkey/agent.toml", "x")?;
    sandbox.run("rm", &["/usr/bin/env"])?;
    assert_eq!(sandbox.run("id", &["-un", "fleetkey-guest"])?, "fleetkey-guest\n");
    assert!(sandbox.path("/home/fleetkey-guest").is_dir());
    assert!(!Path::new("/home/fleetkey-guest").exists());
    assert!(!Path::new("/etc/fleetkey/agent.toml").exists());
    assert!(Path::new("/usr/bin/env").exists());
    assert!(!fs::read_to_string("/etc/passwd")?.contains("fleetkey-guest"));
    assert_eq!(sandbox.run("hostname", &[])?, "fleetkey-box\n");
    Ok(())
}

#[test]
fn a_command_inside_has_the_programs_exit_status_and_signal_and_no_foreign_environment() -> Result<()> {
    let sandbox = Sandbox::options().in_memory().start()?;
    let run = |script: &str| sandbox.command("sh").args(["-c", script]).status();
    assert_eq!(run("exit 42")?.code(), Some(42));
    assert_eq!(run("kill -9 $$")?.signal(), Some(9));
    assert_eq!(sandbox.run("sh", &["-c", "cd . && pwd -P && ls"])?, format!("/\n{}", sandbox.run("ls", &["/"])?));
    let environment = sandbox.run("env", &[])?;
    assert!(!environment.contains("CARGO"), "{environment}");
    let processes = sandbox.run("sh", &["-c", "ls -d /proc/[0-9]* | wc -l"])?;
    assert!(processes.trim().parse::<u32>()? < 8, "only its own processes are seen: {processes}");
    Ok(())
}

#[test]
fn a_sandbox_with_a_network_of_its_own_has_a_loopback_and_not_the_hosts() -> Result<()> {
    let sandbox = Sandbox::options().own_network().in_memory().start()?;
    let links = sandbox.run("ip", &["-oneline", "link"])?;
    assert_eq!(links.lines().count(), 1, "{links}");
    assert!(links.contains("lo: <LOOPBACK,UP"), "{links}");
    Ok(())
}

#[test]
fn a_program_is_put_inside_read_only() -> Result<()> {
    let sandbox = Sandbox::options().program("/bin/true", "/usr/bin/fleetkey-stand-in").start()?;
    sandbox.run("fleetkey-stand-in", &[])?;
    let status =
        sandbox.command("sh").args(["-c", "echo >/usr/bin/fleetkey-stand-in"]).stderr(Stdio::null()).status()?;
    assert!(!status.success());
    Ok(())
}

#[test]
fn nothing_is_left_of_a_sandbox_that_was_dropped() -> Result<()> {
    let sandbox = Sandbox::options().start()?;
    let scratch = scratch_of(&sandbox)?;
    assert!(mounted(&scratch)?);
    sandbox.run("sh", &["-c", DAEMON])?;
    let init = sandbox.init_pid();
    let inside = children(init);
    assert!(inside.len() > 1, "the orphan went to process 1: {inside:?}");
    drop(sandbox);
    assert!(!inside.into_iter().chain([init]).any(runs));
    assert!(!mounted(&scratch)?);
    assert!(!Path::new(&scratch).exists());
    Ok(())
}

#[test]
fn a_sandbox_that_cannot_be_made_says_why() {
    let error = Sandbox::options().program("/nonexistent", "/usr/bin/x").start().expect_err("no such program");
    assert!(error.to_string().contains("/nonexistent"), "{error}");
}

#[test]
fn the_real_client_gets_in_with_a_listed_key_and_with_no_other() -> Result<()> {
    let sandbox = Sandbox::options().start()?;
    sandbox.add_account("ubuntu")?;
    let sshd = Sshd::start(&sandbox, "AuthorizedKeysFile /etc/keys/%u")?;
    let (listed, other) = (TestKey::new("alice@test")?, TestKey::rsa()?);
    sandbox.write("/etc/keys/ubuntu", format!("{}\n", listed.line()))?;
    assert!(sshd.can_log_in("ubuntu", &listed)?);
    assert!(!sshd.can_log_in("ubuntu", &other)?);
    assert!(!sshd.can_log_in("nobody-of-that-name", &listed)?);
    sandbox.write("/etc/keys/ubuntu", format!("{}\n", other.line()))?;
    sshd.wait_for_login("ubuntu", &other, true, Duration::from_mins(1))?;
    assert!(!sshd.can_log_in("ubuntu", &listed)?);
    assert!(sshd.log().text()?.contains(&listed.fingerprint().to_string()));
    Ok(())
}

#[test]
fn an_agent_is_started_heard_measured_and_stopped() -> Result<()> {
    let folder = Scratch::new()?;
    let program = folder.path().join("stand-in");
    fs::write(&program, STAND_IN)?;
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let sandbox = Sandbox::options().program(program, "/usr/bin/fleetkey-agent").start()?;
    let config = AgentConfig::directory("/srv/keys").grant("ubuntu", &["alice"]);
    let mut agent = Agent::start(&sandbox, &config)?;
    agent.wait_ready()?;
    assert_eq!(agent.notices().last("STATUS"), Some("0 keys"));
    agent.log().wait_for("it says that it started", Duration::from_secs(30), |line| line.contains("--log json"))?;
    assert!(agent.rss_kib()? > 100);
    assert!(agent.open_descriptors()? >= 3);
    assert_eq!(agent.status_json()?["serial"], 7);
    agent.signal(Signal::SIGHUP)?;
    agent.notices().wait_for("STATUS", Duration::from_secs(30), |status| Ok(status == Some("reloading")))?;
    let pid = agent.pid();
    let mut agent = agent.restart()?;
    agent.wait_ready()?;
    assert!(agent.pid() != pid && !runs(pid));
    wait_until("it pings", Duration::from_secs(30), || Ok(agent.notices().count("WATCHDOG") > 2))?;
    let pid = agent.pid();
    agent.kill9()?;
    assert!(!runs(pid));
    let status = Agent::start(&sandbox, &config)?.stop()?;
    assert!(status.success() || status.signal() == Some(15), "{status}");
    Ok(())
}

/// Runs this test again as the owner of one of everything, kills it, and looks for what it owned.
#[test]
fn nothing_runs_on_when_the_owner_is_killed() -> Result<()> {
    const NAME: &str = "harness::boxes::nothing_runs_on_when_the_owner_is_killed";
    if std::env::var_os(OWNER).is_some() {
        return own_one_of_everything();
    }
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--exact", NAME, "--nocapture"]).env(OWNER, "1").stdout(Stdio::piped());
    let mut victim = command.spawn()?;
    let stdout = BufReader::new(victim.stdout.take().context("stdout was asked for")?);
    let mut owned = None;
    for line in stdout.lines() {
        if let Some((_, rest)) = line?.split_once("owned: ") {
            owned = Some(rest.to_owned());
            break;
        }
    }
    victim.kill()?;
    victim.wait()?;
    let owned = owned.context("the owner failed")?;
    let (scratch, pids) = owned.split_once(' ').context("a folder and process ids")?;
    let pids = pids.split(' ').map(str::parse).collect::<Result<Vec<u32>, _>>()?;
    assert!(pids.len() >= 5, "{owned}");
    wait_until("all that it owned has ended", Duration::from_mins(1), || Ok(!pids.iter().copied().any(runs)))?;
    wait_until("its mounts are gone", Duration::from_mins(1), || Ok(!mounted(scratch)?))?;
    // Another test may have swept it before.
    let _sweeps = Scratch::new()?;
    assert!(!Path::new(scratch).exists());
    Ok(())
}

/// What the killed process does: the output is read by the test.
#[allow(clippy::print_stdout)]
fn own_one_of_everything() -> Result<()> {
    let sandbox = Sandbox::options().start()?;
    sandbox.run("sh", &["-c", DAEMON])?;
    let sshd = Sshd::start(&sandbox, "")?;
    let moto = std::thread::spawn(Moto::start).join().map_err(|_| anyhow::anyhow!("the thread panicked"))??;
    let mut pids = vec![sandbox.init_pid(), sshd.pid(), moto.pid()];
    pids.extend(children(sandbox.init_pid()));
    pids.extend(children(sshd.pid()));
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    println!("owned: {} {}", scratch_of(&sandbox)?, pids.join(" "));
    std::thread::sleep(Duration::from_mins(1));
    Ok(())
}
