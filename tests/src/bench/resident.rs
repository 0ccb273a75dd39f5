//! The agent over days: its memory, its processor time and its calls to AWS, by TLS as on a real box.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use nix::time::ClockId;
use nix::unistd::Pid;

use super::calls::{listed, total};
use super::people::{GROUP, grow};
use super::repeat::sandbox;
use super::report::{Row, Unit};
use super::samples::Samples;
use super::{ACCOUNT, Bench, PEOPLE};
use crate::agent::{Agent, AgentConfig};
use crate::cloud::Cloud;
use crate::proxy::Proxy;
use crate::sandbox::Sandbox;
use crate::tls::TestCa;
use crate::wait_until;

/// What the agent says of itself, inside.
const STATUS: &str = "/run/fleetkey/status.json";

/// The system's certificate authorities, inside and outside: all are loaded, as on a real box, and that of the test.
const SYSTEM_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// `WatchdogSec` of the shipped unit: a shorter one would wake the agent more often.
const WATCHDOG: Duration = Duration::from_mins(1);

/// How long an agent that has just started settles before it counts as idle.
const SETTLE: Duration = Duration::from_secs(3);

/// How long a sync may take, and longer than two poll intervals.
const DEADLINE: Duration = Duration::from_mins(3);

/// The time to which processor time is scaled.
const TEN_MINUTES: Duration = Duration::from_mins(10);

/// The most that the agent is to hold resident, in mebibytes.
const MEMORY_AIM: f64 = 12.0;

/// The most processor time that ten idle minutes are to take, in seconds.
const IDLE_AIM: f64 = 0.2;

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let cloud = bench.cloud()?;
    bench.runtime.block_on(async {
        grow(&cloud, 0, PEOPLE, &bench.progress).await?;
        cloud.create_topic(Cloud::TOPIC).await
    })?;
    let ca = TestCa::new()?;
    let proxy = Proxy::start_tls(bench.moto.address(), &ca)?;
    let sandbox = sandbox()?;
    sandbox.add_account(ACCOUNT)?;
    let system = fs::read_to_string(SYSTEM_BUNDLE)
        .with_context(|| format!("cannot read {SYSTEM_BUNDLE}; install ca-certificates"))?;
    sandbox.write(SYSTEM_BUNDLE, system + &fs::read_to_string(ca.ca_bundle())?)?;

    let config = AgentConfig::iam(&cloud.through(&proxy.endpoint())).grant(ACCOUNT, &[&format!("@@{GROUP}")]);
    idle(bench, &sandbox, &config, &proxy)?;
    many_syncs(bench, &sandbox, &config, &proxy)
}

/// An agent that is left alone.
fn idle(bench: &mut Bench, sandbox: &Sandbox, config: &AgentConfig, proxy: &Proxy) -> Result<()> {
    let mut agent = Agent::start_with_watchdog(sandbox, config, WATCHDOG)?;
    agent.wait_ready()?;
    agent.log().wait_for("the agent listens for hints", DEADLINE, |line| line.contains("listening for hints"))?;
    wait_for_syncs(sandbox, 1)?;
    std::thread::sleep(SETTLE);
    let (at_start, proportional) = memory(&agent)?;

    // From right after one poll to right after another, so that the window holds as many as it should.
    let intervals = if bench.options.full_idle { 10 } else { 1 };
    bench.progress.say(&format!("idle: {intervals} poll interval(s) of a minute, after the first poll"));
    wait_for_syncs(sandbox, 2)?;
    std::thread::sleep(SETTLE);
    proxy.take_calls();
    let (start, cpu) = (Instant::now(), processor_time(&agent)?);
    // One after another: the wait for each has the deadline of one.
    for polls in 1..=intervals {
        wait_for_syncs(sandbox, 2 + polls)?;
    }
    std::thread::sleep(SETTLE);
    let (took, cpu) = (start.elapsed(), processor_time(&agent)?.saturating_sub(cpu));
    let calls = proxy.take_calls();
    let (rss, _) = memory(&agent)?;
    ensure!(agent.stop()?.success(), "the agent did not end well");

    let scaled = cpu.as_secs_f64() * TEN_MINUTES.as_secs_f64() / took.as_secs_f64();
    let minutes = took.as_secs_f64() / 60.0;
    let per_minute = Samples::one(total(&calls)?.median() / minutes)?;
    let rows = &mut bench.report.rows;
    rows.push(
        Row::new("resident (VmRSS) after start, push on, TLS", Unit::Mebibytes, &Samples::one(at_start)?)
            .aim(MEMORY_AIM),
    );
    rows.push(Row::new("the same, proportional (Pss)", Unit::Mebibytes, &Samples::one(proportional)?));
    rows.push(Row::new("resident after the idle time", Unit::Mebibytes, &Samples::one(rss)?).aim(MEMORY_AIM));
    let what = format!("CPU of ten idle minutes, {}", if intervals < 10 { "scaled" } else { "measured" });
    rows.push(Row::new(what, Unit::Seconds, &Samples::one(scaled)?).aim(IDLE_AIM));
    let what = format!("AWS calls per idle minute; in {:.0} s: {}", took.as_secs_f64(), listed(&calls));
    rows.push(Row::new(what, Unit::Calls, &per_minute));
    bench.report.notes.push(format!(
        "Idle: {:.0} s that hold {intervals} poll(s), with the default interval of a minute and push on; it used {:.0} ms of \
         processor time, all threads, user and system, scaled to ten minutes. `--full-idle` measures ten polls.",
        took.as_secs_f64(),
        cpu.as_secs_f64() * 1000.0
    ));
    Ok(())
}

