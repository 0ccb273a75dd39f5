//! `fleetkey role`: the real program, on a machine that knows no AWS.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use fleetkey_tests::pages::{fences, repository};
use fleetkey_tests::program;
use serde_json::Value;
use tempfile::TempDir;

use super::fleetkey::Ran;

/// A machine with a home and nothing else.
pub(super) struct Machine {
    home: TempDir,
}

impl Machine {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { home: TempDir::new()? })
    }

    /// Writes a file below the home.
    pub(super) fn file(&self, path: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.home.path().join(path);
        std::fs::create_dir_all(path.parent().context("a file has a folder")?)?;
        std::fs::write(&path, content)?;
        Ok(path)
    }

    /// Writes a role of the operator's own.
    pub(super) fn role(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        self.file(&format!(".config/fleetkey/roles/{name}.yaml"), content)
    }

    /// Runs the program in the home.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<Ran> {
        self.run_with(arguments, &[])
    }

    fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Ran> {
        let mut command = Command::new(program("fleetkey"));
        command.args(arguments).env_clear().env("HOME", self.home.path()).envs(variables.iter().copied());
        let output = command.current_dir(&self.home).stdin(Stdio::null()).output()?;
        let text = |bytes| String::from_utf8(bytes).context("the program prints UTF-8");
        Ok(Ran { code: output.status.code(), stdout: text(output.stdout)?, stderr: text(output.stderr)? })
    }
}

fn json(ran: &Ran) -> Result<Value> {
    Ok(serde_json::from_str(&ran.stdout)?)
}

#[test]
fn roles_are_listed_shown_and_explained_without_aws() -> Result<()> {
    let machine = Machine::new()?;
    machine.role("mine", "extends: [generic-debian-12-box]\ndescription: my own\noptions: {size: {type: size, default: 1G, help: how much}}\n")?;
    let listed = machine.run(&["role", "list"])?.ended(0);
    assert!(listed.stdout.contains("\nmine  "), "{}", listed.stdout);
    let docker = listed.stdout.lines().find(|line| line.starts_with("docker ")).context("docker is listed")?;
    assert!(docker.contains(" abstract ") && docker.contains(" built in "), "{docker}");
    assert_eq!(machine.run(&["list-roles"])?.ended(0).stdout, listed.stdout);
    let listed = json(&machine.run(&["role", "list", "--output", "json"])?.ended(0))?;
    let names: Vec<&str> =
        listed["roles"].as_array().context("a list")?.iter().filter_map(|role| role["name"].as_str()).collect();
    assert_eq!(
        names,
        [
            "docker",
            "generic",
            "generic-amazon-linux-2023-box",
            "generic-debian-12-box",
            "generic-rocky-9-box",
            "generic-ubuntu-22-04-box",
            "generic-ubuntu-24-04-box",
            "mine",
        ]
    );

    let options = machine.run(&["role", "options", "mine"])?.ended(0);
    assert_eq!(options.stdout, "OPTION  TYPE  DEFAULT  HELP\nsize    size  1G       how much\n");
    assert_eq!(machine.run(&["list-options", "mine"])?.ended(0).stdout, options.stdout);
    assert_eq!(
        json(&machine.run(&["role", "options", "mine", "--output", "json"])?)?["options"]["size"]["default"],
        "1G"
    );

    let shown = machine.run(&["role", "show", "mine"])?.ended(0);
    machine.file("elsewhere/again.yaml", &shown.stdout)?;
    let again = machine.run(&["role", "show", "again", "--role-path", "elsewhere"])?.ended(0);
    assert_eq!(again.stdout, shown.stdout);
    let shown = json(&machine.run(&["role", "show", "mine", "--output", "json"])?)?;
    assert_eq!(shown["admin_account"], "admin");
    assert_eq!(shown["base_images"]["arm64"]["name"], "debian-12-arm64-*");
    Ok(())
}

