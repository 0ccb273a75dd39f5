//! The operator's program: how soon it starts, lists a large account, and launches many boxes, next to awscli.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aws_sdk_ec2::types::{Filter, InstanceType, ResourceType, Tag, TagSpecification};

use super::Bench;
use super::repeat::{output, repeat_alone};
use super::report::{Row, Unit};
use super::rivals::Rivals;
use super::samples::{Samples, milliseconds};
use crate::cloud::Cloud;

/// Boxes in the account that is listed.
const BOXES: usize = 1000;

/// Instances that one call launches: more take moto too long for one answer.
const BATCH: usize = 100;

/// Boxes that are launched at once.
const AT_ONCE: usize = 20;

/// The namespace of all boxes, and the role of those listed, as AWS names them together.
const NAMESPACE: &str = "/bench/";
const NAME_TAG: &str = "bench_web";

/// The states of boxes that are there, as EC2 names them.
const LIVE: [&str; 4] = ["pending", "running", "stopping", "stopped"];

/// A role that is built in.
const ROLE: &str = "generic-debian-12-box";

/// The owner of Debian's images in moto's account, and a name that the role's pattern matches.
const IMAGE_NAME: &str = "debian-12-amd64-20261101-2000";

/// Start, list and launch.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    start(bench)?;
    list(bench)?;
    launches(bench)
}

/// `--help`, which asks nobody.
fn start(bench: &mut Bench) -> Result<()> {
    bench.progress.say("controller: start");
    let cloud = bench.cloud()?;
    let rivals = Rivals::new(&cloud)?;
    let mut fleetkey = rivals.command(&crate::program("fleetkey"));
    fleetkey.arg("--help");
    ensure!(output(&mut fleetkey)?.contains("register-key"), "fleetkey --help says something else");
    let ours = repeat_alone(50, &fleetkey)?;
    // Its help opens a pager and needs groff; its version is the least that it can be asked.
    let mut aws = rivals.aws()?;
    aws.arg("--version");
    let theirs = repeat_alone(10, &aws)?;
    let row = Row::new("`fleetkey --help`", Unit::Milliseconds, &Samples::milliseconds(ours.times)?);
    bench.report.rows.push(row.next_to("aws --version", &Samples::milliseconds(theirs.times)?));
    Ok(())
}

/// `list` of a large account.
fn list(bench: &mut Bench) -> Result<()> {
    bench.progress.say(&format!("controller: {BOXES} boxes"));
    let cloud = bench.cloud()?;
    bench.runtime.block_on(launch_many(&cloud))?;
    let rivals = Rivals::new(&cloud)?;
    let (few, many) = if bench.options.quick { (3, 7) } else { (7, 15) };
    let mut fleetkey = rivals.command(&crate::program("fleetkey"));
    fleetkey.args(["list", "--namespace", NAMESPACE]);
    let rows = output(&mut fleetkey)?.lines().count();
    ensure!(rows == BOXES + 1, "fleetkey list prints {rows} lines of {BOXES} boxes");
    // By turns, since moto may become faster or slower meanwhile.
    let (mut ours, mut moto, mut own, mut peak) = (Vec::new(), Vec::new(), Vec::new(), 0.0_f64);
    for _ in 0..many {
        let once = repeat_alone(1, &fleetkey)?;
        let whole = Samples::milliseconds(once.times)?.median();
        let asked = milliseconds(bench.runtime.block_on(describe(&cloud))?);
        ours.push(whole);
        moto.push(asked);
        own.push(whole - asked);
        peak = peak.max(once.peak);
    }

    bench.progress.say("controller: awscli");
    let mut aws = rivals.aws()?;
    aws.args(["ec2", "describe-instances", "--filters", &format!("Name=tag:Name,Values={NAME_TAG}")]);
    let found = output(&mut aws)?.matches("\"InstanceId\"").count();
    ensure!(found == BOXES, "aws ec2 describe-instances prints {found} instances of {BOXES}");
    let theirs = repeat_alone(few, &aws)?;

    let what = format!("`fleetkey list` of {BOXES} boxes");
    let (time, rival) = (Samples::new(ours)?, Samples::milliseconds(theirs.times)?);
    let name = "aws ec2 describe-instances";
    let rows = &mut bench.report.rows;
    rows.push(Row::new(&what, Unit::Milliseconds, &time).next_to(name, &rival));
    rows.push(Row::new("of it moto: the same call made by the bench", Unit::Milliseconds, &Samples::new(moto)?));
    let own = Samples::new(own)?;
    rows.push(Row::new("the rest, its own: of each run and the call after it", Unit::Milliseconds, &own).aim(40.0));
    let (peak, rival) = (Samples::one(peak)?, Samples::one(theirs.peak)?);
    rows.push(Row::new(format!("{what}: peak memory"), Unit::Mebibytes, &peak).aim(20.0).next_to(name, &rival));
    bench.report.notes.push(format!(
        "List: the whole program, its table read by nobody. moto, in Python, takes most of the time to write an answer \
         of {BOXES} instances; the bench makes the same call by the same SDK, connection and credentials at hand."
    ));
    Ok(())
}

