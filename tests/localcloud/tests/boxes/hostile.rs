//! T1 to T4 against the packaged service on a box: accounts' users who put things in the agent's way.
//!
//! The tests share a box, on which each has an account to misbehave with.

use anyhow::Result;
use fleetkey_localcloud::CloudBox;
use fleetkey_tests::in_box::InBox as _;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::operator::{Operator, utf8};
use crate::world::{UNIT, World, status, wait_in_step};

/// The accounts, and the group that is let in to each.
const ROLE: &str = "hostile-box";
const GROUP: &str = "hostile-ops";

/// The role: Debian, with an account a test.
const ROLE_FILE: &str = "\
description: a box with users who are up to something
extends: [generic-debian-12-box]
accounts:
  - {account: mallory1, keys: ['@@hostile-ops']}
  - {account: mallory2, keys: ['@@hostile-ops']}
  - {account: mallory3, keys: ['@@hostile-ops']}
  - {account: mallory4, keys: ['@@hostile-ops']}
cloud_config:
  runcmd:
    - for n in 1 2 3 4; do useradd --create-home --shell /bin/sh mallory$n; done
";

/// An account's user on the box.
struct Mallory {
    booted: CloudBox,
    name: &'static str,
    /// Who may log in to the account.
    person: Operator,
}

impl Mallory {
    /// The account of this name, into which a person of the test's own was let.
    async fn new(name: &'static str) -> Result<Self> {
        static BOX: OnceCell<String> = OnceCell::const_new();
        let person = Operator::new(&format!("friend-of-{name}"), "/hostile/").await?.sharing_boxes();
        let id = BOX.get_or_try_init(|| launch(&person)).await?;
        let booted = World::get()?.wait_for_box(id)?;
        person.account.add_to_group(&person.name, GROUP).await?;
        person.hint().await?;
        let mallory = Self { booted, name, person };
        mallory.wait_for("the person to be let in", |account| account["error"].is_null());
        mallory.wait_until_served();
        Ok(mallory)
    }

    /// Runs a line of shell as the account's user.
    fn does(&self, line: &str) {
        let quoted = line.replace('\'', "'\\''");
        self.booted.sh(&format!("cd /home/{0}; runuser -u {0} -- sh -ec '{quoted}'", self.name));
    }

    fn keys(&self) -> String {
        format!("/home/{}/.ssh/authorized_keys", self.name)
    }

    /// What the agent says of the account.
    fn account(&self) -> Value {
        status(&self.booted)["accounts"][self.name].clone()
    }

    fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) {
        self.booted.wait_for(what, |_| wanted(&self.account()));
    }

    /// Waits until the agent says that it does not write because of this.
    fn wait_for_refusal(&self, why: &str) {
        // At once, and not when it tries again by itself.
        self.booted.sh(&format!("systemctl reload {UNIT}"));
        let refused = |account: &Value| account["error"].as_str().is_some_and(|error| error.contains(why));
        self.wait_for(&format!("a refusal that says {why:?}"), refused);
    }

    /// Waits until the account's own file lets the person in.
    fn wait_until_served(&self) {
        self.booted.sh(&format!("systemctl reload {UNIT}"));
        let blob = self.person.key.line().split(' ').nth(1).unwrap().to_owned();
        let regular = format!("test -f {0} -a ! -L {0} && grep -q {blob} {0}", self.keys());
        self.booted.wait_for("the person to be let in", |booted| booted.status(&regular).success());
        self.wait_for("the agent to be content", |account| account["error"].is_null());
    }

    /// All that can be told of files, the content included, but for when their inodes changed.
    fn looks(&self, paths: &str) -> String {
        self.booted.sh(&format!("stat -c '%n %F %a %u:%g %s %h %i %Y' {paths}; sha256sum {paths} 2>/dev/null || true"))
    }

    /// The same and when their inodes changed, which a hard link to one changes as well.
    fn portrait(&self, paths: &str) -> String {
        self.looks(paths) + &self.booted.sh(&format!("stat -c '%n %Z' {paths}"))
    }
}

