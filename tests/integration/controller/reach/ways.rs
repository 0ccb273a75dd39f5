//! `--jump`, `--via` and `--address`: whatever is in between, it is the same box.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use fleetkey_tests::tunnel::TUNNEL;

use super::super::box_at_hand::{ADMIN, BoxAtHand, ROLE, machine};
use super::super::fleetkey::{Operator, Ran};
use super::ssh_config::ssh;

/// Puts a program into the operator's `bin`.
pub(super) fn install(operator: &Operator, name: &str, text: &str) -> Result<()> {
    fs::create_dir_all(operator.path("bin"))?;
    let path = operator.file(&format!("bin/{name}"), text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

/// What plays the aws program: it notes how it was called, and is a tunnel to the box.
fn install_aws(there: &BoxAtHand<'_>) -> Result<PathBuf> {
    let log = there.operator.path("aws.log");
    let tunnel = there.operator.file("tunnel.py", TUNNEL)?;
    let text = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$*\" >>'{}'\nexec /usr/bin/python3 '{}' 127.0.0.1 {}\n",
        log.display(),
        tunnel.display(),
        there.sshd.port()
    );
    install(&there.operator, "aws", &text)?;
    install(&there.operator, "session-manager-plugin", "#!/bin/sh\nexit 1\n")?;
    Ok(log)
}

/// `fleetkey` with the operator's `bin` on the PATH, and these variables.
async fn run(operator: &Operator, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Ran> {
    let path = format!("{}:/usr/bin:/bin", operator.path("bin").display());
    let variables = [&[("FLEETKEY_ZONE", "us-west-2a"), ("PATH", &path)], variables].concat();
    operator.run_with(arguments, &variables).await
}

#[tokio::test]
async fn a_box_is_logged_in_to_through_a_tunnel_that_the_aws_program_holds() -> Result<()> {
    let machine = machine()?;
    let there = BoxAtHand::new(&machine).await?;
    let log = install_aws(&there)?;
    let options = there.options();
    let options: Vec<&str> = options.split(' ').collect();
    let (id, port) = (&there.id, there.sshd.port());
    let eice = format!("ec2-instance-connect open-tunnel --instance-id {id} --remote-port {port} --region us-west-2");
    let ssm = format!(
        "ssm start-session --target {id} --document-name AWS-StartSSHSession --parameters portNumber={port} --region us-west-2"
    );
    for (via, wanted) in [("eice", &eice), ("ssm", &ssm)] {
        let words = [&["ssh", "-n", "/", ROLE, "--via", via, "--"], &options[..], &["id", "-un"]].concat();
        let ran = run(&there.operator, &words, &[]).await?.ended(0);
        assert_eq!(ran.stdout, format!("{ADMIN}\n"));
        assert!(fs::read_to_string(&log)?.lines().all(|line| line == wanted), "{}", fs::read_to_string(&log)?);
        fs::remove_file(&log)?;
    }
    // With the credentials that the box was found with.
    std::fs::create_dir_all(there.operator.path(".config/fleetkey"))?;
    let profile = there.operator.file(".config/fleetkey/config.toml", "[profile.prod]\naws_profile = 'default'\n")?;
    let words =
        [&["ssh", "-n", "/", ROLE, "--profile", "prod", "--via", "ssm", "--"], &options[..], &["true"]].concat();
    run(&there.operator, &words, &[]).await?.ended(0);
    let said = fs::read_to_string(&log)?;
    assert!(said.lines().all(|line| line == format!("{ssm} --profile default")), "{said}");
    fs::remove_file(&log)?;
    fs::remove_file(profile)?;
    // By a variable, with rsync, and as the ProxyCommand of plain ssh.
    let via = [("FLEETKEY_VIA", "ssm")];
    there.operator.file("hello", "hello")?;
    let hello = there.operator.path("hello").display().to_string();
    let words = ["rsync", "-n", "/", "--ssh-opts", &there.options(), ROLE, &hello, ":hello"];
    run(&there.operator, &words, &via).await?.ended(0);
    assert_eq!(machine.read(format!("/home/{ADMIN}/hello"))?, "hello");
    assert!(log.exists());
    Ok(())
}

#[tokio::test]
async fn a_configuration_of_ssh_goes_the_way_that_it_was_written_for() -> Result<()> {
    let machine = machine()?;
    let there = BoxAtHand::new(&machine).await?;
    let log = install_aws(&there)?;
    let login = there.login();
    let login: Vec<&str> = login.split(' ').collect();
    for flags in [&["--via", "eice"][..], &["--via", "eice", "--addresses"]] {
        let ran = run(&there.operator, &[&["ssh-config", "-n", "/"], flags].concat(), &[]).await?.ended(0);
        // ssh itself is started without the operator's bin on its PATH.
        let bin = there.operator.path("bin").display().to_string();
        let text = ran.stdout.replace("ProxyCommand ", &format!("ProxyCommand env PATH={bin}:/usr/bin:/bin "));
        let config = there.operator.file("ssh_config", &text)?;
        ssh(&there.operator, &config, &[&login[..], &["web", "true"]].concat()).await?.ended(0);
        assert!(fs::read_to_string(&log)?.contains("open-tunnel"), "{text}");
        fs::remove_file(&log)?;
    }
    Ok(())
}

#[tokio::test]
async fn over_another_machine_the_operators_own_known_hosts_counts_for_that_and_the_kept_keys_for_the_box() -> Result<()>
{
    let machine = machine()?;
    let mut there = BoxAtHand::new(&machine).await?;
    // Half of these options are for the machine on the way: it is the same sshd under another name.
    let known = there.operator.file("known_hosts", &format!("bastion {}\n", there.host_key()?))?;
    let over = async |there: &BoxAtHand<'_>, timeout: &str| {
        let config = format!(
            "Host bastion\n    HostName 127.0.0.1\n    HostKeyAlias bastion\n    User {ADMIN}\n    UserKnownHostsFile {}\n\
             Host *\n    Port {}\n    IdentityFile {}\n    IdentitiesOnly yes\n    IdentityAgent none\n    BatchMode yes\n",
            known.display(),
            there.sshd.port(),
            there.private_key().display(),
        );
        let config = there.operator.file("config", &config)?.display().to_string();
        let words =
            ["ssh", "-n", "/", ROLE, "--jump", "bastion", "--timeout", timeout, "--", "-F", &config, "id", "-un"];
        there.operator.run(&words).await
    };
    let ran = over(&there, "1m").await?.ended(0);
    assert_eq!(ran.stdout, format!("{ADMIN}\n"));
    assert!(there.sshd.log().text()?.matches("Accepted publickey").count() >= 2);

    // A machine on the way that nobody knows is not believed, and not taken for the box.
    fs::write(&known, "")?;
    fs::remove_file(there.known_hosts())?;
    let ran = over(&there, "10s").await?.ended(1);
    assert!(
        ran.stderr.contains("Host key verification failed") && !ran.stderr.contains("has changed"),
        "{}",
        ran.stderr
    );
    // Nor is a box that is not what it was.
    there.change_host_key()?;
    fs::write(&known, format!("bastion {}\n", there.host_key()?))?;
    let ran = over(&there, "1m").await?.ended(1);
    assert!(ran.stderr.contains("has changed: this may be another machine"), "{}", ran.stderr);
    Ok(())
}

#[tokio::test]
async fn a_port_that_does_not_answer_any_more_is_told_with_what_opens_it() -> Result<()> {
    let machine = machine()?;
    let there = BoxAtHand::new(&machine).await?;
    there.ssh(&[], &["true"]).await?.ended(0);
    // A port whose queue is full does not answer, as one that a security group closes.
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind("127.0.0.1:0".parse()?)?;
    let listener = socket.listen(0)?;
    let address = listener.local_addr()?;
    let mut waiting = Vec::new();
    while let Ok(connection) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        waiting.push(connection);
    }
    let port = address.port().to_string();
    let hint =
        format!("hint: if port 22 is not open to your address: fleetkey refresh-ingress --region us-west-2 /{ROLE}");
    let words = ["ssh", "-n", "/", ROLE, "--", "-F", "none", "-p", &port, "-o", "ConnectTimeout=1", "true"];
    let ran = there.operator.run(&words).await?.ended(255);
    assert!(ran.stderr.contains(&hint) && ran.stderr.contains("timed out"), "{}", ran.stderr);
    let ran = there.operator.run(&["proxy", &there.id, &port]).await?.ended(1);
    assert!(ran.stderr.contains("does not answer to ssh") && ran.stderr.contains(&hint), "{}", ran.stderr);
    Ok(())
}

