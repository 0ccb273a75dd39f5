//! `fleetkey image`: an image is taken of a box that is off.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;

use super::dry_run::{self, DryRun, Step};
use super::list_images::{Row, table};
use super::on_box::{self, command, described, told};
use crate::aws::{images, instances, snapshots, volumes};
use crate::details::Volume;
use crate::fleet::Fleet;
use crate::image::{self, Image};
use crate::instance::{CLUSTER_NAME_TAG, CLUSTER_ORDINAL_TAG, GENERATION_TAG, Instance, NAME_TAG, State};
use crate::interrupt;
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::selection::Selector;
use crate::settings::Settings;
use crate::volume::{IN_IMAGES_TAG, OUT_OF_IMAGES};
use crate::wait::{Look, WaitError, Waiter, parse_timeout};

/// The code by which EC2 says that there is an image of this name.
const NAME_TAKEN: &str = "InvalidAMIName.Duplicate";

/// The state of an image that EC2 is at.
const PENDING: &str = "pending";

/// The state of an image that can be used.
const AVAILABLE: &str = "available";

/// Tags whose names begin so say something of one box or image alone.
const OWN_TAGS: [&str; 2] = ["aws:", "fleetkey:"];

/// Take an image of a box that is stopped, and wait until it can be used.
///
/// `fleetkey recreate` brings up a box from it. Run again after an interruption, it goes on with the image that was
/// begun.
#[derive(Debug, Args)]
pub(super) struct TakeImage {
    #[command(flatten)]
    selector: Selector,
    /// Return as soon as EC2 has begun
    #[arg(short = 'Q', long, visible_alias = "quick", help_heading = "Waiting")]
    no_wait: bool,
    /// How long to wait at most
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout, default_value = "1h",
        conflicts_with = "no_wait", help_heading = "Waiting")]
    timeout: Duration,
    #[command(flatten)]
    dry: DryRun,
}

impl TakeImage {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let fleet = Fleet::open(settings, printer).await?;
        let (_, chosen) = on_box::find(&fleet, &self.selector.role, &self.selector.among).await?;
        if self.dry.dry_run {
            return self.would(&fleet, &chosen, printer).await;
        }
        let waiter = Waiter::new(printer, interrupt::listen().context("listening for Ctrl-C")?, self.timeout);
        self.see_that_it_is_off(&fleet, &chosen, &waiter).await?;
        let id = begin(&fleet, &chosen, &[PENDING], &waiter, printer).await?;
        let found = if self.no_wait {
            printer.note(&format!("image {id} is begun; not waited for"));
            images::with_id(&fleet.ec2, &id).await.map_err(told)?
        } else {
            Some(finish(&fleet, &chosen, &id, &waiter, printer).await?)
        };
        let Some(found) = found else { return Ok(()) };
        if !self.no_wait {
            printer.hint(&format!("fleetkey recreate {} -i {} makes a box of it", chosen.name, found.id));
        }
        let row = Row::new(None, &found);
        let table = table(std::slice::from_ref(&row));
        printer.data(&table, &row).context("writing to standard output")
    }

    /// Says what would be done.
    async fn would(&self, fleet: &Fleet, chosen: &Instance, printer: Printer) -> anyhow::Result<()> {
        let wait = |what: &str, until: &str| Step {
            action: "wait",
            what: what.to_owned(),
            details: format!("until it is {until}"),
        };
        let mut steps = Vec::new();
        match chosen.state {
            State::Stopped => {}
            State::Stopping if !self.no_wait => steps.push(wait(&chosen.id, State::Stopped.as_str())),
            state => return Err(not_off(fleet, chosen, state).into()),
        }
        let image = if let Some(begun) = begun_before(fleet, chosen, &[PENDING]).await? {
            begun.id
        } else {
            steps.push(Step { action: "image", what: chosen.id.clone(), details: described(chosen) });
            "the image".to_owned()
        };
        if !self.no_wait {
            steps.push(wait(&image, AVAILABLE));
        }
        dry_run::show(&steps, printer)
    }

    /// What is imaged while the box runs may be half written.
    async fn see_that_it_is_off(&self, fleet: &Fleet, chosen: &Instance, waiter: &Waiter) -> anyhow::Result<()> {
        match chosen.state {
            State::Stopped => Ok(()),
            State::Stopping if !self.no_wait => {
                let look = async || {
                    let described = instances::describe(&fleet.ec2, &chosen.id).await.map_err(told)?;
                    let state = described.and_then(Instance::read).map_or(State::Terminated, |found| found.state);
                    match state {
                        State::Stopped => Ok(Look::Done(())),
                        State::Stopping => Ok(Look::NotYet(state.as_str().to_owned())),
                        _ => Err(not_off(fleet, chosen, state).into()),
                    }
                };
                let off = waiter.wait(&format!("box {} is stopped", chosen.id), look).await;
                off.map_err(|error| ended(fleet, error, chosen))
            }
            state => Err(not_off(fleet, chosen, state).into()),
        }
    }
}

