//! `fleetkey reset-security` and `update-instance-profile`: what is there becomes what the role says, for boxes that run.

use anyhow::{Context as _, Result};
use fleetkey_tests::proxy::{Fault, count};
use serde_json::Value;

use super::super::permissions::{Limited, allow, called_for, tells_of};
use super::ground::{Ground, PROFILE, WEB, printed};

/// The role with another rule and another policy.
fn changed() -> String {
    WEB.replace("ports: 8000-8010", "ports: 9000").replace("queue:", "other:")
}

/// The steps of a run as `action what result`.
fn steps(shown: &Value) -> Result<Vec<String>> {
    let steps = shown["steps"].as_array().context("there are steps")?;
    let text = |step: &Value, field: &str| step[field].as_str().unwrap_or_default().to_owned();
    Ok(steps.iter().map(|step| ["action", "what", "result"].map(|field| text(step, field)).join(" ")).collect())
}

async fn rules(ground: &Ground) -> Result<usize> {
    let groups = ground.groups("team_web").await?;
    Ok(groups[0].ip_permissions().iter().map(|permission| permission.ip_ranges().len()).sum())
}

#[tokio::test]
async fn fault_12_rules_are_added_and_removed_in_every_network_where_the_role_has_a_group() -> Result<()> {
    let ground = Ground::new().await?;
    ground.create(&[]).await?;
    let ec2 = ground.cloud().ec2();
    let other = ec2.create_vpc().cidr_block("10.9.0.0/16").send().await?;
    let other = other.vpc().and_then(|vpc| vpc.vpc_id()).context("it has an id")?.to_owned();
    let made = ec2.create_security_group().vpc_id(&other).group_name("team_web").description("test").send().await?;
    let made = made.group_id().context("it has an id")?;
    let ran = ground.run("reset-security", &["--yes"]).await?.ended(1);
    assert!(
        ran.stderr.contains(&format!("a security group team_web ({made}) that Fleetkey did not make")),
        "{}",
        ran.stderr
    );
    let tag = aws_sdk_ec2::types::Tag::builder().key("fleetkey:box").value("/team/web").build();
    ec2.create_tags().resources(made).tags(tag).send().await?;

    ground.role("web", &changed())?;
    ground.proxy.take_calls();
    let dry = printed(&ground.run("reset-security", &["--dry-run", "--output", "json"]).await?.ended(0))?;
    assert_eq!(dry["groups"].as_array().map(Vec::len), Some(2));
    let mut planned = steps(&dry)?;
    planned.sort();
    assert_eq!(
        planned,
        [
            "allow tcp 22 from 0.0.0.0/0 planned",
            "allow tcp 9000 from 10.0.0.0/8 planned",
            "allow tcp 9000 from 10.0.0.0/8 planned",
            "revoke tcp 8000-8010 from 10.0.0.0/8 planned",
        ]
    );
    let ran = ground.run("reset-security", &[]).await?.ended(2);
    assert!(ran.stderr.contains("removing rules asks first, and there is no terminal to ask on"), "{}", ran.stderr);
    let calls = count(&ground.proxy.take_calls());
    assert!(!calls.keys().any(|call| call.contains("SecurityGroupIngress")), "{calls:?}");

    // In the one network nothing is taken away, so that nobody is asked.
    let one = ground.run("reset-security", &["--vpc", &other, "--output", "json"]).await?.ended(0);
    assert_eq!(steps(&printed(&one)?)?.len(), 2);
    let done = ground.run("reset-security", &["--yes", "--output", "json"]).await?.ended(0);
    assert_eq!(
        steps(&printed(&done)?)?,
        ["allow tcp 9000 from 10.0.0.0/8 done", "revoke tcp 8000-8010 from 10.0.0.0/8 done"]
    );
    assert_eq!(rules(&ground).await?, 2);
    let again = ground.run("reset-security", &[]).await?.ended(0);
    assert!(again.stderr.contains("the security group of /team/web is as the role says"), "{}", again.stderr);
    Ok(())
}

