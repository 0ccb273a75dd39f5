//! The operator's program on a large account: what each reading command takes of time, memory and calls.
//!
//! moto needs a minute to describe 5,000 instances. So that the time is the program's own, each answer of moto's is
//! fetched once, and a proxy gives it again, to the rival too.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use aws_sdk_ec2::primitives::Blob;
use aws_sdk_ec2::types::{InstanceType, ResourceType};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::Bench;
use super::calls::summed_up;
use super::controller::{any_image, tags};
use super::people::key;
use super::progress::Progress;
use super::repeat::{output, repeat_alone};
use super::report::{Row, Unit};
use super::rivals::Rivals;
use super::samples::Samples;
use crate::cloud::Cloud;
use crate::packages::Packages;
use crate::proxy::Proxy;
use crate::scratch::Scratch;

/// How much is in the account.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// Boxes: most of the role web.
    boxes: usize,
    /// Those of them of the role db, for what is asked about these alone.
    few: usize,
    /// Images, all of the role web.
    images: usize,
    /// Key pairs of the region.
    key_pairs: usize,
}

const LARGE: Size = Size { boxes: 5000, few: 50, images: 500, key_pairs: 2000 };
const QUICK: Size = Size { boxes: 500, few: 10, images: 50, key_pairs: 100 };

/// Instances that one call launches: more take moto too long for one answer.
const BATCH: usize = 100;

/// Calls under way at once while the account is filled.
const AT_ONCE: usize = 8;

/// The namespace of all boxes.
const NAMESPACE: &str = "/bench/";

/// Whoever runs the commands, and has a key.
const OPERATOR: &str = "operator";

/// A command that is measured: its words behind `fleetkey`, and how many lines it prints at least.
struct Reading {
    words: &'static [&'static str],
    lines: fn(&Size) -> usize,
    /// awscli's way to the same answer.
    rival: Option<(&'static str, &'static [&'static str])>,
}

const READINGS: &[Reading] = &[
    Reading {
        words: &["list"],
        lines: |size| size.boxes,
        rival: Some(("aws ec2 describe-instances", &["ec2", "describe-instances"])),
    },
    Reading {
        words: &["list", "db"],
        lines: |size| size.few,
        rival: Some((
            "aws ec2 describe-instances",
            &["ec2", "describe-instances", "--filters", "Name=tag:Name,Values=bench_db"],
        )),
    },
    Reading { words: &["show", "db", "-o", "0"], lines: |_| 10, rival: None },
    Reading {
        words: &["list-images", "web"],
        lines: |size| size.images,
        rival: Some(("aws ec2 describe-images", &["ec2", "describe-images", "--owners", "self"])),
    },
    Reading { words: &["list-volumes"], lines: |size| size.boxes, rival: None },
    Reading { words: &["ssh-config"], lines: |size| size.boxes, rival: None },
    Reading { words: &["cleanup", "--dry-run", "--region", Cloud::REGION], lines: |_| 0, rival: None },
    Reading { words: &["agent", "list"], lines: |_| 2, rival: None },
    Reading { words: &["doctor"], lines: |_| 8, rival: None },
];

/// What is completed: the words at the tab key, and how many answers they have at least.
struct Completion {
    words: &'static [&'static str],
    offered: fn(&Size) -> usize,
}

/// The boxes are those that `list` showed.
const COMPLETIONS: &[Completion] = &[
    Completion { words: &["ssh", "-n", NAMESPACE, "w"], offered: |_| 1 },
    Completion { words: &["ssh", "-n", NAMESPACE, "web", "-I", "i-"], offered: |size| size.boxes - size.few },
];