#[test]
fn faults_are_told_with_file_line_and_column_and_end_with_1() -> Result<()> {
    let machine = Machine::new()?;
    machine.role("good", "extends: [generic-debian-12-box]\n")?;
    machine.role("bad", "extends: [generic-debian-12-box]\nruncmd: [x]\nagent: maybe\n")?;
    let checked = machine.run(&["role", "check"])?.ended(1);
    let file = ".config/fleetkey/roles/bad.yaml";
    assert!(checked.stderr.contains(&format!("{file}:2:1: unknown field \"runcmd\"")), "{}", checked.stderr);
    assert!(checked.stdout.contains("generic-debian-12-box          built in"), "{}", checked.stdout);
    let listed = machine.run(&["role", "list"])?.ended(1);
    assert!(listed.stdout.contains("\ngood ") && listed.stderr.contains("1 role cannot be read"), "{listed:?}");
    machine.run(&["role", "check", ".config/fleetkey/roles/good.yaml"])?.ended(0);
    for verb in ["show", "options"] {
        let ran = machine.run(&["role", verb, "bad"])?.ended(1);
        assert!(ran.stdout.is_empty() && ran.stderr.contains("bad.yaml:2:1"), "{ran:?}");
    }

    machine.file("a.yaml", "extends: [b]\nabstract: true\n")?;
    machine.file("b.yaml", "extends: [a]\nabstract: true\n")?;
    let checked = machine.run(&["role", "check", "a.yaml", "--output", "json"])?.ended(1);
    let fault = "a.yaml";
    assert_eq!(json(&checked)?["roles"][0]["role"], "a");
    assert!(
        json(&checked)?["roles"][0]["faults"][0].as_str().context("a fault")?.ends_with("a -> b -> a"),
        "{fault}: {checked:?}"
    );
    let missing = machine.run(&["role", "check", "nowhere.yaml"])?.ended(1);
    assert!(missing.stderr.contains("cannot read nowhere.yaml"), "{}", missing.stderr);
    Ok(())
}

