//! The IAM policy that is shipped for those who launch boxes: enough, and each permission in it called for.

use anyhow::Result;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::proxy::Fault;

use super::super::permissions::{Limited, allow, called_for, tells_of};
use super::ground::{Ground, PROFILE, WEB};

/// What a box has to let EC2 show before it can be waited for; it never boots here.
const CONSOLE: &str = "ec2:GetConsoleOutput";

/// The first create of a role with all that a role can have, by somebody who names a user and a group.
const FIRST: [&str; 6] = ["--keypairs", "alice", "bob", "@alice", "@@developers", "--quick"];

/// What the first create needs, without what undoing takes.
const NEEDED: [&str; 22] = [
    "ec2:DescribeImages",
    "ssm:GetParameter",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeSubnets",
    "ec2:DescribeKeyPairs",
    "ec2:DescribeVolumes",
    "s3:ListBucket",
    "s3:GetObject",
    "iam:GetUser",
    "iam:GetGroup",
    "ec2:DescribeSecurityGroups",
    "iam:GetRole",
    "iam:GetInstanceProfile",
    "ec2:CreateSecurityGroup",
    "ec2:AuthorizeSecurityGroupIngress",
    "iam:CreateRole",
    "iam:PutRolePolicy",
    "iam:CreateInstanceProfile",
    "iam:AddRoleToInstanceProfile",
    "ec2:RunInstances",
    "ec2:CreateTags",
];

#[tokio::test]
async fn launching_needs_every_permission_of_its_policy_and_no_other() -> Result<()> {
    let Limited { operator, policy, proxy, moto } = Limited::new("controller-create", &[]).await?;
    let ground = Ground { operator, proxy };
    // moto takes the signature of a request that has blanks in its body, as a key does, for a wrong one.
    moto.enforce_iam(u32::MAX)?;
    ground.prepare().await?;
    let cloud = ground.cloud();
    let iam = cloud.iam();
    iam.create_group().group_name("developers").send().await?;
    let key = TestKey::new("bob")?;
    cloud.put_person_key("bob", &key).await?;
    ground.publish("rpm").await?;
    moto.enforce_iam(0)?;
    ground.proxy.take_calls();
    let volumes = "volumes:\n  - {name: data, device: /dev/sdf, size: 20, kind: gp3, keep: true}\n";
    let parameter = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";
    let role =
        format!("package: rpm\nadmin_account: ec2-user\nbase_images:\n  x86_64: {{ssm: {parameter}}}\n{WEB}{volumes}");
    ground.operator.file("roles/web.yaml", &role)?;

    for action in NEEDED {
        allow(cloud, &policy, Some(action)).await?;
        let ran = ground.run("create", &FIRST).await?.ended(1);
        assert!(tells_of(&ran.stderr, action), "{action}: {}", ran.stderr);
        assert!(ground.is_bare().await?, "{action}: {}", ran.stderr);
    }
    allow(cloud, &policy, None).await?;
    ground.run("create", &FIRST).await?.ended(0);

    // What the role no longer has, and what somebody put into the profile, is taken out.
    let less = role.replace("ports: 8000-8010", "ports: 9000").replace("queue:", "other:");
    ground.operator.file("roles/web.yaml", &less)?;
    iam.remove_role_from_instance_profile().instance_profile_name(PROFILE).role_name(PROFILE).send().await?;
    iam.add_role_to_instance_profile().instance_profile_name(PROFILE).role_name("fleetkey-tests").send().await?;
    for action in [
        "iam:ListRolePolicies",
        "iam:GetRolePolicy",
        "ec2:RevokeSecurityGroupIngress",
        "iam:DeleteRolePolicy",
        "iam:RemoveRoleFromInstanceProfile",
        "ec2:DescribeInstances",
    ] {
        allow(cloud, &policy, Some(action)).await?;
        let ran = ground.run("create", &FIRST).await?.ended(1);
        assert!(tells_of(&ran.stderr, action), "{action}: {}", ran.stderr);
    }
    allow(cloud, &policy, None).await?;
    ground.run("create", &FIRST).await?.ended(0);

    // A box that is gone leaves a volume, which the next one takes over.
    let instances = ground.instances().await?;
    let gone = instances.first().and_then(|instance| instance.instance_id()).unwrap_or_default();
    cloud.ec2().terminate_instances().instance_ids(gone).send().await?;
    allow(cloud, &policy, Some("ec2:AttachVolume")).await?;
    let ran = ground.run("create", &FIRST).await?.ended(1);
    assert!(tells_of(&ran.stderr, "ec2:AttachVolume"), "{}", ran.stderr);
    allow(cloud, &policy, None).await?;
    ground.run("create", &FIRST).await?.ended(0);

    // A rule made by hand becomes hers who says that she is there. Its description has blanks: see above.
    moto.enforce_iam(u32::MAX)?;
    let group = ground.groups("team_web").await?;
    let by_hand = cloud.ec2().authorize_security_group_ingress().set_group_id(group[0].group_id.clone());
    by_hand.ip_protocol("tcp").from_port(22).to_port(22).cidr_ip("203.0.113.7/32").send().await?;
    ground.run("create", &[&FIRST[..], &["--anew", "--ssh-from", "203.0.113.7"]].concat()).await?.ended(0);
    moto.enforce_iam(0)?;

    // What undoing takes.
    ground.proxy.spoil(CONSOLE, Fault::Refuse("Broken", "it is broken"));
    let other = ["/team/other", "--keypairs", "alice"];
    ground.operator.file("roles/other.yaml", &role)?;
    ground.run("create", &other).await?.ended(1);
    let mut called: Vec<_> = called_for(&ground.proxy).into_iter().collect();
    // Handing a role to a box is no call of its own.
    called.push("iam:PassRole".to_owned());
    called.sort();
    assert_eq!(called, policy.actions().into_iter().collect::<Vec<_>>());
    Ok(())
}
