//! What a box does with rendered user-data: the real cloud-init's schema, its YAML reader, and the scripts themselves.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use fleetkey_tests::in_box::InBox as _;
use fleetkey_tests::nspawn::{self, SystemdBox};
use fleetkey_tests::pages::repository;
use sha2::{Digest as _, Sha256};

use super::roles::Machine;

/// Where a box serves files to itself.
const SERVER: &str = "http://127.0.0.1:8000";

/// The agent's flags for a package with this digest.
fn agent(url: &str, sha256: &str) -> Vec<String> {
    let bucket = "123456789012-fleetkey";
    ["--agent-url", url, "--agent-sha256", sha256, "--bucket", bucket, "-k", "alice"].map(str::to_owned).to_vec()
}

fn rendered(machine: &Machine, role: &str, more: &[String]) -> Result<String> {
    let mut arguments = vec!["role", "render", role];
    arguments.extend(more.iter().map(String::as_str));
    Ok(machine.run(&arguments)?.ended(0).stdout)
}

#[test]
fn cloud_init_finds_nothing_wrong_with_the_user_data_of_any_role() -> Result<()> {
    let machine = Machine::new()?;
    let listed = machine.run(&["role", "list", "--output", "json"])?.ended(0);
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout)?;
    let launched = listed["roles"].as_array().context("a list")?.iter().filter(|role| role["abstract"] == false);
    let mut roles: Vec<String> = launched.filter_map(|role| role["name"].as_str().map(str::to_owned)).collect();
    for generic in roles.clone() {
        machine.role(&format!("{generic}-docker"), format!("extends: [{generic}, docker]\n"))?;
        roles.push(format!("{generic}-docker"));
    }
    machine.role("jenkins-box", std::fs::read(repository().join("docs/usage/examples/jenkins-box.yaml"))?)?;
    roles.push("jenkins-box".to_owned());
    let volumes = "volumes: [{name: data, size: 1, mount: /srv/data, owner: admin, keep: true}]";
    machine.role("volume-box", format!("extends: [generic-debian-12-box]\n{volumes}\n"))?;
    roles.push("volume-box".to_owned());

    let booted = SystemdBox::cloud_builder().boot();
    let valid = |text: &str| {
        booted.write("/root/user-data", text);
        let output = booted.command("cloud-init").args(["schema", "--config-file", "/root/user-data"]).output();
        let output = output.expect("nsenter can be run");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success() && said.contains("Valid cloud-config") && !said.contains("eprecat"), said)
    };
    let agent = agent("https://x.example/agent.deb?X-Amz-Signature=%2B", &"ab".repeat(32));
    for role in &roles {
        for more in [&agent[..], &["--no-agent".to_owned()]] {
            let (valid, said) = valid(&rendered(&machine, role, more)?);
            assert!(valid, "{role}: {said}");
        }
    }
    // It does find what is wrong.
    let (valid, said) = valid("#cloud-config\nruncmd: 1\n");
    assert!(!valid, "{said}");
    Ok(())
}

#[test]
fn the_box_reads_hostile_values_as_they_were_given() -> Result<()> {
    let machine = Machine::new()?;
    machine.role(
        "mine",
        "extends: [generic-debian-12-box]\noptions: {title: {required: true}}\ncloud_config:\n  \
         final_message: '{{ options.title }}'\n  \
         runcmd:\n    - [echo, 'a {{ options.title }} b']\n    - printf %s {{ options.title | quote }} > /root/said\n",
    )?;
    let booted = SystemdBox::cloud_builder().boot();
    let values = [
        "line\nbreak: yes\n- x\n",
        "a: b # c",
        "'\"`touch /root/broken`$(touch /root/broken)\\",
        "; touch /root/broken; '; touch /root/broken; \"",
        "{{ 7 * 7 }}{% raw %}",
        "yes",
        "0o17",
        "1:30",
        "2026-11-21",
        "~",
        " \t blank ",
        "\u{feff}\u{2028}\u{1f511}\u{e9}",
        "!!python/object/apply:os.system [id]",
    ];
    for value in values {
        let text = rendered(&machine, "mine", &["--no-agent".into(), "-O".into(), format!("title={value}")])?;
        booted.write("/root/user-data", &text);
        let read =
            booted.sh("python3 -c 'import json, yaml; print(json.dumps(yaml.safe_load(open(\"/root/user-data\"))))'");
        let read: serde_json::Value = serde_json::from_str(&read)?;
        assert_eq!(read["final_message"], value, "{text}");
        assert_eq!(read["runcmd"][0][1], format!("a {value} b"), "{text}");
        assert_eq!(read.as_object().context("a map")?.len(), 7, "{text}");
        booted.write("/root/command", read["runcmd"][1].as_str().context("a command")?);
        booted.sh("sh /root/command");
        assert_eq!(booted.read("/root/said").context("it said something")?, value.as_bytes());
        assert!(booted.read("/root/broken").is_none(), "{value:?} got out of its quotes");
    }
    Ok(())
}

