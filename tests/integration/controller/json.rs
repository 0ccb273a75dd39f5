//! What every command prints with `--output json`, held to the schema that the documentation has.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::moto;
use fleetkey_tests::packages::Packages;

use super::boxes::launch_box;
use super::fleetkey::Operator;

/// What commands printed: the command, and its document.
#[derive(Default)]
pub(super) struct Printed(Vec<(String, serde_json::Value)>);

impl Printed {
    /// Keeps what a command printed.
    pub(super) fn keep(&mut self, command: &str, printed: serde_json::Value) {
        self.0.push((command.to_owned(), printed));
    }

    /// Runs a command, `words` its verb and `more` what follows, and keeps what it prints.
    async fn run(&mut self, operator: &Operator, words: &str, more: &[&str]) -> Result<()> {
        let verb: Vec<&str> = words.split(' ').collect();
        let arguments = [&verb[..], more, &["--namespace", "/prod/", "--output", "json"]].concat();
        let ran = operator.run(&arguments).await?.ended(0);
        let json: serde_json::Value =
            serde_json::from_str(&ran.stdout).with_context(|| format!("{words}: {:?}", ran.stdout))?;
        self.keep(words, json);
        Ok(())
    }

    /// Fails unless the schema describes all of it.
    pub(super) fn check(&self) -> Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let python = moto::environment()?.join("bin/python");
        let mut validate = Command::new(python);
        validate.arg(root.join("tests/validate-json")).arg(root.join("docs/usage/fleetkey.schema.json"));
        let mut running = validate.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut lines = String::new();
        for (command, printed) in &self.0 {
            lines += &serde_json::json!({ "command": command, "printed": printed }).to_string();
            lines.push('\n');
        }
        running.stdin.take().context("stdin is a pipe")?.write_all(lines.as_bytes())?;
        let output = running.wait_with_output()?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && told.is_empty(), "{told}");
        Ok(())
    }
}

#[tokio::test]
async fn what_commands_about_boxes_and_images_print_is_as_the_schema_says() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let id = launch_box(&operator.cloud, "prod_web").await?;
    let mut printed = Printed::default();
    printed.run(&operator, "list", &[]).await?;
    printed.run(&operator, "list", &["none"]).await?;
    printed.run(&operator, "ssh-config", &[]).await?;
    printed.run(&operator, "list-volumes", &[]).await?;
    printed.run(&operator, "show", &["web"]).await?;
    printed.run(&operator, "reboot", &["web", "--dry-run"]).await?;
    printed.run(&operator, "reboot", &["web"]).await?;
    printed.run(&operator, "stop", &["web", "--dry-run"]).await?;
    printed.run(&operator, "stop", &["web"]).await?;
    printed.run(&operator, "image", &["web", "--dry-run"]).await?;
    printed.run(&operator, "image", &["web"]).await?;
    printed.run(&operator, "list-images", &["web"]).await?;
    printed.run(&operator, "delete-image", &["web", "--dry-run"]).await?;
    printed.run(&operator, "delete-image", &["web", "--yes"]).await?;
    printed.run(&operator, "list-images", &["web"]).await?;
    printed.run(&operator, "start", &["web", "--dry-run"]).await?;
    printed.run(&operator, "start", &["web"]).await?;
    printed.run(&operator, "terminate", &["web", "--dry-run"]).await?;
    printed.run(&operator, "terminate", &["web", "--yes"]).await?;
    printed.run(&operator, "terminate", &["web", "-I", &id, "--dry-run"]).await?;
    printed.check()
}

#[tokio::test]
async fn what_commands_about_keys_roles_packages_and_the_configuration_print_is_as_the_schema_says() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let mut printed = Printed::default();
    let key = operator.key_file(&TestKey::new("alice@laptop")?)?;
    let key = key.to_str().context("the path is text")?;
    printed.run(&operator, "init", &["--dry-run"]).await?;
    // An account with nothing in it, of which much is missing.
    let ran = operator.run(&["doctor", "--output", "json"]).await?.ended(1);
    printed.keep("doctor", serde_json::from_str(&ran.stdout)?);
    printed.run(&operator, "register-key", &[key, "--dry-run"]).await?;
    printed.run(&operator, "register-key", &[key, "--expires", "90d"]).await?;
    printed.run(&operator, "revoke-key", &["--person", "alice", "--dry-run"]).await?;
    printed.run(&operator, "revoke-key", &["--person", "alice", "--yes"]).await?;
    printed.run(&operator, "cleanup", &["--dry-run", "--region", "us-west-2"]).await?;
    printed.run(&operator, "role list", &[]).await?;
    printed.run(&operator, "role show", &["generic-debian-12-box"]).await?;
    printed.run(&operator, "role options", &["generic-debian-12-box"]).await?;
    printed.run(&operator, "role check", &[]).await?;
    printed.run(&operator, "role render", &["generic-debian-12-box", "--no-agent"]).await?;
    let packages = Packages::stand_in()?;
    let package = packages.deb()?;
    let package = package.to_str().context("the path is text")?;
    printed.run(&operator, "agent publish", &[package, "--dry-run"]).await?;
    printed.run(&operator, "agent publish", &[package]).await?;
    printed.run(&operator, "agent list", &[]).await?;
    printed.run(&operator, "agent url", &["--format", "deb"]).await?;
    printed.run(&operator, "config path", &[]).await?;
    printed.run(&operator, "config check", &[]).await?;
    printed.run(&operator, "config show", &[]).await?;
    std::fs::create_dir_all(operator.path(".config/fleetkey"))?;
    operator.file(".config/fleetkey/config.toml", "default_profile = 'a'\n[profile.a]\nbucket = 'ours'\n")?;
    printed.run(&operator, "config check", &[]).await?;
    printed.run(&operator, "config show", &[]).await?;
    printed.check()
}
