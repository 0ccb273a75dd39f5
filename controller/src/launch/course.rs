//! The whole course of a create, from what was asked for to a box that can be used: found again after an interruption,
//! undone after an error.

use std::path::Path;

use jiff::Timestamp;

use super::journal::{self, Journal, Record};
use super::look::{self, Prepared};
use super::request::Request;
use super::send::Launched;
use super::undo::Undone;
use super::{World, carry, ready, send, undo, volumes};
use crate::aws::{CallError, instances, launch};
use crate::instance::{Instance, State};
use crate::lifecycle::Wish;
use crate::refusal::Refusal;
use crate::role::Role;
use crate::wait::{Look, WaitError, Waiter};

/// How a create is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Manner {
    /// Whether it ends once EC2 has launched the box.
    pub(crate) quick: bool,
    /// Whether the box is terminated when all is done.
    pub(crate) terminate: bool,
    /// Whether what was made is left as it is after an error.
    pub(crate) keep: bool,
    /// Whether an unfinished create of the same is left alone.
    pub(crate) anew: bool,
}

/// What a create came to.
#[derive(Debug)]
pub(crate) struct Made {
    /// The box, as it is now.
    pub(crate) instance: Instance,
    /// Whether it had been begun before.
    pub(crate) resumed: bool,
    /// The image that was taken of it.
    pub(crate) image: Option<String>,
}

/// One create.
#[derive(Debug)]
pub(crate) struct Course<'a> {
    /// The world.
    pub(crate) world: &'a World,
    /// What was asked for.
    pub(crate) request: &'a Request,
    /// The role.
    pub(crate) role: &'a Role,
    /// How it goes.
    pub(crate) manner: Manner,
    /// Waits for it.
    pub(crate) waiter: &'a Waiter,
}

