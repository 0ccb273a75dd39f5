//! What zsh and fish complete: real ones, with the scripts that `fleetkey completions` prints.

use anyhow::{Context as _, Result};
use fleetkey_tests::program;

use super::boxes::launch_box;
use super::fleetkey::Operator;

/// A zsh at a terminal of its own, in which the argument is typed and the tab key pressed; prints the line that is there
/// then. What the terminal shows has to be read meanwhile.
const ZSH: &str = r#"
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'autoload -Uz compinit && compinit -u -D; source <(fleetkey completions zsh)'
zpty -w shell 'told() { print -r -- $BUFFER >$HOME/line }; zle -N told; bindkey "^X" told'
zpty -w -n shell "$1"$'\t\C-x'
for try in {1..600}; do
  [[ -s $HOME/line ]] && break
  zpty -r -t shell shown || sleep 0.1
done
zpty -d shell
cat $HOME/line
"#;

/// Prints what the argument can be completed to, each line with what it means.
const FISH: &str = "fleetkey completions fish | source; complete --do-complete $argv[1]";

/// What a shell prints, in the operator's environment.
async fn shell(operator: &Operator, words: &[&str]) -> Result<String> {
    let folder = program("fleetkey").parent().context("the program is in a folder")?.to_owned();
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let run = operator.command(&[], &[("FLEETKEY_ZONE", "us-west-2a"), ("PATH", &path), ("TERM", "dumb")]);
    let mut command = tokio::process::Command::new(words[0]);
    let variables = run.as_std().get_envs().filter_map(|(name, value)| Some((name, value?)));
    command.env_clear().envs(variables).args(&words[1..]).kill_on_drop(true);
    let output = command.output().await.with_context(|| format!("{} is installed by make deps", words[0]))?;
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test]
async fn zsh_and_fish_complete_names_of_boxes_too() -> Result<()> {
    let operator = Operator::new("alice").await?;
    launch_box(&operator.cloud, "prod_web").await?;
    launch_box(&operator.cloud, "prod_worker").await?;
    operator.verb("/prod/", &["list"]).await?.ended(0);
    let typed = "fleetkey ssh --namespace /prod/ we";
    assert_eq!(shell(&operator, &["zsh", "-f", "-c", ZSH, "zsh", typed]).await?, format!("{typed}b \n"));
    let offered = shell(&operator, &["fish", "--no-config", "-c", FISH, "fleetkey ssh --namespace /prod/ w"]).await?;
    let offered: Vec<_> = offered.lines().filter_map(|line| line.split('\t').next()).collect();
    assert_eq!(offered, ["web", "worker"]);
    Ok(())
}
