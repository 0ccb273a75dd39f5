//! What cannot be looked at whole is not deleted, and one failure stops nothing else.

use anyhow::Result;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::proxy::{Fault, count};
use fleetkey_tests::wait_until;
use nix::sys::signal::Signal;

use super::ground::{GONE, Ground, swept};

const HERE: &str = "us-west-2";

/// What each kind must have asked before anything of it goes.
const ASKED: [(&str, &[&str]); 7] = [
    ("snapshots", &["ec2:DescribeSnapshots", "ec2:DescribeImages"]),
    ("volumes", &["ec2:DescribeVolumes", "ec2:DescribeInstances"]),
    ("groups", &["ec2:DescribeSecurityGroups", "ec2:DescribeNetworkInterfaces"]),
    (
        "queues",
        &[
            "sqs:ListQueues",
            "sqs:ListQueueTags",
            "sqs:GetQueueAttributes",
            "sns:ListSubscriptions",
            "ec2:DescribeInstances",
            "s3:ListObjectsV2",
        ],
    ),
    ("keys", &["s3:ListObjectsV2", "ec2:DescribeKeyPairs"]),
    ("packages", &["s3:ListObjectsV2", "s3:GetObject", "ec2:DescribeInstances"]),
    ("status", &["s3:ListObjectsV2", "ec2:DescribeInstances"]),
];

/// One thing to sweep of each kind.
async fn litter(ground: &Ground) -> Result<()> {
    ground.left_snapshot(HERE).await?;
    ground.root_volume(HERE, &[("Name", "prod_web"), ("fleetkey:box", "/prod/web")]).await?;
    ground.group("prod_web", &[("fleetkey:box", "/prod/web")]).await?;
    ground.agents_queue(GONE).await?;
    ground.status(GONE).await?;
    let key = TestKey::new("unused")?;
    let name = format!("ssh_pubkey:{}", key.public().ec2_fingerprint());
    ground.cloud().put_object(&name, key.line(), &[]).await?;
    let package = |digit: char| {
        let sha256 = digit.to_string().repeat(64);
        serde_json::json!({"key": format!("agent/{sha256}/a.deb"), "sha256": sha256, "version": "0.1.0",
            "format": "deb", "arch": "x86_64", "size": 4, "published_at": "2026-01-01T00:00:00Z", "published_by": "a"})
    };
    let index = serde_json::json!({"version": 1, "packages": [package('1'), package('2')]});
    ground.cloud().put_object("agent/index.json", index.to_string(), &[]).await?;
    for digit in ['1', '2'] {
        ground.cloud().put_object(&format!("agent/{}/a.deb", digit.to_string().repeat(64)), "deb\n", &[]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn nothing_goes_of_a_kind_for_which_any_question_fails() -> Result<()> {
    let ground = Ground::new().await?;
    litter(&ground).await?;
    let faults = [Fault::Garbage, Fault::HalfBody, Fault::Refuse("AuthFailure", "no"), Fault::ServerError];
    let questions = ASKED.iter().flat_map(|(kind, asked)| asked.iter().map(move |action| (*kind, *action)));
    for ((kind, action), fault) in questions.zip(faults.iter().cycle()) {
        ground.proxy.spoil(action, *fault);
        let all = ["--yes", "--older-than", "0s", "--region", HERE, "--output", "json", "--only", kind];
        let ran = ground.cleanup(&all).await?.ended(1);
        assert_eq!(swept(&ran)?, Vec::<String>::new(), "{kind} {action} {fault:?}");
        assert!(ran.stderr.contains(&format!("warning: {kind}")), "{kind} {action} {fault:?}: {}", ran.stderr);
        ground.proxy.heal();
    }
    let gone = ground.sweep(&["--region", HERE]).await?;
    let mut kinds: Vec<_> = gone.iter().filter_map(|line| line.split(' ').next()).collect();
    kinds.dedup();
    assert_eq!(kinds, ["groups", "keys", "packages", "queues", "snapshots", "status", "volumes"]);
    assert!(gone.iter().all(|line| line.ends_with(" deleted")), "{gone:?}");
    Ok(())
}

#[tokio::test]
async fn one_failure_does_not_stop_the_rest_and_the_same_command_goes_on() -> Result<()> {
    let ground = Ground::new().await?;
    litter(&ground).await?;
    ground.proxy.spoil("ec2:DeleteSnapshot", Fault::Refuse("UnauthorizedOperation", "no"));
    ground.proxy.spoil("sqs:DeleteQueue", Fault::ServerError);
    let all = ["--yes", "--older-than", "0s", "--region", HERE, "--output", "json"];
    let ran = ground.cleanup(&all).await?.ended(1);
    let lines = swept(&ran)?;
    let failed: Vec<_> = lines.iter().filter(|line| line.ends_with(" failed")).collect();
    assert_eq!(failed.len(), 2, "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.ends_with(" deleted")).count(), 6, "{lines:?}");
    assert!(ran.stderr.contains("error: 2 could not be deleted\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: the caller lacks ec2:DeleteSnapshot; "), "{}", ran.stderr);
    ground.proxy.heal();
    assert_eq!(ground.sweep(&["--region", HERE]).await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn what_came_into_use_meanwhile_stays_and_is_no_failure() -> Result<()> {
    let ground = Ground::new().await?;
    litter(&ground).await?;
    ground.proxy.spoil("ec2:DeleteSnapshot", Fault::Refuse("InvalidSnapshot.InUse", "an image has it"));
    ground.proxy.spoil("ec2:DeleteVolume", Fault::Refuse("VolumeInUse", "a box has it"));
    ground.proxy.spoil("ec2:DeleteSecurityGroup", Fault::Refuse("DependencyViolation", "an interface has it"));
    let lines = ground.sweep(&["--region", HERE, "--only", "snapshots", "volumes", "groups"]).await?;
    assert_eq!(lines.iter().filter(|line| line.ends_with(" in-use")).count(), 3, "{lines:?}");
    Ok(())
}

#[tokio::test]
async fn interrupted_it_ends_what_it_has_begun_and_begins_nothing_more() -> Result<()> {
    let ground = Ground::new().await?;
    for _ in 0..7 {
        ground.left_snapshot(HERE).await?;
    }
    ground.proxy.spoil("ec2:DeleteSnapshot", Fault::Hang);
    let words = ["cleanup", "--namespace", "/prod/", "--only", "snapshots", "--yes", "--older-than", "0s"];
    let mut running = ground.operator.start(&[&words[..], &["--region", HERE, "--output", "json"]].concat())?;
    let deadline = std::time::Duration::from_mins(1);
    wait_until("four are being deleted", deadline, || Ok(ground.proxy.held().len() == 4))?;
    running.signal(Signal::SIGINT)?;
    running.says("interrupted: ").await?;
    ground.proxy.heal();
    let ran = running.end().await?.ended(1);
    let lines = swept(&ran)?;
    assert_eq!(lines.iter().filter(|line| line.ends_with(" not-tried")).count(), 3, "{lines:?}");
    assert!(ran.stderr.contains("3 were not tried, since the command was interrupted"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: the same command goes on\n"), "{}", ran.stderr);
    assert!(!ground.sweep(&["--only", "snapshots", "--region", HERE]).await?.is_empty());
    let calls = ground.proxy.take_calls();
    assert!(count(&calls)["ec2:DeleteSnapshot"] >= 7);
    Ok(())
}
