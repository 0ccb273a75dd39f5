//! The packages, in real boxes: what an installation, an upgrade and a removal do, and what they leave alone.
//!
//! They are made by the recipe of `make packages`, of the programs that all tests run. What is not seen here: dnf, and
//! the distributions that RPMs are for.

mod deb;
mod examples;
mod recipe;
mod rpm;
mod shipped;

use std::path::Path;

use fleetkey_tests::in_box::InBox as _;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::nspawn::{Builder, SystemdBox};

const UNIT: &str = "fleetkey-agent.service";
const KEY_FILE: &str = "/home/ubuntu/.ssh/authorized_keys";
const ALICES: &str = "/etc/fleetkey/directory/people/alice.pub";
const CONFIGURATION: &str = "/etc/fleetkey/agent.toml";
const SSH: &str = "ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -o ConnectTimeout=60 -o StrictHostKeyChecking=no \
                   -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -i /opt/keys/alice ubuntu@127.0.0.1";

/// A box with an account `ubuntu`, alice's private key, and these files of this machine in `/root`.
fn prepared(alice: &TestKey, packages: &[&Path]) -> Builder {
    let private = std::fs::read(alice.private()).unwrap();
    let mut builder = SystemdBox::builder()
        .file("/usr/lib/sysusers.d/ubuntu.conf", 0o644, "u ubuntu 1500 - /home/ubuntu /bin/bash\n")
        .file("/usr/lib/tmpfiles.d/ubuntu.conf", 0o644, "d /home/ubuntu 0755 ubuntu ubuntu\n")
        .file("/opt/keys/alice", 0o600, private);
    for package in packages {
        let name = package.file_name().unwrap().to_str().unwrap();
        builder = builder.file(&format!("/root/{name}"), 0o644, std::fs::read(package).unwrap());
    }
    builder
}

/// Lets alice in to `ubuntu`, as an administrator would.
fn grant(booted: &SystemdBox, alice: &TestKey) {
    let configuration = String::from_utf8(booted.read(CONFIGURATION).unwrap()).unwrap();
    booted.write(ALICES, format!("{}\n", alice.line()));
    booted.write(CONFIGURATION, configuration + "\n[[grant]]\naccount = \"ubuntu\"\nkeys = [\"alice\"]\n");
    booted.sh("systemctl reload fleetkey-agent");
    booted.wait_for("alice's key", |booted| keys(booted).contains("alice"));
    assert!(lets_in(booted));
}

fn lets_in(booted: &SystemdBox) -> bool {
    booted.status(&format!("{SSH} true")).success()
}

fn keys(booted: &SystemdBox) -> String {
    String::from_utf8(booted.read(KEY_FILE).unwrap_or_default()).unwrap()
}

fn wait_in_step(booted: &SystemdBox) {
    booted.wait_for("the agent to be in step", |booted| booted.property(UNIT, "StatusText").starts_with("in step"));
}
