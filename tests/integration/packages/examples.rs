//! The examples: that they parse, and that what they give to a box comes to what they say. Nothing is applied.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use fleetkey_tests::in_box::InBox as _;
use fleetkey_tests::moto::environment;
use fleetkey_tests::nspawn::SystemdBox;
use fleetkey_tests::packages::Packages;
use fleetkey_tests::sandbox::Sandbox;
use sha2::{Digest as _, Sha256};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/examples")
}

/// The user-data, filled in as its page says.
fn user_data() -> Result<String> {
    let text = std::fs::read_to_string(examples().join("user-data.yaml"))?;
    let values = [
        ("package_url", "https://x.example/agent.deb?X-Amz-Signature=%2B"),
        ("package_sha256", &"ab".repeat(32)),
        ("account", "admin"),
        ("keys", r#""@@developers", "alice""#),
        ("bucket", "123456789012-fleetkey"),
    ];
    Ok(values.into_iter().fold(text, |text, (name, value)| text.replace(&format!("${{{name}}}"), value)))
}

/// What a line of Python, run in the tests' environment with these arguments, prints.
fn python(script: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(environment()?.join("bin/python3"))
        .args(["-c", script])
        .args(arguments)
        .stdin(Stdio::null())
        .output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn terraforms_and_packers_files_are_sound_and_the_variables_that_they_use_are_there() -> Result<()> {
    // Both take the same language.
    let script = "import hcl2, json, sys; print(json.dumps(hcl2.load(open(sys.argv[1]))))";
    for (file, uses) in [
        ("terraform-launch-template/main.tf", 8),
        ("terraform-autoscaling/main.tf", 8),
        ("packer/debian-12.pkr.hcl", 3),
    ] {
        let path = examples().join(file);
        let parsed = python(script, &[path.to_str().context("the path is text")?])?;
        let parsed: serde_json::Value = serde_json::from_str(&parsed)?;
        let variables = parsed["variable"].as_array().context("it has variables")?;
        assert_eq!(variables.len(), uses, "{file}");
        let text = std::fs::read_to_string(&path)?;
        for variable in variables {
            let name = variable.as_object().and_then(|variable| variable.keys().next()).context("a name")?;
            let name = name.trim_matches('"');
            assert!(text.contains(&format!("var.{name}")), "{file}: {name} is not used");
        }
    }
    let broken = examples().join("user-data.yaml");
    assert!(python(script, &[broken.to_str().context("the path is text")?]).is_err(), "it does find what is wrong");
    Ok(())
}

#[test]
fn the_user_data_has_no_word_left_to_fill_in_and_its_configuration_is_valid() -> Result<()> {
    let text = user_data()?;
    assert!(text.starts_with("#cloud-config\n"));
    let body = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    assert!(!body.contains("${"), "{body}");
    // Terraform would take those for its own.
    assert!(!body.contains("%{"), "{body}");
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.argv[1])))";
    let read: serde_json::Value = serde_json::from_str(&python(script, &[&text])?)?;
    let file = &read["write_files"][0];
    assert_eq!(file["path"], "/etc/fleetkey/agent.toml");
    let sandbox = Sandbox::new()?;
    sandbox.add_account("admin")?;
    sandbox.write("/etc/fleetkey/agent.toml", file["content"].as_str().context("it has content")?)?;
    let summary = sandbox.run("fleetkey-agent", &["check-config"])?;
    assert!(summary.contains("admin") && summary.contains("@@developers, alice"), "{summary}");
    assert!(summary.contains("123456789012-fleetkey"), "{summary}");

    let script = read["runcmd"][0].as_str().context("it runs a script")?;
    let checked = Command::new("sh").args(["-n", "-c", script]).status()?;
    assert!(checked.success(), "{script}");
    Ok(())
}

#[test]
fn cloud_init_finds_nothing_wrong_with_the_user_data_and_its_script_brings_the_agent_up() -> Result<()> {
    let package = Packages::built()?.deb()?;
    let bytes = std::fs::read(&package)?;
    let text = user_data()?
        .replace("https://x.example/agent.deb", "http://127.0.0.1:8000/agent.deb")
        .replace(&"ab".repeat(32), &hex::encode(Sha256::digest(&bytes)));
    let booted = SystemdBox::cloud_builder()
        .file("/srv/agent.deb", 0o644, bytes)
        .file("/root/user-data", 0o644, &text)
        .file("/usr/lib/sysusers.d/admin.conf", 0o644, "u admin 1500 - /home/admin /bin/bash\n")
        .boot();
    let said = booted.sh("cloud-init schema --config-file /root/user-data 2>&1");
    assert!(said.contains("Valid cloud-config"), "{said}");

    // What cloud-init would do with it at the first boot.
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.argv[1])))";
    let read: serde_json::Value = serde_json::from_str(&python(script, &[&text])?)?;
    let configuration = read["write_files"][0]["content"].as_str().context("a file")?;
    booted.sh("mkdir -p /etc/fleetkey");
    booted.write("/etc/fleetkey/agent.toml", configuration);
    let script = read["runcmd"][0].as_str().context("a script")?;
    booted.write("/root/altered", script.replace("digest='", "digest='0"));
    booted.write("/root/script", script);
    booted.sh("systemd-run --quiet --unit=server python3 -m http.server --directory /srv --bind 127.0.0.1 8000");
    booted.wait_for("the server", |booted| booted.status("curl --silent --fail http://127.0.0.1:8000/").success());

    assert!(!booted.status("sh /root/altered").success(), "another digest is refused");
    assert!(!booted.path("/usr/bin/fleetkey-agent").exists());
    booted.sh("sh /root/script");
    let state = booted.sh("systemctl is-enabled fleetkey-agent; systemctl is-active fleetkey-agent");
    assert_eq!(state, "enabled\nactive");
    assert_eq!(booted.read("/etc/fleetkey/agent.toml").as_deref(), Some(configuration.as_bytes()));
    // On an image that has the agent nothing is fetched.
    booted.sh("systemctl stop server; sh /root/script");
    Ok(())
}
