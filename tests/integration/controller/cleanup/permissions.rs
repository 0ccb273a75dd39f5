//! The IAM policy that is shipped for those who clean up: enough, and each permission in it called for.

use anyhow::{Context as _, Result};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;

use super::super::permissions::{Limited, allow, called_for, tells_of};
use super::ground::{GONE, Ground};

const HERE: &str = "us-west-2";

/// A thing of each kind, as far as they are not there.
async fn litter(ground: &Ground, key: &TestKey) -> Result<()> {
    let cloud: &Cloud = ground.cloud();
    ground.left_snapshot(HERE).await?;
    ground.root_volume(HERE, &[("Name", "prod_web"), ("fleetkey:box", "/prod/web")]).await?;
    ground.group("prod_web", &[("fleetkey:box", "/prod/web")]).await?;
    ground.agents_queue(GONE).await?;
    let name = format!("ssh_pubkey:{}", TestKey::rsa()?.public().ec2_fingerprint());
    cloud.put_object(&name, TestKey::rsa()?.line(), &[]).await?;
    cloud.put_object("people/bob/laptop", key.line(), &[]).await?;
    ground.status(GONE).await?;
    let package = |digit: char| {
        let sha256 = digit.to_string().repeat(64);
        serde_json::json!({"key": format!("agent/{sha256}/a.deb"), "sha256": sha256, "version": "0.1.0",
            "format": "deb", "arch": "x86_64", "size": 4, "published_at": "2026-01-01T00:00:00Z", "published_by": "a"})
    };
    let index = serde_json::json!({"version": 1, "packages": [package('1'), package('2')]});
    cloud.put_object("agent/index.json", index.to_string(), &[]).await?;
    for digit in ['1', '2'] {
        cloud.put_object(&format!("agent/{}/a.deb", digit.to_string().repeat(64)), "deb", &[]).await?;
    }
    let (iam, profile) = (cloud.iam(), "prod_web.us-west-2");
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    let made = iam.create_role().role_name(profile).path("/fleetkey/").assume_role_policy_document(trust).send().await;
    made.context("the role")?;
    iam.create_instance_profile().instance_profile_name(profile).path("/fleetkey/").send().await?;
    iam.add_role_to_instance_profile().instance_profile_name(profile).role_name(profile).send().await?;
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    iam.put_role_policy().role_name(profile).policy_name("own").policy_document(policy).send().await?;
    let name = format!("managed-{}", fastrand::u32(..));
    let managed = iam.create_policy().policy_name(name).policy_document(policy).send().await?;
    let managed = managed.policy.and_then(|policy| policy.arn).context("it has an ARN")?;
    iam.attach_role_policy().role_name(profile).policy_arn(managed).send().await?;
    Ok(())
}

#[tokio::test]
async fn cleaning_up_needs_every_permission_of_its_policy_and_no_other() -> Result<()> {
    let Limited { operator, policy, proxy, moto } = Limited::new("controller-cleanup", &[]).await?;
    let ground = Ground { operator, proxy };
    // moto takes the signature of a request that has blanks in its body, as a key does, for a wrong one.
    moto.enforce_iam(u32::MAX)?;
    let key = TestKey::new("bob")?;
    litter(&ground, &key).await?;
    moto.enforce_iam(0)?;
    // moto has the regions of all partitions, and no credentials for those of others.
    let regions = ground.cloud().ec2().describe_regions().send().await?.regions.unwrap_or_default();
    let other =
        |name: &String| name.starts_with("cn-") || ["gov", "iso", "eusc"].iter().any(|part| name.contains(part));
    let others: Vec<_> = regions.into_iter().filter_map(|region| region.region_name).filter(other).collect();
    let skipped = others.iter().flat_map(|name| ["--skip-region", name.as_str()]);
    let all: Vec<_> = ["--yes", "--older-than", "0s", "--region", HERE].into_iter().chain(skipped).collect();
    // Each without one permission: what needs it is left, and what does not may be gone, so that the rest follows.
    for (kind, needed) in [
        (
            "snapshots",
            &["ec2:DescribeRegions", "ec2:DescribeSnapshots", "ec2:DescribeImages", "ec2:DeleteSnapshot"][..],
        ),
        ("volumes", &["ec2:DescribeVolumes", "ec2:DescribeInstances", "ec2:DeleteVolume"]),
        ("groups", &["ec2:DescribeSecurityGroups", "ec2:DescribeNetworkInterfaces", "ec2:DeleteSecurityGroup"]),
        (
            "profiles",
            &[
                "iam:ListInstanceProfiles",
                "iam:ListRoles",
                "iam:GetRole",
                "iam:GetInstanceProfile",
                "iam:ListInstanceProfilesForRole",
                "iam:RemoveRoleFromInstanceProfile",
                "iam:DeleteInstanceProfile",
                "iam:ListRolePolicies",
                "iam:GetRolePolicy",
                "iam:ListAttachedRolePolicies",
                "iam:DetachRolePolicy",
                "iam:DeleteRolePolicy",
                "iam:DeleteRole",
            ],
        ),
        (
            "queues",
            &[
                "sqs:ListQueues",
                "sns:ListSubscriptions",
                "sqs:ListQueueTags",
                "sqs:GetQueueAttributes",
                "sns:Unsubscribe",
                "sqs:DeleteQueue",
            ],
        ),
        ("keys", &["s3:ListBucket", "s3:GetObject", "ec2:DescribeKeyPairs", "s3:DeleteObject"]),
        ("packages", &["s3:PutObject", "s3:DeleteObject"]),
        ("status", &["s3:DeleteObject"]),
    ] {
        let words = [&all[..], &["--only", kind]].concat();
        for action in needed {
            // Queue and subscription go each by itself: what went without the last permission is made again.
            if kind == "queues" {
                ground.agents_queue(GONE).await?;
            }
            allow(ground.cloud(), &policy, Some(action)).await?;
            let ran = ground.cleanup(&words).await?.ended(1);
            assert!(tells_of(&ran.stderr, action), "{kind} {action}: {}", ran.stderr);
        }
        allow(ground.cloud(), &policy, None).await?;
        ground.cleanup(&words).await?.ended(0);
    }
    assert_eq!(called_for(&ground.proxy), policy.actions());
    Ok(())
}
