//! The command as a whole: its flags, what it asks, and what it changes.

use std::collections::BTreeSet;

use anyhow::Result;
use fleetkey_tests::proxy::count;

use super::ground::{Ground, json};

const HERE: &str = "us-west-2";

#[tokio::test]
async fn bad_input_is_refused_before_anything_is_asked_or_deleted() -> Result<()> {
    let ground = Ground::new().await?;
    for (flags, said) in [
        (&["--yes", "--only", "boxes"][..], "invalid value 'boxes' for '--only <KIND>...'"),
        (&["--yes", "--older-than", "soon"], "invalid value 'soon' for '--older-than <DURATION>'"),
        (&["--yes", "--skip-region", "x"], "--skip-region x: the account cannot use a region of that name"),
        (
            &["--yes", "--region", HERE, "--skip-region", HERE],
            "--skip-region leaves out us-west-2, which is to be swept",
        ),
        (&["--timeout", "0s"], "invalid value '0s' for '--timeout <DURATION>'"),
        (&[], "cleaning up asks first, and there is no terminal to ask on"),
    ] {
        let ran = ground.cleanup(flags).await?.ended(2);
        assert!(ran.stderr.contains(said), "{flags:?}: {}", ran.stderr);
    }
    let ran = ground.operator.run(&["cleanup", "--yes", "--namespace", "prod"]).await?.ended(2);
    assert!(ran.stderr.contains("namespace \"prod\" does not begin and end with a slash"), "{}", ran.stderr);
    Ok(())
}

#[tokio::test]
async fn a_dry_run_and_a_no_change_nothing_and_a_yes_does() -> Result<()> {
    let ground = Ground::new().await?;
    let id = ground.left_snapshot(HERE).await?;
    let words = ["cleanup", "--namespace", "/prod/", "--region", HERE, "--only", "snapshots", "--older-than", "0s"];
    let dry = ground.operator.run(&[&words[..], &["--dry-run"]].concat()).await?.ended(0);
    let header = "KIND       REGION     ID                      OF         SIZE   AGE  WHY";
    assert!(dry.stdout.starts_with(header), "{}", dry.stdout);
    assert!(dry.stdout.contains(&format!("snapshots  us-west-2  {id}  /prod/web  8 GiB  ")), "{}", dry.stdout);
    assert!(dry.stdout.ends_with("its image ami-00000001 is gone, and no other has it  planned\n"), "{}", dry.stdout);
    assert!(dry.stderr.contains("would go: 1 snapshots (8 GiB); 0 are in use or too young"), "{}", dry.stderr);
    let no = ground.operator.at_a_terminal(&words, "n\n").await?.ended(1);
    assert!(no.stdout.contains("Delete for good: 1 snapshots (8 GiB)? [y/N]"), "{}", no.stdout);
    assert!(no.stdout.contains("nothing was changed"), "{}", no.stdout);
    let calls = count(&ground.proxy.take_calls());
    let read = |call: &String| {
        let action = call.split(':').nth(1).unwrap_or_default();
        ["Describe", "List", "Get", "Head"].iter().any(|verb| action.starts_with(verb))
    };
    assert!(calls.keys().all(read), "{calls:?}");
    let yes = ground.operator.at_a_terminal(&words, "y\n").await?.ended(0);
    assert!(yes.stdout.contains("deleted: 1 snapshots (8 GiB)"), "{}", yes.stdout);
    let none = ground.operator.run(&[&words[..], &["--yes", "--output", "json"]].concat()).await?.ended(0);
    let shown = json(&none)?;
    assert_eq!(shown["namespace"], "/prod/");
    assert_eq!(shown["regions"], serde_json::json!([HERE]));
    assert_eq!((&shown["things"], &shown["failures"]), (&serde_json::json!([]), &serde_json::json!([])));
    assert!(none.stderr.contains("would go: nothing; "), "{}", none.stderr);
    Ok(())
}

#[tokio::test]
async fn without_a_flag_that_names_a_region_all_are_swept_and_nobody_is_asked_in_vain() -> Result<()> {
    let ground = Ground::new().await?;
    let regions = ground.cloud().ec2().describe_regions().send().await?.regions().len();
    ground.proxy.take_calls();
    let ran = ground.cleanup(&["--dry-run", "--output", "json"]).await?.ended(0);
    assert_eq!(json(&ran)?["regions"].as_array().map(Vec::len), Some(regions));
    let calls = ground.proxy.take_calls();
    let asked = |action: &str| {
        let of = calls.iter().filter(|call| call.action == action).map(|call| call.region.as_str());
        of.collect::<BTreeSet<_>>().len()
    };
    for listing in ["DescribeSnapshots", "DescribeVolumes", "DescribeSecurityGroups", "ListQueues", "ListSubscriptions"]
    {
        assert_eq!(asked(listing), regions, "{listing}");
    }
    // Nothing is there, so that nobody need be asked whether it is in use.
    for unneeded in ["DescribeImages", "DescribeInstances", "DescribeKeyPairs"] {
        assert_eq!(asked(unneeded), 0, "{unneeded}");
    }
    Ok(())
}
