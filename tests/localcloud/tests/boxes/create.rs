//! From nothing to a login: by `fleetkey create`, and by cloud-init alone.

use anyhow::{Context as _, Result};
use aws_sdk_ec2::types::{IamInstanceProfileSpecification, InstanceType, ResourceType, Tag, TagSpecification};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetkey_localcloud::CloudBox;
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::in_box::InBox as _;

use crate::operator::{Operator, ROLE};
use crate::world::{UNIT, shipped, wait_in_step};

/// Prints the agent's configuration as user-data has it. Python's YAML is cloud-init's own reader of it.
const RENDERED: &str = "import sys, yaml\n\
    files = yaml.safe_load(sys.stdin)['write_files']\n\
    print(next(file['content'] for file in files if file['path'] == '/etc/fleetkey/agent.toml'), end='')";

/// The agent's configuration as user-data has it, read in the box.
fn rendered_configuration(booted: &CloudBox) -> String {
    booted.sh(&format!("python3 -c \"{RENDERED}\" </var/lib/cloud/instance/user-data.txt"))
}

#[tokio::test]
async fn a_box_is_created_and_its_creator_logs_in_with_a_host_key_that_was_verified() -> Result<()> {
    let alice = Operator::new("create-alice", "/create/").await?;
    let booted = alice.create(&[]).await?;

    let ran = alice.ssh(&["id", "-un"])?.ended(0);
    assert_eq!(ran.stdout.trim(), "admin");
    // The host keys that ssh held the box to are the box's own.
    let host_key = booted.sh("cut -d' ' -f2 /etc/ssh/ssh_host_ed25519_key.pub");
    let kept = walk(alice.home())?;
    assert!(kept.iter().any(|text| text.contains(&host_key)), "{host_key} is not kept below the home");

    wait_in_step(&booted);
    assert_eq!(booted.property(UNIT, "NRestarts"), "0");
    assert_eq!(booted.sh("cat /etc/fleetkey/agent.toml"), rendered_configuration(&booted).trim_end());
    assert_eq!(booted.sh("cloud-init status"), "status: done");
    assert_eq!(booted.sh("systemctl list-units --failed --plain --no-legend"), "");
    Ok(())
}

#[tokio::test]
async fn what_role_render_prints_brings_a_box_up_with_no_controller_at_hand() -> Result<()> {
    let alice = Operator::new("render-alice", "/render/").await?;
    let package = alice.run(&["agent", "url", "--format", "deb", "--output", "json"])?.ended(0).stdout;
    let package: serde_json::Value = serde_json::from_str(&package)?;
    let (url, sha256) = (package["url"].as_str().unwrap(), package["sha256"].as_str().unwrap());
    let bucket = alice.account.bucket();
    let agent = ["--agent-url", url, "--agent-sha256", sha256, "--bucket", &bucket];
    let rendered = alice.run(&[&["role", "render", ROLE, "--keypairs", "render-alice"][..], &agent].concat())?;
    let user_data = rendered.ended(0).stdout;
    assert!(user_data.starts_with("#cloud-config\n"), "{user_data}");
    let profile = make_profile(&alice, "render").await?;

    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
    // What `fleetkey ssh` finds it by.
    let tags = TagSpecification::builder().resource_type(ResourceType::Instance);
    let tags = tags.tags(tag("Name", &format!("render_{ROLE}"))).tags(tag("generation", "0")).build();
    let launched = alice.account.ec2().run_instances().image_id(alice.world.cloud.image_id());
    let launched = launched.instance_type(InstanceType::T3Micro).min_count(1).max_count(1).tag_specifications(tags);
    let profile = IamInstanceProfileSpecification::builder().name(profile).build();
    let launched = launched.iam_instance_profile(profile).user_data(STANDARD.encode(&user_data)).send().await?;
    let id = launched.instances().first().and_then(|one| one.instance_id()).context("there is an instance")?;

    let booted = alice.world.wait_for_box(id)?;
    booted.wait_for_cloud_init();
    wait_in_step(&booted);
    assert!(alice.gets_in()?, "{}", booted.console());
    assert_eq!(booted.sh("cat /etc/fleetkey/agent.toml"), rendered_configuration(&booted).trim_end());
    Ok(())
}

/// The words of the shipped policies that do not depend on the account.
const WORDS: [(&str, &str); 3] = [("PARTITION", "aws"), ("REGION", Cloud::REGION), ("TOPIC", Cloud::TOPIC)];

/// Makes the instance profile that the agent needs by hand, from the policies that are shipped.
async fn make_profile(alice: &Operator, name: &str) -> Result<String> {
    let iam = alice.account.iam();
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole",
        "Principal":{"Service":"ec2.amazonaws.com"}}]}"#;
    iam.create_role().role_name(name).assume_role_policy_document(trust).send().await?;
    for policy in ["agent-source-iam", "agent-registry-s3", "agent-registry-ec2", "agent-push", "agent-report"] {
        let document = shipped(&format!("packaging/iam/{policy}.json"))?;
        let document = WORDS.iter().fold(document, |text, (word, by)| text.replace(word, by));
        let document = document.replace("ACCOUNT_ID", alice.account.account_id());
        let document = document.replace("BUCKET", &alice.account.bucket());
        let put = iam.put_role_policy().role_name(name).policy_name(policy);
        put.policy_document(document).send().await?;
    }
    iam.create_instance_profile().instance_profile_name(name).send().await?;
    iam.add_role_to_instance_profile().instance_profile_name(name).role_name(name).send().await?;
    Ok(name.to_owned())
}

/// The text of every file below a folder.
fn walk(folder: &std::path::Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            found.extend(walk(&entry.path())?);
        } else if kind.is_file() {
            found.push(String::from_utf8_lossy(&std::fs::read(entry.path())?).into_owned());
        }
    }
    Ok(found)
}

#[tokio::test]
async fn with_create_image_a_box_is_imaged_and_can_be_used_after_it() -> Result<()> {
    let alice = Operator::new("image-at-once", "/at-once/").await?;
    alice.create(&["--create-image"]).await?;
    assert!(alice.gets_in()?, "the box is up again after its image was taken");
    let images = alice.run(&["list-images", ROLE, "--output", "json"])?.ended(0).stdout;
    let images: serde_json::Value = serde_json::from_str(&images)?;
    let taken = images.as_array().or_else(|| images["images"].as_array()).context("images are a list")?;
    assert_eq!(taken.len(), 1, "{images}");
    assert_eq!((&taken[0]["state"], &taken[0]["generation"]), (&"available".into(), &1.into()), "{images}");
    alice.run(&["terminate", ROLE, "--yes"])?.ended(0);
    alice.run(&["delete-image", ROLE, "--yes"])?.ended(0);
    Ok(())
}

#[tokio::test]
async fn fault_16_somebody_whose_key_nobody_knows_is_told_so_before_anything_is_made() -> Result<()> {
    let carol = Operator::unregistered("nokey-carol", "/nokey/").await?;
    let ran = carol.run(&["create", ROLE])?;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("nokey-carol") && ran.stderr.contains("register-key"), "{}", ran.stderr);
    assert!(carol.launched().await?.is_empty());
    let groups = carol.account.ec2().describe_security_groups().send().await?;
    assert!(
        !groups.security_groups().iter().any(|group| group.group_name().is_some_and(|name| name.starts_with("nokey")))
    );
    Ok(())
}
