//! What verbs about one box share: finding it, bringing it into another state, and waiting for that.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::dry_run::{self, DryRun, Step};
use super::missing;
use crate::aws::instances::{self, Which};
use crate::aws::{CallError, volumes};
use crate::details::{Details, More, reason};
use crate::fleet::Fleet;
use crate::instance::{Instance, State};
use crate::interrupt;
use crate::lifecycle::{Next, Progress, Wish, next};
use crate::listing::{self, Row};
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::selection::{self, Among, Selector};
use crate::ssh::host_keys;
use crate::wait::{Look, WaitError, Waiter, parse_timeout};

/// The code by which EC2 says that it does not take a request in the state that the instance is in.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>
const WRONG_STATE: &str = "IncorrectInstanceState";

/// All states: whoever names a box by its id may mean one that is gone.
const ALL: [State; 6] = {
    let [pending, running, stopping, stopped] = State::LIVE;
    [pending, running, stopping, stopped, State::ShuttingDown, State::Terminated]
};

/// The flags of a wait for a state.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Waiting")]
pub(super) struct WaitFlags {
    /// Return as soon as EC2 has taken the request
    #[arg(short = 'Q', long, visible_alias = "quick")]
    no_wait: bool,
    /// How long to wait at most
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout, default_value = "10m",
        conflicts_with = "no_wait")]
    timeout: Duration,
}

/// Finds the one box that is meant, with its ordinal if it is one of those that are counted.
pub(super) async fn find(fleet: &Fleet, role: &str, among: &Among) -> anyhow::Result<(Option<usize>, Instance)> {
    let name = selection::name(&fleet.namespace, role)?;
    let boxes = instances::find(&fleet.ec2, &Which::Name(&name), &ALL).await.map_err(told)?;
    let none = !boxes.iter().any(|found| State::LIVE.contains(&found.state));
    let chosen = match selection::one(&name, among, boxes.clone()) {
        Err(refusal) if none => return Err(missing::explain(fleet, &name, refusal).await.into()),
        chosen => chosen?,
    };
    let cluster = among.cluster_name.as_deref();
    let numbered = selection::numbered(boxes, cluster).into_iter();
    let ordinal = numbered.into_iter().find(|(_, found)| found.id == chosen.id).map(|(ordinal, _)| ordinal);
    Ok((ordinal, chosen))
}

/// All that is known of a box.
pub(super) async fn details(fleet: &Fleet, instance: Instance) -> anyhow::Result<Details> {
    let (described, volumes) =
        tokio::join!(instances::describe(&fleet.ec2, &instance.id), volumes::of_box(&fleet.ec2, &instance.id),);
    let described = described.map_err(told)?.with_context(|| format!("EC2 has forgotten box {}", instance.id))?;
    let (more, mut volumes) = (More::read(&described), volumes.map_err(told)?);
    for volume in &mut volumes {
        volume.settle(&described);
    }
    let instance = Instance::read(described).unwrap_or(instance);
    Ok(Details { instance, more, volumes })
}

/// Finds a box, brings it where it is wished, and prints it: the whole of a simple verb.
pub(super) async fn change(
    fleet: &Fleet,
    selector: &Selector,
    wish: Wish,
    flags: &WaitFlags,
    dry: DryRun,
    printer: Printer,
) -> anyhow::Result<()> {
    let (_, chosen) = find(fleet, &selector.role, &selector.among).await?;
    if dry.dry_run {
        return would(fleet, chosen, wish, flags, printer).await;
    }
    let changed = bring(fleet, chosen, wish, flags, printer).await?;
    if let Err(error) = host_keys::left(fleet, &changed.id) {
        printer.detail(&format!("fleetkey ssh will not wait for box {}: {error:#}", changed.id));
    }
    let row = Row::new(None, &changed, &fleet.namespace);
    let table = listing::table(std::slice::from_ref(&row));
    printer.data(&table, &row).context("writing to standard output")
}

