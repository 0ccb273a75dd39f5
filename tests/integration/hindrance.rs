//! Accounts that stand in the way: of the agent, of each other, and of what happens to others.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Result;
use fleetkey_tests::agent::Agent;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::sandbox::Sandbox;
use nix::sys::signal::Signal;

use crate::ground::{
    directory, holds, in_step, key_file, machine, put_person, revoke, status, wait_for_keys, wait_for_status,
};

/// Stops every process of the user that runs it, but itself: the helpers, as soon as they are this user's.
const STOPS_HELPERS: &str = "
import os, select, signal
me = os.getpid()
print('ready', flush=True)
# Until nobody holds the other end.
while not select.select([0], [], [], 0)[0]:
    for name in os.listdir('/proc'):
        if name.isdigit() and int(name) != me:
            try:
                if os.stat('/proc/' + name).st_uid == os.getuid():
                    os.kill(int(name), signal.SIGSTOP)
            except OSError:
                pass
";

/// A process that is ended when dropped.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It ends by itself when its standard input does.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn stop_helpers_of(sandbox: &Sandbox, account: &str) -> Result<Killed> {
    let mut command = sandbox.command("setpriv");
    command.args(["--reuid", account, "--regid", account, "--clear-groups", "--pdeathsig", "KILL", "--"]);
    command.args(["python3", "-c", STOPS_HELPERS]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut ready = [0; 5];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready)?;
    Ok(Killed(child))
}

#[test]
fn whoever_stops_the_helpers_in_their_home_does_not_hold_up_what_happens_to_others() -> Result<()> {
    let sandbox = machine(&["mallory", "ubuntu"])?;
    let (alice, bob) = (TestKey::new("alice")?, TestKey::new("bob")?);
    put_person(&sandbox, "alice", &[&alice])?;
    put_person(&sandbox, "bob", &[&bob])?;
    let stopper = stop_helpers_of(&sandbox, "mallory")?;
    let config = directory().grant("mallory", &["alice", "bob"]).grant("ubuntu", &["alice", "bob"]);
    let mut agent = Agent::start(&sandbox, &config)?;
    agent.wait_ready()?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &bob])?;
    wait_for_status(&sandbox, "that mallory's file is not done", |now| {
        // A helper that was too quick to be stopped gets a successor.
        if holds(&sandbox, "mallory", &[&alice, &bob]).is_ok_and(|done| done) {
            let _ = std::fs::remove_file(sandbox.path(key_file("mallory")));
        }
        now["accounts"]["mallory"]["error"].as_str().is_some_and(|error| error.contains("answer"))
    })?;
    // The agent waited for mallory once, and does not do so again.
    let start = Instant::now();
    revoke(&sandbox, &alice)?;
    wait_for_keys(&sandbox, "ubuntu", &[&bob])?;
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    // What a helper was to write when it was stopped is old by now: it is not the last word.
    drop(stopper);
    wait_for_keys(&sandbox, "mallory", &[&bob])?;
    wait_for_status(&sandbox, "that all is well", |now| now["accounts"]["mallory"]["error"].is_null())?;
    let stopper = stop_helpers_of(&sandbox, "mallory")?;
    revoke(&sandbox, &bob)?;
    wait_for_keys(&sandbox, "ubuntu", &[])?;
    agent.signal(Signal::SIGTERM)?;
    assert!(agent.wait(Duration::from_secs(25))?.success());
    drop(stopper);
    Ok(())
}

#[test]
fn of_two_accounts_with_one_home_one_keeps_the_file_and_the_other_is_told_of() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    let uid = sandbox.run("id", &["-u", "ubuntu"])?;
    let twin = ["-o", "-u", uid.trim(), "-g", "ubuntu", "-M", "-d", "/home/ubuntu", "zoe"];
    sandbox.run("useradd", &twin)?;
    let (alice, bob) = (TestKey::new("alice")?, TestKey::new("bob")?);
    put_person(&sandbox, "alice", &[&alice])?;
    put_person(&sandbox, "bob", &[&bob])?;
    let mut agent = Agent::start(&sandbox, &directory().grant("ubuntu", &["alice"]).grant("zoe", &["bob"]))?;
    agent.wait_ready()?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice])?;
    wait_for_status(&sandbox, "word of the clash", |now| {
        let error = now["accounts"]["zoe"]["error"].as_str();
        error.is_some_and(|error| error.contains("that of account ubuntu"))
    })?;
    let writes = || status(&sandbox)["counters"]["writes"].as_u64();
    let before = writes();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(writes(), before, "nobody undoes anybody's work");
    assert!(holds(&sandbox, "ubuntu", &[&alice])?);
    Ok(())
}

#[test]
fn r9_what_stood_in_the_way_is_noticed_when_it_goes_and_not_only_at_the_next_try() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    let alice = TestKey::new("alice")?;
    put_person(&sandbox, "alice", &[&alice])?;
    let _agent = in_step(&sandbox, &directory().grant("ubuntu", &["alice"]))?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice])?;
    let file = key_file("ubuntu");
    sandbox.run("sh", &["-c", &format!("until rm -rf {file} && mkdir {file}; do :; done")])?;
    // The waits double from a second on, up to 15 s, which lie before the try after this one.
    wait_for_status(&sandbox, "some tries", |now| now["counters"]["write_failures"].as_u64() >= Some(6))?;
    sandbox.run("rmdir", &[&file])?;
    let waited = wait_for_keys(&sandbox, "ubuntu", &[&alice])?;
    assert!(waited < Duration::from_secs(10), "{waited:?}");
    Ok(())
}
