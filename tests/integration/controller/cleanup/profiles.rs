//! Instance profiles and IAM roles in which somebody else has a part.

use anyhow::{Context as _, Result};
use aws_sdk_iam::types::Tag;

use super::ground::{Ground, stays, swept};

const HERE: &str = "us-west-2";
const OURS: &str = "/fleetkey/";
const THEIRS: &str = "/mine/";
const ONLY: [&str; 4] = ["--only", "profiles", "--region", HERE];

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const POLICY: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}"#;

/// An IAM role with a policy of its own.
async fn role(ground: &Ground, name: &str, path: &str) -> Result<()> {
    let iam = ground.cloud().iam();
    iam.create_role().role_name(name).path(path).assume_role_policy_document(TRUST).send().await?;
    iam.put_role_policy().role_name(name).policy_name("own").policy_document(POLICY).send().await?;
    Ok(())
}

/// An instance profile, and the role in it.
async fn profile(ground: &Ground, name: &str, path: &str, role: Option<&str>) -> Result<()> {
    let iam = ground.cloud().iam();
    iam.create_instance_profile().instance_profile_name(name).path(path).send().await?;
    if let Some(role) = role {
        iam.add_role_to_instance_profile().instance_profile_name(name).role_name(role).send().await?;
    }
    Ok(())
}

/// The inline policies of a role; an error for one that is gone.
async fn policies(ground: &Ground, role: &str) -> Result<Vec<String>> {
    let listed = ground.cloud().iam().list_role_policies().role_name(role).send().await;
    Ok(listed.with_context(|| format!("{role} is there"))?.policy_names)
}

#[tokio::test]
async fn the_half_of_a_pair_that_is_below_another_path_is_somebody_elses_and_stays() -> Result<()> {
    let ground = Ground::new().await?;
    role(&ground, "prod_a.us-west-2", OURS).await?;
    role(&ground, "theirs", THEIRS).await?;
    profile(&ground, "prod_a.us-west-2", THEIRS, Some("theirs")).await?;
    role(&ground, "prod_b.us-west-2", THEIRS).await?;
    profile(&ground, "prod_b.us-west-2", OURS, Some("prod_b.us-west-2")).await?;

    let gone = ground.sweep(&ONLY).await?;
    assert_eq!(gone, ["profiles prod_a.us-west-2 deleted", "profiles prod_b.us-west-2 deleted"]);
    let iam = ground.cloud().iam();
    let left = iam.get_instance_profile().instance_profile_name("prod_a.us-west-2").send().await?;
    let left = left.instance_profile.context("it is there")?;
    assert_eq!((left.path.as_str(), left.roles.len()), (THEIRS, 1));
    assert_eq!(policies(&ground, "prod_b.us-west-2").await?, ["own"]);
    assert!(policies(&ground, "prod_a.us-west-2").await.is_err());
    assert!(iam.get_instance_profile().instance_profile_name("prod_b.us-west-2").send().await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_role_that_another_profile_has_keeps_its_policies_and_its_profile() -> Result<()> {
    let ground = Ground::new().await?;
    for (name, other) in [("prod_web.us-west-2", "team-web"), ("prod_late.us-west-2", "team-late")] {
        role(&ground, name, OURS).await?;
        profile(&ground, name, OURS, Some(name)).await?;
        profile(&ground, other, THEIRS, None).await?;
    }
    let iam = ground.cloud().iam();
    let add = async |profile: &str, role: &str| -> Result<()> {
        iam.add_role_to_instance_profile().instance_profile_name(profile).role_name(role).send().await?;
        Ok(())
    };
    add("team-web", "prod_web.us-west-2").await?;

    let words = [&["cleanup", "--namespace", "/prod/", "--older-than", "0s"][..], &ONLY].concat();
    let late = async || add("team-late", "prod_late.us-west-2").await;
    let ran = ground.operator.asked(&words, "y\n", late).await?.ended(0);
    assert!(ran.stdout.contains("Delete for good: 1 profiles"), "{}", ran.stdout);
    let all = [&["--output", "json", "--older-than", "0s", "--dry-run", "-v"][..], &ONLY].concat();
    let ran = ground.cleanup(&all).await?.ended(0);
    assert_eq!(swept(&ran)?, Vec::<String>::new());
    assert_eq!(stays(&ran)["prod_web.us-west-2"], "the instance profile /mine/team-web has its IAM role");
    for name in ["prod_web.us-west-2", "prod_late.us-west-2"] {
        assert_eq!(policies(&ground, name).await?, ["own"]);
        iam.get_instance_profile().instance_profile_name(name).send().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_role_or_a_profile_that_is_marked_is_kept() -> Result<()> {
    let ground = Ground::new().await?;
    let iam = ground.cloud().iam();
    let keep = Tag::builder().key("fleetkey:keep").value("autoscaling").build()?;
    for name in ["prod_role.us-west-2", "prod_profile.us-west-2", "prod_web.us-west-2"] {
        role(&ground, name, OURS).await?;
        profile(&ground, name, OURS, Some(name)).await?;
    }
    iam.tag_role().role_name("prod_role.us-west-2").tags(keep.clone()).send().await?;
    iam.tag_instance_profile().instance_profile_name("prod_profile.us-west-2").tags(keep).send().await?;
    let all = [&["--output", "json", "--older-than", "0s", "--yes", "-v"][..], &ONLY].concat();
    let ran = ground.cleanup(&all).await?.ended(0);
    assert_eq!(swept(&ran)?, ["profiles prod_web.us-west-2 deleted"]);
    let why = stays(&ran);
    let kept = ["prod_role.us-west-2", "prod_profile.us-west-2"].map(|name| why[name].as_str());
    assert_eq!(kept, ["it carries the tag fleetkey:keep"; 2]);
    Ok(())
}