/// Says what would be done to bring a box where it is wished. What cannot come about is refused, as when it is done.
async fn would(fleet: &Fleet, chosen: Instance, wish: Wish, flags: &WaitFlags, printer: Printer) -> anyhow::Result<()> {
    let waiter = Waiter::new(printer, interrupt::listen().context("listening for Ctrl-C")?, flags.timeout);
    let way = Way { fleet, wish, waiter: &waiter, progress: Progress::NotAsked, now: chosen };
    let wait = |state: State| Step {
        action: "wait",
        what: way.now.id.clone(),
        details: format!("until it is {}", state.as_str()),
    };
    let mut steps = Vec::new();
    match next(wish, way.now.state, Progress::NotAsked) {
        Next::Done => printer.note(&format!("box {} is {} already", way.now.id, wish.fulfilled())),
        Next::Never => return Err(way.never().await),
        Next::Wait(state) if flags.no_wait && state != wish.goal() => return Err(way.refused(state).into()),
        // What is under way already is only waited for.
        Next::Wait(state) if state == wish.goal() => steps.push(wait(state)),
        now => {
            if let Next::Wait(state) = now {
                steps.push(wait(state));
            }
            steps.push(Step { action: wish.verb(), what: way.now.id.clone(), details: described(&way.now) });
            if !flags.no_wait && wish != Wish::Reboot {
                steps.push(wait(wish.goal()));
            }
        }
    }
    dry_run::show(&steps, printer)
}

/// A box in words, for a step that is about it.
pub(super) fn described(chosen: &Instance) -> String {
    format!("{}, {}, {}", chosen.name, chosen.instance_type, chosen.state.as_str())
}

/// Brings a box where it is wished, and gives it as it is then.
pub(super) async fn bring(
    fleet: &Fleet,
    chosen: Instance,
    wish: Wish,
    flags: &WaitFlags,
    printer: Printer,
) -> anyhow::Result<Instance> {
    let waiter = Waiter::new(printer, interrupt::listen().context("listening for Ctrl-C")?, flags.timeout);
    let mut way = Way { fleet, wish, waiter: &waiter, progress: Progress::NotAsked, now: chosen };
    if next(wish, way.now.state, way.progress) == Next::Done {
        printer.note(&format!("box {} is {} already", way.now.id, wish.fulfilled()));
        return Ok(way.now);
    }
    loop {
        match next(wish, way.now.state, way.progress) {
            Next::Done => {
                printer.note(&format!("box {} is {}", way.now.id, wish.fulfilled()));
                return Ok(way.now);
            }
            Next::Never => return Err(way.never().await),
            Next::Ask => way.ask().await?,
            Next::Wait(state) if flags.no_wait && way.progress == Progress::NotAsked && state != wish.goal() => {
                return Err(way.refused(state).into());
            }
            Next::Wait(_) if flags.no_wait => {
                printer.note(&format!("box {} is {}; not waited for", way.now.id, way.now.state.as_str()));
                return Ok(way.now);
            }
            Next::Wait(state) => way.wait_for(state).await?,
        }
    }
}

/// A box on its way into another state.
struct Way<'a> {
    fleet: &'a Fleet,
    wish: Wish,
    waiter: &'a Waiter,
    progress: Progress,
    now: Instance,
}

