//! Boxes that power themselves off for want of use, with the shipped unit, real logins and the real pam_motd.
//!
//! The load of a box is that of the machine, since they share the kernel; where it is not what a test is about, the box
//! may have any. Where it is, the agent is shown a file in place of the kernel's.

use std::time::{Duration, Instant};

use fleetkey_tests::in_box::InBox as _;
use fleetkey_tests::nspawn::{Builder, SystemdBox};
use fleetkey_tests::wait_until;

use super::service::{UNIT, installed, wait_in_step};

const GRANT: &str = "[[grant]]\naccount = \"ubuntu\"\nkeys = [\"alice\"]\n";

/// The time that an unused box has, the shortest there is.
const AFTER: Duration = Duration::from_mins(1);

/// How long it may take beyond that until the box is down.
const SLACK: Duration = Duration::from_secs(50);

const SSH: &str = "ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -o ConnectTimeout=60 -o StrictHostKeyChecking=no \
                   -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -i /opt/keys/alice";

fn autostop(more: &str) -> Builder {
    installed(&format!("{GRANT}[autostop]\nafter = \"1m\"\n{more}"))
}

/// How it stands, as the agent's status has it; null before the first look.
fn autostop_of(booted: &SystemdBox) -> serde_json::Value {
    let text = booted.read("/run/fleetkey/status.json").unwrap_or_default();
    let status: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    status["autostop"].clone()
}

fn wait_idle(booted: &SystemdBox) {
    booted.wait_for("the box to be idle", |booted| autostop_of(booted)["stops_at"].is_string());
}

fn wait_held(booted: &SystemdBox, by: &str) {
    booted.wait_for(&format!("the box to be held on: {by}"), |booted| {
        let held = autostop_of(booted)["held_by"].clone();
        held.as_array().is_some_and(|held| held.iter().any(|reason| reason.as_str().unwrap_or_default().contains(by)))
    });
}

fn wait_off(booted: &SystemdBox, limit: Duration) -> Duration {
    wait_until("the box to power itself off", limit, || Ok(booted.has_ended())).unwrap_or_else(|error| {
        panic!("{error:#}\n{}\n{}", autostop_of(booted), booted.sh("journalctl --unit=fleetkey-agent --lines=40"))
    })
}

/// Starts something in the box, as a unit of its own that [`end`] stops.
fn begin(booted: &SystemdBox, unit: &str, line: &str) {
    let command = booted
        .command("systemd-run")
        .args(["--quiet", "--collect"])
        .arg(format!("--unit={unit}"))
        .args(["bash", "-c", line])
        .status();
    assert!(command.unwrap().success(), "{line}");
}

fn end(booted: &SystemdBox, unit: &str) {
    booted.sh(&format!("systemctl stop {unit}"));
}

/// Who holds the box on by `stay`: the user and the name of the process of each.
fn holders(booted: &SystemdBox) -> Vec<String> {
    let each = "for process in /proc/[0-9]*; do name=$(cat $process/comm 2>/dev/null || true); case $name in \
                fleetkey+*) echo \"$(stat -c %U $process) $name\" ;; esac; done | sort";
    booted.sh(each).lines().map(str::to_owned).collect()
}

/// Those that were told to end may take a moment.
fn wait_for_holders(booted: &SystemdBox, wanted: &[&str]) {
    booted.wait_for(&format!("the holders to be {wanted:?}"), |booted| holders(booted) == wanted);
}

