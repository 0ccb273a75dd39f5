//! Boxes from images: which one is taken, and what it brings along.

use anyhow::{Context as _, Result};
use aws_sdk_ec2::types::Tag;

use super::ground::{Ground, printed, tags, take_image};

/// An image of a box of /team/web, with these tags.
async fn taken(ground: &Ground, day: u32, more: &[(&str, &str)]) -> Result<String> {
    let name = format!("team_web__2026-11-{day:02}__04-05-06");
    let id = take_image(ground.cloud(), &name, "x86_64").await?;
    let tags = more.iter().map(|(key, value)| Tag::builder().key(*key).value(*value).build()).collect();
    if !more.is_empty() {
        ground.cloud().ec2().create_tags().resources(&id).set_tags(Some(tags)).send().await?;
    }
    Ok(id)
}

#[tokio::test]
async fn recreate_takes_the_newest_image_of_the_role_or_the_one_that_is_named() -> Result<()> {
    let ground = Ground::new().await?;
    let said = ground.run("recreate", &["--quick"]).await?.ended(1).stderr;
    assert!(said.contains("error: there is no image of /team/web"), "{said}");
    let (newer, older) = (taken(&ground, 12, &[("generation", "2")]).await?, taken(&ground, 11, &[]).await?);
    for (choice, image, generation) in [
        (&[][..], &newer, 2),
        (&["--image", "-1"], &newer, 2),
        (&["-i", "0"], &older, 0),
        (&["-i", older.as_str()], &older, 0),
    ] {
        let ran = ground.run("recreate", &[choice, &["--quick", "--output", "json"]].concat()).await?.ended(0);
        let made = printed(&ran)?;
        assert_eq!(made["image"], image.as_str(), "{choice:?}");
        assert_eq!(made["generation"], generation, "{choice:?}");
    }
    for (choice, code, error) in [
        ("2", 1, "no image of /team/web has ordinal 2"),
        ("ami-0123456789abcdef0", 1, "ami-0123456789abcdef0 is no image of /team/web of yours"),
        ("ami-0123", 2, "give an ordinal or an id; an image id is ami- and 8 or 17 hexadecimal digits"),
    ] {
        let said = ground.run("recreate", &["--quick", "--image", choice]).await?.ended(code).stderr;
        assert!(said.contains(error), "{choice}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn an_image_brings_the_options_of_the_box_along_and_the_command_line_counts_before_them() -> Result<()> {
    let ground = Ground::new().await?;
    ground.role(
        "web",
        "instance_type: t3.small
options:
  size: {type: string, help: how large, default: small}
  color: {type: string, help: which}
",
    )?;
    taken(
        &ground,
        11,
        &[("generation", "1"), ("size", "large"), ("color", "red"), ("Name", "team_web"), ("other", "x")],
    )
    .await?;
    ground.run("recreate", &["--quick", "-O", "color=blue"]).await?.ended(0);
    let found = ground.instances().await?;
    let has = tags(found[0].tags());
    assert_eq!((has["size"], has["color"], has["generation"]), ("large", "blue", "1"));
    assert!(!has.contains_key("other"));
    Ok(())
}

#[tokio::test]
async fn a_recreated_box_does_not_run_the_roles_own_setup_again() -> Result<()> {
    let ground = Ground::new().await?;
    ground.role("web", "instance_type: t3.small\ncloud_config:\n  runcmd:\n    - [touch, /set-up]\n")?;
    taken(&ground, 11, &[("generation", "1")]).await?;
    ground.create(&["--upgrade"]).await?;
    ground.run("recreate", &["--quick"]).await?.ended(0);
    let found = ground.instances().await?;
    let mut texts = Vec::new();
    for instance in &found {
        let call = ground.cloud().ec2().describe_instance_attribute().attribute("userData".into());
        let answer = call.instance_id(instance.instance_id().context("an id")?).send().await?;
        let encoded = answer.user_data.and_then(|data| data.value).context("it has user-data")?;
        texts.push(String::from_utf8(base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded)?)?);
    }
    assert!(texts[0].contains("/set-up") && texts[0].contains("package_upgrade: true"), "{}", texts[0]);
    assert!(!texts[1].contains("/set-up") && !texts[1].contains("package_upgrade"), "{}", texts[1]);
    Ok(())
}

#[tokio::test]
async fn fault_10_create_takes_any_image_by_an_id_of_either_length() -> Result<()> {
    let ground = Ground::new().await?;
    let arm = take_image(ground.cloud(), "mine", "arm64").await?;
    let made = ground.create(&["--image", &arm.to_uppercase().replace("AMI-", "ami-")]).await?;
    // The role's type does not run it, so that a small one that does is picked.
    assert_eq!((&made["image"], made["type"].as_str()), (&arm.as_str().into(), Some("t4g.small")));
    for (image, code, error) in [
        ("ami-12345678", 1, "there is no image ami-12345678 in us-west-2, or none that you may use"),
        ("ami-0123456789abcdef0", 1, "there is no image ami-0123456789abcdef0 in us-west-2, or none that you may use"),
        ("ami-123456789", 2, "an image id is ami- and 8 or 17 hexadecimal digits"),
    ] {
        let said = ground.run("create", &["--quick", "--image", image]).await?.ended(code).stderr;
        assert!(said.contains(error), "{image}: {said}");
    }
    let said = ground.run("create", &["--image", &arm, "--instance-type", "t3.small"]).await?.ended(2).stderr;
    assert!(said.contains("error: instance type t3.small runs x86_64, and the image is for arm64"), "{said}");
    let said = ground.run("create", &["--image", &arm, "--arch", "x86_64"]).await?.ended(2).stderr;
    assert!(said.contains(&format!("error: image {arm} is for arm64")), "{said}");
    Ok(())
}
