//! What the agent keeps to itself: files and folders that others cannot change or read, no socket that listens, and a
//! log without secrets. And what is shipped: nobody is put into a group that is as good as root.

use std::fs;

use anyhow::{Context as _, Result};
use fleetkey_tests::agent::Agent;
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::proxy::Fault;
use fleetkey_tests::sandbox::Sandbox;
use fleetkey_tests::wait_until;

use crate::ground::{
    SOON, ask, blob, directory, in_step, key_file, machine, polling, proxied, put, put_person, run_by, shipped,
    wait_for_keys, wait_for_looks, wait_for_status,
};

#[test]
fn t7_nothing_that_is_shipped_puts_anyone_into_a_group_or_lets_anyone_in() -> Result<()> {
    // sysusers.d(5): `u` makes a user and its own group, `m` would put it into another.
    let sysusers = shipped("systemd/fleetkey.sysusers")?;
    let lines: Vec<_> = sysusers.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert!(matches!(lines[..], [line] if line.starts_with("u fleetkey-keys - ")), "{lines:?}");
    let unit = shipped("systemd/fleetkey-agent.service")?;
    assert!(!unit.lines().any(|line| line.starts_with("Group=") || line.starts_with("SupplementaryGroups=")));
    for file in ["packaging/sshd/60-fleetkey-command.conf", "packaging/sshd/60-fleetkey-system.conf"] {
        let text = shipped(file)?;
        let settings: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(settings.iter().all(|line| line.starts_with("AuthorizedKeys")), "{file}: {settings:?}");
    }

    let sandbox = machine(&["ubuntu"])?;
    sandbox.write("/etc/fleetkey/agent.toml", shipped("packaging/agent.toml")?)?;
    sandbox.run("mkdir", &["-p", "/etc/fleetkey/directory/people"])?;
    let groups = sandbox.read("/etc/group")?;
    let mut agent = Agent::start_as_is(&sandbox, &[])?;
    agent.wait_ready()?;
    wait_for_status(&sandbox, "a look", |status| !status["looked_at"].is_null())?;
    assert_eq!(sandbox.read("/etc/group")?, groups);
    assert!(!sandbox.path("/home/ubuntu/.ssh").exists());
    Ok(())
}

/// Everything that a running agent makes, and whose it is.
const MADE: &str = "\
/etc/ssh/fleetkey 755 root:root
/etc/ssh/fleetkey/authorized_keys.d 755 root:root
/etc/ssh/fleetkey/authorized_keys.d/jenkins 640 root:jenkins
/home/ubuntu/.ssh 700 ubuntu:ubuntu
/home/ubuntu/.ssh/authorized_keys 600 ubuntu:ubuntu
/run/fleetkey 755 root:root
/run/fleetkey/agent.lock 600 root:root
/run/fleetkey/status.json 600 root:root
/var/lib/fleetkey 711 root:root
/var/lib/fleetkey/lookup 750 root:fleetkey-keys
/var/lib/fleetkey/lookup/.serving 640 root:fleetkey-keys
/var/lib/fleetkey/lookup/jenkins 640 root:fleetkey-keys
/var/lib/fleetkey/lookup/ubuntu 640 root:fleetkey-keys
/var/lib/fleetkey/state.json 600 root:root
";

fn made(sandbox: &Sandbox) -> Result<String> {
    let folders = "/etc/ssh/fleetkey /home/ubuntu/.ssh /run/fleetkey /var/lib/fleetkey";
    sandbox.run("sh", &["-c", &format!("find {folders} -printf '%p %m %u:%g\\n' | sort")])
}

#[test]
fn t8_whatever_the_umask_is_no_file_is_writable_and_none_that_is_private_readable_by_others() -> Result<()> {
    for umask in ["000", "077"] {
        let sandbox = machine(&["ubuntu", "jenkins"])?;
        sandbox.run("useradd", &["--system", "--user-group", "--no-create-home", "fleetkey-keys"])?;
        put_person(&sandbox, "alice", &[&TestKey::new("alice")?])?;
        let config = directory().grant("ubuntu", &["alice"]).grant_in_mode("jenkins", &["alice"], "system");
        config.write(&sandbox)?;
        let (_agent, log) = run_by(&sandbox, &format!("umask {umask}; exec \"$@\""), &[])?;
        let done = wait_for_status(&sandbox, "both accounts are written", |status| {
            status["accounts"]["ubuntu"]["keys"] == 1 && status["accounts"]["jenkins"]["keys"] == 1
        });
        done.with_context(|| log.text().unwrap_or_default())?;
        // The status is written once more, by way of a file beside it.
        let same = || Ok(made(&sandbox).is_ok_and(|now| now == MADE));
        wait_until(&format!("it is as it should be with umask {umask}"), SOON, same)
            .with_context(|| made(&sandbox).unwrap_or_default())?;
        let readable = "find /run/fleetkey /var/lib/fleetkey -type f -readable 2>/dev/null || true";
        assert_eq!(sandbox.run("runuser", &["-u", "ubuntu", "--", "sh", "-c", readable])?, "");
    }
    Ok(())
}