/// Creates the box; returns its instance id.
async fn launch(person: &Operator) -> Result<String> {
    person.account.create_group(GROUP).await?;
    let file = person.file(&format!("roles/{ROLE}.yaml"), ROLE_FILE)?;
    let folder = utf8(file.parent().unwrap())?;
    person.run(&["create", ROLE, "--role-path", folder])?.ended(0);
    let booted = person.only_box().await?;
    wait_in_step(&booted);
    person.wait_for_queue(&booted).await?;
    Ok(booted.instance_id().to_owned())
}

#[tokio::test]
async fn t1_a_link_to_the_shadow_file_is_not_followed() -> Result<()> {
    let mallory = Mallory::new("mallory1").await?;
    let before = mallory.portrait("/etc/shadow /etc/passwd");
    for target in ["/etc/shadow", "/etc/passwd", "/nonexistent", "authorized_keys"] {
        // By a rename, as the agent would else have the file back before the link is made.
        mallory.does(&format!("ln -s {target} new; mv -T new .ssh/authorized_keys"));
        mallory.wait_for_refusal("symbolic link");
        assert_eq!(mallory.portrait("/etc/shadow /etc/passwd"), before, "{target}");
    }
    assert!(!mallory.booted.path("/nonexistent").exists());
    mallory.does("rm .ssh/authorized_keys");
    mallory.wait_until_served();
    Ok(())
}

#[tokio::test]
async fn t2_a_link_or_a_strange_folder_in_place_of_ssh_leads_nowhere() -> Result<()> {
    let mallory = Mallory::new("mallory2").await?;
    let victim = "/srv/t2";
    let put = |what: &str| format!("until mv -T {what} .ssh 2>/dev/null; do rm -rf .ssh; done");
    mallory.booted.sh(&format!("install -d -m 0777 {victim} {victim}/inner"));
    let before = mallory.portrait(victim);
    for target in [victim, "/root/.ssh", "/etc/ssh/fleetkey", "/home/admin/.ssh"] {
        // The agent may have made a folder anew in between.
        mallory.does(&format!("ln -s {target} new; mv .ssh away; {}", put("new")));
        mallory.wait_for_refusal("symbolic link, where a folder must stand");
        assert_eq!(mallory.portrait(victim), before, "{target}");
        assert_eq!(mallory.booted.sh(&format!("ls -A {victim}")), "inner");
        mallory.does(&format!("rm .ssh; {}", put("away")));
        mallory.wait_until_served();
    }
    // Root's folder, moved there by somebody who may.
    mallory.booted.sh(&format!("cd /home/mallory2; mkdir -m 0777 new; mv .ssh /root/t2; {}", put("new")));
    mallory.wait_for_refusal("");
    assert_eq!(mallory.booted.sh("ls -A /home/mallory2/.ssh"), "");
    mallory.booted.sh(&format!("cd /home/mallory2; {}", put("/root/t2")));
    mallory.wait_until_served();
    Ok(())
}

/// The racer of T3, until it is killed: it moves folders, links and names under the agent's hands.
const RACER: &str = r"
import os, random, time
home, out = '/home/mallory3', '/srv/t3'
ssh, away, keys = home + '/.ssh', home + '/away', home + '/.ssh/authorized_keys'
def attempt(call, *arguments):
    try: call(*arguments)
    except OSError: pass
def swap_temporary(until):
    while time.monotonic() < until:
        try: names = os.listdir(ssh)
        except OSError: continue
        for name in names:
            if name != 'authorized_keys':
                attempt(os.unlink, ssh + '/' + name)
                attempt(random.choice([os.symlink, os.link]), out + '/shadow', ssh + '/' + name)
while True:
    mischief, until = random.randrange(8), time.monotonic() + random.random() * 0.05
    if mischief == 0:
        attempt(os.rename, ssh, away)
        attempt(os.symlink, out + random.choice(['/victim', '/neighbour']), ssh)
        swap_temporary(until)
        attempt(os.unlink, ssh)
        attempt(os.rename, away, ssh)
    elif mischief < 4:
        attempt(os.unlink, keys)
        if mischief == 1: attempt(os.mkfifo, keys)
        else: attempt([os.symlink, os.link][mischief % 2], out + '/shadow', keys)
        swap_temporary(until)
    else:
        swap_temporary(until)
    attempt(os.unlink, keys)
    time.sleep(random.random() * 0.02)
