//! `create` that is ended in the middle, by Ctrl-C and by kill -9, and run again.

use std::collections::BTreeSet;

use anyhow::Result;
use fleetkey_tests::wait_until;
use nix::sys::signal::Signal;

use crate::operator::{Operator, ROLE, SOON};
use crate::world::wait_in_step;

/// More runs than there are stages.
const RUNS: usize = 40;
/// What `create` says last.
const TOLD: &str = "log in: ";

/// A line of what `create` says, as the stage that it stands for: without what differs from box to box.
fn stage(line: &str) -> String {
    let kept = line.split(' ').filter(|word| !word.chars().any(|c| c.is_ascii_digit()));
    kept.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn create_that_is_interrupted_at_each_stage_goes_on_when_run_again_and_makes_one_box() -> Result<()> {
    let alice = Operator::new("again-alice", "/again/").await?;
    let (mut seen, mut ended, mut told) = (BTreeSet::new(), Vec::new(), false);
    for run in 0..RUNS {
        let signal = if run % 2 == 0 { Signal::SIGINT } else { Signal::SIGKILL };
        let mut running = alice.start(&["create", ROLE])?;
        wait_until("create comes to a new stage, or ends", 3 * SOON, || {
            let said = running.said()?;
            let whole = said.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let new = whole.map(|line| stage(line.trim_end())).find(|stage| !seen.contains(stage));
            Ok(new.is_some_and(|stage| seen.insert(stage)) || running.has_ended()?)
        })?;
        if !running.has_ended()? {
            running.signal(signal)?;
        }
        let ran = running.wait()?;
        ended.push((signal, ran.code, ran.stderr.lines().last().unwrap_or_default().to_owned()));
        // Whoever was told how to log in has a box: what they run again makes another.
        told = ran.stderr.contains(TOLD);
        if told {
            break;
        }
    }
    assert!(told, "no run came to an end: {ended:#?}");
    assert!(ended.len() > 5, "there are more stages than these: {ended:#?}");

    let launched = alice.launched().await?;
    assert_eq!(launched.len(), 1, "of all runs together: {ended:#?}");
    let booted = alice.only_box().await?;
    wait_in_step(&booted);
    assert!(alice.gets_in()?);
    Ok(())
}