/// Makes an agent's package in the box, of this version, with a service and a configuration file; gives its SHA-256.
fn package(booted: &SystemdBox, version: &str) -> Result<String> {
    let unit = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/cp /etc/fleetkey/agent.toml /run/taken-up\n\
                ExecReload=/bin/cp /etc/fleetkey/agent.toml /run/taken-up\n[Install]\nWantedBy=multi-user.target\n";
    booted.sh(&format!(
        "rm -rf /srv/p; mkdir -p /srv/p/DEBIAN /srv/p/etc/fleetkey /srv/p/usr/lib/systemd/system
         printf 'Package: fleetkey-agent\\nVersion: {version}\\nArchitecture: all\\nMaintainer: x <x@example.org>\\nDescription: x\\n' >/srv/p/DEBIAN/control
         echo /etc/fleetkey/agent.toml >/srv/p/DEBIAN/conffiles
         echo '# {version} as packaged' >/srv/p/etc/fleetkey/agent.toml
         printf '#!/bin/sh\\nsystemctl daemon-reload\\n' >/srv/p/DEBIAN/postinst; chmod 755 /srv/p/DEBIAN/postinst"
    ));
    booted.write("/srv/p/usr/lib/systemd/system/fleetkey-agent.service", unit);
    booted.sh("dpkg-deb --build --root-owner-group /srv/p /srv/agent.deb >/dev/null");
    let bytes = booted.read("/srv/agent.deb").context("a package was made")?;
    Ok(hex::encode(Sha256::digest(bytes)))
}

