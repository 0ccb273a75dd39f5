//! The security group and the instance profile of a role become what the role says, and nothing else is touched.

use anyhow::{Context as _, Result};
use aws_sdk_ec2::types::Tag;

use super::ground::{Ground, PROFILE, WEB, printed};

/// What a group lets in: protocol, ports and ranges.
fn rules(group: &aws_sdk_ec2::types::SecurityGroup) -> Vec<String> {
    let mut rules: Vec<_> = group
        .ip_permissions()
        .iter()
        .flat_map(|permission| {
            let ports = format!("{:?}-{:?}", permission.from_port(), permission.to_port());
            let ports = ports.replace("Some(", "").replace(')', "");
            let protocol = permission.ip_protocol().unwrap_or_default().to_owned();
            permission
                .ip_ranges()
                .iter()
                .map(move |range| format!("{protocol} {ports} {}", range.cidr_ip().unwrap_or_default()))
        })
        .collect();
    rules.sort();
    rules
}

#[tokio::test]
async fn fault_12_rules_and_policies_that_the_role_no_longer_has_go_and_new_ones_come() -> Result<()> {
    let ground = Ground::new().await?;
    ground.create(&[]).await?;
    let group = ground.groups("team_web").await?;
    let id = group[0].group_id().context("it has an id")?.to_owned();
    assert_eq!(rules(&group[0]), ["tcp 22-22 0.0.0.0/0", "tcp 8000-8010 10.0.0.0/8"]);
    assert_eq!(ground.policies(PROFILE).await?.context("there is a role")?, ["queue"]);

    let statement = "Statement: [{Effect: Allow, Action: ['sqs:ListQueues'], Resource: '*'}]";
    ground.role(
        "web",
        &format!(
            "instance_type: t3.small\ningress: [{{protocol: tcp, ports: 22, from: 0.0.0.0/0}}, {{protocol: udp, ports: 53, from: 10.0.0.0/8}}]\n\
             iam_policies: {{other: {{Version: '2012-10-17', {statement}}}}}\n"
        ),
    )?;
    let planned = printed(&ground.run("create", &["--dry-run", "--output", "json"]).await?.ended(0))?;
    let steps = planned["steps"].as_array().context("there are steps")?;
    let steps: Vec<_> = steps
        .iter()
        .map(|step| {
            format!("{} {}", step["action"].as_str().unwrap_or_default(), step["what"].as_str().unwrap_or_default())
        })
        .collect();
    assert_eq!(
        steps[..4],
        [
            "allow udp 53 from 10.0.0.0/8".to_owned(),
            "revoke tcp 8000-8010 from 10.0.0.0/8".to_owned(),
            format!("put policy other of IAM role {PROFILE}"),
            format!("delete policy queue of IAM role {PROFILE}"),
        ]
    );
    assert_eq!(rules(&ground.groups("team_web").await?[0]).len(), 2);

    ground.create(&[]).await?;
    let group = ground.groups("team_web").await?;
    assert_eq!(group[0].group_id(), Some(id.as_str()));
    assert_eq!(rules(&group[0]), ["tcp 22-22 0.0.0.0/0", "udp 53-53 10.0.0.0/8"]);
    assert_eq!(ground.policies(PROFILE).await?.context("there is a role")?, ["other"]);

    let planned = printed(&ground.run("create", &["--dry-run", "--output", "json"]).await?.ended(0))?;
    assert_eq!(planned["steps"].as_array().map(Vec::len), Some(2), "{planned}");
    Ok(())
}

