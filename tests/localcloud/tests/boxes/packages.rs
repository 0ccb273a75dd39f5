//! The package on a box that is in use.

use anyhow::Result;
use fleetkey_localcloud::CloudBox;
use fleetkey_tests::in_box::InBox as _;
use fleetkey_tests::wait_until;

use crate::operator::{Operator, ROLE, Running, SOON, start};
use crate::world::{UNIT, World, wait_in_step};

#[tokio::test]
async fn an_upgrade_under_a_live_session_drops_neither_it_nor_any_login() -> Result<()> {
    let alice = Operator::new("upgrade-alice", "/upgrade/").await?;
    let booted = alice.create(&[]).await?;
    wait_in_step(&booted);
    std::fs::copy(&World::get()?.later, booted.path("/root/later.deb"))?;
    let (agent, version) = (booted.property(UNIT, "MainPID"), installed(&booted));
    // A line of somebody's own, and a configuration that an administrator has changed.
    booted.sh("sed -i '1i # changed by hand' /etc/fleetkey/agent.toml");

    let mut session = session(&alice)?;
    wait_until("the session is there", SOON, || Ok(session.heard()?.contains("here")))?;
    let mut upgrade = booted.command("sh");
    upgrade.args(["-c", "DEBIAN_FRONTEND=noninteractive dpkg --install --force-confold /root/later.deb"]);
    let mut upgrade = start(upgrade)?;
    let mut logins = 0;
    while !upgrade.has_ended()? {
        assert!(alice.gets_in()?, "kept out during the upgrade, after {logins} logins");
        logins += 1;
    }
    let upgraded = upgrade.wait()?.ended(0);
    assert!(alice.gets_in()?, "kept out after the upgrade");
    assert!(logins > 0, "the upgrade was over too soon: {upgraded:?}");

    assert_eq!(installed(&booted), format!("{version}+later"));
    wait_in_step(&booted);
    assert_ne!(booted.property(UNIT, "MainPID"), agent, "the new program runs");
    assert_eq!(booted.property(UNIT, "Result"), "success");
    assert!(booted.sh("head -1 /etc/fleetkey/agent.toml").contains("changed by hand"));
    assert!(!session.has_ended()?, "the session ended");
    assert!(alice.gets_in()?);
    Ok(())
}

#[tokio::test]
async fn a_purge_takes_the_agent_away_and_locks_nobody_out() -> Result<()> {
    let alice = Operator::new("purge-alice", "/purge/").await?;
    let booted = alice.create(&[]).await?;
    wait_in_step(&booted);
    let own = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGH5fGgBdTgC1nD8E/TekwJAet/K4f1f8DiBiQ4NYry/ own";
    booted.sh(&format!("echo '{own}' >>/home/admin/.ssh/authorized_keys"));
    wait_in_step(&booted);
    let before = booted.read("/home/admin/.ssh/authorized_keys");
    let said = booted.sh("DEBIAN_FRONTEND=noninteractive dpkg --purge fleetkey-agent 2>&1");
    assert!(said.contains("still can") && said.contains("sed -i"), "{said}");
    assert_eq!(booted.sh(&format!("systemctl list-unit-files --no-legend {UNIT} || true")), "");
    for left in ["/usr/bin/fleetkey-agent", "/var/lib/fleetkey", "/run/fleetkey"] {
        assert!(!booted.path(left).exists(), "{left}");
    }
    assert_eq!(booted.read("/home/admin/.ssh/authorized_keys"), before, "not a byte of it");
    assert!(alice.gets_in()?);
    Ok(())
}

fn installed(booted: &CloudBox) -> String {
    booted.sh("dpkg-query --show --showformat='${Version}' fleetkey-agent")
}

/// A login that stays.
fn session(alice: &Operator) -> Result<Running> {
    alice.start(&["ssh", ROLE, "--", "-o", "BatchMode=yes", "echo here; exec sleep 600"])
}
