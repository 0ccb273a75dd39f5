//! `--dry-run` of what is done to boxes and images: it says what would be, and asks AWS for nothing but to look.

use anyhow::Result;
use aws_sdk_ec2::types::InstanceStateName;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::proxy::Proxy;

use super::boxes::{launch_box, state, stop};
use super::fleetkey::Operator;

/// The rows of a table, their columns one blank apart, without the header.
fn rows(table: &str) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    table.lines().skip(1).map(words).collect()
}

#[tokio::test]
async fn nothing_is_changed_and_what_would_be_done_is_named() -> Result<()> {
    let mut operator = Operator::new("alice").await?;
    let id = launch_box(&operator.cloud, "prod_web").await?;
    let moto = tokio::task::spawn_blocking(Moto::shared).await??;
    let proxy = Proxy::start(moto.address())?;
    operator.go_through(proxy.endpoint());
    let would = async |arguments: &[&str]| -> Result<(Vec<String>, String)> {
        let ran = operator.verb("/prod/", &[arguments, &["--dry-run"]].concat()).await?.ended(0);
        for call in proxy.take_calls() {
            assert!(["Describe", "Get", "List"].iter().any(|looks| call.action.starts_with(looks)), "{call:?}");
        }
        Ok((rows(&ran.stdout), ran.stderr))
    };
    let running = format!("{id} /prod/web, t3.micro, running");
    let (steps, _) = would(&["stop", "web"]).await?;
    assert_eq!(steps, [format!("stop {running}"), format!("wait {id} until it is stopped")]);
    assert_eq!(would(&["stop", "web", "--no-wait"]).await?.0, [format!("stop {running}")]);
    assert_eq!(would(&["reboot", "web"]).await?.0, [format!("reboot {running}")]);
    let (steps, said) = would(&["start", "web"]).await?;
    assert_eq!((steps.len(), said), (0, format!("box {id} is running already\n")));
    // No terminal is needed, since nothing is asked.
    let (steps, _) = would(&["terminate", "web"]).await?;
    assert_eq!(steps[0], format!("terminate {running}"));
    assert!(steps.len() == 2 && steps[1].starts_with("delete vol-"), "{steps:?}");
    assert_eq!(state(&operator.cloud, &id).await?, InstanceStateName::Running);
    let refused = operator.verb("/prod/", &["image", "web", "--dry-run"]).await?.ended(1);
    assert!(refused.stderr.contains("an image is taken of a box that is stopped"), "{}", refused.stderr);

    stop(&operator.cloud, &id).await?;
    let stopped = format!("{id} /prod/web, t3.micro, stopped");
    let (steps, _) = would(&["image", "web"]).await?;
    assert_eq!(steps, [format!("image {stopped}"), "wait the image until it is available".to_owned()]);
    let (steps, _) = would(&["start", "web"]).await?;
    assert_eq!(steps, [format!("start {stopped}"), format!("wait {id} until it is running")]);
    let taken = operator.json("/prod/", &["image", "web"]).await?;
    proxy.take_calls();
    let (steps, _) = would(&["delete-image", "web"]).await?;
    assert!(steps[0].starts_with(&format!("deregister {} prod_web__", taken["id"].as_str().unwrap_or_default())));
    assert!(steps[1].starts_with("delete snap-"), "{steps:?}");
    let (steps, _) = would(&["delete-image", "web", "--keep-snapshots"]).await?;
    assert!(steps[1].starts_with("keep snap-"), "{steps:?}");
    assert_eq!(operator.json("/prod/", &["list-images", "web"]).await?["images"][0]["id"], taken["id"]);

    operator.verb("/prod/", &["terminate", "web", "--yes"]).await?.ended(0);
    proxy.take_calls();
    let (steps, said) = would(&["terminate", "web", "-I", &id]).await?;
    assert_eq!((steps.len(), said), (0, format!("box {id} is terminated already\n")));
    let refused = operator.verb("/prod/", &["start", "web", "-I", &id, "--dry-run"]).await?.ended(1);
    assert!(refused.stderr.contains(&format!("cannot start box {id}: it is terminated")), "{}", refused.stderr);
    Ok(())
}
