//! `fleetkey start`, `stop`, `reboot` and `terminate`: from every state the right thing, waited for.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_sdk_ec2::types::{AttributeBooleanValue, InstanceStateName};
use fleetkey_tests::moto::Moto;
use fleetkey_tests::proxy::Proxy;

use super::boxes::{launch_box, launch_with, state, stop, volume};
use super::fleetkey::Operator;
use super::staged::{BOX, Play, boxed, error};

const YES: [&str; 4] = ["terminate", "web", "--yes", "--no-wait"];

#[tokio::test]
async fn a_box_is_stopped_started_rebooted_and_terminated_and_those_of_others_are_left_alone() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let id = launch_box(&operator.cloud, "prod_web").await?;
    let other = launch_box(&operator.cloud, "alice_web").await?;
    for (verb, found, said) in [
        (&["start"][..], InstanceStateName::Running, "is running already"),
        (&["reboot"], InstanceStateName::Running, "is rebooting"),
        (&["stop"], InstanceStateName::Stopped, "is stopped"),
        (&["stop", "--force"], InstanceStateName::Stopped, "is stopped already"),
        (&["start"], InstanceStateName::Running, "is running"),
        (&["stop", "--force"], InstanceStateName::Stopped, "is stopped"),
        (&["terminate", "--yes"], InstanceStateName::Terminated, "is terminated"),
    ] {
        let arguments = [&[verb[0], "web"], &verb[1..], &["--timeout", "1m"]].concat();
        let ran = operator.verb("/prod/", &[&arguments[..], &["--output", "json"]].concat()).await?.ended(0);
        assert!(ran.stderr.contains(&format!("box {id} {said}\n")), "{verb:?}: {}", ran.stderr);
        let json: serde_json::Value = serde_json::from_str(&ran.stdout)?;
        assert_eq!((json["id"].as_str(), json["state"].as_str()), (Some(&*id), Some(found.as_str())));
        assert_eq!(state(&operator.cloud, &id).await?, found);
    }
    assert_eq!(state(&operator.cloud, &other).await?, InstanceStateName::Running);
    let again = operator.verb("/prod/", &["terminate", "web", "-y", "-I", &id]).await?.ended(0);
    assert!(again.stderr.contains(&format!("box {id} is terminated already")), "{}", again.stderr);
    let gone = operator.verb("/prod/", &["start", "web", "-I", &id]).await?.ended(1);
    assert!(gone.stderr.contains(&format!("cannot start box {id}: it is terminated (")), "{}", gone.stderr);
    let none = operator.verb("/prod/", &["stop", "web"]).await?.ended(1);
    assert!(none.stderr.contains("there is no box /prod/web"), "{}", none.stderr);
    Ok(())
}

#[tokio::test]
async fn the_host_keys_of_a_box_that_is_gone_are_forgotten_and_those_of_others_are_kept() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let [gone, kept] = [launch_box(&operator.cloud, "web").await?, launch_box(&operator.cloud, "db").await?];
    let folder = operator.path(".local/state/fleetkey/known_hosts.d/us-west-2");
    std::fs::create_dir_all(&folder)?;
    for id in [&gone, &kept] {
        std::fs::write(folder.join(id), "")?;
    }
    operator.verb("/", &["terminate", "web", "--yes"]).await?.ended(0);
    assert!(!folder.join(&gone).exists() && folder.join(&kept).exists());
    Ok(())
}

#[tokio::test]
async fn fault_11_boxes_that_are_pending_or_stopping_are_terminated_and_waited_for() -> Result<()> {
    for states in [
        // The first two looks are before the request; EC2 may show old states for a while after it.
        &["pending", "pending", "pending", "running", "shutting-down", "terminated"][..],
        &["stopping", "stopping", "stopping", "stopped", "shutting-down", "terminated"],
    ] {
        let mut operator = Operator::new("alice").await?;
        let play = Play::of_states(states)?;
        operator.go_through(play.endpoint());
        let ran = operator.verb("/", &["terminate", "web", "--yes"]).await?.ended(0);
        assert!(ran.stderr.contains(&format!("waiting: box {BOX} is terminated\n")), "{}", ran.stderr);
        assert!(ran.stderr.ends_with(&format!("box {BOX} is terminated\n")), "{}", ran.stderr);
        assert_eq!(play.done(), [format!("TerminateInstances {BOX}")]);
    }
    Ok(())
}

