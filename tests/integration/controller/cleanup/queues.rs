//! Queues and subscriptions of agents (case R11), and what agents said of themselves.

use anyhow::Result;

use super::super::boxes::{BASE_IMAGE, launch};
use super::ground::{ELSEWHERE, GONE, Ground, stays, swept};

const HERE: &str = "us-west-2";

/// Further instances that never were.
const LATELY: &str = "i-0123456789abcdef1";
const UNTAGGED: &str = "i-0123456789abcdef2";
const ANOTHERS: &str = "i-0123456789abcdef3";

#[tokio::test]
async fn r11_queues_and_subscriptions_of_instances_that_are_gone_are_swept_and_no_others() -> Result<()> {
    let ground = Ground::new().await?;
    let living = launch(ground.cloud(), &[("Name", "anything")]).await?;
    let far = ground.ec2(ELSEWHERE).run_instances().image_id(BASE_IMAGE).min_count(1).max_count(1).send().await?;
    let far = far.instances()[0].instance_id().unwrap_or_default().to_owned();
    for id in [GONE, LATELY, &living, &far] {
        ground.agents_queue(id).await?;
    }
    ground.queue(UNTAGGED, &[]).await?;
    ground.queue(ANOTHERS, &[("fleetkey:created-by", "fleetkey-agent"), ("fleetkey:instance-id", GONE)]).await?;
    for name in ["fleetkey-agent_host-7", "fleetkey-agent_", "cgcloud-agent-i-01234567"] {
        ground.cloud().sqs().create_queue().queue_name(name).send().await?;
    }
    ground.status(LATELY).await?;

    let here = ["--region", HERE, "--only", "queues", "--output", "json", "--yes", "-v"];
    let young = ground.cleanup(&here).await?.ended(0);
    assert_eq!(swept(&young)?, Vec::<String>::new());
    let why = stays(&young);
    let of = |id: &str| why[&format!("fleetkey-agent_{id}")].as_str();
    assert_eq!(of(GONE), format!("too young; instance {GONE} is gone"));
    assert_eq!((of(&living), of(&far)), ("its instance is there", "its instance is there"));
    assert_eq!((of(UNTAGGED), of(ANOTHERS)), ("it has not the tags of an agent's queue", of(UNTAGGED)));
    assert_eq!(why.len(), 12, "{why:?}");

    let gone = ground.sweep(&["--region", HERE, "--only", "queues"]).await?;
    let mut expected: Vec<_> = [GONE, LATELY]
        .iter()
        .flat_map(|id| {
            let queue = format!("fleetkey-agent_{id}");
            [format!("queues {queue} deleted"), format!("queues subscription of {queue} deleted")]
        })
        .collect();
    expected.sort();
    assert_eq!(gone, expected);
    assert_eq!(ground.cloud().queues().await?.len(), 7);
    let heard: Vec<_> = ground.cloud().subscriptions().await?;
    assert_eq!(heard.len(), 4, "{heard:?}");
    assert!(!heard.iter().any(|arn| arn.ends_with(GONE) || arn.ends_with(LATELY)), "{heard:?}");

    // A subscription whose queue somebody deleted by hand.
    ground.agents_queue(GONE).await?;
    let url = ground.cloud().sqs().get_queue_url().queue_name(format!("fleetkey-agent_{GONE}")).send().await?;
    ground.cloud().sqs().delete_queue().set_queue_url(url.queue_url).send().await?;
    let gone = ground.sweep(&["--region", HERE, "--only", "queues"]).await?;
    assert_eq!(gone, [format!("queues subscription of fleetkey-agent_{GONE} deleted")]);
    Ok(())
}

#[tokio::test]
async fn status_of_instances_that_are_gone_is_swept_and_what_is_no_status_is_left() -> Result<()> {
    let ground = Ground::new().await?;
    let far = ground.ec2(ELSEWHERE).run_instances().image_id(BASE_IMAGE).min_count(1).max_count(1).send().await?;
    let far = far.instances()[0].instance_id().unwrap_or_default().to_owned();
    ground.status(GONE).await?;
    ground.status(&far).await?;
    let others = ["status/host-7.json", "status/i-01234567/x.json", "status/i-01234567", "status/.json"];
    for other in others {
        ground.cloud().put_object(other, "{}", &[]).await?;
    }
    let only = ["--region", HERE, "--only", "status"];
    assert_eq!(swept(&ground.cleanup(&[&only[..], &["--yes", "--output", "json"]].concat()).await?.ended(0))?.len(), 0);
    assert_eq!(ground.sweep(&only).await?, [format!("status status/{GONE}.json deleted")]);
    let mut left: Vec<_> = ground.cloud().objects("status/").await?.into_keys().collect();
    let mut expected: Vec<_> = others.map(str::to_owned).into();
    expected.push(format!("status/{far}.json"));
    left.sort();
    expected.sort();
    assert_eq!(left, expected);
    Ok(())
}
