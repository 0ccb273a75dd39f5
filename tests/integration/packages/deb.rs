//! The Debian package, installed by dpkg in a box with its own systemd and sshd.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use fleetkey_tests::in_box::InBox as _;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::nspawn::SystemdBox;
use fleetkey_tests::packages::Packages;

use super::{ALICES, CONFIGURATION, KEY_FILE, SSH, UNIT, grant, keys, lets_in, prepared, wait_in_step};

/// The package as it is and one of the next version, with other words in the packaged configuration.
fn packages(name: &str) -> (PathBuf, PathBuf) {
    let packages = Packages::built().unwrap();
    let change = "sed -i 's/^Version: .*/Version: 9.0.0/' DEBIAN/control; echo '# new words' >>etc/fleetkey/agent.toml";
    (packages.deb().unwrap(), packages.deb_changed(name, change).unwrap())
}

fn install(booted: &SystemdBox, package: &Path) -> String {
    let name = package.file_name().unwrap().to_str().unwrap();
    // As apt does where nobody is there to be asked, cloud-init's case.
    booted.sh(&format!("dpkg --force-confdef --force-confold --install /root/{name} 2>&1"))
}

#[test]
fn a_fresh_install_does_nothing_until_it_is_told_to() {
    let alice = TestKey::new("alice").unwrap();
    let package = Packages::built().unwrap().deb().unwrap();
    let booted = prepared(&alice, &[&package]).boot();
    let own = "ssh-ed25519 AAAA not a key, but somebody's line\n";
    booted.sh("install -d -m 0700 -o ubuntu -g ubuntu /home/ubuntu/.ssh");
    booted.write(KEY_FILE, own);
    install(&booted, &package);
    wait_in_step(&booted);
    assert_eq!(booted.sh(&format!("systemctl is-enabled {UNIT}; systemctl is-active {UNIT}")), "enabled\nactive");
    assert_eq!(booted.property(UNIT, "NRestarts"), "0");
    assert_eq!(keys(&booted), own);
    assert_eq!(booted.sh("stat -c %a:%U /etc/fleetkey/agent.toml /etc/fleetkey/directory"), "644:root\n755:root");
    assert_eq!(
        booted.sh("id -nG fleetkey-keys; fleetkey-agent check-config >/dev/null && echo valid"),
        "fleetkey-keys\nvalid"
    );
    // sshd is told nothing by itself: the snippets are there to be copied.
    assert_eq!(booted.sh("ls /etc/ssh/sshd_config.d; ls /usr/share/fleetkey/sshd | wc -l"), "2");
    grant(&booted, &alice);
}

#[test]
fn an_upgrade_restarts_the_agent_and_drops_neither_a_session_nor_a_login_nor_the_configuration() {
    let alice = TestKey::new("alice").unwrap();
    let (old, new) = packages("upgrade");
    let booted = prepared(&alice, &[&old, &new]).boot();
    install(&booted, &old);
    grant(&booted, &alice);
    let configuration = booted.read(CONFIGURATION);
    let agent = booted.property(UNIT, "MainPID");

    // A session that is open all through, and logins one after another.
    let stays = format!("{SSH} 'echo $$ >/tmp/session; exec cat'");
    let mut session = booted.command("sh").args(["-c", &stays]).stdin(Stdio::piped()).spawn().unwrap();
    booted.wait_for("the session", |booted| booted.status("test -s /tmp/session").success());
    let logins =
        format!("while test ! -e /tmp/done; do {SSH} true || echo refused >>/tmp/refused; echo >>/tmp/tried; done");
    let mut logins = booted.command("sh").args(["-c", &logins]).spawn().unwrap();
    let tried = || booted.sh("cat /tmp/tried 2>/dev/null | wc -l").parse::<u32>().unwrap();
    booted.wait_for("the first login", |_| tried() > 0);

    install(&booted, &new);
    wait_in_step(&booted);
    let after = tried();
    booted.wait_for("a login after the upgrade", |_| tried() > after + 1);
    booted.sh("touch /tmp/done");
    assert!(logins.wait().unwrap().success());
    assert_eq!(booted.sh("cat /tmp/refused 2>/dev/null || true"), "");
    assert!(booted.status("kill -0 $(cat /tmp/session)").success(), "the session is still there");
    assert!(session.try_wait().unwrap().is_none());
    drop(session.stdin.take());
    assert!(session.wait().unwrap().success());

    assert_ne!(booted.property(UNIT, "MainPID"), agent);
    assert_eq!(booted.property(UNIT, "Result"), "success");
    assert_eq!(booted.read(CONFIGURATION), configuration);
    assert_eq!(booted.sh("dpkg-query --show --showformat='${Version}' fleetkey-agent"), "9.0.0");
}

