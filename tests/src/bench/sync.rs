//! One sync of one group of 10, 1,000 and 10,000 people from S3, next to the same by the AWS command line.
//!
//! Cold: the box knows nothing. Warm: it knows everything, and nothing has changed.

use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::calls::{listed, total};
use super::people::{GROUP, grow};
use super::repeat::{repeat, repeat_inside, sandbox};
use super::report::{Row, Unit};
use super::rivals::Rivals;
use super::samples::Samples;
use super::{ACCOUNT, AGENT, Bench, KEY_FILE};
use crate::agent::AgentConfig;
use crate::cloud::Cloud;
use crate::proxy::Proxy;
use crate::sandbox::Sandbox;

/// What the agent knows, inside.
const STATE: &str = "/var/lib/fleetkey";

/// One size of group, and how often each thing is measured with it.
struct Size {
    people: usize,
    cold_runs: usize,
    warm_runs: usize,
    rival_runs: usize,
}

/// moto takes a minute or more for each cold sync of 10,000 people, whoever asks.
const SIZES: [Size; 3] = [
    Size { people: 10, cold_runs: 11, warm_runs: 11, rival_runs: 5 },
    Size { people: 1_000, cold_runs: 5, warm_runs: 7, rival_runs: 3 },
    Size { people: 10_000, cold_runs: 3, warm_runs: 5, rival_runs: 1 },
];

/// The largest group of a quick run.
const QUICK: usize = 1_000;

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let cloud = bench.cloud()?;
    let sandbox = sandbox()?;
    sandbox.add_account(ACCOUNT)?;
    let largest = if bench.options.quick { QUICK } else { usize::MAX };
    let mut people = 0;
    for size in SIZES.iter().filter(|size| size.people <= largest) {
        bench.progress.say(&format!("sync: {} people", size.people));
        bench.runtime.block_on(grow(&cloud, people, size.people, &bench.progress))?;
        people = size.people;
        one_size(bench, &cloud, &sandbox, size)?;
    }
    bench.report.notes.push(
        "Sync: the whole of `fleetkey-agent sync`, from the start of the program to its end, with the key file and the \
         state on disk. awscli: `aws iam get-group` and then `aws s3 cp --recursive` of all keys into an empty folder \
         (cold) or `aws s3 sync` over the folder that is there (warm); it writes no `authorized_keys`. Where moto, in \
         Python, is asked for each key, its time is nearly all there is: AWS answers many at once."
            .to_owned(),
    );
    bench.report.notes.push(
        "Up to ten people, the agent lists the keys of each person by a call of their own, side by side; of more, all \
         of `people/` at once, 1,000 in a call."
            .to_owned(),
    );
    Ok(())
}

fn one_size(bench: &mut Bench, cloud: &Cloud, sandbox: &Sandbox, size: &Size) -> Result<()> {
    let config = |cloud: &Cloud| AgentConfig::iam(cloud).grant(ACCOUNT, &[&format!("@@{GROUP}")]);
    config(cloud).write(sandbox)?;
    let sync = |runs| repeat_inside(sandbox, runs, AGENT, &["sync"]);
    let mut cold = Vec::new();
    for _ in 0..size.cold_runs {
        forget(sandbox)?;
        cold.extend(sync(1)?);
        see_keys(sandbox, size.people)?;
    }
    let warm = sync(size.warm_runs)?;
    see_keys(sandbox, size.people)?;
    bench.progress.say(&format!("sync: {} people, awscli", size.people));
    let (rival_cold, rival_warm) = awscli(cloud, size)?;

    let people = thousands(size.people);
    let row = |state: &str, own: Vec<Duration>, rival: Vec<Duration>| -> Result<Row> {
        let row =
            Row::new(format!("sync of {people} people, {state}"), Unit::Milliseconds, &Samples::milliseconds(own)?);
        Ok(row.next_to("awscli", &Samples::milliseconds(rival)?))
    };
    bench.report.rows.push(row("cold", cold, rival_cold)?);
    bench.report.rows.push(row("warm", warm, rival_warm)?);

    let proxy = Proxy::start(bench.moto.address())?;
    config(&cloud.through(&proxy.endpoint())).write(sandbox)?;
    let mut count = |state: &str| -> Result<()> {
        sandbox.run(AGENT, &["sync"])?;
        let calls = proxy.take_calls();
        let what = format!("AWS calls of a sync of {people} people, {state}: {}", listed(&calls));
        bench.report.rows.push(Row::new(what, Unit::Calls, &total(&calls)?));
        Ok(())
    };
    count("warm")?;
    // The calls of a cold sync are the same in all sizes, but for one for each key.
    if size.people <= QUICK {
        forget(sandbox)?;
        count("cold")?;
    }
    Ok(())
}

/// Takes from the box all that a sync left.
fn forget(sandbox: &Sandbox) -> Result<()> {
    let gone = |error: std::io::Error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) };
    fs::remove_dir_all(sandbox.path(STATE)).or_else(gone).context("cannot remove the state")?;
    fs::remove_file(sandbox.path(KEY_FILE)).or_else(gone).context("cannot remove the key file")
}

fn see_keys(sandbox: &Sandbox, wanted: usize) -> Result<()> {
    let found = sandbox.read(KEY_FILE)?.lines().filter(|line| line.contains("ssh-ed25519 ")).count();
    ensure!(found == wanted, "the key file has {found} keys, not {wanted}");
    Ok(())
}

/// Cold and warm times of the AWS command line.
fn awscli(cloud: &Cloud, size: &Size) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let rivals = Rivals::new(cloud)?;
    let mut cold = Vec::new();
    for _ in 0..size.rival_runs {
        let _ = fs::remove_dir_all(rivals.downloads());
        cold.extend(repeat(1, &mut rivals.aws_sync(GROUP, &cloud.bucket(), "cp --recursive")?)?);
        let found = fs::read_dir(rivals.downloads()).context("awscli left no folder")?.count();
        ensure!(found == size.people, "awscli fetched the keys of {found} people, not {}", size.people);
    }
    let warm = repeat(size.rival_runs, &mut rivals.aws_sync(GROUP, &cloud.bucket(), "sync")?)?;
    Ok((cold, warm))
}

fn thousands(number: usize) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}
