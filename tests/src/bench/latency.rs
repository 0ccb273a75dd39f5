//! From a pushed change to the key file: somebody joins or leaves a group, a hint is published, the file is replaced.
//!
//! The agent's time holds that of AWS, which moto, in Python, plays slowly. Nothing is subtracted: the same calls are
//! made by the bench itself, and stand in a row of their own.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aws_sdk_ec2::types::Filter;
use futures_util::future::{join, try_join};

use super::people::{GROUP, add_outsider, grow, key, name};
use super::repeat::sandbox;
use super::report::{Row, Unit};
use super::samples::Samples;
use super::watch::Watch;
use super::{ACCOUNT, Bench, KEY_FILE, PEOPLE};
use crate::agent::{Agent, AgentConfig};
use crate::cloud::Cloud;

/// Samples, half of them of somebody who joins and half of somebody who leaves.
const SAMPLES: usize = 100;
const QUICK_SAMPLES: usize = 50;

/// How long any one change may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// The queue by which the bench itself hears hints.
const QUEUE: &str = "bench";

/// The person who comes and goes.
const GUEST: usize = PEOPLE;

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let samples = if bench.options.quick { QUICK_SAMPLES } else { SAMPLES };
    bench.progress.say(&format!("pushed change: {samples} changes, and as many by the bench itself"));
    let cloud = bench.cloud()?;
    let topic = bench.runtime.block_on(async {
        grow(&cloud, 0, PEOPLE, &bench.progress).await?;
        add_outsider(&cloud, GUEST).await?;
        cloud.create_topic(Cloud::TOPIC).await
    })?;
    let (from_return, from_start) = agent(bench, &cloud, &topic, samples)?;
    let by_bench = bench.runtime.block_on(direct(&cloud, &topic, samples))?;

    let (own, whole) = (Samples::milliseconds(from_return)?, Samples::milliseconds(from_start)?);
    let by_bench = Samples::milliseconds(by_bench)?;
    let rest = Samples::one((own.median() - by_bench.median()).max(0.0))?;
    let rows = &mut bench.report.rows;
    rows.push(
        Row::new("pushed change to file, from the publish call's return", Unit::Milliseconds, &own).aims(10.0, 30.0),
    );
    rows.push(Row::new("the same, from the publish call's start", Unit::Milliseconds, &whole));
    rows.push(Row::new("of it moto: the same AWS calls made by the bench", Unit::Milliseconds, &by_bench));
    rows.push(Row::new("the rest, the agent's own: difference of the medians", Unit::Milliseconds, &rest));
    bench.report.notes.push(format!(
        "Pushed change: one of {} people joins or leaves the group by turns, then the hint is published; until the new \
         file is renamed into place, by inotify, on a disk that is synced. The same AWS calls: the bench receives the \
         hint by a queue of its own and looks as the agent does, with the same calls in the same order and side by side \
         where the agent makes them so, by the same SDK.",
        PEOPLE + 1
    ));
    Ok(())
}

/// Times from the publish call's return, and from its start, until the agent has replaced the file.
fn agent(bench: &Bench, cloud: &Cloud, topic: &str, samples: usize) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let sandbox = sandbox()?;
    sandbox.add_account(ACCOUNT)?;
    let config = AgentConfig::iam(cloud).grant(ACCOUNT, &[&format!("@@{GROUP}")]).set("push.delete_queue", "exit");
    let mut agent = Agent::start(&sandbox, &config)?;
    agent.wait_ready()?;
    agent.log().wait_for("the agent listens for hints", DEADLINE, |line| line.contains("listening for hints"))?;
    let keys = || sandbox.read(KEY_FILE).unwrap_or_default().matches("ssh-ed25519 ").count();
    crate::wait_until("the first sync is done", DEADLINE, || Ok(keys() == PEOPLE))?;

    let watch = Watch::new(&sandbox.path(KEY_FILE))?;
    let guest = key(GUEST)?.to_string();
    let (mut from_return, mut from_start) = (Vec::new(), Vec::new());
    for at in 0..samples {
        let joins = at % 2 == 0;
        std::thread::sleep(quiet());
        bench.runtime.block_on(change(cloud, joins))?;
        watch.clear();
        let start = Instant::now();
        bench.runtime.block_on(cloud.publish_hint(topic))?;
        let returned = Instant::now();
        let replaced =
            watch.next(DEADLINE).with_context(|| format!("change {at}: {}", agent.log().text().unwrap_or_default()))?;
        from_return.push(replaced.saturating_duration_since(returned));
        from_start.push(replaced.saturating_duration_since(start));
        ensure!(sandbox.read(KEY_FILE)?.contains(&guest) == joins, "change {at} made another file than it should");
    }
    ensure!(agent.stop()?.success(), "the agent did not end well");
    Ok((from_return, from_start))
}