#[tokio::test]
async fn a_way_that_cannot_be_gone_is_told_with_what_to_do() -> Result<()> {
    let machine = machine()?;
    let there = BoxAtHand::new(&machine).await?;
    let ssh = async |flags: &[&str], variables: &[(&str, &str)]| {
        run(&there.operator, &[&["ssh", "-n", "/", ROLE], flags].concat(), variables).await
    };
    for program in ["aws", "session-manager-plugin"] {
        let ran = ssh(&["--via", "ssm"], &[]).await?.ended(1);
        let said = format!("error: this way needs the program {program}, which is not on the PATH");
        assert!(ran.stderr.contains(&said) && ran.stderr.contains("hint: install"), "{}", ran.stderr);
        install(&there.operator, program, "#!/bin/sh\nexit 1\n")?;
    }
    // A tunnel that does not come about is told in its own words.
    install(&there.operator, "aws", "#!/bin/sh\necho 'An error occurred (TargetNotConnected)' >&2\nexit 255\n")?;
    let ran = ssh(&["--via", "ssm", "--timeout", "10s"], &[]).await?.ended(1);
    assert!(ran.stderr.contains("at last: An error occurred (TargetNotConnected)"), "{}", ran.stderr);
    let ran = ssh(&["--via", "eice", "--host-key", "SHA256:Ys3rdwo+SClvcDNfmfZDgMJL6IzyGgH27DctbvUsZQY"], &[]).await?;
    assert!(ran.ended(1).stderr.contains("hint: give the host key in a file"));

    for (flags, said) in [
        (&["--via", "ssm", "--address", "public"][..], "not to its public address"),
        (&["--via", "ssm", "--jump", "a"], "cannot be used with"),
        (&["--jump=-oProxyCommand=x"], "give [USER@]HOST[:PORT]"),
        (&["--via", "vpn"], "possible values: direct, eice, ssm"),
        (&["--address", "both"], "possible values: public, private"),
    ] {
        let ran = ssh(flags, &[]).await?.ended(2);
        assert!(ran.stderr.contains(said), "{flags:?}: {}", ran.stderr);
    }
    let ran = ssh(&[], &[("FLEETKEY_JUMP", "a"), ("FLEETKEY_VIA", "ssm")]).await?.ended(2);
    assert!(ran.stderr.contains("hint: unset one of FLEETKEY_JUMP and FLEETKEY_VIA"), "{}", ran.stderr);
    let ran = ssh(&[], &[("FLEETKEY_ADDRESS", "none")]).await?.ended(2);
    assert!(ran.stderr.contains("FLEETKEY_ADDRESS"), "{}", ran.stderr);
    Ok(())
}