/// Fills an account, then measures each command.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let cloud = bench.cloud()?;
    let size = if bench.options.quick { QUICK } else { LARGE };
    bench.runtime.block_on(fill(&cloud, &size, &bench.progress))?;
    let rivals = Rivals::new(&cloud)?;
    set_up(&rivals)?;
    let proxy = Proxy::start(bench.moto.address())?;
    proxy.remember();
    for reading in READINGS {
        measure(bench, &rivals, &proxy, &size, reading)?;
    }
    completions(bench, &rivals, &proxy, &size)?;
    let Size { boxes, few, images, key_pairs } = size;
    bench.report.notes.push(format!(
        "Large account: {boxes} boxes in {NAMESPACE}, {few} of them of the role db, {images} images, {key_pairs} key pairs. \
         What moto answers is fetched once and given again by a proxy, so that the times are the programs' own. moto counts \
         a launch of {BATCH} as one of a page of 1000, so that all instances come in one answer; EC2's would be in five. The \
         rival of `list db` is given its filter by hand. Most of the time of `doctor` are the SDK's pauses: moto does not \
         play SimulatePrincipalPolicy, and is asked three times."
    ));
    Ok(())
}

/// What `doctor` wants to see: the account's bucket and topic, a person's key, and the agent's packages.
fn set_up(rivals: &Rivals) -> Result<()> {
    let (folder, packages) = (Scratch::new()?, Packages::stand_in()?);
    let key_file = folder.path().join("id_ed25519.pub");
    fs::write(&key_file, format!("{}\n", key(LARGE.key_pairs)?))?;
    let fleetkey = |words: &[&dyn AsRef<OsStr>]| output(operator(rivals).args(words.iter().map(AsRef::as_ref)));
    fleetkey(&[&"init", &"--yes", &"--no-policies"])?;
    fleetkey(&[&"register-key", &key_file])?;
    fleetkey(&[&"agent", &"publish", &packages.deb()?, &packages.rpm()?])?;
    Ok(())
}

/// The operator's program, run by the person whose account it is.
fn operator(rivals: &Rivals) -> Command {
    let mut command = rivals.command(&crate::program("fleetkey"));
    command.env("FLEETKEY_ME", OPERATOR).env("FLEETKEY_NAMESPACE", NAMESPACE);
    command
}

/// One command: seen to be right, then its calls, then its time and memory.
fn measure(bench: &mut Bench, rivals: &Rivals, proxy: &Proxy, size: &Size, reading: &Reading) -> Result<()> {
    let name = format!("`fleetkey {}`", reading.words.join(" "));
    bench.progress.say(&format!("account: {name}"));
    let runs = if bench.options.quick { 2 } else { 5 };
    let mut command = operator(rivals);
    command.args(reading.words).env("AWS_ENDPOINT_URL", proxy.endpoint());
    remembered(&mut command)?;
    proxy.take_calls();
    let printed = output(&mut command)?.lines().count();
    let expected = (reading.lines)(size);
    ensure!(printed >= expected, "{name} prints {printed} lines, not {expected}");
    let calls = proxy.take_calls();
    let ours = repeat_alone(runs, &command)?;
    let what = format!("{name}; calls: {}", summed_up(&calls));
    let mut time = Row::new(what, Unit::Milliseconds, &Samples::milliseconds(ours.times)?);
    let mut memory = Row::new(format!("{name}: peak memory"), Unit::Mebibytes, &Samples::one(ours.peak)?);
    if let Some((rival, words)) = reading.rival {
        let mut aws = rivals.aws()?;
        aws.args(words).args(["--cli-read-timeout", "0"]).env("AWS_ENDPOINT_URL", proxy.endpoint());
        remembered(&mut aws)?;
        let theirs = repeat_alone(if bench.options.quick { 1 } else { 3 }, &aws)?;
        time = time.next_to(rival, &Samples::milliseconds(theirs.times)?);
        memory = memory.next_to(rival, &Samples::one(theirs.peak)?);
    }
    bench.report.rows.extend([time, memory]);
    Ok(())
}