fn not_off(fleet: &Fleet, chosen: &Instance, state: State) -> Refusal {
    let refusal =
        Refusal::new(format!("box {} is {}; an image is taken of a box that is stopped", chosen.id, state.as_str()));
    match state {
        State::ShuttingDown | State::Terminated => refusal,
        _ => refusal.hint(format!("stop it first: {}", command(fleet, "stop", chosen))),
    }
}

/// Takes the image of a new box that is off, waits until it can be used, and gives its id. One that there is already is
/// what an earlier try has begun.
pub(super) async fn take(
    fleet: &Fleet,
    chosen: &Instance,
    waiter: &Waiter,
    printer: Printer,
) -> anyhow::Result<String> {
    let id = begin(fleet, chosen, &[PENDING, AVAILABLE], waiter, printer).await?;
    finish(fleet, chosen, &id, waiter, printer).await.map(|image| image.id)
}

/// The image of this box that is in one of these states: what an earlier try has begun.
async fn begun_before(fleet: &Fleet, chosen: &Instance, begun: &[&str]) -> anyhow::Result<Option<Image>> {
    let known = images::of_box(&fleet.ec2, &chosen.name).await.map_err(told)?;
    let of_this_box = |image: &Image| image.source.as_deref() == Some(&chosen.id);
    Ok(known.into_iter().rfind(|image| begun.contains(&image.state.as_str()) && of_this_box(image)))
}

/// Has EC2 take an image, unless there is one of this box in one of these states, and gives the image's id.
async fn begin(
    fleet: &Fleet,
    chosen: &Instance,
    begun: &[&str],
    waiter: &Waiter,
    printer: Printer,
) -> anyhow::Result<String> {
    if let Some(known) = begun_before(fleet, chosen, begun).await? {
        printer.note(&format!("going on with image {}, which was begun before", known.id));
        return Ok(known.id);
    }
    waiter.check(&format!("an image is taken of box {}", chosen.id)).map_err(|error| ended(fleet, error, chosen))?;
    let without = left_out(&volumes::of_box(&fleet.ec2, &chosen.id).await.map_err(told)?);
    for (_, described) in &without {
        printer.note(&format!("volume {described} is left out of the image"));
    }
    let without: Vec<_> = without.into_iter().map(|(device, _)| device).collect();
    let name = image::name_of(&chosen.name, Timestamp::now());
    match images::create(&fleet.ec2, &chosen.id, &name, &tags(chosen), &without).await {
        Ok(id) => Ok(id),
        // The answer to an earlier try was lost on its way, or somebody else was quicker in the same second.
        Err(error) if error.code.as_deref() == Some(NAME_TAKEN) => {
            let known = images::of_box(&fleet.ec2, &chosen.name).await.map_err(told)?;
            let of_this_box = |image: &Image| image.name == name && image.source.as_deref() == Some(&chosen.id);
            let taken = known.into_iter().find(of_this_box);
            taken.map(|image| image.id).ok_or_else(|| told(error))
        }
        Err(error) => Err(told(error)),
    }
}

