//! `fleetkey ssh-config`: the system's own ssh, which knows boxes by name.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_sdk_ec2::types::Tag;
use nix::sys::signal::Signal;
use tokio::io::AsyncReadExt as _;

use super::super::box_at_hand::{ADMIN, BoxAtHand, FINISHED, console, machine};
use super::super::fleetkey::{Operator, Ran, Running};

/// What `fleetkey ssh-config` prints with these flags, as a file.
pub(super) async fn config(operator: &Operator, flags: &[&str]) -> Result<PathBuf> {
    let ran = operator.run(&[&["ssh-config", "-n", "/"], flags].concat()).await?.ended(0);
    operator.file("ssh_config", &ran.stdout)
}

/// The system's ssh with a configuration, in the operator's environment.
pub(super) async fn ssh(operator: &Operator, config: &Path, words: &[&str]) -> Result<Ran> {
    let mut command = tokio::process::Command::new("ssh");
    let fleetkey = operator.command(&[], &[("PATH", "/usr/bin:/bin")]);
    let variables = fleetkey.as_std().get_envs().filter_map(|(name, value)| Some((name, value?)));
    command.env_clear().envs(variables).arg("-F").arg(config).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    Running::of(command.spawn()?).end().await
}

/// What ssh makes of a configuration for a host: option to value.
pub(super) fn options(config: &Path, host: &str) -> Result<Vec<(String, String)>> {
    let output = Command::new("ssh").arg("-F").arg(config).args(["-G", host]).output()?;
    let text = String::from_utf8(output.stdout)?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(text.lines().filter_map(|line| line.split_once(' ')).map(|(name, value)| (name.into(), value.into())).collect())
}

pub(super) fn value<'a>(options: &'a [(String, String)], name: &str) -> Option<&'a str> {
    options.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn plain_ssh_reaches_a_box_by_each_of_its_names_and_learns_its_host_key_on_the_way() -> Result<()> {
    let machine = machine()?;
    let there = BoxAtHand::new(&machine).await?;
    let config = config(&there.operator, &[]).await?;
    assert!(!there.known_hosts().exists());
    let (login, id) = (there.login(), there.id.as_str());
    let login: Vec<&str> = login.split(' ').collect();
    for name in ["web", "web-0", "web.0", id] {
        let ran = ssh(&there.operator, &config, &[&login[..], &[name, "id", "-un"]].concat()).await?.ended(0);
        assert_eq!(ran.stdout, format!("{ADMIN}\n"), "{}", ran.stderr);
    }
    assert!(there.known_hosts().exists());
    // Large and binary: nothing is held back or changed on the way.
    let big = ["web", "head -c 3000000 /dev/zero | tr '\\0' '\\377' | md5sum; head -c 3000000 /dev/zero | wc -c"];
    let ran = ssh(&there.operator, &config, &[&login[..], &big].concat()).await?.ended(0);
    assert!(ran.stdout.ends_with("3000000\n"), "{}", ran.stdout);
    Ok(())
}

#[tokio::test]
async fn fault_15_plain_ssh_holds_a_box_to_the_keys_that_are_kept_of_it() -> Result<()> {
    let machine = machine()?;
    let mut there = BoxAtHand::new(&machine).await?;
    let config = config(&there.operator, &[]).await?;
    there.ssh(&[], &["true"]).await?.ended(0);
    there.change_host_key()?;
    let login = there.login();
    let login: Vec<&str> = login.split(' ').collect();
    let ran = ssh(&there.operator, &config, &[&login[..], &["web", "true"]].concat()).await?.ended(255);
    assert!(ran.stderr.contains("REMOTE HOST IDENTIFICATION HAS CHANGED"), "{}", ran.stderr);
    // One whose console shows no key is not connected to at all.
    fs::remove_file(there.known_hosts())?;
    there.print(FINISHED);
    let ran = ssh(&there.operator, &config, &[&login[..], &["web", "true"]].concat()).await?.ended(255);
    assert!(ran.stderr.contains("shows no host keys, and no others are trusted"), "{}", ran.stderr);
    Ok(())
}