/// Does what cloud-init does with the agent's part of the user-data; gives what was said when it failed.
fn install(booted: &SystemdBox, text: &str) -> Result<(), String> {
    booted.write("/root/user-data", text);
    booted.write(
        "/root/apply.py",
        "import os, yaml\nconfig = yaml.safe_load(open('/root/user-data'))\nfor file in config['write_files']:\n    \
         os.makedirs(os.path.dirname(file['path']), exist_ok=True)\n    open(file['path'], 'w').write(file['content'])\n    \
         os.chmod(file['path'], int(file['permissions'], 8))\nopen('/root/runcmd', 'w').write(config['runcmd'][0] + '\\ntouch /root/next\\n')\n",
    );
    booted.sh("rm -f /root/next; python3 /root/apply.py");
    let output = booted.command("sh").arg("/root/runcmd").output().expect("nsenter can be run");
    if output.status.success() {
        assert!(booted.read("/root/next").is_some(), "the role's own commands come next");
        return Ok(());
    }
    assert!(booted.read("/root/next").is_none(), "nothing comes after a failure");
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn version(booted: &SystemdBox) -> String {
    booted.sh("dpkg-query --show --showformat='${Version}' fleetkey-agent 2>/dev/null || true")
}

#[test]
fn the_agent_is_installed_from_user_data_alone_and_only_the_package_that_was_meant() -> Result<()> {
    let machine = Machine::new()?;
    let booted = SystemdBox::cloud_builder().boot();
    let render = |sha256: &str| {
        rendered(
            &machine,
            "generic-debian-12-box",
            &agent(&format!("{SERVER}/agent.deb?X-Amz-Signature=a%2Fb"), sha256),
        )
    };
    booted.sh("systemd-run --quiet --unit=server python3 -m http.server --bind 127.0.0.1 --directory /srv 8000");
    let first = package(&booted, "1.0")?;

    // Another package than the one that was meant.
    let said = install(&booted, &render(&"ab".repeat(32))?).unwrap_err();
    assert!(said.contains("fleetkey: the agent is NOT installed: what was fetched has the SHA-256"), "{said}");
    assert!(said.contains(&first), "{said}");
    assert_eq!(version(&booted), "");

    // The right one; its own configuration gives way to that of the box.
    install(&booted, &render(&first)?).expect("the package is installed");
    assert_eq!(version(&booted), "1.0");
    assert_eq!(booted.property("fleetkey-agent.service", "ActiveState"), "active");
    assert_eq!(booted.property("fleetkey-agent.service", "UnitFileState"), "enabled");
    let config = String::from_utf8(booted.read("/etc/fleetkey/agent.toml").context("agent.toml")?)?;
    assert!(config.contains("keys = [\"alice\"]"), "{config}");
    assert_eq!(booted.read("/run/taken-up"), Some(config.into_bytes()));
    assert_eq!(booted.sh("stat --format='%a %U' /etc/fleetkey/agent.toml"), "644 root");
    assert_eq!(booted.sh("ls /tmp | grep -c tmp || true"), "0", "nothing is left behind");
    assert!(booted.property("fleetkey-agent.service", "After").contains("cloud-init.service"));

    // A box made from an image of this one: other people, the same package.
    let text = render(&first)?.replace("alice", "bob");
    install(&booted, &text).expect("the same package is no obstacle");
    let config = String::from_utf8(booted.read("/run/taken-up").context("it was taken up")?)?;
    assert!(config.contains("bob") && !config.contains("alice"), "{config}");

    // A newer one upgrades, an older one does not take its place.
    let second = package(&booted, "2.0")?;
    install(&booted, &render(&second)?).expect("the package is upgraded");
    assert_eq!(version(&booted), "2.0");
    let older = package(&booted, "1.5")?;
    install(&booted, &render(&older)?).expect("the newer one stays");
    assert_eq!(version(&booted), "2.0");
    assert!(String::from_utf8(booted.read("/run/taken-up").context("it was taken up")?)?.contains("alice"));
    Ok(())
}

#[test]
fn the_package_is_fetched_by_whatever_the_image_has_and_again_when_that_fails() -> Result<()> {
    let machine = Machine::new()?;
    let booted = SystemdBox::cloud_builder().boot();
    let sha256 = package(&booted, "1.0")?;
    let text = rendered(&machine, "generic-debian-12-box", &agent(&format!("{SERVER}/agent.deb"), &sha256))?;
    // The server comes up when the first attempt has failed already.
    booted.sh("systemd-run --quiet --unit=server --on-active=2 --timer-property=AccuracySec=100ms \
               python3 -m http.server --bind 127.0.0.1 --directory /srv 8000");
    for gone in ["true", "rm /usr/bin/curl", "rm /usr/bin/wget"] {
        booted.sh(gone);
        install(&booted, &text).unwrap_or_else(|said| panic!("after `{gone}`: {said}"));
        assert_eq!(version(&booted), "1.0", "after `{gone}`");
        booted.sh("dpkg --purge fleetkey-agent >/dev/null 2>&1");
    }
    Ok(())
}

/// Runs one of the shell programs that try a script about disks.
fn try_disks(program: &str, root_file_system: &Path, script: &str) -> Result<()> {
    let script = repository().join("controller/src/role/scripts").join(script);
    let output = Command::new(nspawn::script(program)).arg(root_file_system).arg(script).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    Ok(())
}

#[test]
fn disks_of_the_instance_are_mounted_at_every_boot_and_no_others_are_touched() -> Result<()> {
    try_disks("disks", nspawn::cloud_root_file_system(), "ephemeral-disks.sh")
}

#[test]
fn volumes_are_mounted_at_every_boot_and_one_that_is_not_blank_is_never_formatted() -> Result<()> {
    try_disks("volumes", &nspawn::disk_root_file_system(), "mount-volumes.sh")
}
