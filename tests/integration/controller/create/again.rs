//! What a create that goes on leaves alone, and what is not forgotten since nobody knows what became of it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use fleetkey_tests::proxy::Fault;
use fleetkey_tests::wait_until;
use nix::sys::signal::Signal;

use super::ground::Ground;

/// More than the program needs on a busy machine.
const LONG: Duration = Duration::from_mins(1);

const RUN: &str = "ec2:RunInstances";
const LOOK: &str = "ec2:DescribeInstances";
const CONSOLE: &str = "ec2:GetConsoleOutput";

/// A create that is interrupted while it waits for its box, whose console hangs from then on; the box.
async fn interrupted(ground: &Ground) -> Result<String> {
    ground.proxy.spoil(CONSOLE, Fault::Hang);
    let running = ground.start("create", &[])?;
    wait_until("the box is waited for", LONG, || Ok(!ground.proxy.held().is_empty()))?;
    running.signal(Signal::SIGINT)?;
    running.end().await?.ended(1);
    let found = ground.instances().await?;
    found[0].instance_id().map(str::to_owned).context("an id")
}

#[tokio::test]
async fn a_box_that_was_found_again_is_never_undone_and_its_volumes_stay_as_they_are() -> Result<()> {
    let ground = Ground::new().await?;
    ground.role("web", "instance_type: t3.small\nvolumes: [{name: data, size: 1, keep: true}]\n")?;
    let id = interrupted(&ground).await?;
    let state = async || -> Result<_> {
        let found = ground.instances().await?;
        let data = found[0].block_device_mappings().iter().find(|mapping| mapping.device_name() == Some("/dev/sdf"));
        let goes = data.and_then(|mapping| mapping.ebs()?.delete_on_termination());
        let state = found[0].state().and_then(|state| state.name()).map(|name| name.as_str().to_owned());
        Ok((found[0].instance_id().map(str::to_owned), state, goes))
    };
    let running = (Some(id.clone()), Some("running".to_owned()), Some(false));
    ground.proxy.spoil(CONSOLE, Fault::Refuse("Broken", "it is broken"));
    // It runs, and its console cannot be read; then somebody has stopped it.
    for stopped in [false, true] {
        if stopped {
            ground.cloud().ec2().stop_instances().instance_ids(&id).send().await?;
        }
        let said = ground.run("create", &[]).await?.ended(1).stderr;
        assert!(said.contains(&format!("box {id} of /team/web is kept as it is, since this run has not launched it")));
        assert!(said.contains(&format!("hint: to give up: fleetkey terminate --region us-west-2 /team/web -I {id}")));
        assert!(!said.contains("undone"), "{said}");
        assert_eq!(state().await?, running, "{said}");
    }
    ground.proxy.heal();
    assert_eq!(ground.create(&[]).await?["id"], id.as_str());
    Ok(())
}

#[tokio::test]
async fn an_error_of_looking_for_a_launch_is_not_taken_for_an_answer_to_it() -> Result<()> {
    let ground = Ground::new().await?;
    for code in ["RequestExpired", "UnauthorizedOperation"] {
        ground.proxy.spoil(RUN, Fault::HalfBody);
        ground.proxy.spoil(LOOK, Fault::Refuse(code, "not now"));
        let said = ground.run("create", &["--quick"]).await?.ended(1).stderr;
        assert!(said.contains("the launch of box /team/web could not be undone"), "{code}: {said}");
        assert!(!ground.records()?.is_empty() && ground.instances().await?.len() == 1, "{code}: {said}");
        ground.proxy.heal();
        assert_eq!(ground.create(&[]).await?["resumed"], true, "{code}");
        let [made] = &ground.instances().await?[..] else { panic!("one box") };
        ground.cloud().ec2().terminate_instances().instance_ids(made.instance_id().context("an id")?).send().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_ec2_says_after_an_answer_that_was_not_heard_is_not_taken_for_an_answer_to_that() -> Result<()> {
    let ground = Ground::new().await?;
    let asked = AtomicU32::new(0);
    ground.proxy.play(move |call| {
        let code = match (call.action.as_str(), asked.load(Ordering::Relaxed)) {
            ("RunInstances", 0) => "InternalError",
            ("RunInstances", _) => "RequestLimitExceeded",
            _ => return None,
        };
        asked.fetch_add(1, Ordering::Relaxed);
        let error = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
        Some((503, format!("<Response><Errors>{error}</Errors></Response>")))
    });
    let said = ground.run("create", &["--quick"]).await?.ended(1).stderr;
    assert!(said.contains("the launch of box /team/web could not be undone"), "{said}");
    assert!(!ground.records()?.is_empty(), "{said}");
    Ok(())
}