#[tokio::test]
async fn no_rule_is_removed_after_one_that_could_not_be_added() -> Result<()> {
    let ground = Ground::new().await?;
    ground.create(&[]).await?;
    ground.role("web", &changed())?;
    ground.proxy.spoil("ec2:AuthorizeSecurityGroupIngress", Fault::Refuse("RulesPerSecurityGroupLimitExceeded", "no"));
    let ran = ground.run("reset-security", &["--yes", "--output", "json"]).await?.ended(1);
    assert_eq!(
        steps(&printed(&ran)?)?,
        ["allow tcp 9000 from 10.0.0.0/8 failed", "revoke tcp 8000-8010 from 10.0.0.0/8 not-tried"]
    );
    assert!(ran.stderr.contains("RulesPerSecurityGroupLimitExceeded"), "{}", ran.stderr);
    assert_eq!(rules(&ground).await?, 2);
    Ok(())
}

#[tokio::test]
async fn policies_of_boxes_that_run_become_those_of_the_role() -> Result<()> {
    let ground = Ground::new().await?;
    ground.create(&[]).await?;
    ground.role("web", &changed())?;
    let dry = ground.run("update-instance-profile", &["--dry-run", "--output", "json"]).await?.ended(0);
    let planned =
        [format!("put policy other of IAM role {PROFILE}"), format!("delete policy queue of IAM role {PROFILE}")];
    assert_eq!(steps(&printed(&dry)?)?, planned.clone().map(|step| format!("{step} planned")));
    let ran = ground.run("update-instance-profile", &[]).await?.ended(2);
    assert!(ran.stderr.contains("taking policies away asks first"), "{}", ran.stderr);
    assert_eq!(ground.policies(PROFILE).await?, Some(vec!["queue".to_owned()]));
    let done = ground.run("update-instance-profile", &["--yes", "--output", "json"]).await?.ended(0);
    assert_eq!(steps(&printed(&done)?)?, planned.map(|step| format!("{step} done")));
    assert_eq!(ground.policies(PROFILE).await?, Some(vec!["other".to_owned()]));
    let again = ground.run("update-instance-profile", &[]).await?.ended(0);
    assert!(again.stderr.contains(&format!("instance profile {PROFILE} is as the role says")), "{}", again.stderr);
    Ok(())
}

