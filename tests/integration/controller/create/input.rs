//! Every option of create, and what bad input gets. Nothing of it changes anything.

use anyhow::{Context as _, Result};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;

use super::ground::{Ground, printed};

#[tokio::test]
async fn a_dry_run_shows_what_would_be_made_and_makes_nothing() -> Result<()> {
    let ground = Ground::new().await?;
    let ran = ground.run("create", &["--dry-run", "--terminate", "--root-volume", "30"]).await?.ended(0);
    let planned = printed(&ground.run("create", &["--dry-run", "--output", "json"]).await?.ended(0))?;
    let launch = &planned["launch"];
    let image = launch["image"].as_str().context("an image")?;
    let vpcs = ground.cloud().ec2().describe_vpcs().send().await?;
    let name = launch["image_name"].as_str().context("its name")?;
    let shown = ran
        .stdout
        .replace(image, "ami-...")
        .replace(name, "al2023-...")
        .replace(vpcs.vpcs()[0].vpc_id().context("an id")?, "vpc-...");
    insta::assert_snapshot!(shown, @r"
    ACTION     WHAT
    make       security group team_web in vpc-...
    allow      tcp 22 from 0.0.0.0/0
    allow      tcp 8000-8010 from 10.0.0.0/8
    make       IAM role team_web.us-west-2
    put        policy queue of IAM role team_web.us-west-2
    make       instance profile team_web.us-west-2
    add        IAM role team_web.us-west-2 to its instance profile
    launch     t3.small of ami-... (al2023-...), 30 GiB in us-west-2a
    wait for   the box
    terminate  the box
    ");
    assert_eq!(launch["key_pair"], "alice");
    assert_eq!(launch["zones"], serde_json::json!(["us-west-2a"]));
    assert!(ground.is_bare().await?);
    assert!(ground.records()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn the_instance_type_is_that_of_flag_variable_or_role_or_a_small_one_for_the_architecture() -> Result<()> {
    let ground = Ground::new().await?;
    let dry = ["--dry-run", "--output", "json"];
    let plan = async |more: &[&str], variables: &[(&str, &str)]| {
        let ran = ground.run_with("create", &[more, &dry].concat(), variables).await?.ended(0);
        let launch = printed(&ran)?["launch"].clone();
        let text = |name: &str| launch[name].as_str().unwrap_or_default().to_owned();
        anyhow::Ok((text("instance_type"), text("architecture")))
    };
    let found = |kind: &str, arch: &str| (kind.to_owned(), arch.to_owned());
    let variable = [("CGCLOUD_INSTANCE_TYPE", "m5.large")];
    assert_eq!(plan(&[], &[]).await?, found("t3.small", "x86_64"));
    assert_eq!(plan(&[], &variable).await?, found("m5.large", "x86_64"));
    assert_eq!(plan(&["-t", "t4g.medium"], &variable).await?, found("t4g.medium", "arm64"));
    assert_eq!(plan(&["--arch", "arm64"], &[]).await?, found("t4g.small", "arm64"));
    ground.role("plain", "")?;
    let (kind, arch) = plan(&["plain"], &[]).await?;
    assert!(kind.split('.').next_back() == Some("small") && arch == "x86_64", "{kind} {arch}");
    Ok(())
}

#[tokio::test]
async fn without_a_zone_every_zone_that_offers_the_type_is_a_candidate_and_the_flags_narrow_them() -> Result<()> {
    let ground = Ground::new().await?;
    let plan = async |more: &[&str]| {
        let ran = ground.run_with("create", &[more, &["--dry-run", "--output", "json"]].concat(), &[]).await?.ended(0);
        let launch = printed(&ran)?["launch"].clone();
        anyhow::Ok((launch["zones"].clone(), launch["subnets"].clone()))
    };
    let (zones, subnets) = plan(&[]).await?;
    assert!(zones.as_array().is_some_and(|zones| zones.len() >= 3), "{zones}");
    assert_eq!(plan(&["--zone", "us-west-2b"]).await?.0, serde_json::json!(["us-west-2b"]));
    let second = subnets[1].as_str().context("a subnet")?;
    assert_eq!(plan(&["--subnet", second]).await?, (serde_json::json!([zones[1]]), serde_json::json!([second])));

    let ec2 = ground.cloud().ec2();
    let vpc =
        ec2.create_vpc().cidr_block("10.9.0.0/16").send().await?.vpc.and_then(|vpc| vpc.vpc_id).context("a VPC")?;
    let said = ground.run("create", &["--vpc", &vpc]).await?.ended(1).stderr;
    assert!(said.contains(&format!("error: {vpc} has no subnet in us-west-2")), "{said}");
    let mut made = Vec::new();
    for block in ["10.9.1.0/24", "10.9.2.0/24"] {
        let call = ec2.create_subnet().vpc_id(&vpc).cidr_block(block).availability_zone("us-west-2c");
        made.push(call.send().await?.subnet.and_then(|subnet| subnet.subnet_id).context("a subnet")?);
    }
    assert_eq!(plan(&["--vpc", &vpc, "--subnet", &made[1]]).await?.1, serde_json::json!([made[1]]));
    for (more, code, error) in [
        (&["--vpc", &vpc, "--zone", "us-west-2a"][..], 1, format!("{vpc} has no subnet in zone us-west-2a")),
        (
            &["--subnet", &made[0], "--zone", "us-west-2a"],
            2,
            format!("--subnet {} is in zone us-west-2c, not in us-west-2a", made[0]),
        ),
        (&["--subnet", second, "--vpc", &vpc], 2, format!("--subnet {second} is part of ")),
        (&["--zone", "us-west-2x"], 1, "the default network has no subnet in zone us-west-2x".to_owned()),
        (&["--subnet", "subnet-00000000"], 1, "there is no subnet subnet-00000000 in us-west-2".to_owned()),
    ] {
        let said = ground.run_with("create", more, &[]).await?.ended(code).stderr;
        assert!(said.contains(&format!("error: {error}")), "{more:?}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_region_without_a_default_network_says_how_to_name_one() -> Result<()> {
    let ground = Ground::new().await?;
    let ec2 = ground.cloud().ec2();
    for subnet in ec2.describe_subnets().send().await?.subnets() {
        ec2.delete_subnet().subnet_id(subnet.subnet_id().context("an id")?).send().await?;
    }
    let said = ground.run("create", &[]).await?.ended(1).stderr;
    insta::assert_snapshot!(said, @r"
    error: us-west-2 has no default network to put the box into
    hint: --vpc or --subnet names where to put it; aws ec2 create-default-vpc makes a default network
    ");
    Ok(())
}

#[tokio::test]
async fn fault_16_who_has_no_key_is_told_the_command_that_registers_one() -> Result<()> {
    let ground = Ground::new().await?;
    let said = ground.run("create", &["--keypairs", "bob", "alice"]).await?.ended(1).stderr;
    insta::assert_snapshot!(said, @r"
    error: bob has no registered key: neither an EC2 key pair of us-west-2 nor the bucket has one
    hint: register it, then try again: fleetkey register-key FILE --person bob --region us-west-2
    hint: --keypairs names others; FLEETKEY_KEYPAIRS is its default
    ");
    // A key in the bucket is put in by the agent; without it only an EC2 key pair is.
    ground.cloud().put_person_key("bob", &TestKey::new("bob")?).await?;
    let said = ground.run("create", &["--keypairs", "bob", "--no-agent"]).await?.ended(1).stderr;
    assert!(
        said.contains("error: us-west-2 has no EC2 key pair bob, and without the agent no other key is put in"),
        "{said}"
    );
    ground.run("create", &["--dry-run", "--keypairs", "alice", "bob", "dev-*"]).await?.ended(0);

    for (specs, code, error) in [
        (&["dev-*"][..], 2, "--keypairs begins with dev-*, which is more than one person"),
        (&["@@developers"], 2, "--keypairs begins with @@developers, which is more than one person"),
        (&["alice", "@@nobodies"], 2, "--keypairs @@nobodies: there is no IAM group nobodies"),
        (&["alice", "@nobody"], 2, "--keypairs @nobody: there is no IAM user nobody"),
        (&["a b"], 2, "--keypairs: key spec \"a b\": "),
    ] {
        let said = ground.run("create", &[&["--keypairs"], specs].concat()).await?.ended(code).stderr;
        assert!(said.contains(&format!("error: {error}")), "{specs:?}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn who_may_log_in_is_said_by_flag_or_variable_or_is_the_caller() -> Result<()> {
    let ground = Ground::new().await?;
    ground.cloud().import_key_pair("bob", &TestKey::new("bob")?).await?;
    ground.cloud().iam().create_group().group_name("developers").send().await?;
    let keys = async |more: &[&str], variables: &[(&str, &str)]| {
        let ran =
            ground.run_with("create", &[more, &["--dry-run", "--output", "json"]].concat(), variables).await?.ended(0);
        let launch = printed(&ran)?["launch"].clone();
        anyhow::Ok((launch["key_pair"].clone(), launch["keys"].clone()))
    };
    let found = |pair: &str, keys: &[&str]| (serde_json::json!(pair), serde_json::json!(keys));
    let variable = [("FLEETKEY_KEYPAIRS", "bob __me__ @@developers")];
    assert_eq!(keys(&[], &[]).await?, found("alice", &["alice"]));
    assert_eq!(keys(&[], &variable).await?, found("bob", &["bob", "alice", "@@developers"]));
    assert_eq!(keys(&["-k", "@alice", "bob"], &variable).await?, found("alice", &["@alice", "bob"]));
    assert_eq!(keys(&[], &[("FLEETKEY_ME", "bob")]).await?, found("bob", &["bob"]));
    Ok(())
}

#[tokio::test]
async fn bad_input_is_refused_before_anything_is_made() -> Result<()> {
    let ground = Ground::new().await?;
    ground.role("shape", "abstract: true\n")?;
    for (more, code, error) in [
        (&["nosuch"][..], 2, "there is no role nosuch"),
        (&["shape"], 2, "role shape is abstract"),
        (&["Web"], 2, "name \"/team/Web\" has the character 'W'"),
        (&["-t", "small"], 2, "an instance type has a family and a size, such as t3.small"),
        (&["-t", "t3.nosuch"], 2, "us-west-2 has no instance type t3.nosuch"),
        (&["-t", "t3.small", "--arch", "arm64"], 2, "instance type t3.small runs x86_64, and the image is for arm64"),
        (&["--arch", "sparc"], 2, "is not an architecture"),
        (&["--vpc", "vpc-1"], 2, "a VPC's id is vpc- and 8 or 17 hexadecimal digits"),
        (&["--subnet", "x"], 2, "a subnet's id is subnet- and 8 or 17 hexadecimal digits"),
        (&["--root-volume", "0"], 2, "invalid value '0'"),
        (&["--root-volume", "14"], 2, "--root-volume 14 is less than the 15 GiB of image ami-"),
        (&["-O", "color"], 2, "write NAME=VALUE"),
        (&["-O", "color=red"], 2, "color"),
        (&["-O", "a=1", "-O", "a=2"], 2, "-O a is given twice"),
        (&["--timeout", "soon"], 2, "give a time such as 90s or 15m"),
        (&["--timeout", "0s"], 2, "give a time such as 90s or 15m"),
        (&["-T", "-N"], 2, "cannot be used with"),
        (&["-I", "--quick"], 2, "cannot be used with"),
        (&["--no-wait", "-I"], 2, "cannot be used with"),
    ] {
        let ran = ground.run("create", more).await?.ended(code);
        assert!(ran.stderr.contains(error), "{more:?}: {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{more:?}: {}", ran.stdout);
    }
    let said = ground.run_with("create", &[], &[("FLEETKEY_INSTANCE_TYPE", "small")]).await?.ended(2).stderr;
    assert!(said.contains("error: \"small\" in FLEETKEY_INSTANCE_TYPE: an instance type has"), "{said}");
    assert!(ground.is_bare().await?);
    Ok(())
}

#[tokio::test]
async fn a_base_image_that_the_region_does_not_have_is_told_with_where_it_was_looked_for() -> Result<()> {
    let ground = Ground::new().await?;
    let role = "package: deb\nadmin_account: admin\nbase_images:\n  x86_64: {ssm: /aws/service/no/such, owner: self, name: none-*}\n";
    ground.operator.file("roles/bare.yaml", role)?;
    let said = ground.run("create", &["bare", "--no-agent"]).await?.ended(1).stderr;
    insta::assert_snapshot!(said, @r"
    error: us-west-2 has no base image of role bare for x86_64
    hint: looked for: parameter /aws/service/no/such; none-* of self
    hint: --image names another image
    ");
    Ok(())
}

#[tokio::test]
async fn a_box_with_the_agent_needs_a_published_package() -> Result<()> {
    let ground = Ground::new().await?;
    ground.operator.file("roles/kept.yaml", "package: deb\nadmin_account: admin\ninstance_type: t3.small\nbase_images:\n  x86_64: {owner: amazon, name: 'al2023-ami-2023*-x86_64'}\n")?;
    let said = ground.run("create", &["kept"]).await?.ended(1).stderr;
    let said = said.replace(ground.cloud().account_id(), "ACCOUNT");
    insta::assert_snapshot!(said, @r"
    error: the bucket ACCOUNT-fleetkey has no deb package of the agent for x86_64
    hint: build one with make packages, then: fleetkey agent publish FILE.deb
    hint: --no-agent makes a box without it, whose keys are not kept in step
    ");
    ground.run("create", &["kept", "--no-agent", "--dry-run"]).await?.ended(0);
    Ok(())
}

#[tokio::test]
async fn the_region_is_that_of_the_zone() -> Result<()> {
    let ground = Ground::new().await?;
    let said = ground.run_with("create", &["--zone", "eu-west-1a"], &[("AWS_REGION", Cloud::REGION)]).await?.ended(1);
    assert!(said.stderr.contains("eu-west-1"), "{}", said.stderr);
    Ok(())
}
