//! Boxes that power themselves off: what the agent, EC2 and people are told at the launch.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ground::{Ground, printed, tags};

/// A role with the agent.
const LAB: &str = "package: deb
admin_account: admin
instance_type: t3.small
base_images:
  x86_64: {owner: amazon, name: 'al2023-ami-2023*-x86_64'}
";

async fn ground() -> Result<Ground> {
    let ground = Ground::new().await?;
    ground.publish("deb").await?;
    ground.operator.file("roles/plain.yaml", LAB)?;
    let autostop = "autostop: {after: 8h, action: terminate, max_load: 1.5, max_stay: 2days}\n";
    ground.operator.file("roles/lab.yaml", &format!("{LAB}{autostop}"))?;
    Ok(ground)
}

/// What became of a launch: the part of `agent.toml` in the user-data, what EC2 does at a shutdown from within, the tag.
async fn launched(ground: &Ground, more: &[&str]) -> Result<(String, String, Option<String>)> {
    let made = ground.create(more).await?;
    let id = made["id"].as_str().context("an id")?;
    let attribute = async |name: &str| {
        ground.cloud().ec2().describe_instance_attribute().instance_id(id).attribute(name.into()).send().await
    };
    let behaviour = attribute("instanceInitiatedShutdownBehavior").await?;
    let behaviour = behaviour.instance_initiated_shutdown_behavior().and_then(|value| value.value());
    let user_data = attribute("userData").await?;
    let user_data = STANDARD.decode(user_data.user_data().and_then(|value| value.value()).context("user-data")?)?;
    let user_data = String::from_utf8(user_data)?;
    let section = user_data.lines().map(str::trim).skip_while(|line| *line != "[autostop]");
    let section: Vec<_> = section.take_while(|line| !line.is_empty() && !line.starts_with('-')).collect();
    let instances = ground.instances().await?;
    let found = instances.iter().find(|one| one.instance_id() == Some(id)).context("it is there")?;
    let tag = tags(found.tags()).get("fleetkey:autostop").map(|&tag| tag.to_owned());
    Ok((section.join("\n"), behaviour.context("a behaviour")?.to_owned(), tag))
}

#[tokio::test]
async fn role_and_flags_reach_the_agent_and_ec2_and_the_tag() -> Result<()> {
    let ground = ground().await?;
    let found = |section: &str, behaviour: &str, tag: Option<&str>| {
        (section.to_owned(), behaviour.to_owned(), tag.map(str::to_owned))
    };
    assert_eq!(launched(&ground, &["plain"]).await?, found("", "stop", None));
    assert_eq!(
        launched(&ground, &["plain", "--autostop", "90m"]).await?,
        found("[autostop]\nafter = \"1h 30m\"\naction = \"stop\"", "stop", Some("stop after 1h 30m"))
    );
    let role = "[autostop]\nafter = \"8h\"\naction = \"terminate\"\nmax_load = \"1.5\"\nmax_stay = \"2days\"";
    assert_eq!(launched(&ground, &["lab"]).await?, found(role, "terminate", Some("terminate after 8h")));
    let over = ["lab", "--autostop", "2h", "--autostop-action", "stop"];
    let both = "[autostop]\nafter = \"2h\"\naction = \"stop\"\nmax_load = \"1.5\"\nmax_stay = \"2days\"";
    assert_eq!(launched(&ground, &over).await?, found(both, "stop", Some("stop after 2h")));
    assert_eq!(launched(&ground, &["lab", "--no-autostop"]).await?, found("", "stop", None));
    assert_eq!(launched(&ground, &["lab", "--no-agent"]).await?, found("", "stop", None));
    Ok(())
}

#[tokio::test]
async fn a_dry_run_and_the_role_say_it_too() -> Result<()> {
    let ground = ground().await?;
    let planned = printed(&ground.run("create", &["lab", "--dry-run", "--output", "json"]).await?.ended(0))?;
    assert_eq!(planned["launch"]["autostop"], "terminate after 8h");
    let shown = ground.run("create", &["plain", "--autostop", "2h", "--dry-run"]).await?.ended(0).stdout;
    assert!(shown.contains(", stop after 2h in us-west-2a"), "{shown}");
    // On the spot market it cannot be stopped, which is said.
    let spot = ["plain", "--spot", "--autostop", "2h", "--dry-run", "--output", "json"];
    let ran = ground.run("create", &spot).await?.ended(0);
    assert_eq!(printed(&ran)?["launch"]["autostop"], "terminate after 2h");
    assert!(ran.stderr.contains("the box is terminated when nobody uses it"), "{}", ran.stderr);
    assert!(ground.is_bare().await?);
    Ok(())
}

#[tokio::test]
async fn bad_input_is_refused_before_anything_is_made() -> Result<()> {
    let ground = ground().await?;
    for (name, field) in
        [("none", "{action: stop}"), ("odd", "{after: 5s, action: sleep, max_load: -1, max_stay: 1y, x: 1}")]
    {
        ground.operator.file(&format!("roles/{name}.yaml"), &format!("{LAB}autostop: {field}\n"))?;
    }
    for (more, code, error) in [
        (&["plain", "--autostop", "30s"][..], 2, "\"30s\" is out of range; give 1m to 30days"),
        (&["plain", "--autostop", "60days"], 2, "\"60days\" is out of range; give 1m to 30days"),
        (&["plain", "--autostop", "soon"], 2, "\"soon\" is no time such as 45m or 2h"),
        (&["plain", "--autostop", "2h", "--autostop-action", "sleep"], 2, "give stop, terminate"),
        (&["plain", "--autostop-action", "stop"], 2, "error: --autostop-action says what, and nothing says when"),
        (&["plain", "--autostop", "2h", "--no-autostop"], 2, "cannot be used with"),
        (
            &["plain", "--spot", "--autostop", "2h", "--autostop-action", "stop"],
            2,
            "error: --autostop-action stop: a spot instance that was asked for once cannot be stopped",
        ),
        (&["lab", "--autostop", "2h", "--no-agent"], 2, "error: a box without the agent does not power itself off"),
        (&["web", "--autostop", "2h"], 2, "error: a box without the agent does not power itself off"),
        (&["none"], 1, "autostop.after is missing; say after how long, such as 2h, or autostop: null"),
        (&["odd"], 1, "autostop.after: \"5s\" is out of range; give 1m to 30days"),
        (&["odd"], 1, "autostop.action: \"sleep\" is not what becomes of a box; give stop, terminate"),
        (&["odd"], 1, "autostop.max_load is a load such as 0.5, of 0 to 10000"),
        (&["odd"], 1, "unknown field \"x\" in autostop"),
    ] {
        let ran = ground.run("create", more).await?;
        assert!(ran.code == Some(code) && ran.stderr.contains(error), "{more:?}: {:?} {}", ran.code, ran.stderr);
    }
    assert!(ground.is_bare().await?);
    Ok(())
}
