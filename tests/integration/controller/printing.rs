//! How much is said, and in which colours: `-q`, `-v` and `NO_COLOR`.

use std::process::Stdio;

use anyhow::Result;
use fleetkey_tests::program;
use tokio::process::Command;

use super::boxes::launch_box;
use super::fleetkey::Operator;

/// What a command says on a terminal, with these variables.
async fn on_a_terminal(operator: &Operator, words: &str, variables: &[(&str, &str)]) -> Result<String> {
    let run = operator.command(&[], &[&[("FLEETKEY_ZONE", "us-west-2a"), ("TERM", "xterm")], variables].concat());
    let line = format!("{} {words}", program("fleetkey").display());
    let variables = run.as_std().get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &line, "/dev/null"]).env_clear().envs(variables).kill_on_drop(true);
    let output = terminal.stdin(Stdio::null()).output().await?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn nothing_is_coloured_where_no_color_is_set_and_labels_are_on_a_terminal() -> Result<()> {
    let operator = Operator::new("alice").await?;
    for words in ["show web -n /", "show", "--help", "list -n /", "nonsense"] {
        let plain = on_a_terminal(&operator, words, &[("NO_COLOR", "1")]).await?;
        assert!(!plain.is_empty() && !plain.contains('\x1b'), "{words}: {plain:?}");
    }
    let coloured = on_a_terminal(&operator, "show web -n /", &[]).await?;
    assert!(coloured.contains("\x1b[31;1merror\x1b[0m: there is no box /web"), "{coloured:?}");
    Ok(())
}

#[tokio::test]
async fn quiet_leaves_warnings_and_errors_and_verbose_adds_what_was_looked_at() -> Result<()> {
    let operator = Operator::new("alice").await?;
    launch_box(&operator.cloud, "web").await?;
    for arguments in [
        &["list", "none"][..],
        &["start", "web"],
        &["stop", "web"],
        &["stop", "web", "--dry-run"],
        &["image", "web"],
        &["list-images", "none"],
        &["delete-image", "web", "-y"],
        &["terminate", "web", "-y"],
        &["agent", "list"],
        &["config", "show"],
        &["config", "check"],
    ] {
        let quiet = operator.verb("/", &[arguments, &["-q"]].concat()).await?.ended(0);
        assert_eq!(quiet.stderr, "", "{arguments:?}");
    }
    let refused = operator.verb("/", &["show", "none", "-q"]).await?.ended(1);
    assert!(refused.stderr.starts_with("error: there is no box /none\n"), "{}", refused.stderr);
    let verbose = operator.verb("/", &["list", "-v"]).await?.ended(0);
    assert!(verbose.stderr.starts_with("namespace / in us-west-2\n"), "{}", verbose.stderr);
    Ok(())
}