/// The volumes that images are to leave out: their device names, and what they are.
fn left_out(volumes: &[Volume]) -> Vec<(String, String)> {
    let stays_out = |volume: &&Volume| volume.tags.get(IN_IMAGES_TAG).is_some_and(|value| value == OUT_OF_IMAGES);
    volumes.iter().filter(stays_out).map(|volume| (volume.device.clone(), volume.described())).collect()
}

/// Waits until the image can be used and found, and tags its snapshots.
async fn finish(
    fleet: &Fleet,
    chosen: &Instance,
    id: &str,
    waiter: &Waiter,
    printer: Printer,
) -> anyhow::Result<Image> {
    // By its name, as `recreate` looks for it: EC2 finds an image by its id before it does by its name.
    let look = async || {
        let images = images::of_box(&fleet.ec2, &chosen.name).await.map_err(told)?;
        let Some(found) = images.into_iter().find(|image| image.id == *id) else {
            return Ok(Look::NotYet("not to be found yet".to_owned()));
        };
        match found.state.as_str() {
            AVAILABLE => Ok(Look::Done(found)),
            state @ (PENDING | "transient") => Ok(Look::NotYet(state.to_owned())),
            state => Err(Refusal::new(format!("EC2 could not take image {id} of box {}: it is {state}", chosen.id))
                .hint(format!("remove what is left of it: fleetkey delete-image {} -i {id}", chosen.name))
                .into()),
        }
    };
    let found = waiter.wait(&format!("image {id} is available"), look).await;
    let found = found.map_err(|error| ended(fleet, error, chosen))?;
    let more = (snapshots::IMAGE_TAG.to_owned(), id.to_owned());
    let tags: Vec<_> = tags(chosen).into_iter().chain([more]).collect();
    let ids = found.volumes.iter().map(|volume| volume.snapshot.as_str());
    snapshots::tag(&fleet.ec2, ids, &tags).await.map_err(told)?;
    printer.note(&format!("image {id} of box {} is available", chosen.id));
    Ok(found)
}

fn ended(fleet: &Fleet, error: WaitError, chosen: &Instance) -> anyhow::Error {
    match error {
        WaitError::Failed(error) => error,
        ended => Refusal::new(ended).hint(format!("go on with: {}", command(fleet, "image", chosen))).into(),
    }
}

/// The tags of an image of a box, and of its snapshots: what the box was made with, one generation further.
fn tags(chosen: &Instance) -> Vec<(String, String)> {
    let of_the_box_alone = |tag: &str| {
        [NAME_TAG, GENERATION_TAG, CLUSTER_NAME_TAG, CLUSTER_ORDINAL_TAG].contains(&tag)
            || OWN_TAGS.iter().any(|prefix| tag.starts_with(prefix))
    };
    let inherited = chosen.tags.iter().filter(|(tag, _)| !of_the_box_alone(tag));
    let generation = chosen.generation.unwrap_or(0).saturating_add(1);
    let mut tags =
        vec![(NAME_TAG.to_owned(), chosen.name.to_aws_name()), (GENERATION_TAG.to_owned(), generation.to_string())];
    tags.extend(inherited.map(|(tag, value)| (tag.clone(), value.clone())));
    tags
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{self, InstanceState, InstanceStateName, Tag};

    use super::*;

    #[test]
    fn an_image_inherits_the_options_of_the_box_and_is_one_generation_further() {
        let box_tags = [
            ("Name", "prod_web"),
            ("generation", "2"),
            ("cluster_name", "c1"),
            ("cluster_ordinal", "0"),
            ("fleetkey:token", "x"),
            ("aws:autoscaling:groupName", "x"),
            ("data_gib", "100"),
        ];
        let box_tags = box_tags.map(|(key, value)| Tag::builder().key(key).value(value).build());
        let state = InstanceState::builder().name(InstanceStateName::Stopped).build();
        let described = types::Instance::builder().instance_id("i-1").state(state).set_tags(Some(box_tags.to_vec()));
        let found = tags(&Instance::read(described.build()).unwrap());
        let found: Vec<_> = found.iter().map(|(tag, value)| (tag.as_str(), value.as_str())).collect();
        assert_eq!(found, [("Name", "prod_web"), ("generation", "3"), ("data_gib", "100")]);
    }
}