#[tokio::test]
async fn t5_no_tag_gets_into_the_configuration() -> Result<()> {
    let machine = machine()?;
    let there = BoxAtHand::new(&machine).await?;
    let ec2 = there.operator.cloud.ec2();
    let hostile = "admin\n    ProxyCommand touch /tmp/x\nHost *\n    User root";
    for (key, value) in [("fleetkey:admin", hostile), ("cluster_name", hostile), ("generation", hostile)] {
        let tag = Tag::builder().key(key).value(value).build();
        ec2.create_tags().resources(&there.id).tags(tag).send().await?;
    }
    let config = config(&there.operator, &[]).await?;
    let text = fs::read_to_string(&config)?;
    assert!(!text.contains("touch") && !text.contains("Host *"), "{text}");
    assert!(text.contains("    # its admin account is not known: ssh -l names one\n"), "{text}");
    let found = options(&config, "web")?;
    let proxy = value(&found, "proxycommand").context("it has one")?;
    assert!(proxy.ends_with(&format!("fleetkey proxy --region us-west-2 {} %p", there.id)), "{proxy}");
    assert_eq!(value(&found, "hostkeyalias"), Some(there.id.as_str()));
    assert_eq!(value(&found, "stricthostkeychecking"), Some("true"));
    assert_eq!(value(&found, "userknownhostsfile"), there.known_hosts().to_str());
    assert_eq!(value(&options(&config, "other")?, "proxycommand"), None);
    Ok(())
}

#[tokio::test]
async fn with_addresses_ssh_needs_nothing_but_the_files() -> Result<()> {
    let machine = machine()?;
    let there = BoxAtHand::new(&machine).await?;
    there.print(FINISHED);
    let ran = there.operator.run(&["ssh-config", "-n", "/", "--addresses"]).await?.ended(0);
    let said = format!("the host keys of box {} are not known, nor on its console", there.id);
    assert!(ran.stderr.contains(&said), "{}", ran.stderr);
    there.print(&console(&[&there.host_key()?]));
    let config = config(&there.operator, &["--addresses"]).await?;
    let found = options(&config, "web")?;
    assert_eq!((value(&found, "hostname"), value(&found, "proxycommand")), (Some("127.0.0.1"), None));
    let login = there.login();
    let login: Vec<&str> = login.split(' ').collect();
    there.proxy.take_calls();
    ssh(&there.operator, &config, &[&login[..], &["web", "true"]].concat()).await?.ended(0);
    assert!(there.proxy.take_calls().is_empty());

    there.operator.cloud.ec2().terminate_instances().instance_ids(&there.id).send().await?;
    let ran = there.operator.run(&["ssh-config", "-n", "/", "--output", "json"]).await?.ended(0);
    let shown: serde_json::Value = serde_json::from_str(&ran.stdout)?;
    assert_eq!(shown["boxes"].as_array().map(Vec::len), Some(0), "{shown}");
    Ok(())
}

#[tokio::test]
async fn it_is_installed_kept_up_to_date_and_taken_out_again() -> Result<()> {
    let machine = machine()?;
    let there = BoxAtHand::new(&machine).await?;
    let operator = &there.operator;
    let old = "# mine\nHost *\n    ServerAliveInterval 7\n";
    fs::create_dir(operator.path(".ssh"))?;
    operator.file(".ssh/config", old)?;
    let own = operator.path(".config/fleetkey/ssh_config.d/us-west-2.conf");
    let main = operator.path(".ssh/config");
    let run = async |flags: &[&str]| operator.run(&[&["ssh-config", "-n", "/"], flags].concat()).await;

    let ran = run(&["--install", "--dry-run"]).await?.ended(0);
    let lines: Vec<String> =
        ran.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines,
        ["ACTION FILE".to_owned(), format!("write {}", own.display()), format!("write {}", main.display())]
    );
    assert!(!own.exists() && fs::read_to_string(&main)? == old);

    run(&["--install"]).await?.ended(0);
    assert_eq!(fs::metadata(&own)?.permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&main)?;
    assert_eq!(text, format!("Include \"{}/*.conf\"\n{old}", own.parent().context("a folder")?.display()));
    let found = options(&main, "web")?;
    assert_eq!(value(&found, "hostkeyalias"), Some(there.id.as_str()));
    assert_eq!(value(&found, "serveraliveinterval"), Some("7"), "the operator's own counts too");
    let ran = run(&["--install"]).await?.ended(0);
    assert!(ran.stderr.contains("everything is so already"), "{}", ran.stderr);

    // In another region the same names stand for other boxes: those are not called so.
    let config = fs::read_to_string(&own)?.replace(&there.id, "i-0123456789abcdef0");
    fs::write(own.with_file_name("eu-west-1.conf"), config)?;
    let ran = run(&["--install"]).await?.ended(0);
    assert!(
        ran.stderr.contains("warning: no box is called web, web-0, web.0: another box or machine could be meant"),
        "{}",
        ran.stderr
    );

    run(&["--uninstall"]).await?.ended(0);
    assert_eq!(fs::read_to_string(&main)?, old);
    assert!(!own.exists());

    fs::remove_file(&main)?;
    std::os::unix::fs::symlink(operator.file("elsewhere", "")?, &main)?;
    let ran = run(&["--install"]).await?.ended(1);
    assert!(ran.stderr.contains(".ssh/config is a link, so it is not changed"), "{}", ran.stderr);
    for wrong in [&["--dry-run"][..], &["--install", "web"], &["--install", "--uninstall"]] {
        run(wrong).await?.ended(2);
    }
    Ok(())
}