/// An agent that is told to sync as fast as it goes.
fn many_syncs(bench: &mut Bench, sandbox: &Sandbox, config: &AgentConfig, proxy: &Proxy) -> Result<()> {
    let syncs = if bench.options.quick { 500 } else { 10_000 };
    bench.progress.say(&format!("memory: {syncs} syncs"));
    let mut agent = Agent::start(sandbox, &config.clone().set("push.enabled", false))?;
    agent.wait_ready()?;
    let mut done = wait_for_syncs(sandbox, 1)?;
    std::thread::sleep(SETTLE);
    proxy.take_calls();
    let (mut after_start, mut after_tenth) = (memory(&agent)?.0, 0.0);
    let descriptors = agent.open_descriptors()?;
    for at in 1..=syncs {
        agent.signal(Signal::SIGHUP)?;
        done = wait_for_syncs(sandbox, done + 1)?;
        match at {
            1 => after_start = after_start.max(memory(&agent)?.0),
            _ if at == syncs / 10 => after_tenth = memory(&agent)?.0,
            _ if at % (syncs / 10) == 0 => {
                proxy.take_calls();
                bench.progress.say(&format!("memory: {at} of {syncs} syncs, {:.1} MiB", memory(&agent)?.0));
            }
            _ => {}
        }
    }
    let (rss, pss) = memory(&agent)?;
    let more = agent.open_descriptors()?.saturating_sub(descriptors);
    ensure!(agent.stop()?.success(), "the agent did not end well");

    let rows = &mut bench.report.rows;
    let row = |what: String, value| Ok::<_, anyhow::Error>(Row::new(what, Unit::Mebibytes, &Samples::one(value)?));
    rows.push(row("resident after the first sync, push off, TLS".to_owned(), after_start)?.aim(MEMORY_AIM));
    rows.push(row(format!("resident after {} syncs", syncs / 10), after_tenth)?.aim(MEMORY_AIM));
    rows.push(row(format!("resident after {syncs} syncs"), rss)?.aim(MEMORY_AIM));
    rows.push(row("the same, proportional (Pss)".to_owned(), pss)?);
    bench.report.notes.push(format!(
        "Memory: {PEOPLE} people, all certificate authorities of this system loaded. Each of the {syncs} syncs is a SIGHUP: \
         the configuration is read again, all clients are made anew over the connections that stand, and one look is \
         done: more than a sync by hint or poll, which nothing can ask for this fast. Descriptors open at the end: {more} more than after the start."
    ));
    Ok(())
}

/// Waits until the agent has looked at its source at least so often since it started; returns how often it has.
fn wait_for_syncs(sandbox: &Sandbox, wanted: u64) -> Result<u64> {
    let mut done = 0;
    wait_until(&format!("sync {wanted} is done"), DEADLINE, || {
        // Not there before the agent has started, and another's right after.
        let status: Option<serde_json::Value> =
            sandbox.read(STATUS).ok().and_then(|text| serde_json::from_str(&text).ok());
        done = status.and_then(|status| status["counters"]["syncs"].as_u64()).unwrap_or_default();
        Ok(done >= wanted)
    })?;
    Ok(done)
}

/// Resident and proportional memory, in mebibytes.
fn memory(agent: &Agent<'_>) -> Result<(f64, f64)> {
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", agent.pid())).context("the agent is gone")?;
    let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss in smaps_rollup")?;
    let pss: u64 = pss.trim().trim_end_matches(" kB").parse().with_context(|| format!("Pss:{pss}"))?;
    let mebibytes = |kibibytes: u64| super::machine::mebibytes(kibibytes << 10);
    Ok((mebibytes(agent.rss_kib()?), mebibytes(pss)))
}

/// Processor time of all threads, also of those that have ended, to the nanosecond. Helpers, of which an idle agent
/// has none, are not in it.
fn processor_time(agent: &Agent<'_>) -> Result<Duration> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(agent.pid().try_into()?)).context("the agent is gone")?;
    Ok(Duration::from(clock.now()?))
}
