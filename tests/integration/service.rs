//! The shipped unit in a real box: systemd's sandbox, sshd and journal, with the `directory` source.

use std::path::Path;
use std::process::Command;

use fleetkey_tests::in_box::InBox as _;
use fleetkey_tests::nspawn::{Builder, SystemdBox};
use tempfile::TempDir;

pub(super) const UNIT: &str = "fleetkey-agent.service";
const KEY_FILE: &str = "/home/ubuntu/.ssh/authorized_keys";
const GRANT: &str = "[[grant]]\naccount = \"ubuntu\"\nkeys = [\"alice\"]\n";

/// A file of the repository.
fn shipped(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A new key pair: the private half as a file holds it, and the public line.
fn key_pair(person: &str) -> (Vec<u8>, String) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join(person);
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", person, "-f"]).arg(&file).status();
    assert!(made.unwrap().success());
    (std::fs::read(&file).unwrap(), std::fs::read_to_string(file.with_extension("pub")).unwrap())
}

/// A box as the packages would leave it, with an account `ubuntu`, and with alice's and bob's keys in the directory;
/// their private halves are in `/opt/keys`. The configuration is the packaged one with `more` below it.
pub(super) fn installed(more: &str) -> Builder {
    let configuration = String::from_utf8(shipped("packaging/agent.toml")).unwrap() + "\n" + more;
    let mut builder = SystemdBox::builder()
        .program("fleetkey-agent")
        .file("/etc/systemd/system/fleetkey-agent.service", 0o644, shipped("systemd/fleetkey-agent.service"))
        .file("/usr/lib/sysusers.d/fleetkey.conf", 0o644, shipped("systemd/fleetkey.sysusers"))
        .file("/usr/lib/sysusers.d/ubuntu.conf", 0o644, "u ubuntu 1500 - /home/ubuntu /bin/bash\n")
        .file("/usr/lib/tmpfiles.d/ubuntu.conf", 0o644, "d /home/ubuntu 0755 ubuntu ubuntu\n")
        .file("/etc/fleetkey/agent.toml", 0o644, configuration)
        .enable(UNIT);
    for person in ["alice", "bob"] {
        let (private, public) = key_pair(person);
        builder = builder.file(&format!("/opt/keys/{person}"), 0o600, private).file(
            &format!("/etc/fleetkey/directory/people/{person}.pub"),
            0o644,
            public,
        );
    }
    builder
}

fn lets_in(booted: &SystemdBox, person: &str) -> bool {
    let options = "-F none -o BatchMode=yes -o IdentitiesOnly=yes -o ConnectTimeout=60 -o StrictHostKeyChecking=no \
                   -o UserKnownHostsFile=/dev/null";
    booted.status(&format!("ssh {options} -i /opt/keys/{person} ubuntu@127.0.0.1 true")).success()
}

fn keys(booted: &SystemdBox) -> String {
    String::from_utf8(booted.read(KEY_FILE).unwrap_or_default()).unwrap()
}

pub(super) fn wait_in_step(booted: &SystemdBox) {
    booted.wait_for("the agent to be in step", |booted| booted.property(UNIT, "StatusText").starts_with("in step"));
}

fn number(booted: &SystemdBox, unit: &str, property: &str) -> u64 {
    booted.property(unit, property).parse().unwrap()
}

#[test]
fn the_packaged_configuration_touches_nothing() {
    let booted = installed("").boot();
    wait_in_step(&booted);
    assert!(!booted.path("/home/ubuntu/.ssh").exists());
    assert_eq!(booted.property(UNIT, "NRestarts"), "0");
}

#[test]
fn every_field_of_the_packaged_configuration_is_right_once_its_comment_sign_is_gone() {
    let booted = installed("").boot();
    booted.sh("useradd jenkins");
    let edit = r#"s/^#\([a-z[]\)/\1/; s/^source = .*/source = "iam"/; s/^directory = .*//"#;
    booted.sh(&format!("sed '{edit}' /etc/fleetkey/agent.toml >/etc/fleetkey/full.toml"));
    let summary = booted.sh("fleetkey-agent check-config --config /etc/fleetkey/full.toml 2>&1");
    for part in ["jenkins  exclusive  @@ci", "https://aws.example.net", "queue deleted at poweroff"] {
        assert!(summary.contains(part), "{summary}");
    }
}