#[test]
fn a_service_that_an_administrator_turned_off_stays_off_through_an_upgrade() {
    let alice = TestKey::new("alice").unwrap();
    let (old, new) = packages("off");
    let booted = prepared(&alice, &[&old, &new]).boot();
    install(&booted, &old);
    booted.sh(&format!("systemctl disable --now {UNIT}"));
    install(&booted, &new);
    let state = booted.sh(&format!("systemctl is-enabled {UNIT} || true; systemctl is-active {UNIT} || true"));
    assert_eq!(state, "disabled\ninactive");
}

#[test]
fn a_broken_configuration_does_not_break_the_installation() {
    let alice = TestKey::new("alice").unwrap();
    let package = Packages::built().unwrap().deb().unwrap();
    let booted = prepared(&alice, &[&package]).file(CONFIGURATION, 0o644, "source = 7\n").boot();
    install(&booted, &package);
    assert_eq!(booted.sh("dpkg-query --show --showformat='${db:Status-Status}' fleetkey-agent"), "installed");
    assert_eq!(booted.read(CONFIGURATION).unwrap(), b"source = 7\n");
}

#[test]
fn removing_stops_the_agent_and_leaves_all_keys_and_so_does_purging_which_says_so() {
    let alice = TestKey::new("alice").unwrap();
    let package = Packages::built().unwrap().deb().unwrap();
    let booted = prepared(&alice, &[&package]).boot();
    booted.sh("install -d -m 0700 -o ubuntu -g ubuntu /home/ubuntu/.ssh");
    let own = "# a line of my own\n";
    booted.write(KEY_FILE, own);
    booted.sh(&format!("chown ubuntu: {KEY_FILE}"));
    install(&booted, &package);
    grant(&booted, &alice);
    let before = keys(&booted);

    let said = booted.sh("dpkg --remove fleetkey-agent 2>&1");
    assert!(said.contains("whoever can log in now still can"), "{said}");
    assert_ne!(booted.sh(&format!("systemctl is-active {UNIT} || true")), "active");
    assert!(!booted.path("/usr/bin/fleetkey-agent").exists());
    assert_eq!(keys(&booted), before);
    assert!(lets_in(&booted));
    assert!(booted.path(CONFIGURATION).exists());

    let said = booted.sh("dpkg --purge fleetkey-agent 2>&1");
    assert!(said.contains("keys that it wrote still let people in"), "{said}");
    assert_eq!(keys(&booted), before);
    assert!(lets_in(&booted));
    for gone in [CONFIGURATION, "/var/lib/fleetkey", "/run/fleetkey", "/etc/ssh/fleetkey"] {
        assert!(!booted.path(gone).exists(), "{gone}");
    }
    assert!(booted.path(ALICES).exists(), "what an administrator has put there stays");

    // What it says to do does it.
    let command = said.lines().find_map(|line| line.trim().strip_prefix("sed ")).expect("a command is told");
    booted.write("/tmp/take-out", format!("sed {command}\n"));
    booted.sh("runuser -l ubuntu -c 'sh /tmp/take-out'");
    assert_eq!(keys(&booted), own);
    assert!(!lets_in(&booted));
}

#[test]
fn nothing_with_the_programs_name_is_left_of_a_package_that_was_never_told_anything() {
    let alice = TestKey::new("alice").unwrap();
    let package = Packages::built().unwrap().deb().unwrap();
    let booted = prepared(&alice, &[&package]).boot();
    install(&booted, &package);
    wait_in_step(&booted);
    booted.sh("dpkg --purge fleetkey-agent; rm /root/fleetkey-agent*.deb");
    assert_eq!(booted.sh("find / -xdev -name '*fleetkey*' -not -path '/proc/*' -not -path '/sys/*'"), "");
    assert_eq!(booted.sh("systemctl list-units --all --plain --no-legend 'fleetkey*'"), "");
}

#[test]
fn people_can_all_be_taken_out_before_the_package_is_removed_as_its_page_says() {
    let alice = TestKey::new("alice").unwrap();
    let package = Packages::built().unwrap().deb().unwrap();
    let booted = prepared(&alice, &[&package]).boot();
    install(&booted, &package);
    grant(&booted, &alice);
    assert!(booted.sh("cat /usr/share/doc/fleetkey-agent/removal.txt").contains("keys = []"));
    booted.sh(&format!("sed -i 's/^keys = .*/keys = []/' {CONFIGURATION}; systemctl reload fleetkey-agent"));
    booted.wait_for("alice's key to go", |booted| !keys(booted).contains("alice"));
    booted.sh("dpkg --purge fleetkey-agent");
    assert!(!lets_in(&booted));
}
