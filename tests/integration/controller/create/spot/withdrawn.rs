//! No spot request is left open, and nothing that came of one is lost: when the time is up, after an error, on an
//! interrupt, and when a request is filled in the very moment in which it is cancelled.

use anyhow::Result;
use fleetkey_tests::proxy::Fault;
use fleetkey_tests::wait_until;
use nix::sys::signal::Signal;

use super::super::ground::{Ground, printed, tags};
use super::market::{Market, held_create};
use super::{CANCEL, DESCRIBE, LONG, REQUEST, TIMED, count};

const SOON: [&str; 4] = ["--quick", "--spot", "--spot-timeout", "2s"];

#[tokio::test]
async fn when_the_time_is_up_the_request_is_cancelled_and_everything_undone() -> Result<()> {
    let ground = Ground::new().await?;
    let market = Market::open(&ground, "capacity-not-available");
    // Long enough for a look at the request, on a busy machine.
    let said = ground.run("create", &["--quick", "--spot", "--spot-timeout", "15s"]).await?.ended(1).stderr;
    assert_eq!(market.states(), ["cancelled"]);
    let why = "its time is up; at last: capacity-not-available: it is capacity-not-available";
    assert!(said.contains(why) && said.contains("spot request sir-00000001 is cancelled"), "{said}");
    assert!(said.contains("error: EC2 has no room for t3.small in us-west-2a: "), "{said}");
    assert!(ground.is_bare().await? && ground.records()?.is_empty(), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_filled_as_its_time_is_up_is_a_box() -> Result<()> {
    let ground = Ground::new().await?;
    let market = Market::open(&ground, "capacity-not-available");
    let instance = market.fill_on_cancel(&ground).await?;
    let ran = ground.run("create", &[&SOON[..], &["--output", "json"]].concat()).await?.ended(0);
    assert_eq!((market.states(), printed(&ran)?["id"].as_str()), (vec!["cancelled"], Some(instance.as_str())));
    assert!(ran.stderr.contains(&format!("was filled before it was cancelled: box {instance}")), "{}", ran.stderr);
    assert_eq!(tags(ground.instances().await?[0].tags())["Name"], "team_web");
    assert!(ground.records()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_interrupt_cancels_the_request_and_the_same_command_begins_anew() -> Result<()> {
    let ground = Ground::new().await?;
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let market = Market::open(&ground, "capacity-not-available");
        let running = held_create(&ground, &TIMED)?;
        running.signal(signal)?;
        let said = running.end().await?.ended(1).stderr;
        assert_eq!(market.states(), ["cancelled"], "{said}");
        assert!(said.contains("error: interrupted before a box of /team/web was launched"), "{said}");
        assert!(ground.instances().await?.is_empty());
    }
    ground.proxy.heal();
    assert_eq!(ground.create(&TIMED).await?["resumed"], false);
    assert!(ground.instances().await?.len() == 1 && ground.records()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_filled_as_it_is_interrupted_is_gone_on_with_and_no_second_box_is_asked_for() -> Result<()> {
    let ground = Ground::new().await?;
    let market = Market::open(&ground, "capacity-not-available");
    let running = held_create(&ground, &TIMED)?;
    let instance = market.fill_on_cancel(&ground).await?;
    running.signal(Signal::SIGINT)?;
    let said = running.end().await?.ended(1).stderr;
    assert!(said.contains(&format!("error: interrupted; box {instance} of /team/web is left as it is")), "{said}");
    assert_eq!(tags(ground.instances().await?[0].tags())["Name"], "team_web");
    let made = ground.create(&TIMED).await?;
    assert_eq!((made["id"].as_str(), made["resumed"].as_bool()), (Some(instance.as_str()), Some(true)));
    assert_eq!((market.states().len(), ground.instances().await?.len()), (1, 1));
    assert!(ground.records()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_request_that_ec2_does_not_show_after_it_was_cancelled_is_looked_for_until_it_does() -> Result<()> {
    let ground = Ground::new().await?;
    let market = Market::open(&ground, "capacity-not-available");
    let running = held_create(&ground, &TIMED)?;
    let instance = market.fill_on_cancel(&ground).await?;
    market.hide_cancelled(2);
    running.signal(Signal::SIGINT)?;
    let said = running.end().await?.ended(1).stderr;
    assert!(said.contains(&format!("error: interrupted; box {instance} of /team/web is left as it is")), "{said}");
    assert_eq!(ground.create(&TIMED).await?["id"], instance.as_str());
    Ok(())
}

#[tokio::test]
async fn what_came_of_a_create_that_was_killed_is_adopted_by_the_same_command() -> Result<()> {
    let ground = Ground::new().await?;
    let market = Market::open(&ground, "capacity-not-available");
    let running = held_create(&ground, &TIMED)?;
    running.signal(Signal::SIGKILL)?;
    running.end().await?;
    assert_eq!(market.states(), ["open"]);
    let instance = market.fill(&ground).await?;
    // EC2 fills it, though nobody waits.
    let made = ground.create(&TIMED).await?;
    assert_eq!((made["id"].as_str(), made["resumed"].as_bool()), (Some(instance.as_str()), Some(true)));
    assert_eq!((market.states().len(), ground.instances().await?.len()), (1, 1));

    let running = held_create(&ground, &TIMED)?;
    running.signal(Signal::SIGKILL)?;
    running.end().await?;
    // Nothing came of that one: it is cancelled, and another is made.
    let again = held_create(&ground, &TIMED)?;
    assert_eq!(market.states()[1..], ["cancelled", "open"]);
    market.fill(&ground).await?;
    again.end().await?.ended(0);
    assert_eq!(ground.instances().await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_tentative_request_is_given_up_at_the_first_word_and_leaves_nothing() -> Result<()> {
    let ground = Ground::new().await?;
    for code in ["price-too-low", "capacity-not-available", "launch-group-constraint"] {
        let market = Market::open(&ground, code);
        let flags = ["--quick", "--spot-tentative", "--spot-launch-group", "red", "--output", "json"];
        let ran = ground.run("create", &[&TIMED[..], &flags].concat()).await?.ended(0);
        assert_eq!((ran.stdout.trim(), market.states()), ("null", vec!["cancelled"]), "{code}");
        assert!(ran.stderr.contains(&format!("was not filled: {code}: it is {code}")), "{}", ran.stderr);
        assert!(ground.is_bare().await? && ground.records()?.is_empty(), "{code}");
    }
    // Without a word from EC2 until its time is up.
    let market = Market::open(&ground, "pending-evaluation");
    let ran = ground.run("create", &[&SOON[..], &["--spot-tentative"]].concat()).await?.ended(0);
    assert!(ran.stderr.contains("its time is up, and EC2 did not say why"), "{}", ran.stderr);
    assert_eq!(market.states(), ["cancelled"]);
    assert!(ground.is_bare().await? && ground.records()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_tentative_request_is_tried_in_each_place_once_and_one_of_a_launch_group_in_one() -> Result<()> {
    let ground = Ground::new().await?;
    let flags = ["--quick", "--spot-tentative", "--zone", "us-west-2b,us-west-2a"];
    for (group, requests) in [(&[][..], 2), (&["--spot-launch-group", "red"], 1)] {
        let market = Market::open(&ground, "launch-group-constraint");
        ground.run("create", &[&TIMED[..], &flags, group].concat()).await?.ended(0);
        assert_eq!(market.states(), vec!["cancelled"; requests], "{group:?}");
    }
    assert!(ground.is_bare().await? && ground.records()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_instance_that_cannot_be_adopted_is_terminated_and_everything_undone() -> Result<()> {
    for stage in ["ec2:CreateTags", "ec2:ModifyInstanceMetadataOptions"] {
        let ground = Ground::new().await?;
        let market = Market::open(&ground, "capacity-not-available");
        let instance = market.fill(&ground).await?;
        ground.proxy.spoil(stage, Fault::Refuse("Broken", "it is broken"));
        let said = ground.run("create", &[&TIMED[..], &["--quick"]].concat()).await?.ended(1).stderr;
        assert!(said.contains("it is broken") && said.contains(&format!("undone: box {instance}")), "{stage}: {said}");
        assert!(ground.is_bare().await? && ground.records()?.is_empty(), "{stage}: {said}");
        assert_eq!(count(&ground.proxy.take_calls(), REQUEST), 1);
    }
    Ok(())
}

#[tokio::test]
async fn an_error_while_waiting_cancels_the_request() -> Result<()> {
    let ground = Ground::new().await?;
    let market = Market::open(&ground, "capacity-not-available");
    let running = held_create(&ground, &TIMED)?;
    // The wait is refused, and the cancelling that follows from it hangs until EC2 is asked about the request again.
    ground.proxy.spoil(CANCEL, Fault::Hang);
    ground.proxy.spoil(DESCRIBE, Fault::Refuse("Broken", "it is broken"));
    wait_until("the request is being cancelled", LONG, || Ok(!ground.proxy.held().is_empty()))?;
    ground.proxy.mend(DESCRIBE);
    ground.proxy.mend(CANCEL);
    let said = running.end().await?.ended(1).stderr;
    assert_eq!(market.states(), ["cancelled"], "{said}");
    assert!(said.contains("it is broken") && ground.is_bare().await? && ground.records()?.is_empty(), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_request_that_cannot_be_cancelled_is_named_and_the_same_command_looks_again() -> Result<()> {
    let ground = Ground::new().await?;
    let market = Market::open(&ground, "capacity-not-available");
    ground.proxy.spoil(CANCEL, Fault::Refuse("Broken", "it is broken"));
    let said = ground.run("create", &SOON).await?.ended(1).stderr;
    assert_eq!(market.states(), ["open"]);
    assert!(said.contains("spot request sir-00000001 may still be open"), "{said}");
    let hint = "aws ec2 cancel-spot-instance-requests --spot-instance-request-ids sir-00000001 --region us-west-2";
    assert!(said.contains(hint) && !ground.records()?.is_empty(), "{said}");
    ground.proxy.mend(CANCEL);
    let again = held_create(&ground, &TIMED)?;
    assert_eq!(market.states(), ["cancelled", "open"]);
    market.fill(&ground).await?;
    again.end().await?.ended(0);
    assert!(ground.instances().await?.len() == 1 && ground.records()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_answer_that_was_never_heard_leaves_no_request_behind() -> Result<()> {
    let ground = Ground::new().await?;
    let market = Market::open(&ground, "capacity-not-available");
    // EC2 takes the request and the program is interrupted before it hears of it.
    ground.proxy.spoil(REQUEST, Fault::Hang);
    let running = ground.start("create", &[&TIMED[..], &["--quick"]].concat())?;
    wait_until("the request is sent", LONG, || Ok(!ground.proxy.held().is_empty()))?;
    running.signal(Signal::SIGINT)?;
    let said = running.end().await?.ended(1).stderr;
    assert!(
        said.contains("EC2 has not answered to a spot request, and shows none; if there is one, it ends at"),
        "{said}"
    );
    assert!(!ground.records()?.is_empty() && market.states().is_empty());
    Ok(())
}