#[test]
fn a_granted_key_lets_in_within_the_sandbox_and_before_sshd_takes_a_login() {
    let booted = installed(GRANT).boot();
    wait_in_step(&booted);
    assert!(lets_in(&booted, "alice"));
    assert!(!lets_in(&booted, "bob"));
    assert_eq!(booted.sh(&format!("stat -c %a:%U:%G {KEY_FILE}")), "600:ubuntu:ubuntu");

    // At the next boot the key is there before sshd is.
    let agent = number(&booted, UNIT, "ActiveEnterTimestampMonotonic");
    assert!(agent <= number(&booted, "ssh.service", "ExecMainStartTimestampMonotonic"));

    let agent = booted.property(UNIT, "MainPID");
    let status = booted.sh(&format!("cat /proc/{agent}/status"));
    assert!(status.contains("NoNewPrivs:\t1\n") && status.contains("Seccomp:\t2\n"), "{status}");
    // CAP_CHOWN, CAP_DAC_READ_SEARCH, CAP_KILL, CAP_SETGID, CAP_SETUID
    assert!(status.contains("CapBnd:\t00000000000000e5\n"), "{status}");
    let inside = format!("nsenter --target {agent} --mount");
    assert!(!booted.status(&format!("{inside} touch /usr/x")).success());
    assert!(!booted.status(&format!("{inside} touch /etc/x")).success());
    assert!(booted.status(&format!("{inside} touch /etc/ssh/fleetkey/x /home/x /srv/x")).success());
}

#[test]
fn a_new_grant_is_taken_up_on_reload_and_a_broken_file_changes_nothing() {
    let booted = installed(GRANT).boot();
    wait_in_step(&booted);
    let configuration = booted.read("/etc/fleetkey/agent.toml").unwrap();
    let configuration = String::from_utf8(configuration).unwrap();

    booted.write("/etc/fleetkey/agent.toml", configuration.replace("[\"alice\"]", "[\"alice\", \"bob\"]"));
    booted.sh("systemctl reload fleetkey-agent");
    booted.wait_for("bob's key", |booted| keys(booted).contains("bob"));
    assert!(lets_in(&booted, "bob"));

    let agent = booted.property(UNIT, "MainPID");
    booted.write("/etc/fleetkey/agent.toml", "source = 7\n");
    booted.sh("systemctl reload fleetkey-agent");
    booted.wait_for("word of the broken file", |booted| booted.property(UNIT, "StatusText").contains("not valid"));
    assert_eq!(booted.property(UNIT, "MainPID"), agent);
    assert!(lets_in(&booted, "alice") && lets_in(&booted, "bob"));
}

#[test]
fn an_agent_that_is_killed_or_hangs_is_started_again() {
    let quick = "[Service]\nWatchdogSec=10s\nRestartSec=100ms\n";
    let booted = installed(GRANT).file("/etc/systemd/system/fleetkey-agent.service.d/quick.conf", 0o644, quick).boot();
    wait_in_step(&booted);
    for signal in ["KILL", "STOP"] {
        let restarts = number(&booted, UNIT, "NRestarts");
        booted.sh(&format!("kill -{signal} {}", booted.property(UNIT, "MainPID")));
        booted.wait_for("a new agent", |booted| number(booted, UNIT, "NRestarts") > restarts);
        wait_in_step(&booted);
        assert!(lets_in(&booted, "alice"));
    }
    // Without a fault the watchdog is content.
    let restarts = number(&booted, UNIT, "NRestarts");
    std::thread::sleep(std::time::Duration::from_secs(12));
    assert_eq!(number(&booted, UNIT, "NRestarts"), restarts);
}

#[test]
fn a_stopped_agent_ends_in_order_and_leaves_the_keys() {
    let booted = installed(GRANT).boot();
    wait_in_step(&booted);
    booted.sh("systemctl stop fleetkey-agent");
    assert_eq!(booted.property(UNIT, "Result"), "success");
    assert_eq!(booted.property(UNIT, "ExecMainStatus"), "0");
    assert!(lets_in(&booted, "alice"));
}