#[tokio::test]
async fn what_somebody_changed_by_hand_is_put_right() -> Result<()> {
    let ground = Ground::new().await?;
    ground.create(&[]).await?;
    let group = ground.groups("team_web").await?;
    let id = group[0].group_id().context("it has an id")?;
    let ec2 = ground.cloud().ec2();
    let anywhere = aws_sdk_ec2::types::IpRange::builder().cidr_ip("0.0.0.0/0").build();
    let all = aws_sdk_ec2::types::IpPermission::builder().ip_protocol("-1").ip_ranges(anywhere).build();
    ec2.authorize_security_group_ingress().group_id(id).ip_permissions(all).send().await?;
    let iam = ground.cloud().iam();
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    iam.put_role_policy().role_name(PROFILE).policy_name("queue").policy_document(policy).send().await?;
    iam.remove_role_from_instance_profile().instance_profile_name(PROFILE).role_name(PROFILE).send().await?;

    ground.create(&[]).await?;
    assert_eq!(rules(&ground.groups("team_web").await?[0]).len(), 2);
    let policy = iam.get_role_policy().role_name(PROFILE).policy_name("queue").send().await?.policy_document;
    assert!(policy.contains("ListQueues"), "{policy}");
    assert_eq!(ground.profile(PROFILE).await?, Some(vec![PROFILE.to_owned()]));
    Ok(())
}

#[tokio::test]
async fn a_role_without_policies_has_no_instance_profile_until_it_gets_some_and_then_keeps_an_empty_one() -> Result<()>
{
    let ground = Ground::new().await?;
    ground.role("web", "instance_type: t3.small\n")?;
    ground.create(&[]).await?;
    assert_eq!(ground.profile(PROFILE).await?, None);
    assert!(ground.instances().await?[0].iam_instance_profile().is_none());
    ground.role("web", WEB)?;
    ground.create(&[]).await?;
    ground.role("web", "instance_type: t3.small\n")?;
    ground.create(&[]).await?;
    assert_eq!(ground.policies(PROFILE).await?, Some(Vec::new()));
    assert_eq!(ground.profile(PROFILE).await?, Some(vec![PROFILE.to_owned()]));
    Ok(())
}

#[tokio::test]
async fn two_namespaces_have_nothing_in_common() -> Result<()> {
    let ground = Ground::new().await?;
    ground.create(&[]).await?;
    let made = ground.run("create", &["/other/web", "--quick", "--output", "json"]).await?.ended(0);
    assert_eq!(printed(&made)?["name"].as_str(), Some("/other/web"));
    assert_eq!((ground.groups("team_web").await?.len(), ground.groups("other_web").await?.len()), (1, 1));
    assert!(ground.profile("other_web.us-west-2").await?.is_some());
    Ok(())
}

#[tokio::test]
async fn what_fleetkey_did_not_make_is_neither_used_nor_changed() -> Result<()> {
    let ground = Ground::new().await?;
    let ec2 = ground.cloud().ec2();
    let vpcs = ec2.describe_vpcs().send().await?;
    let vpc = vpcs.vpcs()[0].vpc_id().context("it has an id")?;
    let made = ec2.create_security_group().group_name("team_web").description("theirs").vpc_id(vpc).send().await?;
    let id = made.group_id().context("it has an id")?;
    let said = ground.run("create", &["--quick"]).await?.ended(1).stderr;
    let tag = format!("aws ec2 create-tags --resources {id} --tags Key=fleetkey:box,Value=/team/web");
    assert!(
        said.contains(&format!("error: there is a security group team_web ({id}) that Fleetkey did not make")),
        "{said}"
    );
    assert!(said.contains(&tag), "{said}");
    ec2.create_tags().resources(id).tags(Tag::builder().key("fleetkey:box").value("/team/web").build()).send().await?;

    let iam = ground.cloud().iam();
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    iam.create_role().role_name(PROFILE).assume_role_policy_document(trust).send().await?;
    let said = ground.run("create", &["--quick"]).await?.ended(1).stderr;
    assert!(said.contains(&format!("error: there is an IAM role /{PROFILE} that Fleetkey did not make")), "{said}");
    iam.delete_role().role_name(PROFILE).send().await?;
    ground.create(&[]).await?;
    assert_eq!(ground.groups("team_web").await?[0].group_id(), Some(id));
    Ok(())
}