/// What the tab key costs once `list` has shown the boxes: nothing is asked of AWS for it.
fn completions(bench: &mut Bench, rivals: &Rivals, proxy: &Proxy, size: &Size) -> Result<()> {
    bench.progress.say("account: completions");
    let fleetkey = || {
        let mut command = operator(rivals);
        command.env("AWS_ENDPOINT_URL", proxy.endpoint());
        command
    };
    let mut list = fleetkey();
    list.arg("list");
    remembered(&mut list)?;
    proxy.take_calls();
    for Completion { words, offered } in COMPLETIONS {
        let name = format!("tab after `fleetkey {}`", words.join(" "));
        // As the script of `fleetkey completions bash` asks.
        let mut command = fleetkey();
        command.env("FLEETKEY_COMPLETE", "bash").env("_CLAP_IFS", "\n").env("_CLAP_COMPLETE_SPACE", "true");
        command.env("_CLAP_COMPLETE_INDEX", words.len().to_string()).env("_CLAP_COMPLETE_COMP_TYPE", "9");
        command.args(["--", "fleetkey"]).args(*words);
        let (printed, least) = (output(&mut command)?.lines().count(), offered(size));
        ensure!(printed >= least, "{name} offers {printed}, not {least}");
        let ours = repeat_alone(if bench.options.quick { 5 } else { 20 }, &command)?;
        let what = format!("{name}; {printed} offered");
        bench.report.rows.push(Row::new(what, Unit::Milliseconds, &Samples::milliseconds(ours.times)?));
    }
    ensure!(proxy.take_calls().is_empty(), "completing asks AWS nothing");
    Ok(())
}

/// Runs a command until the proxy has all that it asks for: the first time, it may wait for moto in vain.
fn remembered(command: &mut Command) -> Result<()> {
    const TRIES: usize = 5;
    let mut last = Ok(String::new());
    for _ in 0..TRIES {
        last = output(command);
        if last.is_ok() {
            break;
        }
    }
    last.map(drop)
}

/// Makes everything that the account is to hold.
async fn fill(cloud: &Cloud, size: &Size, progress: &Progress) -> Result<()> {
    let image = any_image(cloud).await?;
    let mut source = None;
    for (role, count) in [("web", size.boxes - size.few), ("db", size.few)] {
        let (name, of) = (format!("bench_{role}"), format!("{NAMESPACE}{role}"));
        for start in (0..count).step_by(BATCH) {
            let batch = i32::try_from(BATCH.min(count - start))?;
            let call = cloud.ec2().run_instances().image_id(&image).instance_type(InstanceType::T3Micro);
            let call = call.min_count(batch).max_count(batch);
            let of_box = tags(ResourceType::Instance, &[("Name", &name), ("generation", "0")]);
            let of_volume = tags(ResourceType::Volume, &[("fleetkey:box", &of), ("fleetkey:volume", "data")]);
            let launched = call.tag_specifications(of_box).tag_specifications(of_volume).send().await?;
            source = launched.instances().first().and_then(|instance| instance.instance_id.clone());
            if start % 1000 == 0 {
                progress.say(&format!("account: {start} of {count} boxes {name}"));
            }
        }
    }
    let source = source.context("RunInstances gives instances")?;
    progress.say(&format!("account: {} images", size.images));
    let images = (0..size.images).map(|number| {
        let name = format!("bench_web__2026-11-21__04-{:02}-{:02}", number / 60, number % 60);
        cloud.ec2().create_image().instance_id(&source).name(name).send()
    });
    stream::iter(images).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
    progress.say(&format!("account: {} key pairs", size.key_pairs));
    let pairs = (0..size.key_pairs).map(async |number| -> Result<()> {
        let material = Blob::new(format!("{}\n", key(number)?));
        let call = cloud.ec2().import_key_pair().key_name(format!("person-{number:05}"));
        call.public_key_material(material).send().await?;
        Ok(())
    });
    stream::iter(pairs).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
    Ok(())
}