#[test]
fn every_grant_and_removal_is_a_structured_line_of_the_journal_and_t9_no_key_is() {
    let booted = installed(GRANT).boot();
    wait_in_step(&booted);
    let public = String::from_utf8(booted.read("/etc/fleetkey/directory/people/alice.pub").unwrap()).unwrap();
    booted.sh("rm /etc/fleetkey/directory/people/alice.pub");
    booted.wait_for("alice's key to go", |booted| !keys(booted).contains("alice"));
    let tells = "journalctl --unit=fleetkey-agent FLEETKEY_ACTION=remove --output=cat";
    booted.wait_for("the journal to tell", |booted| booted.sh(tells).contains("alice"));

    let journal = booted.sh("journalctl --unit=fleetkey-agent --output=json");
    let lines: Vec<serde_json::Value> = journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for action in ["grant", "remove"] {
        let line = lines.iter().find(|line| line["FLEETKEY_ACTION"] == action);
        let line = line.unwrap_or_else(|| panic!("no line for {action}:\n{journal}"));
        assert_eq!(line["FLEETKEY_PERSON"], "alice");
        assert_eq!(line["FLEETKEY_ACCOUNT"], "ubuntu");
        assert!(line["FLEETKEY_FINGERPRINT"].as_str().unwrap().starts_with("SHA256:"));
        assert!(!line["FLEETKEY_SERIAL"].is_null());
    }
    let blob = public.split(' ').nth(1).unwrap();
    assert!(!journal.contains(blob));
}

#[test]
fn t7_nobody_gets_into_a_group_and_t8_nothing_private_is_open_to_others() {
    let booted = installed(GRANT).boot();
    wait_in_step(&booted);
    assert_eq!(booted.sh("id -nG ubuntu; id -nG fleetkey-keys"), "ubuntu\nfleetkey-keys");
    assert_eq!(booted.sh("getent group adm docker lxd sudo | grep -c ubuntu || true"), "0");
    let folders = "/etc/fleetkey /etc/ssh/fleetkey /var/lib/fleetkey /run/fleetkey";
    assert_eq!(booted.sh(&format!("find {folders} ! -type l -perm /022")), "");
    assert_eq!(booted.sh(&format!("find {folders} ! -user root")), "");
    // What others can read of the state: nothing.
    assert_eq!(
        booted.sh("runuser -u ubuntu -- find /var/lib/fleetkey /run/fleetkey -type f -readable 2>/dev/null || true"),
        ""
    );
}

#[test]
fn sshd_can_ask_the_agent_for_keys_also_when_it_does_not_run() {
    let conf = shipped("packaging/sshd/60-fleetkey-command.conf");
    let booted = installed(GRANT).file("/etc/ssh/sshd_config.d/60-fleetkey-command.conf", 0o644, conf).boot();
    wait_in_step(&booted);
    booted.sh(&format!("systemctl stop fleetkey-agent; rm {KEY_FILE}"));
    assert!(lets_in(&booted, "alice"));
    assert!(!lets_in(&booted, "bob"));
}

#[test]
fn keys_of_mode_system_are_in_a_file_of_roots_own_that_sshd_reads() {
    let conf = shipped("packaging/sshd/60-fleetkey-system.conf");
    let booted = installed(&format!("{GRANT}mode = \"system\"\n"))
        .file("/etc/ssh/sshd_config.d/60-fleetkey-system.conf", 0o644, conf)
        .boot();
    wait_in_step(&booted);
    assert!(lets_in(&booted, "alice"));
    assert!(!lets_in(&booted, "bob"));
    assert!(!booted.path("/home/ubuntu/.ssh").exists());
    assert_eq!(booted.sh("stat -c %a:%U:%G /etc/ssh/fleetkey/authorized_keys.d/ubuntu"), "640:root:ubuntu");
}

#[test]
fn homes_can_be_anywhere_unless_the_drop_in_says_where() {
    let git = "[[grant]]\naccount = \"git\"\nkeys = [\"alice\"]\n";
    let with_git = || {
        installed(&format!("{GRANT}{git}"))
            .file("/usr/lib/sysusers.d/git.conf", 0o644, "u git 1600 - /srv/git /bin/bash\n")
            .file("/usr/lib/tmpfiles.d/git.conf", 0o644, "d /srv/git 0750 git git\n")
    };
    let written = |booted: &SystemdBox| booted.path("/srv/git/.ssh/authorized_keys").exists();
    let booted = with_git().boot();
    booted.wait_for("git's key file", written);

    let drop_in = shipped("systemd/fleetkey-agent.service.d/homes.conf.example");
    let booted = with_git().file("/etc/systemd/system/fleetkey-agent.service.d/homes.conf", 0o644, drop_in).boot();
    booted.wait_for("word of git's home", |booted| booted.property(UNIT, "StatusText").contains("git not written"));
    assert!(!written(&booted));
    assert!(lets_in(&booted, "alice"));
}