#[tokio::test]
async fn what_ec2_does_not_take_yet_is_waited_for_and_then_asked() -> Result<()> {
    for (arguments, states, calls) in [
        (
            &["start", "web"][..],
            &["stopping", "stopping", "stopped", "stopped", "pending", "running"][..],
            &["Start"][..],
        ),
        (&["start", "web"], &["pending", "running"], &[]),
        (&["stop", "web"], &["pending", "pending", "running", "running", "stopping", "stopped"], &["Stop"]),
        (&["stop", "web"], &["stopping", "stopped"], &[]),
        (&["stop", "web", "--force"], &["stopping", "stopping", "stopped"], &["Stop"]),
        (&["reboot", "web"], &["pending", "running", "running"], &["Reboot"]),
        (&["terminate", "web", "--yes", "-I", BOX], &["shutting-down", "shutting-down", "terminated"], &[]),
    ] {
        let mut operator = Operator::new("alice").await?;
        let play = Play::of_states(states)?;
        operator.go_through(play.endpoint());
        operator.verb("/", arguments).await?.ended(0);
        let calls: Vec<_> = calls.iter().map(|call| format!("{call}Instances {BOX}")).collect();
        assert_eq!(play.done(), calls, "{arguments:?} {states:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_come_about_is_refused_and_a_start_that_fails_is_told_with_ec2s_reason() -> Result<()> {
    for (arguments, states, said) in [
        (
            &["reboot", "web"][..],
            &["stopped"][..],
            "cannot reboot box i-0123456789abcdef0: it is stopped\nhint: start it with: fleetkey start --region us-west-2 /web -I i-0123456789abcdef0",
        ),
        (
            &["start", "web", "-I", BOX],
            &["shutting-down"],
            "cannot start box i-0123456789abcdef0: it is shutting-down\nhint: a terminated box",
        ),
        (
            &["start", "web", "--no-wait"],
            &["stopping"],
            "is stopping, and EC2 can be asked to start it once it is stopped\nhint: without --no-wait",
        ),
        (&["stop", "web", "-Q"], &["pending"], "is pending, and EC2 can be asked to stop it once it is running"),
        (
            &["stop", "web"],
            &["running", "stopping", "terminated"],
            "cannot stop box i-0123456789abcdef0: it is terminated",
        ),
    ] {
        let mut operator = Operator::new("alice").await?;
        let play = Play::of_states(states)?;
        operator.go_through(play.endpoint());
        let ran = operator.verb("/", arguments).await?.ended(1);
        assert!(ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
    }
    let mut operator = Operator::new("alice").await?;
    let reason = "<stateReason><code>Client.InternalError</code><message>the key is disabled</message></stateReason>";
    let states = [boxed("stopped", ""), boxed("pending", ""), boxed("stopped", reason)];
    let play = Play::start(vec![("DescribeInstances", states.map(|state| (200, state)).to_vec())])?;
    operator.go_through(play.endpoint());
    let ran = operator.verb("/", &["start", "web"]).await?.ended(1);
    assert!(ran.stderr.contains("it is stopped (the key is disabled)\n"), "{}", ran.stderr);
    Ok(())
}

#[tokio::test]
async fn a_request_that_comes_in_the_wrong_state_is_made_again_in_the_next() -> Result<()> {
    let mut operator = Operator::new("alice").await?;
    let states = ["stopped", "stopped", "stopping", "stopped", "pending", "running"];
    let refused = error("IncorrectInstanceState", "The instance is not in a state from which it can be started.");
    let play = Play::start(vec![
        ("DescribeInstances", states.map(|state| (200, boxed(state, ""))).to_vec()),
        ("StartInstances", vec![refused, (200, String::new())]),
    ])?;
    operator.go_through(play.endpoint());
    operator.verb("/", &["start", "web"]).await?.ended(0);
    assert_eq!(play.done().len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_wait_ends_in_time_or_when_interrupted_and_says_how_to_go_on() -> Result<()> {
    let mut operator = Operator::new("alice").await?;
    let play = Play::of_states(&["running", "stopping"])?;
    operator.go_through(play.endpoint());
    let go_on = format!("hint: go on with: fleetkey stop --region us-west-2 /web -I {BOX}\n");
    let ran = operator.verb("/", &["stop", "web", "--timeout", "5s"]).await?.ended(1);
    let said = format!("error: waited 5s in vain: box {BOX} is stopped; at last: stopping\n{go_on}");
    assert!(ran.stderr.ends_with(&said), "{}", ran.stderr);

    let mut play = Play::of_states(&["running", "stopping"])?;
    operator.go_through(play.endpoint());
    let variables = [("FLEETKEY_ZONE", "us-west-2a")];
    let child = operator.command(&["stop", "web", "-I", BOX, "-n", "/"], &variables).spawn()?;
    // One look finds the box, one follows the request, and the third is a wait.
    for _ in 0..3 {
        while play.next_request().await?.field("Action").as_deref() != Some("DescribeInstances") {}
    }
    let pid = child.id().context("it runs")?.to_string();
    assert!(tokio::process::Command::new("kill").args(["-INT", &pid]).status().await?.success());
    let output = tokio::time::timeout(Duration::from_secs(20), child.wait_with_output()).await??;
    let stderr = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let said = format!("error: interrupted while waiting: box {BOX} is stopped\n{go_on}");
    assert!(stderr.ends_with(&said), "{stderr}");
    Ok(())
}

#[tokio::test]
async fn without_waiting_a_request_is_made_and_no_more() -> Result<()> {
    let mut operator = Operator::new("alice").await?;
    for (arguments, states, call) in [
        (&["start", "web", "--no-wait"][..], ["stopped", "pending"], "StartInstances"),
        (&["stop", "web", "--quick"], ["running", "stopping"], "StopInstances"),
        (&["reboot", "web", "-Q"], ["running", "running"], "RebootInstances"),
        (&YES, ["running", "running"], "TerminateInstances"),
    ] {
        let play = Play::of_states(&states)?;
        operator.go_through(play.endpoint());
        operator.verb("/", arguments).await?.ended(0);
        assert_eq!(play.done(), [format!("{call} {BOX}")], "{arguments:?}");
    }
    let both = operator.verb("/", &["stop", "web", "--no-wait", "--timeout", "1s"]).await?.ended(2);
    assert!(both.stderr.contains("cannot be used with"), "{}", both.stderr);
    Ok(())
}

#[tokio::test]
async fn fault_12_volumes_that_outlive_their_box_are_named_with_what_deletes_them() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let volumes = vec![volume("/dev/sda1", 8, true), volume("/dev/sdf", 100, false)];
    let id = launch_with(&operator.cloud, &[("Name", "web"), ("generation", "0")], volumes).await?;
    let shown = operator.json("/", &["show", "web"]).await?;
    let kept = shown["volumes"][1]["id"].as_str().context("two volumes")?;
    let ran = operator.verb("/", &["terminate", "web", "-I", &id, "--yes"]).await?.ended(0);
    let said = format!("volume {kept}, /dev/sdf, 100 GiB gp3 is kept and goes on costing\n");
    assert!(ran.stderr.contains(&said), "{}", ran.stderr);
    let hint = format!("hint: delete it with: aws ec2 delete-volume --volume-id {kept} --region us-west-2\n");
    assert!(ran.stderr.ends_with(&hint), "{}", ran.stderr);
    let left = operator.cloud.ec2().describe_volumes().volume_ids(kept).send().await?;
    assert_eq!(left.volumes().len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_protected_box_is_left_alone_and_the_refusal_says_what_protects_it() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let id = launch_box(&operator.cloud, "web").await?;
    let on = || AttributeBooleanValue::builder().value(true).build();
    let protect = || operator.cloud.ec2().modify_instance_attribute().instance_id(&id);
    protect().disable_api_termination(on()).send().await?;
    let ran = operator.verb("/", &["terminate", "web", "--yes"]).await?.ended(1);
    assert!(ran.stderr.contains(&format!("error: box {id} is protected from being terminated: ")), "{}", ran.stderr);
    assert!(ran.stderr.contains("--no-disable-api-termination --region us-west-2"), "{}", ran.stderr);
    assert_eq!(state(&operator.cloud, &id).await?, InstanceStateName::Running);
    protect().disable_api_stop(on()).send().await?;
    let ran = operator.verb("/", &["stop", "web"]).await?.ended(1);
    assert!(ran.stderr.contains("--no-disable-api-stop --region us-west-2"), "{}", ran.stderr);
    Ok(())
}

#[tokio::test]
async fn without_a_terminal_nothing_is_terminated_unless_told_so() -> Result<()> {
    let mut operator = Operator::new("alice").await?;
    let id = launch_box(&operator.cloud, "web").await?;
    let proxy = Proxy::start(Moto::shared()?.address())?;
    operator.go_through(proxy.endpoint());
    let ran = operator.verb("/", &["terminate", "web"]).await?.ended(2);
    assert!(ran.stderr.contains("there is no terminal to ask on\nhint: --yes goes ahead"), "{}", ran.stderr);
    assert!(proxy.take_calls().is_empty(), "nothing is asked of AWS");
    assert_eq!(state(&operator.cloud, &id).await?, InstanceStateName::Running);
    Ok(())
}

#[tokio::test]
async fn whoever_is_asked_and_says_no_changes_nothing_and_whoever_says_yes_does() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let id = launch_box(&operator.cloud, "web").await?;
    let arguments = ["terminate", "web", "--namespace", "/"];
    for (answer, code, found) in [
        ("n\n", 1, InstanceStateName::Running),
        ("\n", 1, InstanceStateName::Running),
        ("y\n", 0, InstanceStateName::Terminated),
    ] {
        let ran = operator.at_a_terminal(&arguments, answer).await?.ended(code);
        assert!(ran.stdout.contains(&format!("terminate  {id}")), "{}", ran.stdout);
        assert!(ran.stdout.contains(&format!("Terminate box {id} for good? [y/N] ")), "{}", ran.stdout);
        assert_eq!(state(&operator.cloud, &id).await?, found, "{answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_verb_that_changes_takes_no_role_of_two_boxes_for_one() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let ids = [launch_box(&operator.cloud, "web").await?, launch_box(&operator.cloud, "web").await?];
    for arguments in [&["start", "web"][..], &["stop", "web"], &["reboot", "web"], &["terminate", "web", "--yes"]] {
        let ran = operator.verb("/", arguments).await?.ended(1);
        assert!(ran.stderr.contains("error: 2 boxes are /web; which one?\n"), "{arguments:?}: {}", ran.stderr);
        for bad in [&["-o", "9"][..], &["-I", "i-0123456789abcdef0"], &["-c", "c1"]] {
            operator.verb("/", &[arguments, bad].concat()).await?.ended(1);
        }
        operator.verb("/", &[arguments, &["--timeout", "soon"]].concat()).await?.ended(2);
    }
    for id in &ids {
        assert_eq!(state(&operator.cloud, id).await?, InstanceStateName::Running);
    }
    stop(&operator.cloud, &ids[0]).await?;
    operator.verb("/", &["terminate", "web", "--yes", "-o", "-1"]).await?.ended(0);
    let states = [state(&operator.cloud, &ids[0]).await?, state(&operator.cloud, &ids[1]).await?];
    assert!(states.contains(&InstanceStateName::Terminated) && states[0] != states[1], "{states:?}");
    Ok(())
}