impl Way<'_> {
    /// Asks EC2, or, where it does not take the request in this state after all, waits for another.
    async fn ask(&mut self) -> anyhow::Result<()> {
        let Self { wish, now, .. } = self;
        self.waiter
            .check(&format!("EC2 is asked to {} box {}", wish.verb(), now.id))
            .map_err(|error| self.ended(error))?;
        match instances::ask(&self.fleet.ec2, &self.now.id, self.wish).await {
            Ok(()) => {
                self.progress = Progress::Asked;
                self.look().await
            }
            Err(error) if error.code.as_deref() == Some(WRONG_STATE) => {
                let refused = self.now.state;
                self.until(&format!("box {} is no longer {}", self.now.id, refused.as_str()), |way| {
                    way.now.state != refused
                })
                .await
            }
            Err(error) => Err(self.protected(error)),
        }
    }

    /// Sees what the box does now.
    async fn look(&mut self) -> anyhow::Result<()> {
        let described = instances::describe(&self.fleet.ec2, &self.now.id).await.map_err(told)?;
        match described {
            Some(described) => {
                let state = described.state().and_then(|state| State::try_from(state.name()?).ok());
                match Instance::read(described) {
                    Some(found) => self.now = found,
                    // A box that is gone loses its tags.
                    None => self.now.state = state.unwrap_or(self.now.state),
                }
            }
            None => self.now.state = State::Terminated,
        }
        self.progress = self.progress.after(self.wish, self.now.state);
        Ok(())
    }

    async fn wait_for(&mut self, state: State) -> anyhow::Result<()> {
        let what = format!("box {} is {}", self.now.id, state.as_str());
        self.until(&what, |way| next(way.wish, way.now.state, way.progress) != Next::Wait(state)).await
    }

    async fn until(&mut self, what: &str, there: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let waiter = self.waiter;
        let look = async || {
            self.look().await?;
            let state = self.now.state.as_str().to_owned();
            Ok(if there(self) { Look::Done(()) } else { Look::NotYet(state) })
        };
        match waiter.wait(what, look).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.ended(error)),
        }
    }

    /// Why a wait ended too early, and how to go on.
    fn ended(&self, error: WaitError) -> anyhow::Error {
        match error {
            WaitError::Failed(error) => error,
            ended => Refusal::new(ended)
                .hint(format!("go on with: {}", command(self.fleet, self.wish.verb(), &self.now)))
                .into(),
        }
    }

    /// Why the wish cannot come about.
    async fn never(&self) -> anyhow::Error {
        let Self { now, wish, .. } = self;
        let described = instances::describe(&self.fleet.ec2, &now.id).await.ok().flatten();
        let because = described.as_ref().and_then(reason).map(|text| format!(" ({text})")).unwrap_or_default();
        let refusal =
            Refusal::new(format!("cannot {} box {}: it is {}{because}", wish.verb(), now.id, now.state.as_str()));
        match now.state {
            State::ShuttingDown | State::Terminated => {
                refusal.hint("a terminated box does not come back; fleetkey list shows those that there are")
            }
            _ => refusal.hint(format!("start it with: {}", command(self.fleet, "start", now))),
        }
        .into()
    }

    fn refused(&self, needed: State) -> Refusal {
        let Self { now, wish, .. } = self;
        Refusal::new(format!(
            "box {} is {}, and EC2 can be asked to {} it once it is {}",
            now.id,
            now.state.as_str(),
            wish.verb(),
            needed.as_str()
        ))
        .hint("without --no-wait this is waited for")
    }

    /// A request that EC2 refused, with the hint where the box is protected.
    fn protected(&self, error: CallError) -> anyhow::Error {
        let id = &self.now.id;
        let by = |attribute: &str| error.cause.contains(attribute);
        let flag = match self.wish {
            Wish::Terminate if by("disableApiTermination") => "--no-disable-api-termination",
            Wish::Stop { .. } if by("disableApiStop") => "--no-disable-api-stop",
            _ => return told(error),
        };
        let refusal = Refusal::new(format!("box {id} is protected from being {}", self.wish.fulfilled()));
        let mend =
            format!("aws ec2 modify-instance-attribute --instance-id {id} {flag} --region {}", self.fleet.region);
        anyhow::Error::from(error).context(refusal.hint(format!("whoever may lift that does so with: {mend}")))
    }
}

/// The command about this very box, wherever it is typed: ordinals change with the boxes, and regions by environment.
pub(super) fn command(fleet: &Fleet, verb: &str, chosen: &Instance) -> String {
    format!("fleetkey {verb} --region {} {} -I {}", fleet.region, chosen.name, chosen.id)
}

/// A failed call as the error of a verb, with the permission that the caller lacks, if that is why.
pub(super) fn told(error: CallError) -> anyhow::Error {
    if error.missing_permission().is_none() {
        return error.into();
    }
    let refusal = Refusal::new("AWS does not let you do this").hint_permissions([&error]);
    anyhow::Error::from(error).context(refusal)
}
