//! Boxes over boxes: a machine on the way is never reached over itself, whoever names it and where.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::timeout;

use super::super::box_at_hand::{ADMIN, BoxAtHand, launch, machine};
use super::super::fleetkey::{Ran, Running};
use super::ssh_config::{config, options, value};
use super::ways::install;

/// More than any of this takes that does not go round in a circle, or wait for one to end.
const LIMIT: Duration = Duration::from_mins(1);

/// What blocks of a configuration do not say here: it is the same sshd for all of them.
fn whole(there: &BoxAtHand<'_>, blocks: &str) -> Result<PathBuf> {
    let (port, key) = (there.sshd.port(), there.private_key().display());
    let all =
        format!("Host *\n    Port {port}\n    IdentityFile {key}\n    IdentitiesOnly yes\n    IdentityAgent none\n");
    there.operator.file("ssh_config", &format!("{blocks}{all}    BatchMode yes\n"))
}

/// ssh with the configuration, and an ssh on the PATH that has it too: it finds no home but the one of the account.
async fn ssh(there: &BoxAtHand<'_>, config: &Path, words: &[&str], variables: &[(&str, &str)]) -> Result<Ran> {
    let operator = &there.operator;
    install(operator, "ssh", &format!("#!/bin/sh\nexec /usr/bin/ssh -F '{}' \"$@\"\n", config.display()))?;
    let path = format!("{}:/usr/bin:/bin", operator.path("bin").display());
    let fleetkey = operator.command(&[], &[&[("PATH", path.as_str())], variables].concat());
    let mut command = tokio::process::Command::new(operator.path("bin/ssh"));
    let environment = fleetkey.as_std().get_envs().filter_map(|(name, value)| Some((name, value?)));
    command.env_clear().envs(environment).args(words).stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).kill_on_drop(true);
    timeout(LIMIT, Running::of(command.spawn()?).end()).await.context("it goes round, or waits for what does")?
}

#[tokio::test]
async fn a_box_that_others_are_reached_over_is_reached_itself_and_never_over_itself() -> Result<()> {
    let machine = machine()?;
    let there = BoxAtHand::new(&machine).await?;
    let (hop, other) = (there.id.as_str(), launch(&there.operator.cloud).await?);
    let proxy_of = |config: &Path, id: &str| -> Result<String> {
        Ok(value(&options(config, id)?, "proxycommand").context("it has one")?.to_owned())
    };

    // By a flag, when it is written.
    let config = config(&there.operator, &["--jump", hop]).await?;
    assert!(proxy_of(&config, &other)?.contains(&format!(" --jump {hop} {other} ")));
    assert!(proxy_of(&config, hop)?.contains(&format!(" --via direct {hop} ")));
    let written = whole(&there, &std::fs::read_to_string(&config)?)?;
    for id in [&other, hop] {
        assert_eq!(ssh(&there, &written, &[id, "id", "-un"], &[]).await?.ended(0).stdout, format!("{ADMIN}\n"));
    }

    // By a variable, as it is written, and when ssh runs alone.
    let jump = [("FLEETKEY_ZONE", "us-west-2a"), ("FLEETKEY_JUMP", hop)];
    let ran = there.operator.run_with(&["ssh-config", "-n", "/"], &jump).await?.ended(0);
    let by_variable = there.operator.file("by_variable", &ran.stdout)?;
    assert!(proxy_of(&by_variable, hop)?.contains(" --via direct "));
    let unaware = there.operator.run(&["ssh-config", "-n", "/"]).await?.ended(0).stdout;
    let written = whole(&there, &unaware)?;
    for id in [&other, hop] {
        assert_eq!(ssh(&there, &written, &[id, "id", "-un"], &jump).await?.ended(0).stdout, format!("{ADMIN}\n"));
    }

    // Addresses as they are.
    let ran = there.operator.run(&["ssh-config", "-n", "/", "--addresses", "--jump", hop]).await?.ended(0);
    assert_eq!(ran.stdout.matches("ProxyJump").count(), 1, "{}", ran.stdout);

    // Written by hand so that it would go round, it ends, and says why.
    let round = unaware.replace(" proxy ", &format!(" proxy --jump {hop} "));
    let written = whole(&there, &round)?;
    std::fs::remove_dir_all(there.operator.path(".local/state/fleetkey"))?;
    for id in [&other, hop] {
        let ran = ssh(&there, &written, &[id, "true"], &[]).await?.ended(255);
        let said = format!("error: box {hop} is on the way to itself: {hop} leads to it");
        assert!(ran.stderr.contains(&said) && ran.stderr.contains("hint: name another machine"), "{}", ran.stderr);
    }
    Ok(())
}