#[test]
fn a_box_that_nobody_uses_powers_itself_off_and_says_so_before() {
    let booted = autostop("max_load = \"10000\"\n").boot();
    wait_in_step(&booted);
    wait_idle(&booted);
    let idle = Instant::now();
    let headline = booted.property(UNIT, "StatusText");
    assert!(headline.contains("; idle since ") && headline.contains(" UTC, powers off at "), "{headline}");
    let status = booted.sh("fleetkey-agent status");
    assert!(status.contains("autostop     after 1m: idle since "), "{status}");
    let decisions = |booted: &SystemdBox| booted.sh("journalctl --unit=fleetkey-agent --output=json");
    booted.wait_for("the warning", |booted| decisions(booted).contains(r#""FLEETKEY_DECISION":"warn""#));
    assert!(decisions(&booted).contains(r#""FLEETKEY_DECISION":"idle""#));
    wait_off(&booted, AFTER + SLACK);
    assert!(idle.elapsed() + Duration::from_secs(12) > AFTER, "off after {:?}", idle.elapsed());
    assert!(booted.console().contains("Power"), "{}", booted.console());
}

#[test]
fn a_session_without_a_terminal_holds_it_off_and_a_restart_of_the_agent_does_not() {
    let booted = autostop("max_load = \"10000\"\n").boot();
    wait_in_step(&booted);
    begin(&booted, "session", &format!("sleep 1d | {SSH} -s ubuntu@127.0.0.1 sftp"));
    wait_held(&booted, "logged in: ubuntu");
    std::thread::sleep(AFTER + Duration::from_secs(15));
    assert!(!booted.has_ended(), "a box was powered off under a session");
    end(&booted, "session");
    wait_idle(&booted);
    let idle = Instant::now();
    std::thread::sleep(AFTER / 2);
    booted.sh("systemctl restart fleetkey-agent");
    wait_idle(&booted);
    let off = wait_off(&booted, AFTER / 2 + SLACK) + AFTER / 2;
    assert!(idle.elapsed() + Duration::from_secs(12) > AFTER, "off after {off:?}");
}

#[test]
fn an_ordinary_user_holds_it_off_by_stay_and_takes_it_back_and_is_told_at_login() {
    let booted = autostop("max_load = \"10000\"\nmax_stay = \"8h\"\n").boot();
    wait_in_step(&booted);
    wait_idle(&booted);
    // As from a script: the command ends at once, and leaves its streams.
    let started = Instant::now();
    let said = booted.sh(&format!("{SSH} ubuntu@127.0.0.1 fleetkey-agent stay 4h 2>&1"));
    assert!(said.starts_with("this box stays on until ") && !said.contains("but"), "{said}");
    assert!(started.elapsed() < Duration::from_secs(20), "stay held its session for {:?}", started.elapsed());
    wait_held(&booted, "stay, by ubuntu");
    let motd = "This box is stopped after 1m without a session and with little load.";
    let shown = booted.sh(&format!("echo exit | {SSH} -tt ubuntu@127.0.0.1"));
    assert!(shown.contains(motd) && shown.contains("ubuntu holds it on until "), "{shown}");
    assert!(booted.sh("runuser -u ubuntu -- cat /run/motd.d/fleetkey").contains(motd));
    let now = booted.sh("runuser -u ubuntu -- fleetkey-agent stay");
    assert!(now.contains("stay, by ubuntu") && now.contains("fleetkey-agent stay 4h"), "{now}");

    // What is said later counts, and somebody else's word stands.
    booted.sh("fleetkey-agent stay 1h; runuser -u ubuntu -- fleetkey-agent stay 30m");
    wait_for_holders(&booted, &["root fleetkey+60m", "ubuntu fleetkey+30m"]);
    booted.sh("runuser -u ubuntu -- fleetkey-agent stay --clear");
    wait_for_holders(&booted, &["root fleetkey+60m"]);
    booted.sh("fleetkey-agent stay --clear");
    wait_idle(&booted);

    for (words, code) in [("9h", 2), ("0s", 2), ("soon", 2), ("4h --clear", 2), ("4h 5h", 2)] {
        let status = booted.status(&format!("runuser -u ubuntu -- fleetkey-agent stay {words}"));
        assert_eq!(status.code(), Some(code), "stay {words}");
    }
    for words in ["stay-holder", "stay-holder x", "stay-holder 1 2", "stay-holder 0"] {
        assert_eq!(booted.status(&format!("fleetkey-agent {words}")).code(), Some(2), "t12: {words}");
    }
    assert!(holders(&booted).is_empty());

    // Told to be off, the agent takes the notice down.
    booted.sh("sed -i '/autostop/,$d' /etc/fleetkey/agent.toml; systemctl reload fleetkey-agent");
    booted.wait_for("the notice to go", |booted| !booted.path("/run/motd.d/fleetkey").exists());
    booted.wait_for("the status to be without it", |booted| autostop_of(booted).is_null());
    assert_eq!(booted.status("fleetkey-agent stay 1h").code(), Some(1));
    assert!(booted.sh("fleetkey-agent stay").contains("nothing powers this box off"));
}

#[test]
fn load_work_and_inhibitors_hold_it_off_and_strangers_at_sshd_do_not() {
    let shown = "[Service]\nBindReadOnlyPaths=/etc/loadavg:/proc/loadavg\n";
    let booted = autostop("")
        .file("/etc/systemd/system/fleetkey-agent.service.d/load.conf", 0o644, shown)
        .file("/etc/loadavg", 0o644, "9.00 0.50 9.00 9/99 999\n")
        .boot();
    wait_in_step(&booted);
    wait_idle(&booted);
    let since = autostop_of(&booted)["idle_since"].clone();

    // Whoever only knocks, and whoever is not let in.
    begin(&booted, "knocking", "exec 3<>/dev/tcp/127.0.0.1/22; sleep 1d");
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(autostop_of(&booted)["idle_since"], since, "{}", autostop_of(&booted));
    end(&booted, "knocking");

    booted.write("/etc/loadavg", "0.00 0.51 0.00 9/99 999\n");
    wait_held(&booted, "load 0.51");
    booted.write("/etc/loadavg", "9.00 0.49 9.00 9/99 999\n");
    wait_idle(&booted);

    begin(&booted, "working", "cp /bin/sleep /opt/dpkg; exec /opt/dpkg 1d");
    wait_held(&booted, "dpkg is at work");
    end(&booted, "working");
    wait_idle(&booted);

    begin(&booted, "inhibiting", "exec systemd-inhibit --what=idle --who=me --why=work sleep 1d");
    wait_held(&booted, "somebody inhibits it");
    end(&booted, "inhibiting");
    wait_idle(&booted);

    // What cannot be told is not taken for nobody.
    booted.write("/etc/loadavg", "nothing\n");
    wait_held(&booted, "cannot be told");
}

#[test]
fn t8_a_hostile_user_can_hold_it_on_for_the_most_that_is_allowed_and_do_nothing_else() {
    let booted = autostop("max_load = \"10000\"\nmax_stay = \"1m\"\n").boot();
    wait_in_step(&booted);
    let folders = "/run/fleetkey /run/motd.d /var/lib/fleetkey";
    assert_eq!(booted.sh(&format!("find {folders} ! -type l -perm /022; find {folders} ! -user root")), "");
    // A process by a name that it has no right to: it counts for a minute from its start, whatever it says.
    booted.sh("cp /bin/sleep '/home/ubuntu/fleetkey+99999m'");
    let pretend = "exec setpriv --reuid ubuntu --regid ubuntu --clear-groups '/home/ubuntu/fleetkey+99999m' 1d";
    begin(&booted, "pretending", pretend);
    wait_held(&booted, "stay, by ubuntu");
    let started = Instant::now();
    // Somebody else's hold is not theirs to end.
    booted.sh("fleetkey-agent stay 1m; runuser -u ubuntu -- fleetkey-agent stay --clear");
    wait_for_holders(&booted, &["root fleetkey+1m"]);
    booted.sh("fleetkey-agent stay --clear");
    begin(&booted, "again", pretend);
    wait_held(&booted, "stay, by ubuntu");
    let over = || Ok(autostop_of(&booted)["stops_at"].is_string());
    wait_until("the pretended hold to be over", AFTER + SLACK, over).unwrap();
    assert!(started.elapsed() > Duration::from_secs(30), "{:?}", started.elapsed());
    assert_eq!(holders(&booted), ["ubuntu fleetkey+99999m"], "it is there still, and counts no more");
}
