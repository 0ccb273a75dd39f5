//! What boxes leave behind that die without a word.

use anyhow::Result;
use fleetkey_tests::in_box::InBox as _;

use crate::operator::{Operator, ROLE};
use crate::world::{UNIT, status, wait_in_step};

/// The instances whose queues are there, and those whose queues are subscribed.
async fn left(operator: &Operator) -> Result<(String, String)> {
    Ok((operator.account.queues().await?.join(" "), operator.account.subscriptions().await?.join(" ")))
}

#[tokio::test]
async fn r11_queue_and_subscription_of_a_box_that_died_are_cleaned_up_and_those_of_a_living_one_stay() -> Result<()> {
    let alice = Operator::new("cleanup-alice", "/cleanup/").await?;
    let bob = Operator::new("cleanup-bob", "/cleanup-bob/").await?;
    let (dying, living) = (alice.create(&[]).await?, bob.create(&[]).await?);
    for (operator, booted) in [(&alice, &dying), (&bob, &living)] {
        wait_in_step(booted);
        operator.wait_for_queue(booted).await?;
    }
    // Killed so that nobody starts it again: nothing is left to tidy up when the box goes down.
    dying.sh(&format!(
        "mkdir -p /etc/systemd/system/{UNIT}.d; printf '[Service]\\nRestart=no\\n' >/etc/systemd/system/{UNIT}.d/no.conf; \
         systemctl daemon-reload; systemctl kill --signal=KILL {UNIT}"
    ));
    let (dead, id) = (dying.instance_id().to_owned(), living.instance_id().to_owned());
    alice.run(&["terminate", ROLE, "--yes"])?.ended(0);
    let (queues, subscriptions) = left(&alice).await?;
    assert!(queues.contains(&dead) && subscriptions.contains(&dead), "{queues} {subscriptions}");

    let only = ["cleanup", "--yes", "--only", "queues", "status", "--output", "json"];
    // It told of itself a moment ago, and may yet be alive elsewhere.
    let young = alice.run(&only)?.ended(0);
    assert!(!young.stdout.contains(&dead), "{}", young.stdout);
    let swept = alice.run(&[&only[..], &["--older-than", "0s"]].concat())?.ended(0);
    for thing in [
        format!("\"fleetkey-agent_{dead}\""),
        format!("\"subscription of fleetkey-agent_{dead}\""),
        format!("\"status/{dead}.json\""),
    ] {
        assert!(swept.stdout.contains(&thing), "{thing}: {}", swept.stdout);
    }
    assert!(!swept.stdout.contains(&id), "{}", swept.stdout);
    let (queues, subscriptions) = left(&alice).await?;
    assert!(!queues.contains(&dead) && !subscriptions.contains(&dead), "{queues} {subscriptions}");
    assert!(queues.contains(&id) && subscriptions.contains(&id), "{queues} {subscriptions}");
    // The living one still hears.
    assert!(status(&living)["push"].as_str().is_some_and(|push| push.starts_with("connected")), "{}", status(&living));
    bob.hint().await?;
    assert!(bob.gets_in()?);
    Ok(())
}
