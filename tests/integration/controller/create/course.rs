//! What a create makes, and what is left after an error or an interruption at each stage.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_sdk_ec2::types::{HttpTokensState, InstanceMetadataTagsState, InstanceType};
use fleetkey_tests::proxy::Fault;
use fleetkey_tests::wait_until;
use nix::sys::signal::Signal;

use super::ground::{Ground, PROFILE, printed, tags};

/// More than the program needs on a busy machine.
const LONG: Duration = Duration::from_mins(1);

/// The calls of a create that changes something, in their order.
const STAGES: [&str; 8] = [
    "ec2:CreateSecurityGroup",
    "ec2:AuthorizeSecurityGroupIngress",
    "iam:CreateRole",
    "iam:PutRolePolicy",
    "iam:CreateInstanceProfile",
    "iam:AddRoleToInstanceProfile",
    "ec2:RunInstances",
    "ec2:GetConsoleOutput",
];

#[tokio::test]
async fn a_box_is_launched_with_its_tags_group_profile_and_volumes() -> Result<()> {
    let ground = Ground::new().await?;
    ground.role(
        "web",
        &format!("{}volumes:\n  - {{name: data, device: /dev/sdf, size: 20, keep: true}}\n", super::ground::WEB),
    )?;
    let made = ground.create(&[]).await?;
    assert_eq!((made["name"].as_str(), made["generation"].as_u64()), (Some("/team/web"), Some(0)));
    assert_eq!((made["state"].as_str(), made["resumed"].as_bool()), (Some("pending"), Some(false)));
    let login = format!("fleetkey ssh --region us-west-2 /team/web -I {}", made["id"].as_str().context("an id")?);
    assert_eq!(made["login"].as_str(), Some(login.as_str()));

    let found = ground.instances().await?;
    let [found] = found.as_slice() else { panic!("{} instances", found.len()) };
    assert_eq!(found.instance_id(), made["id"].as_str());
    let has = tags(found.tags());
    assert_eq!((has["Name"], has["generation"], has["fleetkey:token"].len()), ("team_web", "0", 32));
    assert_eq!(found.key_name(), Some("alice"));
    assert_eq!(found.instance_type().map(InstanceType::as_str), Some("t3.small"));
    assert_eq!(found.placement().and_then(|place| place.availability_zone()), Some("us-west-2a"));
    let options = found.metadata_options().context("it has metadata options")?;
    assert_eq!(options.http_tokens().map(HttpTokensState::as_str), Some("required"));
    assert_eq!(options.http_put_response_hop_limit(), Some(1));
    assert_eq!(options.instance_metadata_tags().map(InstanceMetadataTagsState::as_str), Some("enabled"));
    assert!(found.iam_instance_profile().and_then(|profile| profile.arn()).is_some_and(|arn| arn.ends_with(PROFILE)));

    let volumes = ground.cloud().ec2().describe_volumes().send().await?;
    let of = |device: &str| -> Result<&aws_sdk_ec2::types::Volume> {
        let attached = |volume: &&aws_sdk_ec2::types::Volume| {
            volume.attachments().iter().any(|at| at.instance_id() == found.instance_id() && at.device() == Some(device))
        };
        volumes.volumes().iter().find(attached).with_context(|| format!("no volume at {device}"))
    };
    let (root, data) = (of("/dev/xvda")?, of("/dev/sdf")?);
    assert_eq!((root.size(), tags(root.tags())["Name"]), (Some(15), "team_web"));
    assert_eq!((data.size(), tags(data.tags())["Name"]), (Some(20), "team_web_data"));
    let goes = |device: &str| {
        let mapping = found.block_device_mappings().iter().find(|mapping| mapping.device_name() == Some(device));
        mapping.and_then(|mapping| mapping.ebs()?.delete_on_termination())
    };
    assert_eq!((goes("/dev/xvda"), goes("/dev/sdf")), (Some(true), Some(false)));
    assert!(ground.records()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_interrupted_create_is_finished_by_the_same_command_and_launches_no_second_box() -> Result<()> {
    for stage in STAGES {
        let ground = Ground::new().await?;
        ground.proxy.spoil(stage, Fault::Hang);
        let waits: &[&str] = if stage == "ec2:GetConsoleOutput" { &[] } else { &["--quick"] };
        let running = ground.start("create", waits)?;
        wait_until(stage, LONG, || Ok(ground.proxy.held().iter().any(|held| held == stage)))?;
        running.signal(Signal::SIGINT)?;
        let ran = running.end().await?.ended(1);
        let said = ran.stderr;
        assert!(said.contains("error: interrupted"), "{stage}: {said}");
        assert!(said.contains("hint: the same command goes on where this one stopped"), "{stage}: {said}");
        assert_eq!(ground.instances().await?.len(), usize::from(stage == "ec2:GetConsoleOutput"), "{stage}: {said}");
        assert_eq!(
            ground.records()?.iter().filter(|path| path.extension().is_some_and(|end| end == "json")).count(),
            1
        );
        ground.proxy.heal();

        let made = ground.run("create", &["--quick", "--output", "json"]).await?.ended(0);
        assert!(made.stderr.contains("going on with the create of /team/web"), "{stage}: {}", made.stderr);
        assert_eq!(ground.instances().await?.len(), 1, "{stage}");
        assert_eq!(ground.groups("team_web").await?[0].ip_permissions().len(), 2, "{stage}");
        assert_eq!(ground.policies(PROFILE).await?.as_deref(), Some(&["queue".to_owned()][..]), "{stage}");
        let asked_for = ["ec2:RunInstances", "ec2:GetConsoleOutput"].contains(&stage);
        assert_eq!(printed(&made)?["resumed"].as_bool(), Some(asked_for), "{stage}");
        assert!(ground.records()?.is_empty(), "{stage}");
        // It is done: the next is another box.
        ground.create(&[]).await?;
        assert_eq!(ground.instances().await?.len(), 2, "{stage}");
    }
    Ok(())
}

#[tokio::test]
async fn a_create_that_was_killed_is_finished_by_the_same_command_and_another_is_another_box() -> Result<()> {
    let ground = Ground::new().await?;
    ground.proxy.spoil("ec2:GetConsoleOutput", Fault::Hang);
    let running = ground.start("create", &[])?;
    wait_until("the box is waited for", LONG, || Ok(!ground.proxy.held().is_empty()))?;
    running.signal(Signal::SIGKILL)?;
    running.end().await?;
    ground.proxy.heal();
    let first = ground.instances().await?[0].instance_id().map(str::to_owned);

    let other = ground.create(&["--root-volume", "20"]).await?;
    assert_eq!((other["resumed"].as_bool(), ground.instances().await?.len()), (Some(false), 2));
    let same = ground.create(&[]).await?;
    assert_eq!((same["resumed"].as_bool(), same["id"].as_str()), (Some(true), first.as_deref()));
    assert_eq!(ground.instances().await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_box_that_is_gone_is_not_gone_on_with_and_anew_leaves_one_alone_that_is_there() -> Result<()> {
    let ground = Ground::new().await?;
    let interrupted = async || {
        ground.proxy.spoil("ec2:GetConsoleOutput", Fault::Hang);
        let held = ground.proxy.held().len();
        let running = ground.start("create", &["--anew"])?;
        wait_until("the box is waited for", LONG, || Ok(ground.proxy.held().len() > held))?;
        running.signal(Signal::SIGTERM)?;
        let ran = running.end().await?.ended(1);
        ground.proxy.heal();
        let (_, id) = ran.stderr.split_once("-I ").context("it says how to give up")?;
        anyhow::Ok(id.trim().to_owned())
    };
    let gone = interrupted().await?;
    ground.cloud().ec2().terminate_instances().instance_ids(&gone).send().await?;
    let made = ground.create(&[]).await?;
    assert_eq!((made["resumed"].as_bool(), made["id"] == gone.as_str()), (Some(false), false));

    let there = interrupted().await?;
    let made = ground.create(&["--anew"]).await?;
    assert_eq!((made["resumed"].as_bool(), made["id"] == there.as_str()), (Some(false), false));
    assert_eq!(ground.instances().await?.len(), 3);
    assert_eq!(ground.create(&[]).await?["id"], there.as_str());
    Ok(())
}

#[tokio::test]
async fn several_creates_of_the_same_at_once_make_as_many_boxes() -> Result<()> {
    let ground = Ground::new().await?;
    let running: Result<Vec<_>> = (0..4).map(|_| ground.start("create", &["--quick"])).collect();
    for running in running? {
        running.end().await?.ended(0);
    }
    assert_eq!(ground.instances().await?.len(), 4);
    assert_eq!(ground.groups("team_web").await?.len(), 1);
    assert!(ground.records()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn after_an_error_everything_that_was_made_is_undone_and_named() -> Result<()> {
    for stage in STAGES {
        let ground = Ground::new().await?;
        ground.proxy.spoil(stage, Fault::Refuse("Broken", "it is broken"));
        let waits: &[&str] = if stage == "ec2:GetConsoleOutput" { &[] } else { &["--quick"] };
        let said = ground.run("create", waits).await?.ended(1).stderr;
        assert!(said.contains("it is broken"), "{stage}: {said}");
        assert!(ground.is_bare().await?, "{stage}: {said}");
        assert!(ground.records()?.is_empty(), "{stage}: {said}");
        for (what, from) in
            [("security group team_web in vpc-", 1), ("IAM role ", 3), ("instance profile ", 5), ("box i-", 7)]
        {
            let at = STAGES.iter().position(|at| *at == stage).context("a stage")?;
            assert_eq!(said.contains(&format!("undone: {what}")), at >= from, "{stage}, {what}: {said}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_launch_whose_answer_is_lost_is_found_again_and_not_asked_for_twice() -> Result<()> {
    let ground = Ground::new().await?;
    ground.proxy.spoil("ec2:RunInstances", Fault::HalfBody);
    ground.run("create", &["--quick"]).await?.ended(0);
    assert_eq!(ground.instances().await?.len(), 1);
    for fault in [Fault::ServerError, Fault::Throttle, Fault::Close] {
        ground.proxy.spoil("ec2:RunInstances", fault);
        ground.proxy.take_calls();
        let said = ground.run("create", &["--quick"]).await?.ended(1).stderr;
        let calls = ground.proxy.take_calls();
        let asked = calls.iter().filter(|call| call.action == "RunInstances").count();
        assert!(asked > 1, "{fault:?}: {said}");
        assert_eq!(ground.instances().await?.len(), 1, "{fault:?}: {said}");
        // It may have been launched all the same.
        assert!(!ground.records()?.is_empty(), "{fault:?}: {said}");
        assert!(!said.contains("undone: box"), "{fault:?}: {said}");
    }
    ground.proxy.heal();
    ground.run("create", &["--quick"]).await?.ended(0);
    assert_eq!(ground.instances().await?.len(), 2);
    assert!(ground.records()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn what_others_use_and_what_was_there_before_is_left_by_an_undo() -> Result<()> {
    let ground = Ground::new().await?;
    ground.create(&[]).await?;
    ground.proxy.spoil("ec2:GetConsoleOutput", Fault::Refuse("Broken", "it is broken"));
    let said = ground.run("create", &[]).await?.ended(1).stderr;
    assert!(said.contains("undone: box i-") && !said.contains("undone: security group"), "{said}");
    assert_eq!(ground.instances().await?.len(), 1);
    assert_eq!(ground.groups("team_web").await?.len(), 1);
    assert_eq!(ground.profile(PROFILE).await?, Some(vec![PROFILE.to_owned()]));
    Ok(())
}

#[tokio::test]
async fn with_never_terminate_a_box_is_kept_after_an_error_and_gone_on_with() -> Result<()> {
    let ground = Ground::new().await?;
    ground.proxy.spoil("ec2:GetConsoleOutput", Fault::Refuse("Broken", "it is broken"));
    let said = ground.run("create", &["--never-terminate"]).await?.ended(1).stderr;
    assert!(said.contains("is kept as it is, as asked for") && !said.contains("undone"), "{said}");
    ground.proxy.heal();
    assert_eq!(ground.create(&[]).await?["resumed"].as_bool(), Some(true));
    assert_eq!(ground.instances().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_wait_in_vain_ends_after_its_timeout_and_names_what_was_waited_for() -> Result<()> {
    let ground = Ground::new().await?;
    ground.proxy.spoil("ec2:GetConsoleOutput", Fault::Hang);
    // Long enough for all that comes before, on a busy machine.
    let said = ground.run("create", &["--timeout", "20s"]).await?.ended(1).stderr;
    assert!(said.contains("waited 20s in vain: box i-"), "{said}");
    assert!(said.contains("undone: box i-"), "{said}");
    assert!(ground.is_bare().await?);
    Ok(())
}

#[tokio::test]
async fn with_terminate_the_box_is_gone_when_all_is_done() -> Result<()> {
    let ground = Ground::new().await?;
    let made = ground.create(&["--terminate"]).await?;
    assert_eq!(made["state"].as_str(), Some("terminated"));
    assert!(ground.instances().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_create_that_was_interrupted_while_it_terminated_its_box_makes_no_other() -> Result<()> {
    let ground = Ground::new().await?;
    ground.proxy.spoil("ec2:TerminateInstances", Fault::Hang);
    let running = ground.start("create", &["--quick", "--terminate"])?;
    wait_until("the box is being terminated", LONG, || Ok(!ground.proxy.held().is_empty()))?;
    running.signal(Signal::SIGTERM)?;
    running.end().await?.ended(1);
    ground.proxy.heal();
    let found = ground.instances().await?;
    let id = found[0].instance_id().context("an id")?;
    ground.cloud().ec2().terminate_instances().instance_ids(id).send().await?;
    let made = ground.create(&["--terminate"]).await?;
    assert_eq!((made["id"].as_str(), made["state"].as_str()), (Some(id), Some("terminated")));
    assert!(ground.instances().await?.is_empty() && ground.records()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn what_iam_has_not_spread_yet_is_waited_for() -> Result<()> {
    let ground = Ground::new().await?;
    let words = "Value (x) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name";
    ground.proxy.spoil("ec2:RunInstances", Fault::Refuse("InvalidParameterValue", words));
    let running = ground.start("create", &["--quick"])?;
    let mut refused = 0;
    wait_until("the launch is tried twice", LONG, || {
        refused += ground.proxy.take_calls().iter().filter(|call| call.action == "RunInstances").count();
        Ok(refused >= 2)
    })?;
    ground.proxy.heal();
    running.end().await?.ended(0);
    assert_eq!(ground.instances().await?.len(), 1);

    ground.proxy.spoil("ec2:RunInstances", Fault::Refuse("InvalidParameterValue", words));
    let said = ground.run("create", &["--quick", "--timeout", "20s"]).await?.ended(1).stderr;
    assert!(said.contains(&format!("and instance profile {PROFILE}; at last: InvalidParameterValue")), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_zone_without_room_gives_way_to_the_next_unless_it_was_asked_for() -> Result<()> {
    let ground = Ground::new().await?;
    ground.proxy.spoil("ec2:RunInstances", Fault::Refuse("InsufficientInstanceCapacity", "no room"));
    ground.proxy.take_calls();
    let said = ground.run_with("create", &["--quick"], &[]).await?.ended(1).stderr;
    let zones = ground.proxy.take_calls().iter().filter(|call| call.action == "RunInstances").count();
    assert!(zones > 1, "{said}");
    assert!(said.contains("error: EC2 has no room for t3.small in us-west-2a, us-west-2b"), "{said}");
    assert!(said.contains("hint: --zone or --subnet names another place"), "{said}");

    ground.run("create", &["--quick"]).await?.ended(1);
    assert_eq!(ground.proxy.take_calls().iter().filter(|call| call.action == "RunInstances").count(), 1);
    ground.proxy.spoil("ec2:RunInstances", Fault::Refuse("VcpuLimitExceeded", "you have enough"));
    let said = ground.run_with("create", &["--quick"], &[]).await?.ended(1).stderr;
    assert!(said.contains("error: the account may not have more instances of this kind: "), "{said}");
    assert_eq!(ground.proxy.take_calls().iter().filter(|call| call.action == "RunInstances").count(), 1);
    assert!(ground.is_bare().await?);
    Ok(())
}