#[test]
fn t8_a_running_agent_listens_on_no_socket() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    put_person(&sandbox, "alice", &[&TestKey::new("alice")?])?;
    let agent = in_step(&sandbox, &directory().grant("ubuntu", &["alice"]))?;
    let mut sockets = Vec::new();
    for descriptor in fs::read_dir(format!("/proc/{}/fd", agent.pid()))? {
        let Ok(target) = fs::read_link(descriptor?.path()) else { continue };
        sockets.extend(
            target.to_str().and_then(|name| name.strip_prefix("socket:[")?.strip_suffix(']')).map(str::to_owned),
        );
    }
    // proc_net(5): of a Unix socket that listens the flags are 00010000; of an Internet socket the state is 0A.
    for (table, mark) in [("unix", "00010000"), ("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")] {
        let text = fs::read_to_string(format!("/proc/{}/net/{table}", agent.pid()))?;
        let listening = text.lines().filter(|line| line.split_ascii_whitespace().any(|word| word == mark));
        let ours = |line: &&str| line.split_ascii_whitespace().any(|word| sockets.iter().any(|socket| socket == word));
        assert_eq!(listening.filter(ours).collect::<Vec<_>>(), [""; 0], "{table}");
    }
    let found = sandbox.run("find", &["/run", "/var/lib", "/etc", "/home", "-type", "s", "!", "-name", "notify-*"])?;
    assert_eq!(found, "");
    Ok(())
}

#[tokio::test]
async fn t9_the_whole_log_of_a_busy_session_holds_no_key_and_no_credentials() -> Result<()> {
    let cloud = Cloud::new().await?;
    let (proxy, through) = proxied(&cloud)?;
    let sandbox = machine(&["ubuntu"])?;
    let keys = ["alice", "bob", "mallory"].map(TestKey::new);
    let [alice, bob, mallory] = keys;
    let (alice, bob, mallory) = (alice?, bob?, mallory?);
    cloud.put_person_key("alice", &alice).await?;
    cloud.put_object(&Cloud::person_object("eve", &mallory), format!("command=\"x\" {}", mallory.line()), &[]).await?;
    polling(&through).grant("ubuntu", &["alice", "bob", "eve"]).write(&sandbox)?;
    let mut agent = Agent::start_as_is(&sandbox, &["--log-level", "trace"])?;
    agent.wait_ready()?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice])?;
    cloud.import_key_pair("bob", &bob).await?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &bob])?;
    for fault in [Fault::Throttle, Fault::Garbage, Fault::HalfBody, Fault::Close] {
        proxy.spoil("*", fault);
        wait_for_looks(&sandbox, 1)?;
    }
    proxy.heal();
    // Drift by a line that holds a key, a removal, and a file that cannot be written.
    let file = key_file("ubuntu");
    sandbox.write(&file, format!("{}\n", mallory.line()))?;
    cloud.revoke(bob.fingerprint()).await?;
    wait_for_status(&sandbox, "bob is barred", |status| status["accounts"]["ubuntu"]["keys"] == 1)?;
    // The agent may be quicker to put a folder there again.
    sandbox.run("sh", &["-c", "cd /home/ubuntu && until rm -rf .ssh && ln -sT /root .ssh; do :; done"])?;
    wait_for_status(&sandbox, "a refusal", |status| !status["accounts"]["ubuntu"]["error"].is_null())?;
    let explained = ask(&sandbox, &["explain", "ubuntu"])?;
    let log = agent.log().text()?;
    agent.stop()?;

    for action in ["grant", "remove", "fault", "write-failed", "drift-repaired"] {
        assert!(log.contains(&format!("\"action\":\"{action}\"")), "no {action} in:\n{log}");
    }
    assert!(log.contains(&alice.fingerprint().to_string()));
    let file = cloud.credentials_file();
    let secrets = file.lines().skip(2).filter_map(|line| line.split_once(" = ")).map(|(_, secret)| secret);
    let secrets: Vec<_> = secrets.chain([&alice, &bob, &mallory].map(blob)).collect();
    assert_eq!(secrets.len(), 5);
    for text in [log, explained.stdout, explained.stderr] {
        for secret in &secrets {
            // The end of a key is its own; what comes before is the same in all of a kind.
            assert!(!text.contains(&secret[secret.len() - 24..]), "{secret} is in:\n{text}");
        }
    }
    Ok(())
}

#[test]
fn t9_a_private_key_that_somebody_registers_is_not_repeated_in_log_status_or_answers() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    let alice = TestKey::new("alice")?;
    let private = fs::read_to_string(alice.private())?;
    put(&sandbox, "people/alice.pub", &private)?;
    let agent = in_step(&sandbox, &directory().grant("ubuntu", &["alice"]))?;
    let status = wait_for_status(&sandbox, "a refusal", |status| status["notices"].to_string().contains("refused"))?;
    let explained = ask(&sandbox, &["explain", "ubuntu"])?;
    for text in [agent.log().text()?, status.to_string(), explained.stdout, explained.stderr] {
        for line in private.lines().filter(|line| !line.starts_with('-')) {
            assert!(!text.contains(line), "{text}");
        }
    }
    Ok(())
}
