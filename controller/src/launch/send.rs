//! Launches: a launch is noted before it is asked for, tried with each type in each place while EC2 has no room, and found
//! again after an interruption.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::World;
use super::answers::{code_of, is_refused, rules_out, until_answered};
use super::attempts::{self, Attempt, Next, Way};
use super::journal::Journal;
use super::look::Prepared;
use super::spot::{self, Patience, Unfilled};
use crate::aws::launch::{self, Launch, Open, Spot, TOKEN_TAG};
use crate::instance::{Instance, State};
use crate::refusal::Refusal;
use crate::wait::{WaitError, Waiter};

/// How long a launch whose answer was never heard may still be under way. What does not exist after that was never
/// launched.
const UNDER_WAY: SignedDuration = SignedDuration::from_mins(30);

/// How much later than this program EC2 ends a spot request by itself: the net for a program that was killed.
const NET: Duration = Duration::from_mins(1);

/// What came of a launch.
#[derive(Debug)]
pub(super) enum Launched {
    /// The box.
    Made(Box<Instance>),
    /// EC2 has none now: why, and nothing is under way.
    NotFilled(anyhow::Error),
}

/// A launch with each type in each place, until one has room.
struct Launching<'a> {
    world: &'a World,
    waiter: &'a Waiter,
    prepared: &'a Prepared,
    group: &'a str,
}

/// Launches the box with the first type in the first place that has room.
///
/// A spot request that may stay open is moved on to the next place as soon as EC2 says that it is not filled at once;
/// where none fills it, it goes back to the first place that has held it and stays there until its time is up. One of a
/// launch group is not moved: the group waits for all that belong to it.
pub(super) async fn launch(
    world: &World,
    waiter: &Waiter,
    journal: &mut Journal,
    prepared: &Prepared,
    group: &str,
) -> anyhow::Result<Launched> {
    let plan = &prepared.plan;
    let attempts = &plan.attempts;
    let terms = plan.spot.as_ref().filter(|terms| terms.stays_open);
    let time = terms.and_then(|terms| terms.timeout_seconds).map(Duration::from_secs);
    let waiter = &time.map_or_else(|| waiter.clone(), |time| waiter.within(time));
    let launching = Launching { world, waiter, prepared, group };
    let stays = terms.is_some_and(|terms| terms.launch_group.is_some()) || attempts.len() == 1;
    let mut way = Way::new(stays, terms.is_some_and(|terms| terms.tentative));
    let (mut at, mut tries) = (0, 0);
    loop {
        let Some(attempt) = attempts.get(at) else { anyhow::bail!("there is no place to launch in") };
        let patience = if way.waits() { Patience::Throughout } else { Patience::FirstWord };
        let error = match launching.once(journal, attempt, tries, patience).await {
            Ok(instance) => return Ok(Launched::Made(Box::new(instance))),
            Err(error) => error,
        };
        let next = Next::after(code_of(&error));
        if next == Next::Nowhere || journal.record.instance.is_some() {
            return Err(explain(error));
        }
        let over = error.downcast_ref().is_some_and(Unfilled::is_expired);
        let held = error.downcast_ref::<Unfilled>().is_some();
        tries += 1;
        at = match way.after(attempts, at, next, held) {
            Some(following) if !over => following,
            _ => return Ok(Launched::NotFilled(error.context(attempts::none_left(attempts, next)))),
        };
        world.printer.note(&format!("{} in {}: {error}", attempt.kind, attempt.place.zone));
    }
}