#[tokio::test]
async fn a_profile_is_written_down_under_its_own_name_and_the_way_that_it_says_with_it() -> Result<()> {
    let machine = machine()?;
    let there = BoxAtHand::new(&machine).await?;
    let operator = &there.operator;
    let credentials = fs::read_to_string(operator.path(".aws/credentials"))?;
    operator.file(".aws/credentials", &credentials.replace("[default]", "[of-alice]"))?;
    fs::create_dir_all(operator.path(".config/fleetkey"))?;
    let text = "default_profile = 'dev'\n[profile.dev]\naws_profile = 'nobody'\n\
                [profile.prod]\naws_profile = 'of-alice'\naddress = 'private'\nvia = 'direct'\n";
    let file = operator.file(".config/fleetkey/config.toml", text)?;
    let config = config(operator, &["--profile", "prod"]).await?;
    let found = options(&config, "web")?;
    let proxy = value(&found, "proxycommand").context("it has one")?;
    let wanted = "proxy --profile prod --region us-west-2 --address private --via direct";
    assert!(proxy.ends_with(&format!("{wanted} {} %p", there.id)) && !proxy.contains("AWS_PROFILE"), "{proxy}");
    // By default it would be another account, in which there is nobody.
    let login = there.login();
    let login: Vec<&str> = login.split(' ').collect();
    ssh(operator, &config, &[&login[..], &["web", "true"]].concat()).await?.ended(0);
    let install = ["ssh-config", "-n", "/", "--profile", "prod", "--install"];
    let ran = operator.run(&install).await?.ended(0);
    assert!(ran.stdout.contains("ssh_config.d/us-west-2@prod.conf"), "{}", ran.stdout);

    // What a variable says is written down as that variable.
    fs::remove_file(file)?;
    let variables = [("FLEETKEY_ZONE", "us-west-2a"), ("AWS_PROFILE", "of-alice"), ("FLEETKEY_ADDRESS", "private")];
    let ran = operator.run_with(&["ssh-config", "-n", "/"], &variables).await?.ended(0);
    assert!(ran.stdout.contains("ProxyCommand env AWS_PROFILE=of-alice "), "{}", ran.stdout);
    assert!(
        ran.stdout.contains(&format!("proxy --region us-west-2 --address private {} %p", there.id)),
        "{}",
        ran.stdout
    );
    Ok(())
}

#[tokio::test]
async fn a_connection_that_stands_ends_when_it_is_asked_to() -> Result<()> {
    let machine = machine()?;
    let there = BoxAtHand::new(&machine).await?;
    let port = there.sshd.port().to_string();
    let mut command = there.operator.command(&["proxy", &there.id, &port], &[("FLEETKEY_ZONE", "us-west-2a")]);
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    let _open = child.stdin.take();
    let mut greeting = [0; 8];
    child.stdout.as_mut().context("stdout is a pipe")?.read_exact(&mut greeting).await?;
    assert_eq!(&greeting, b"SSH-2.0-");
    let running = Running::of(child);
    running.signal(Signal::SIGTERM)?;
    tokio::time::timeout(Duration::from_secs(30), running.end()).await??.ended(130);
    Ok(())
}

#[tokio::test]
async fn a_box_that_is_off_or_gone_is_told_to_whoever_connects() -> Result<()> {
    let machine = machine()?;
    let there = BoxAtHand::new(&machine).await?;
    let ec2 = there.operator.cloud.ec2();
    ec2.stop_instances().instance_ids(&there.id).send().await?;
    let ran = there.operator.run(&["proxy", &there.id]).await?.ended(1);
    assert!(ran.stderr.contains("so nobody can log in"), "{}", ran.stderr);
    let ran = there.operator.run(&["proxy", "i-0123456789abcdef0"]).await?.ended(1);
    assert!(ran.stderr.contains("there is no box i-0123456789abcdef0 in us-west-2"), "{}", ran.stderr);
    for wrong in [&["proxy", "web"][..], &["proxy", &there.id, "0"], &["proxy", &there.id, "70000"]] {
        there.operator.run(wrong).await?.ended(2);
    }
    Ok(())
}