#[tokio::test]
async fn a_managed_policy_that_somebody_attached_is_told_of_and_taken_away_when_asked_for() -> Result<()> {
    let ground = Ground::new().await?;
    ground.create(&[]).await?;
    let iam = ground.cloud().iam();
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    let arn = iam.create_policy().policy_name("everything").policy_document(policy).send().await?;
    let arn = arn.policy.and_then(|policy| policy.arn).context("it has an ARN")?;
    iam.attach_role_policy().role_name(PROFILE).policy_arn(&arn).send().await?;
    let told = ground.run("update-instance-profile", &["--yes", "--output", "json"]).await?.ended(0);
    assert!(
        told.stderr.contains(&format!("warning: somebody attached {arn} to IAM role {PROFILE}")),
        "{}",
        told.stderr
    );
    assert!(told.stderr.contains("hint: --detach takes such policies away"), "{}", told.stderr);
    let shown = printed(&told)?;
    assert_eq!((&shown["attached"], &shown["steps"]), (&serde_json::json!([arn]), &serde_json::json!([])));
    let done = ground.run("update-instance-profile", &["--yes", "--detach", "--output", "json"]).await?.ended(0);
    assert_eq!(steps(&printed(&done)?)?, [format!("detach policy {arn} from IAM role {PROFILE} done")]);
    assert!(iam.list_attached_role_policies().role_name(PROFILE).send().await?.attached_policies().is_empty());
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_refused_and_not_made() -> Result<()> {
    let ground = Ground::new().await?;
    for (verb, more, said) in [
        ("reset-security", &[][..], "error: there is no security group of /team/web in us-west-2\n"),
        ("update-instance-profile", &[], "error: there is no instance profile of /team/web in us-west-2\n"),
        ("reset-security", &["nothing"], "nothing"),
        ("update-instance-profile", &["Web"], "Web"),
        ("reset-security", &["--vpc", "vpc-1"], "a VPC's id is vpc- and 8 or 17 hexadecimal digits"),
        ("reset-security", &["generic"], "generic"),
    ] {
        let ran = ground.run(verb, more).await?;
        assert!(ran.code.is_some_and(|found| found != 0), "{verb} {more:?}");
        assert!(ran.stderr.contains(said), "{verb} {more:?}: {}", ran.stderr);
    }
    assert!(ground.is_bare().await?);
    Ok(())
}

#[tokio::test]
async fn both_need_every_permission_of_their_policy_and_no_other() -> Result<()> {
    let Limited { operator, policy, proxy, moto } = Limited::new("controller-role-changes", &[]).await?;
    let ground = Ground { operator, proxy };
    let cloud = ground.cloud();
    moto.enforce_iam(u32::MAX)?;
    ground.prepare().await?;
    let iam = cloud.iam();
    // As `create` leaves them, and what somebody did to them by hand.
    let put = iam.put_user_policy().user_name("alice").policy_name("all");
    let all = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    put.policy_document(all).send().await?;
    ground.create(&[]).await?;
    let arn = iam.create_policy().policy_name("everything").policy_document(all).send().await?;
    let arn = arn.policy.and_then(|policy| policy.arn).context("it has an ARN")?;
    iam.attach_role_policy().role_name(PROFILE).policy_arn(&arn).send().await?;
    iam.remove_role_from_instance_profile().instance_profile_name(PROFILE).role_name(PROFILE).send().await?;
    iam.add_role_to_instance_profile().instance_profile_name(PROFILE).role_name("fleetkey-tests").send().await?;
    iam.delete_user_policy().user_name("alice").policy_name("all").send().await?;
    ground.role("web", &changed())?;
    moto.enforce_iam(0)?;
    ground.proxy.take_calls();
    for (verb, more, needed) in [
        (
            "reset-security",
            &["--yes"][..],
            &["ec2:DescribeSecurityGroups", "ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"][..],
        ),
        (
            "update-instance-profile",
            &["--yes", "--detach"],
            &[
                "iam:GetRole",
                "iam:GetInstanceProfile",
                "iam:ListRolePolicies",
                "iam:GetRolePolicy",
                "iam:ListAttachedRolePolicies",
                "iam:PutRolePolicy",
                "iam:DeleteRolePolicy",
                "iam:RemoveRoleFromInstanceProfile",
                "iam:AddRoleToInstanceProfile",
                "iam:DetachRolePolicy",
            ],
        ),
    ] {
        for action in needed {
            allow(cloud, &policy, Some(action)).await?;
            let ran = ground.run(verb, more).await?.ended(1);
            assert!(tells_of(&ran.stderr, action), "{verb} {action}: {}", ran.stderr);
        }
        allow(cloud, &policy, None).await?;
        ground.run(verb, more).await?.ended(0);
    }
    // A role that somebody deleted, then a profile.
    for action in ["iam:CreateRole", "iam:CreateInstanceProfile"] {
        moto.enforce_iam(u32::MAX)?;
        iam.remove_role_from_instance_profile().instance_profile_name(PROFILE).role_name(PROFILE).send().await?;
        if action == "iam:CreateRole" {
            iam.delete_role_policy().role_name(PROFILE).policy_name("other").send().await?;
            iam.delete_role().role_name(PROFILE).send().await?;
        } else {
            iam.delete_instance_profile().instance_profile_name(PROFILE).send().await?;
        }
        moto.enforce_iam(0)?;
        allow(cloud, &policy, Some(action)).await?;
        let ran = ground.run("update-instance-profile", &["--yes"]).await?.ended(1);
        assert!(tells_of(&ran.stderr, action), "{action}: {}", ran.stderr);
        allow(cloud, &policy, None).await?;
        ground.run("update-instance-profile", &["--yes"]).await?.ended(0);
    }
    let mut called = called_for(&ground.proxy);
    // moto's bucket is asked for as a permission of its own, AWS's by that to list it; handing a role over is no call.
    called.remove("s3:ListBucket");
    called.insert("iam:PassRole".to_owned());
    assert_eq!(called, policy.actions());
    Ok(())
}