impl Launching<'_> {
    /// One attempt, noted before it is made.
    async fn once(
        &self,
        journal: &mut Journal,
        attempt: &Attempt,
        tries: usize,
        patience: Patience,
    ) -> anyhow::Result<Instance> {
        let launch = self.order(&journal.record.token, attempt, tries);
        journal.record.launch = Some((launch.clone(), Timestamp::now()));
        journal.record.requests.clear();
        journal.save()?;
        let sent = if launch.open().is_some() {
            spot::gather(self.world, self.waiter, journal, &launch, patience).await.and_then(spot::Gathered::one)
        } else {
            send(self.world, self.waiter, &launch).await
        };
        match &sent {
            Err(error) if is_refused(error) => forget_launch(self.world, journal),
            // Its instance is known, and adopted: there is nothing more to find out.
            Ok(_) if launch.open().is_some() => forget_launch(self.world, journal),
            _ => {}
        }
        sent
    }

    /// What EC2 is told of one attempt.
    fn order(&self, token: &str, attempt: &Attempt, tries: usize) -> Launch {
        // A token stands for one set of parameters, and type and subnet are among them.
        let token = if tries == 0 { token.to_owned() } else { format!("{token}-{tries}") };
        let Prepared { plan, user_data, disks, tags, volume_tags, on_power_off, .. } = self.prepared;
        let mut tags = tags.clone();
        tags.insert(TOKEN_TAG.to_owned(), token.clone());
        let spot = plan.spot.as_ref().map(|terms| Spot {
            max_price: terms.bid.map(|bid| bid.to_string()),
            open: terms.stays_open.then(|| Open {
                until: Timestamp::now().checked_add(self.waiter.remaining() + NET).unwrap_or(Timestamp::MAX),
                launch_group: terms.launch_group.clone(),
                count: 1,
            }),
        });
        Launch {
            token,
            image: plan.machine.image.clone(),
            instance_type: attempt.kind.clone(),
            subnet: attempt.place.id.clone(),
            group: self.group.to_owned(),
            profile: plan.machine.profile.clone(),
            key_name: plan.machine.key_pair.clone(),
            user_data: user_data.clone(),
            disks: disks.clone(),
            tags,
            on_power_off: on_power_off.clone(),
            volume_tags: volume_tags.clone(),
            spot,
        }
    }
}

/// Adds what to do about an error that the first spot instance of an account has.
fn explain(error: anyhow::Error) -> anyhow::Error {
    if code_of(&error) != Some("AuthFailure.ServiceLinkedRoleCreationNotPermitted") {
        return error;
    }
    let refusal = Refusal::new(
        "the account has no role by which EC2 launches spot instances, and the caller may not make it",
    )
    .hint("aws iam create-service-linked-role --aws-service-name spot.amazonaws.com makes it, once for the account");
    error.context(refusal)
}

/// Notes that there is nothing more to find out of a launch: nobody asks for the same again.
fn forget_launch(world: &World, journal: &mut Journal) {
    journal.record.launch = None;
    journal.record.requests.clear();
    if let Err(error) = journal.save() {
        world.printer.warn(&error.to_string());
    }
}

/// Goes on with what a record tells of: finds the instance, or asks again for the launch whose answer was never heard.
/// `None` where nothing was launched, or what was is gone; `ending` is for a box that was to be gone at the end.
pub(super) async fn find_again(
    world: &World,
    waiter: &Waiter,
    journal: &mut Journal,
    ending: bool,
) -> anyhow::Result<Option<Instance>> {
    let ec2 = &world.fleet.ec2;
    if let Some((launch, sent)) = journal.record.launch.clone().filter(|(launch, _)| launch.open().is_some()) {
        let instances = spot::take_up(world, journal, &launch, sent).await?;
        forget_launch(world, journal);
        return Ok(instances.into_iter().next());
    }
    let look = async {
        if let Some(id) = &journal.record.instance
            && let Some(found) = launch::with_id(ec2, id).await?
        {
            return Ok(Some(found));
        }
        match &journal.record.launch {
            Some((launch, _)) => launch::with_token(ec2, &launch.token).await,
            None => Ok(None),
        }
    };
    let found = waiter.act("find the box that was begun", look).await.map_err(WaitError::into_anyhow)?;
    let there = |found: &Instance| ending || State::LIVE.contains(&found.state);
    if let Some(found) = found? {
        return Ok(Some(found).filter(there));
    }
    // An instance that EC2 does not show may be too new: asked again with the same token, EC2 answers with it.
    let Some((launch, sent)) = &journal.record.launch else { return Ok(None) };
    if Timestamp::now().duration_since(*sent) > UNDER_WAY {
        return Ok(None);
    }
    match send(world, waiter, launch).await {
        // Had it been launched, EC2 would have answered with the instance.
        Err(error) if rules_out(&error) => Ok(None),
        sent => sent.map(|sent| Some(sent).filter(there)),
    }
}

/// Asks for one launch that is answered with its instance.
async fn send(world: &World, waiter: &Waiter, launch: &Launch) -> anyhow::Result<Instance> {
    let ec2 = &world.fleet.ec2;
    let run = async || launch::run(ec2, launch).await;
    until_answered(world, waiter, launch, run, async || launch::with_token(ec2, &launch.token).await).await
}