impl Course<'_> {
    /// Plans, and changes nothing.
    pub(crate) async fn plan(&self) -> anyhow::Result<Prepared> {
        let looking = Box::pin(look::prepare(self.world, self.request, self.role));
        let planned = self.waiter.act("look at what there is", looking).await.map_err(WaitError::into_anyhow)?;
        planned.map_err(|error| with_permissions(error, "nothing was changed"))
    }

    /// Carries it out. `take_image` takes an image of a box that is off, if one is asked for, and gives its id. `None`
    /// where the spot market has no box and that is well. The record is to be forgotten once the operator knows of the
    /// box: until then the same command finds it.
    pub(crate) async fn run(
        &self,
        take_image: impl AsyncFn(&Instance) -> anyhow::Result<String>,
    ) -> anyhow::Result<Option<(Made, Journal)>> {
        let folder = journal::folder()?;
        let mut journal = self.begun(&folder)?;
        let again = self.find_again(journal.as_mut()).await?;
        let resumed = again.is_some();
        let done = self.go(&folder, &mut journal, again, take_image).await;
        match (done, journal) {
            (Ok(Some(made)), Some(journal)) => Ok(Some((made, journal))),
            (Ok(None), Some(journal)) => self.leave_nothing(journal, &folder).await.map(|()| None),
            (Err(error), Some(journal)) => Err(self.fail(error, journal, &folder, resumed).await),
            (Err(error), None) => Err(error),
            (Ok(_), None) => anyhow::bail!("a box was launched without a record"),
        }
    }

    /// Takes back what was made for a box that there is not, which is well.
    async fn leave_nothing(&self, journal: Journal, folder: &Path) -> anyhow::Result<()> {
        let undone = undo::undo(self.world, &journal.record, folder, &self.request.name, self.role).await;
        self.tell(&undone);
        if undone.instance_left {
            return Err(Refusal::new("it is not certain that nothing is left")
                .hint("the same command looks again")
                .into());
        }
        Ok(journal.forget()?)
    }

    /// The record of an unfinished create of the same, unless that is to be left alone.
    fn begun(&self, folder: &Path) -> anyhow::Result<Option<Journal>> {
        if self.manner.anew {
            return Ok(None);
        }
        let found = Journal::find(folder, &self.request.digest())?;
        if let Some(journal) = &found {
            let (name, started) = (&journal.record.name, journal.record.started);
            self.world.printer.note(&format!("going on with the create of {name} that began at {started:.0}"));
        }
        Ok(found)
    }

    /// The box that was begun. Where it cannot be looked for, nothing is undone: it may be as good as done.
    async fn find_again(&self, journal: Option<&mut Journal>) -> anyhow::Result<Option<Instance>> {
        let Some(journal) = journal else { return Ok(None) };
        let record = &journal.record;
        let was_ready = record.usable || self.manner.quick;
        let ending = self.manner.terminate && was_ready && (record.image.is_some() || !self.request.create_image);
        let found = send::find_again(self.world, self.waiter, journal, ending).await;
        found.map_err(|error| with_permissions(error, "the box that was begun is not found again; it is left as it is"))
    }

    async fn go(
        &self,
        folder: &Path,
        journal: &mut Option<Journal>,
        again: Option<Instance>,
        take_image: impl AsyncFn(&Instance) -> anyhow::Result<String>,
    ) -> anyhow::Result<Option<Made>> {
        let resumed = again.is_some();
        let instance = match (again, journal.as_mut()) {
            (Some(instance), Some(journal)) => {
                self.world.printer.note(&format!("box {} is there, {}", instance.id, instance.state.as_str()));
                journal.record.instance = Some(instance.id.clone());
                journal.save()?;
                instance
            }
            _ => match self.launch(folder, journal).await? {
                Launched::Made(instance) => *instance,
                Launched::NotFilled(error) if self.request.spot.as_ref().is_some_and(|wish| wish.tentative) => {
                    self.world.printer.note(&format!("no box of {}, which is well: {error:#}", self.request.name));
                    return Ok(None);
                }
                Launched::NotFilled(error) => return Err(error),
            },
        };
        let Some(journal) = journal.as_mut() else { anyhow::bail!("a box was launched without a record") };
        let mut late = false;
        if State::LIVE.contains(&instance.state) {
            late = volumes::take_over(self.world, self.waiter, &instance, &journal.record.found).await? && resumed;
            volumes::name_volumes(self.world, self.waiter, &instance, self.role).await?;
        }
        self.finish(Made { instance, resumed, image: None }, late, journal, take_image).await.map(Some)
    }

    async fn launch(&self, folder: &Path, journal: &mut Option<Journal>) -> anyhow::Result<Launched> {
        let prepared = self.plan().await?;
        let (world, waiter, name) = (self.world, self.waiter, &self.request.name);
        let token = journal::new_token()?;
        let mut record = Record::new(self.request.digest(), token, name.to_string(), Timestamp::now());
        if let Some(old) = journal.take() {
            // EC2 answers to an old token with the instance that is gone.
            record.made = old.record.made.clone();
            old.forget()?;
        }
        record.found.clone_from(&prepared.found);
        let journal = journal.insert(Journal::begin(folder, record)?);
        journal.save()?;
        let group = carry::make(world, waiter, journal, name, &prepared).await?;
        if prepared.plan.opens_ssh() {
            let closer = "--ssh-from auto opens it to your address alone";
            world.printer.hint(&format!("port 22 is open to every address, and keys alone let in; {closer}"));
        }
        let launched = send::launch(world, waiter, journal, &prepared, &group).await?;
        let Launched::Made(instance) = &launched else { return Ok(launched) };
        journal.record.instance = Some(instance.id.clone());
        journal.save()?;
        let (kind, zone) = (&instance.instance_type, &instance.zone);
        world.printer.note(&format!("launched box {} of {name}: {kind} in {zone}", instance.id));
        Ok(launched)
    }

    async fn finish(
        &self,
        mut made: Made,
        late: bool,
        journal: &mut Journal,
        take_image: impl AsyncFn(&Instance) -> anyhow::Result<String>,
    ) -> anyhow::Result<Made> {
        let is_off = |instance: &Instance| [State::Stopping, State::Stopped].contains(&instance.state);
        let off = is_off(&made.instance);
        let imaging = self.request.create_image && journal.record.usable && off;
        if !self.manner.quick && !imaging && State::LIVE.contains(&made.instance.state) {
            made.instance = match self.usable(&made.instance, off).await {
                // The first boot may have given up the volume that came late, and cloud-init tells that until the next.
                Err(error) if late && !off && error.downcast_ref::<WaitError>().is_none() => {
                    let id = &made.instance.id;
                    self.world.printer.note(&format!("box {id} got a volume late, and boots again: {error:#}"));
                    self.usable(&made.instance, true).await?
                }
                usable => usable?,
            };
            journal.record.usable = true;
            journal.save()?;
        }
        if self.request.create_image {
            if journal.record.image.is_none() {
                made.instance = self.bring(&made.instance, Wish::Stop { force: false }).await?;
                journal.record.image = Some(take_image(&made.instance).await?);
                journal.save()?;
            }
            made.image.clone_from(&journal.record.image);
            if !self.manner.terminate {
                made.instance = self.usable(&made.instance, is_off(&made.instance)).await?;
            }
        }
        if self.manner.terminate {
            made.instance = self.bring(&made.instance, Wish::Terminate).await?;
        }
        Ok(made)
    }

    /// Waits until the box can be used; with `boot`, once it has been stopped, if it is not off already, and started.
    async fn usable(&self, instance: &Instance, boot: bool) -> anyhow::Result<Instance> {
        if boot {
            // EC2 starts no box that is still stopping.
            let off = self.bring(instance, Wish::Stop { force: false }).await?;
            self.bring(&off, Wish::Start).await?;
        }
        let instance = ready::wait_until_running(self.world, self.waiter, &instance.id).await?;
        ready::wait_until_usable(self.world, self.waiter, &instance, self.role).await?;
        Ok(instance)
    }

    /// Brings the box into another state, unless it is on its way there, and waits until it is there.
    async fn bring(&self, instance: &Instance, wish: Wish) -> anyhow::Result<Instance> {
        let (ec2, id, goal) = (&self.world.fleet.ec2, &instance.id, wish.goal());
        let on_the_way = instance.state == goal || (goal == State::Stopped && instance.state == State::Stopping);
        if !on_the_way {
            let what = format!("{} box {id}", wish.verb());
            self.waiter.act(&what, instances::ask(ec2, id, wish)).await.map_err(WaitError::into_anyhow)??;
        }
        let what = format!("box {id} is {}", goal.as_str());
        let waited = self.waiter.wait(&what, async || {
            Ok(match launch::with_id(ec2, id).await? {
                Some(found) if found.state == goal => Look::Done(found),
                Some(found) => Look::NotYet(found.state.as_str().to_owned()),
                None if goal == State::Terminated => Look::Done(Instance { state: goal, ..instance.clone() }),
                None => return Err(Refusal::new(format!("box {id} is gone")).into()),
            })
        });
        waited.await.map_err(WaitError::into_anyhow)
    }

    /// What to say of an error, after undoing what was made if that is wanted. A box that was found again is never undone:
    /// it may have been in use since, whatever the record says.
    async fn fail(&self, error: anyhow::Error, journal: Journal, folder: &Path, resumed: bool) -> anyhow::Error {
        let name = &self.request.name;
        let there = journal.record.instance.clone();
        if matches!(error.downcast_ref(), Some(WaitError::TimedOut { .. })) {
            self.world.printer.hint("--timeout gives it longer");
        }
        if self.waiter.check("").is_err() {
            let left = match &there {
                Some(id) => format!("interrupted; box {id} of {name} is left as it is"),
                None => format!("interrupted before a box of {name} was launched, as far as is known"),
            };
            let refusal = Refusal::new(left).hint("the same command goes on where this one stopped");
            return error.context(match there {
                Some(id) => refusal.hint(self.give_up(&id)),
                None => refusal,
            });
        }
        let why = match (self.manner.keep, journal.record.usable, resumed) {
            (true, ..) => Some("as asked for"),
            (false, true, _) => Some("since it could be used before"),
            (false, false, true) => Some("since this run has not launched it"),
            (false, false, false) => None,
        };
        if let Some(why) = why {
            if let Some(id) = &there {
                self.world.printer.note(&format!("box {id} of {name} is kept as it is, {why}"));
                self.world.printer.hint(&self.give_up(id));
            }
            self.world.printer.hint("the same command goes on with it; --anew makes another box");
            return with_permissions(error, &format!("the create of {name} is not finished"));
        }
        let undone = undo::undo(self.world, &journal.record, folder, name, self.role).await;
        self.tell(&undone);
        if undone.instance_left {
            self.world.printer.hint("the same command goes on with it; fleetkey terminate ends it");
            return with_permissions(error, &format!("the create of {name} is not finished"));
        }
        if let Err(error) = journal.forget() {
            self.world.printer.warn(&error.to_string());
        }
        with_permissions(error, &format!("no box of {name} was made"))
    }

    fn give_up(&self, id: &str) -> String {
        format!("to give up: fleetkey terminate --region {} {} -I {id}", self.request.region, self.request.name)
    }

    fn tell(&self, undone: &Undone) {
        for what in &undone.done {
            self.world.printer.note(&format!("undone: {what}"));
        }
        for (what, why) in &undone.left {
            self.world.printer.warn(&format!("{what} could not be undone: {why}"));
        }
    }
}

/// Adds which permission is missing, if that is what an error says.
fn with_permissions(error: anyhow::Error, what: &str) -> anyhow::Error {
    let Some(call) = error.downcast_ref::<CallError>().cloned() else { return error };
    if error.downcast_ref::<Refusal>().is_some() {
        return error;
    }
    error.context(Refusal::new(what).hint_permissions([&call]))
}