";

#[tokio::test]
async fn t3_a_racer_changes_nothing_outside_its_home() -> Result<()> {
    const LOOKS: u64 = 150;
    let mallory = Mallory::new("mallory3").await?;
    let booted = &mallory.booted;
    // Open to everybody, so that it is not for lack of permission that they stay as they are.
    booted.sh("install -d /srv/t3; install -d -m 0777 /srv/t3/victim /srv/t3/neighbour; cd /srv/t3; \
         for file in shadow victim/authorized_keys neighbour/authorized_keys; do \
         echo secret >$file; chmod 0666 $file; done; \
         chown -R admin: neighbour");
    // A racer may link to what is open to it, so not how many links there are.
    let victims = || {
        booted.sh("cd /srv/t3; stat -c '%n %F %a %u:%g %s %i %Y' shadow victim neighbour */authorized_keys; \
             cat shadow */authorized_keys; ls -A victim neighbour; stat -c '%a %u:%g' /home/mallory3")
    };
    let before = victims();
    std::fs::write(booted.path("/srv/racer.py"), RACER)?;
    booted.sh("systemd-run --quiet --unit=racer --uid=mallory3 python3 /srv/racer.py");
    let count = |what: &str| status(booted)["counters"][what].as_u64().unwrap_or_default();
    let done = || count("writes") + count("write_failures");
    let failures = count("write_failures");
    let (start, restarts) = (done(), booted.property(UNIT, "NRestarts"));
    let mut reloads = 0;
    while done() < start + LOOKS && reloads < 20 * LOOKS {
        booted.sh(&format!("systemctl reload {UNIT}"));
        reloads += 1;
        assert_eq!(victims(), before, "after {} writes", done() - start);
    }
    assert_eq!(booted.sh("systemctl is-active racer"), "active", "it raced to the end");
    booted.sh("systemctl stop racer");
    assert_eq!(victims(), before);
    assert!(done() >= start + LOOKS, "only {} writes were tried: no race", done() - start);
    assert!(count("write_failures") > failures, "nothing ever stood in the way: no race");
    assert_eq!(booted.property(UNIT, "NRestarts"), restarts);

    mallory.does("rm -rf .ssh away");
    mallory.wait_until_served();
    assert_eq!(booted.sh("ls -A /home/mallory3/.ssh"), "authorized_keys");
    assert_eq!(victims(), before);
    Ok(())
}

#[tokio::test]
async fn t4_hard_links_fifos_devices_and_folders_are_refused_and_nobody_waits() -> Result<()> {
    let mallory = Mallory::new("mallory4").await?;
    let booted = &mallory.booted;
    booted.sh("install -m 0666 /dev/null /srv/t4; echo secret >/srv/t4");
    let keys = mallory.keys();
    let before = mallory.looks("/srv/t4");
    for (what, made, by_root) in [
        ("hard link", "ln /srv/t4 new; mv -T new .ssh/authorized_keys", false),
        ("FIFO", "mkfifo new; mv -T new .ssh/authorized_keys", false),
        ("device", "mknod new c 1 3; mv -T new .ssh/authorized_keys", true),
        // No rename puts a folder in a file's place, and the agent is quick to put the file back.
        ("folder", "until rm -f .ssh/authorized_keys; mkdir .ssh/authorized_keys 2>/dev/null; do :; done", false),
    ] {
        if by_root {
            booted.sh(&format!("cd /home/mallory4; {made}"));
        } else {
            mallory.does(made);
        }
        mallory.wait_for_refusal(what);
        // Others are served meanwhile.
        assert!(status(booted)["accounts"]["admin"]["error"].is_null());
        booted.sh(&format!("rm -rf {keys}"));
        assert_eq!(mallory.looks("/srv/t4"), before, "{what}");
        mallory.wait_until_served();
    }
    Ok(())
}