/// Long enough for the agent to take the next hint for one out of the blue, and never in step with anything.
fn quiet() -> Duration {
    Duration::from_millis(fastrand::u64(600..900))
}

async fn change(cloud: &Cloud, joins: bool) -> Result<()> {
    let guest = name(GUEST);
    if joins { cloud.add_to_group(&guest, GROUP).await } else { cloud.remove_from_group(&guest, GROUP).await }
}

/// Times from the publish call's return until the bench has made the calls that the agent makes.
async fn direct(cloud: &Cloud, topic: &str, samples: usize) -> Result<Vec<Duration>> {
    let made = cloud.sqs().create_queue().queue_name(QUEUE).send().await?;
    let queue = made.queue_url.context("CreateQueue gives a URL")?;
    let arn = format!("arn:aws:sqs:{}:{}:{QUEUE}", Cloud::REGION, cloud.account_id());
    cloud.sns().subscribe().topic_arn(topic).protocol("sqs").endpoint(arn).send().await?;
    let mut times = Vec::new();
    for at in 0..samples {
        let joins = at % 2 == 0;
        let hint = receive(cloud, &queue, 20);
        let changing = async {
            tokio::time::sleep(quiet()).await;
            change(cloud, joins).await?;
            cloud.publish_hint(topic).await?;
            Ok(Instant::now())
        };
        let (receipt, returned) = try_join(hint, changing).await?;
        let receipt = receipt.context("the hint did not arrive")?;
        let looking = async {
            Box::pin(look(cloud, joins)).await?;
            Ok::<_, anyhow::Error>(returned.elapsed())
        };
        let tidying = async {
            cloud.sqs().delete_message().queue_url(&queue).receipt_handle(receipt).send().await?;
            receive(cloud, &queue, 0).await
        };
        times.push(Box::pin(try_join(looking, tidying)).await?.0);
    }
    Ok(times)
}

async fn receive(cloud: &Cloud, queue: &str, seconds: i32) -> Result<Option<String>> {
    let received = cloud.sqs().receive_message().queue_url(queue).wait_time_seconds(seconds).send().await?;
    Ok(received.messages().first().and_then(|message| message.receipt_handle.clone()))
}

/// The calls of one look of the agent at a group of more than ten, with one new key if somebody joins.
async fn look(cloud: &Cloud, joins: bool) -> Result<()> {
    let list = |prefix| cloud.s3().list_objects_v2().bucket(cloud.bucket()).prefix(prefix).send();
    let keys = async {
        let group = cloud.iam().get_group().group_name(GROUP).send().await?;
        let names: Vec<String> = group.users.into_iter().map(|user| user.user_name).collect();
        // The registry `s3` looks for the objects of key pairs, and the registry `ec2` for the key pairs.
        let pairs = || {
            let filter = Filter::builder().name("key-name").set_values(Some(names.clone())).build();
            cloud.ec2().describe_key_pairs().include_public_key(true).filters(filter).send()
        };
        let from_bucket = async {
            let (objects, of_pairs) = join(list("people/"), pairs()).await;
            objects?;
            of_pairs?;
            if joins {
                let guest = name(GUEST);
                let object = format!("people/{guest}/{}.pub", key(GUEST)?.fingerprint().to_hex());
                cloud.s3().get_object().bucket(cloud.bucket()).key(object).send().await?.body.collect().await?;
            }
            Ok::<_, anyhow::Error>(())
        };
        let (from_bucket, from_ec2) = join(from_bucket, pairs()).await;
        from_bucket?;
        from_ec2?;
        Ok::<_, anyhow::Error>(())
    };
    let (keys, revoked) = join(Box::pin(keys), list("revoked/")).await;
    keys?;
    revoked?;
    Ok(())
}
