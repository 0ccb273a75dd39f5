//! Boxes reached by other ways than straight, and by other programs than Fleetkey.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use aws_sdk_ec2::types::Instance;
use fleetkey_tests::program;
use fleetkey_tests::tunnel::TUNNEL;

use crate::operator::{Operator, ROLE, Ran, start, utf8};

/// The system's own ssh, with the configuration in the operator's home: it finds no home but the one of the account. A
/// box that boots is waited for by the program that connects it, which counts as connecting.
fn ssh(alice: &Operator, words: &[&str]) -> Result<Ran> {
    let config = alice.home().join(".ssh/config");
    let mut command = alice.command(Path::new("ssh"));
    command.arg("-F").arg(config).args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=120"]).args(words);
    start(command)?.wait()
}

fn id(instance: &Instance) -> &str {
    instance.instance_id().unwrap_or_default()
}

#[tokio::test]
async fn plain_ssh_reaches_a_box_by_name_wherever_it_is_and_another_over_it() -> Result<()> {
    let alice = Operator::new("named-alice", "/named/").await?;
    alice.create(&[]).await?;
    alice.run(&["ssh-config", "--install"])?.ended(0);
    for name in [ROLE, &format!("{ROLE}-0"), &format!("named.{ROLE}.0"), id(&alice.instances().await?[0])] {
        assert_eq!(ssh(&alice, &[name, "id", "-un"])?.ended(0).stdout, "admin\n", "{name}");
    }
    // At another address it is the same box to whoever calls it by name.
    let before = alice.instances().await?[0].public_ip_address().map(str::to_owned);
    alice.run(&["stop", ROLE])?.ended(0);
    let ran = ssh(&alice, &[ROLE, "true"])?.ended(255);
    assert!(ran.stderr.contains("so nobody can log in"), "{}", ran.stderr);
    alice.run(&["start", ROLE])?.ended(0);
    assert_ne!(alice.instances().await?[0].public_ip_address().map(str::to_owned), before);
    ssh(&alice, &[ROLE, "true"])?.ended(0);

    // A second box, over the first, which is called by the name that ssh knows.
    let first = alice.instances().await?[0].clone();
    alice.run(&["create", ROLE, "--anew"])?.ended(0);
    let there = alice.instances().await?;
    let second = there.iter().find(|found| id(found) != id(&first)).context("there are two")?;
    let config = alice.home().join(".ssh/config");
    let config = utf8(&config)?;
    let words = ["-F", config, "-o", "BatchMode=yes", "echo", "$SSH_CONNECTION"];
    let ran = alice.run(&[&["ssh", ROLE, "-I", id(second), "--jump", id(&first), "--"], &words[..]].concat())?.ended(0);
    let addresses: Vec<&str> = ran.stdout.split(' ').collect();
    assert_eq!(addresses.first().copied(), first.private_ip_address(), "{}", ran.stdout);
    assert_eq!(addresses.get(2).copied(), second.private_ip_address(), "{}", ran.stdout);
    alice.run(&["ssh-config", "--uninstall"])?.ended(0);
    assert_eq!(std::fs::read_to_string(config)?, "");
    Ok(())
}

#[tokio::test]
async fn a_box_is_created_and_used_through_a_tunnel_that_the_aws_program_holds() -> Result<()> {
    let alice = Operator::new("tunnel-alice", "/tunnel/").await?;
    // Plays `aws ssm start-session`: it asks where the box is, and is a connection to it.
    let aws = format!(
        "#!/bin/bash\necho \"$*\" >>\"$HOME/aws.log\"\nid=$4\n\
         address=$({} list --namespace / --output json | python3 -c 'import json, sys\n\
         print([one[\"private_address\"] for one in json.load(sys.stdin)[\"boxes\"] if one[\"id\"] == sys.argv[1]][0])' \"$id\")\n\
         exec python3 \"$HOME/tunnel.py\" \"$address\" 22\n",
        program("fleetkey").display()
    );
    alice.file("tunnel.py", TUNNEL)?;
    for (name, text) in [("aws", aws.as_str()), ("session-manager-plugin", "#!/bin/sh\nexit 1\n")] {
        let path = alice.file(&format!("bin/{name}"), text)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    }
    let run = |words: &[&str]| -> Result<Ran> {
        let mut command = alice.command(&program("fleetkey"));
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", alice.home().join("bin").display());
        command.args(words).env("PATH", path).env("FLEETKEY_VIA", "ssm");
        start(command)?.wait()
    };
    run(&["create", ROLE])?.ended(0);
    let log = alice.home().join("aws.log");
    let one = alice.instances().await?[0].clone();
    let wanted = format!(
        "ssm start-session --target {} --document-name AWS-StartSSHSession --parameters portNumber=22 --region us-west-2",
        id(&one)
    );
    let said = std::fs::read_to_string(&log)?;
    assert!(!said.is_empty() && said.lines().all(|line| line == wanted), "{said}");
    let ran = run(&["ssh", ROLE, "--", "-o", "BatchMode=yes", "hostname"])?.ended(0);
    assert!(ran.stdout.starts_with("ip-"), "{}", ran.stdout);
    Ok(())
}