#[test]
fn what_the_command_line_gets_wrong_ends_with_2_and_a_hint() -> Result<()> {
    let machine = Machine::new()?;
    machine.role("mine", "extends: [generic-debian-12-box]\noptions: {count: {type: int, required: true}}\n")?;
    let digest = "ab".repeat(32);
    let agent = ["--agent-url", "https://x.example/a.deb", "--agent-sha256", &digest];
    let count: &[&str] = &["-O", "count=1"];
    let cases: &[(&[&str], &str)] = &[
        (
            &["role", "render", "mien", "--no-agent"],
            "hint: `fleetkey role list` names the roles there are (did you mean \"mine\"?)",
        ),
        (&["role", "render", "docker", "--no-agent"], "role docker is abstract"),
        (&["role", "render", "mine", "--no-agent"], "hint: give -O count=VALUE (int)"),
        (&["role", "render", "mine", "--no-agent", "-O", "count"], "write NAME=VALUE"),
        (&["role", "render", "mine", "--no-agent", "-O", "count=1", "-O", "count=2"], "-O count is given twice"),
        (&["role", "render", "mine", "--no-agent", "-O", "count=1", "-O", "cuont=2"], "(did you mean \"count\"?)"),
        (&["role", "render", "mine", "--no-agent", "-O", "count=x"], "which is no whole number"),
        (&["role", "render", "mine", "--no-agent", "--arch", "mips"], "is not an architecture; give x86_64, arm64"),
        (&["role", "render", "Mine", "--no-agent"], "cannot be the name of a role"),
        (&["role", "render", "mine", "--agent-url", "https://x.example/a.deb"], "--agent-sha256"),
        (&["role"], "Usage: fleetkey role"),
    ];
    for (arguments, said) in cases {
        let ran = machine.run(arguments)?.ended(2);
        assert!(ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{arguments:?}: {}", ran.stdout);
    }
    let mine = [&["role", "render", "mine"], count].concat();
    let ran = machine.run(&mine)?.ended(2);
    assert!(
        ran.stderr.contains("which `fleetkey agent url --format deb --arch x86_64` prints, or --no-agent"),
        "{}",
        ran.stderr
    );
    let ran = machine.run(&[&mine[..], &agent].concat())?.ended(2);
    assert!(ran.stderr.contains("hint: give --bucket"), "{}", ran.stderr);
    let ran = machine.run(&[&mine[..], &agent, &["--bucket", "my-bucket", "-k", "__me__"]].concat())?.ended(2);
    assert!(ran.stderr.contains("hint: set FLEETKEY_ME"), "{}", ran.stderr);
    Ok(())
}

#[test]
fn flags_and_variables_say_who_may_log_in_and_where_things_are() -> Result<()> {
    let machine = Machine::new()?;
    let digest = "ab".repeat(32);
    let render = [
        "role",
        "render",
        "generic-debian-12-box",
        "--agent-url",
        "https://x.example/a.deb",
        "--agent-sha256",
        &digest,
    ];
    let variables = [
        ("FLEETKEY_BUCKET", "my-bucket"),
        ("FLEETKEY_ME", "Alice"),
        ("FLEETKEY_KEYPAIRS", "__me__ @@developers"),
        ("FLEETKEY_NAMESPACE", "/__me__/"),
    ];
    let ran = machine.run_with(&render, &variables)?.ended(0);
    assert!(ran.stdout.contains("keys = [\"Alice\", \"@@developers\"]\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("bucket = \"my-bucket\"\n"), "{}", ran.stdout);
    assert!(ran.stdout.starts_with("#cloud-config\n# /alice/generic-debian-12-box, role "), "{}", ran.stdout);
    assert!(ran.stderr.is_empty(), "{}", ran.stderr);
    let flags = ["-k", "bob", "--bucket", "other", "--topic", "news", "-n", "/prod/"];
    let ran = machine.run_with(&[&render[..], &flags].concat(), &variables)?.ended(0);
    for line in ["keys = [\"bob\"]", "bucket = \"other\"", "topic = \"news\"", "# /prod/generic-debian-12-box, role "] {
        assert!(ran.stdout.contains(line), "{line}: {}", ran.stdout);
    }
    let ran = machine.run(&[&render[..], &["--bucket", "other"]].concat())?.ended(0);
    assert!(ran.stderr.contains("warning: nobody is granted the admin account"), "{}", ran.stderr);
    assert!(!ran.stdout.contains("[[grant]]"), "{}", ran.stdout);
    let ran = machine.run(&["role", "render", "generic-rocky-9-box", "--no-agent", "--output", "json"])?.ended(0);
    let text = json(&ran)?["user_data"].as_str().context("a text")?.to_owned();
    assert_eq!(json(&ran)?["encoded_bytes"], text.len());
    assert!(!text.contains("agent.toml"), "{text}");
    Ok(())
}

#[test]
fn user_data_that_is_too_long_for_ec2_is_refused_with_its_size() -> Result<()> {
    let machine = Machine::new()?;
    let numbers = (0..20_000_u64).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    let noise = hex::encode(numbers.collect::<Vec<u8>>());
    let role = |text: &str| format!("extends: [generic-debian-12-box]\ncloud_config: {{runcmd: ['{text}']}}\n");
    machine.role("long", role(&"x".repeat(20_000)))?;
    machine.role("longer", role(&noise[..100_000]))?;
    let ran = machine.run(&["role", "render", "long", "--no-agent", "--output", "json"])?.ended(0);
    assert!(json(&ran)?["encoded_bytes"].as_u64().context("a size")? < 1_000, "it is sent compressed");
    let ran = machine.run(&["role", "render", "longer", "--no-agent"])?.ended(1);
    assert!(ran.stderr.contains("compressed; EC2 takes 16384"), "{}", ran.stderr);
    assert!(ran.stdout.is_empty(), "nothing that cannot be sent is printed");
    Ok(())
}

#[test]
fn the_roles_in_the_documentation_are_right_and_come_to_what_it_says() -> Result<()> {
    let machine = Machine::new()?;
    let page = std::fs::read_to_string(repository().join("docs/usage/roles.md"))?;
    let (mut roles, mut outcomes) = (Vec::new(), Vec::new());
    for block in fences(&page).into_iter().filter(|block| block.language == "yaml") {
        let (first, rest) = block.text.split_once('\n').context("a block has lines")?;
        match (
            first.strip_prefix("# fleetkey role show "),
            first.strip_prefix("# ").and_then(|name| name.strip_suffix(".yaml")),
        ) {
            (Some(role), _) => outcomes.push((role.to_owned(), rest.to_owned())),
            (None, Some(role)) => {
                machine.role(role, &block.text)?;
                roles.push(role.to_owned());
            }
            (None, None) => anyhow::bail!("a block begins with {first:?}, which says not what it is"),
        }
    }
    machine.run(&["role", "check"])?.ended(0);
    for (role, outcome) in &outcomes {
        let shown = machine.run(&["role", "show", role])?.ended(0).stdout;
        assert!(shown.contains(outcome), "{shown}");
    }
    assert!(roles.len() > 2 && !outcomes.is_empty(), "the page has examples no more");
    let ran = machine.run(&["role", "render", "web-box", "--no-agent", "-O", "workers=8"])?.ended(0);
    assert!(ran.stdout.contains("worker_processes 8;"), "{}", ran.stdout);
    Ok(())
}
