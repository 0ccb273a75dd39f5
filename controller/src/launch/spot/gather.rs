//! Asks for instances with a spot request, adopts each as it comes, and leaves no request open: neither when the time is
//! up, nor after an error, nor when the program is interrupted.

use anyhow::Context as _;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::super::World;
use super::super::answers::{is_passing, is_refused, until_answered};
use super::super::journal::Journal;
use super::adopt::{adopt, is_gone};
use super::verdict::{Unfilled, Verdict};
use super::withdraw::{PATIENCE, withdraw};
use crate::aws::launch::{Launch, Open};
use crate::aws::spot;
use crate::instance::Instance;
use crate::wait::{Look, WaitError, Waiter};

/// How long a request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Patience {
    /// Until EC2 says that it is not filled now.
    FirstWord,
    /// As long as the waiter.
    Throughout,
}

/// What came of a request.
#[derive(Debug, Default)]
pub(in super::super) struct Gathered {
    /// The boxes.
    pub(in super::super) instances: Vec<Instance>,
    /// What was not filled, and is open no more.
    pub(in super::super) unfilled: Vec<Unfilled>,
}

impl Gathered {
    /// The box of a request for one, or why there is none.
    pub(in super::super) fn one(self) -> anyhow::Result<Instance> {
        if let Some(instance) = self.instances.into_iter().next() {
            return Ok(instance);
        }
        let unfilled = self.unfilled.into_iter().next();
        Err(unfilled.context("a spot request came to nothing, and EC2 does not say why")?.into())
    }
}

/// What EC2 says of the requests of a launch.
#[derive(Debug, Default)]
struct Seen {
    /// Those that are filled, each with its instance.
    arrived: Vec<(String, String)>,
    /// Those that are over.
    over: Vec<Unfilled>,
    /// Those that are not filled now.
    held: Vec<Unfilled>,
}

/// One launch by a spot request, under way.
struct Gathering<'a> {
    world: &'a World,
    journal: &'a mut Journal,
    launch: &'a Launch,
    gathered: Gathered,
    /// The requests of which nobody knows that they are over.
    open: Vec<String>,
    /// What was last heard of one that is held.
    last: Option<Unfilled>,
}

/// Asks for the instances of a launch, and waits for them. The waiter's time is that of the request.
///
/// # Errors
/// When EC2 refuses the request, or does not tell what became of it; when the program is interrupted. What came by then
/// is noted in the journal, and adopted.
pub(in super::super) async fn gather(
    world: &World,
    waiter: &Waiter,
    journal: &mut Journal,
    launch: &Launch,
    patience: Patience,
) -> anyhow::Result<Gathered> {
    let sent = Timestamp::now();
    let open = launch.open().context("the launch is not one by a spot request")?;
    let mut gathering =
        Gathering { world, journal, launch, gathered: Gathered::default(), open: Vec::new(), last: None };
    let ended = match gathering.ask(waiter, open).await {
        // EC2 has answered that there is no request.
        Err(error) if is_refused(&error) => return Err(error),
        Err(error) => Err(error),
        Ok(()) => gathering.wait(waiter, patience).await,
    };
    let requests = gathering.journal.record.requests.clone();
    if requests.is_empty() || !gathering.open.is_empty() {
        gathering.give_up(sent).await?;
    }
    let expired = |error: &anyhow::Error| matches!(error.downcast_ref(), Some(WaitError::TimedOut { .. }));
    match ended {
        Err(error) if !expired(&error) => Err(error),
        Err(_) if gathering.gathered.instances.is_empty() => {
            let expired = Unfilled::expired(&requests.join(", "), gathering.last.as_ref());
            gathering.gathered.unfilled = vec![expired];
            Ok(gathering.gathered)
        }
        _ => Ok(gathering.gathered),
    }
}

/// Takes up a launch that was interrupted before anybody knew what came of it: what is open is cancelled, what came is
/// adopted.
pub(in super::super) async fn take_up(
    world: &World,
    journal: &mut Journal,
    launch: &Launch,
    sent: Timestamp,
) -> anyhow::Result<Vec<Instance>> {
    let requests = journal.record.requests.clone();
    let mut gathering = Gathering { world, journal, launch, gathered: Gathered::default(), open: requests, last: None };
    gathering.give_up(sent).await?;
    Ok(gathering.gathered.instances)
}