/// Many launches, each a program of its own.
fn launches(bench: &mut Bench) -> Result<()> {
    bench.progress.say(&format!("controller: {AT_ONCE} launches at once"));
    let cloud = bench.cloud()?;
    let image = bench.runtime.block_on(prepare_launches(&cloud))?;
    let rivals = Rivals::new(&cloud)?;
    let program = crate::program("fleetkey");
    let create = |namespace: &str| {
        let mut command = rivals.command(&program);
        command.args(["create", ROLE, "--namespace", namespace, "--image", &image, "--no-agent", "--no-wait"]);
        command.args(["--keypairs", "bench"]);
        command
    };
    // Security group and instance profile are made by the first.
    output(&mut create(NAMESPACE)).context("one launch")?;
    let runs = if bench.options.quick { 2 } else { 5 };
    let mut ours = Vec::new();
    for _ in 0..runs {
        ours.push(all_at_once((0..AT_ONCE).map(|_| create(NAMESPACE)))?);
    }
    let there = bench.runtime.block_on(count(&cloud))?;
    ensure!(there == 1 + runs * AT_ONCE, "{there} boxes are there, not {}", 1 + runs * AT_ONCE);
    let mut theirs = Vec::new();
    for _ in 0..runs {
        let run = || -> Result<Command> {
            let mut aws = rivals.aws()?;
            aws.args(["ec2", "run-instances", "--image-id", &image, "--instance-type", "t3.micro", "--count", "1"]);
            Ok(aws)
        };
        theirs.push(all_at_once((0..AT_ONCE).map(|_| run()).collect::<Result<Vec<_>>>()?)?);
    }
    let what = format!("{AT_ONCE} `fleetkey create --no-wait` at once, until the last ends");
    let row = Row::new(what, Unit::Milliseconds, &Samples::milliseconds(ours)?);
    bench.report.rows.push(row.next_to("aws ec2 run-instances", &Samples::milliseconds(theirs)?));
    bench.report.notes.push(format!(
        "Launches: {AT_ONCE} programs started together. awscli makes the one call RunInstances; Fleetkey also looks up \
         the image, its type and the subnet, and puts security group, role and instance profile in step. moto answers \
         one call at a time."
    ));
    Ok(())
}

/// From the start of the first to the end of the last; none may fail.
fn all_at_once(commands: impl IntoIterator<Item = Command>) -> Result<Duration> {
    let start = Instant::now();
    let started = commands.into_iter().map(|mut command| {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(anyhow::Error::from)
    });
    let started: Vec<Child> = started.collect::<Result<_>>()?;
    for child in started {
        let ended = child.wait_with_output()?;
        ensure!(ended.status.success(), "{}: {}", ended.status, String::from_utf8_lossy(&ended.stderr));
    }
    Ok(start.elapsed())
}

/// Tags for what a call makes.
pub(super) fn tags(resource: ResourceType, tags: &[(&str, &str)]) -> TagSpecification {
    let tags = tags.iter().map(|(key, value)| Tag::builder().key(*key).value(*value).build()).collect();
    TagSpecification::builder().resource_type(resource).set_tags(Some(tags)).build()
}

async fn launch_many(cloud: &Cloud) -> Result<()> {
    let image = any_image(cloud).await?;
    for _ in 0..BOXES / BATCH {
        let count = i32::try_from(BATCH)?;
        let call = cloud.ec2().run_instances().image_id(&image).instance_type(InstanceType::T3Micro);
        let call = call.min_count(count).max_count(count);
        let tags = tags(ResourceType::Instance, &[("Name", NAME_TAG), ("generation", "0"), ("upgrade", "no")]);
        call.tag_specifications(tags).send().await?;
    }
    Ok(())
}

/// An image to launch instances from.
pub(super) async fn any_image(cloud: &Cloud) -> Result<String> {
    let images = cloud.ec2().describe_images().send().await?.images.unwrap_or_default();
    images.into_iter().find_map(|image| image.image_id).context("moto has images")
}

/// How long the call takes that `list` makes, by the bench: the same filters, since each costs moto time.
async fn describe(cloud: &Cloud) -> Result<Duration> {
    let start = Instant::now();
    let name = Filter::builder().name("tag:Name").values("bench_*").build();
    let boxes = Filter::builder().name("tag-key").values("generation").build();
    let live = Filter::builder().name("instance-state-name");
    let live = live.set_values(Some(LIVE.map(str::to_owned).to_vec())).build();
    let call = cloud.ec2().describe_instances().filters(name).filters(boxes).filters(live);
    let found = call.max_results(1000).send().await?;
    ensure!(found.reservations().iter().map(|it| it.instances().len()).sum::<usize>() == BOXES, "not all boxes");
    Ok(start.elapsed())
}

/// What a launch needs to be there: an image of the role's kind, and a key pair.
async fn prepare_launches(cloud: &Cloud) -> Result<String> {
    let source = any_image(cloud).await?;
    let made = cloud.ec2().run_instances().image_id(source).instance_type(InstanceType::T3Micro);
    let made = made.min_count(1).max_count(1).send().await?;
    let instance = made.instances().first().and_then(|instance| instance.instance_id.clone()).context("an instance")?;
    let image = cloud.ec2().create_image().instance_id(&instance).name(IMAGE_NAME).send().await?;
    cloud.ec2().terminate_instances().instance_ids(instance).send().await?;
    cloud.ec2().create_key_pair().key_name("bench").send().await?;
    image.image_id.context("CreateImage gives an id")
}

/// How many boxes there are.
async fn count(cloud: &Cloud) -> Result<usize> {
    let boxes = Filter::builder().name("tag-key").values("generation").build();
    let found = cloud.ec2().describe_instances().filters(boxes).max_results(1000).send().await?;
    Ok(found.reservations().iter().map(|it| it.instances().len()).sum())
}