impl Gathering<'_> {
    async fn ask(&mut self, waiter: &Waiter, open: &Open) -> anyhow::Result<()> {
        let (ec2, launch) = (&self.world.fleet.ec2, self.launch);
        let run = async || spot::request(ec2, launch, open).await;
        let look = async || {
            let found = spot::with_token(ec2, &launch.token).await?;
            Ok((!found.is_empty()).then_some(found))
        };
        let made = until_answered(self.world, waiter, launch, run, look).await?;
        self.open = made.into_iter().map(|request| request.id).collect();
        self.journal.record.requests.clone_from(&self.open);
        self.journal.save()?;
        let (ids, kind, place) = (self.open.join(", "), &launch.instance_type, &launch.subnet);
        self.world.printer.note(&format!("spot request {ids} for {kind} in {place} is open"));
        Ok(())
    }

    /// Waits until nothing more can come, and adopts what comes meanwhile.
    async fn wait(&mut self, waiter: &Waiter, patience: Patience) -> anyhow::Result<()> {
        loop {
            let Seen { arrived, over, held } = self.look(waiter, patience).await?;
            for (request, instance) in arrived {
                self.take_in(waiter, &instance).await?;
                self.open.retain(|open| *open != request);
            }
            self.open.retain(|open| !over.iter().any(|over| over.request == *open));
            self.gathered.unfilled.extend(over);
            if self.open.len() == held.len() && (held.is_empty() || patience == Patience::FirstWord) {
                self.gathered.unfilled.extend(held);
                return Ok(());
            }
        }
    }

    /// Looks until an instance has come, or nothing more is to be waited for.
    async fn look(&mut self, waiter: &Waiter, patience: Patience) -> anyhow::Result<Seen> {
        let (ec2, open, last) = (&self.world.fleet.ec2, &self.open, &mut self.last);
        let what = format!("spot request {} is filled", open.join(", "));
        let found = waiter.wait(&what, async || {
            let requests = match spot::with_ids(ec2, open).await {
                Err(error) if is_passing(&error) => return Ok(Look::NotYet(error.cause)),
                requests => requests?,
            };
            let Seen { mut arrived, mut over, mut held } = Seen::default();
            for request in &requests {
                match Verdict::of(request) {
                    Verdict::Filled(instance) => arrived.push((request.id.clone(), instance)),
                    Verdict::Held(unfilled) => held.push(unfilled),
                    Verdict::Over(unfilled) => over.push(unfilled),
                    Verdict::Undecided => {}
                }
            }
            let undecided = open.len() - arrived.len() - over.len() - held.len();
            if let Some(held) = held.first() {
                *last = Some(held.clone());
            }
            let settled = undecided == 0 && (held.is_empty() || patience == Patience::FirstWord);
            if settled || !arrived.is_empty() {
                return Ok(Look::Done(Seen { arrived, over, held }));
            }
            Ok(Look::NotYet(last.as_ref().map_or("EC2 has not decided".to_owned(), |held| held.why.clone())))
        });
        found.await.map_err(WaitError::into_anyhow)
    }

    /// Notes an instance, then makes a box of it.
    async fn take_in(&mut self, waiter: &Waiter, instance: &str) -> anyhow::Result<()> {
        let record = &mut self.journal.record;
        if !record.arrived.iter().any(|arrived| arrived == instance) {
            record.arrived.push(instance.to_owned());
        }
        record.instance.get_or_insert_with(|| instance.to_owned());
        self.journal.save()?;
        let adopted = adopt(self.world, waiter, self.launch, instance).await?;
        self.gathered.instances.push(adopted);
        Ok(())
    }

    /// Cancels what is open, and adopts what came in that moment, or before somebody could adopt it.
    async fn give_up(&mut self, sent: Timestamp) -> anyhow::Result<()> {
        let known = self.journal.record.arrived.clone();
        // Without an id, a request is looked for, unless it is known what it came to.
        let came = if self.open.is_empty() && !known.is_empty() {
            Vec::new()
        } else {
            withdraw(self.world, self.launch, sent, &self.open).await?
        };
        self.open.clear();
        let waiter = Waiter::new(self.world.printer, CancellationToken::new(), PATIENCE);
        for instance in came.into_iter().chain(known) {
            let adopted = self.gathered.instances.iter().any(|adopted| adopted.id == instance);
            if !adopted && !is_gone(self.world, &instance, sent).await? {
                self.take_in(&waiter, &instance).await?;
            }
        }
        let record = &mut self.journal.record;
        record.requests.clear();
        if record.arrived.is_empty() {
            record.launch = None;
        }
        Ok(self.journal.save()?)
    }
}
