//! `fleetkey delete-image`: an image and all its snapshots are gone.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use clap_complete::ArgValueCandidates;
use fleetkey_common::aws_names::AbsoluteName;
use serde::Serialize;

use super::asking::{self, Consent};
use super::dry_run::{self, Step};
use super::on_box::told;
use crate::aws::snapshots::{self, Deleted, IMAGE_TAG};
use crate::aws::{CallError, images, instances};
use crate::complete;
use crate::fleet::Fleet;
use crate::image::{self, Image, ImageChoice, ImageVolume};
use crate::instance::NAME_TAG;
use crate::interrupt;
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::selection;
use crate::settings::Settings;
use crate::table::Table;
use crate::wait::{Look, WaitError, Waiter, parse_timeout};

/// Delete an image that was taken of a box, with all its snapshots.
///
/// Asks first. Boxes that run from it go on. What an interrupted run has left is deleted by another run with the
/// image's id.
#[derive(Debug, Args)]
pub(super) struct DeleteImage {
    /// Role of the boxes that it was taken of, in the namespace unless it begins with a slash
    #[arg(add = ArgValueCandidates::new(complete::roles_with_images))]
    role: String,
    /// Which image: its id, or its ordinal as list-images shows it, from 0 for the oldest; -1 is the newest
    #[arg(short, long, value_name = "ORDINAL|AMI", allow_negative_numbers = true,
        add = ArgValueCandidates::new(complete::images))]
    image: Option<ImageChoice>,
    /// Deregister the image, and keep its snapshots
    #[arg(short = 'K', long, conflicts_with = "quick")]
    keep_snapshots: bool,
    /// Try once to delete each snapshot: EC2 may need a while until it lets them go
    #[arg(short = 'Q', long)]
    quick: bool,
    #[command(flatten)]
    consent: Consent,
    /// How long to wait at most
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout, default_value = "10m",
        help_heading = "Waiting")]
    timeout: Duration,
}

/// What is to be deleted.
struct Target {
    id: String,
    /// None when it is deregistered already and only its snapshots are left.
    image: Option<Image>,
    snapshots: Vec<ImageVolume>,
}

/// What came of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Fate {
    Deleted,
    Kept,
    InUse,
}

/// What is printed with `--output json`.
#[derive(Serialize)]
struct Report<'a> {
    image: &'a str,
    name: Option<&'a str>,
    snapshots: Vec<ReportedSnapshot<'a>>,
}

#[derive(Serialize)]
struct ReportedSnapshot<'a> {
    id: &'a str,
    gib: u32,
    result: Fate,
}

impl DeleteImage {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let asks = self.consent.asks();
        if asks {
            asking::needs_a_terminal("deleting an image", "--dry-run tells what would go")?;
        }
        let fleet = Fleet::open(settings, printer).await?;
        let of = selection::name(&fleet.namespace, &self.role)?;
        let target = self.target(&fleet, &of).await?;
        warn_of_boxes(&fleet, &target, printer).await?;
        let steps = plan(&target, self.keep_snapshots);
        if self.consent.dry.dry_run {
            return dry_run::show(&steps, printer);
        }
        if asks {
            let question = format!("Delete image {} for good?", target.id);
            asking::confirm(dry_run::table(&steps), question).await?;
        }
        self.deregister(&fleet, &of, &target).await?;
        let fates = self.delete_snapshots(&fleet, &of, &target, printer).await?;
        Self::report(&of, &target, &fates, printer)
    }

    async fn target(&self, fleet: &Fleet, of: &AbsoluteName) -> anyhow::Result<Target> {
        let images = images::of_box(&fleet.ec2, of).await.map_err(told)?;
        if let Some(ImageChoice::Id(id)) = &self.image
            && images.iter().all(|image| image.id != *id)
        {
            let snapshots = snapshots::of_image(&fleet.ec2, id, of).await.map_err(told)?;
            if !snapshots.is_empty() {
                return Ok(Target { id: id.clone(), image: None, snapshots });
            }
        }
        let choice = match &self.image {
            Some(choice) => choice.clone(),
            None if images.len() > 1 => {
                return Err(Refusal::usage(format!("there are {} images of {of}; which one?", images.len()))
                    .hint("-i N picks one by its ordinal, -i -1 the newest, -i AMI by its id")
                    .hint(format!("fleetkey list-images {of} shows them"))
                    .into());
            }
            None => ImageChoice::Ordinal(0),
        };
        let chosen = image::choose(images, &choice, of)?;
        Ok(Target { id: chosen.id.clone(), snapshots: chosen.volumes.clone(), image: Some(chosen) })
    }

    /// Takes the image away. Its snapshots are marked first: afterwards nothing else tells whose they are.
    async fn deregister(&self, fleet: &Fleet, of: &AbsoluteName, target: &Target) -> anyhow::Result<()> {
        if target.image.is_none() {
            return Ok(());
        }
        if !self.keep_snapshots {
            let tags = [(NAME_TAG.to_owned(), of.to_aws_name()), (IMAGE_TAG.to_owned(), target.id.clone())];
            let ids = target.snapshots.iter().map(|volume| volume.snapshot.as_str());
            snapshots::tag(&fleet.ec2, ids, &tags).await.map_err(told)?;
        }
        images::deregister(&fleet.ec2, &target.id).await.map_err(told)
    }

    async fn delete_snapshots(
        &self,
        fleet: &Fleet,
        of: &AbsoluteName,
        target: &Target,
        printer: Printer,
    ) -> anyhow::Result<Vec<Fate>> {
        let count = target.snapshots.len();
        if self.keep_snapshots {
            return Ok(vec![Fate::Kept; count]);
        }
        let waiter = Waiter::new(printer, interrupt::listen().context("listening for Ctrl-C")?, self.timeout);
        let mut fates = Vec::with_capacity(count);
        for ImageVolume { snapshot, .. } in &target.snapshots {
            let first = snapshots::delete(&fleet.ec2, snapshot).await;
            let fate = match first.map_err(|error| unfinished(error.into(), of, &target.id))? {
                Deleted::Gone => Fate::Deleted,
                Deleted::InUse if self.quick => Fate::InUse,
                Deleted::InUse => {
                    let gone = wait_until_gone(fleet, snapshot, &waiter).await;
                    gone.map_err(|error| cut_off(error, of, &target.id))?;
                    Fate::Deleted
                }
            };
            fates.push(fate);
        }
        Ok(fates)
    }

    fn report(of: &AbsoluteName, target: &Target, fates: &[Fate], printer: Printer) -> anyhow::Result<()> {
        let snapshots: Vec<_> = target
            .snapshots
            .iter()
            .zip(fates)
            .map(|(volume, fate)| ReportedSnapshot { id: &volume.snapshot, gib: volume.gib, result: *fate })
            .collect();
        let mut table = Table::new(&["WHAT", "ID", "GIB", "RESULT"]);
        if target.image.is_some() {
            table.row(vec!["image".into(), target.id.clone(), String::new(), "deregistered".into()]);
        }
        for snapshot in &snapshots {
            let result = match snapshot.result {
                Fate::Deleted => "deleted",
                Fate::Kept => "kept",
                Fate::InUse => "in use",
            };
            table.row(vec!["snapshot".into(), snapshot.id.into(), snapshot.gib.to_string(), result.into()]);
        }
        let name = target.image.as_ref().map(|image| image.name.as_str());
        let report = Report { image: &target.id, name, snapshots };
        printer.data(&table, &report).context("writing to standard output")?;
        if fates.contains(&Fate::Kept) {
            printer.note("snapshots that are kept go on costing; aws ec2 delete-snapshot --snapshot-id ID deletes one");
        }
        if fates.contains(&Fate::InUse) {
            let left = Refusal::new("EC2 has not let all snapshots go yet");
            return Err(again(left, of, &target.id).into());
        }
        Ok(())
    }
}

/// Deletes a snapshot as soon as EC2 lets it go.
async fn wait_until_gone(fleet: &Fleet, snapshot: &str, waiter: &Waiter) -> Result<(), WaitError> {
    // A look that deletes may be cut off: then it is done or not, and the next run sees to it.
    let look = async || match snapshots::delete(&fleet.ec2, snapshot).await? {
        Deleted::Gone => Ok(Look::Done(())),
        Deleted::InUse => Ok(Look::NotYet("in use by an image".to_owned())),
    };
    waiter.wait(&format!("snapshot {snapshot} is deleted"), look).await
}

fn cut_off(error: WaitError, of: &AbsoluteName, id: &str) -> anyhow::Error {
    match error {
        WaitError::Failed(error) => unfinished(error, of, id),
        ended => again(Refusal::new(ended), of, id)
            .hint("a snapshot that another image has too is kept by EC2 until that one is gone")
            .into(),
    }
}

/// Adds the command that goes on. By id, since ordinals are others once an image is gone.
fn again(refusal: Refusal, of: &AbsoluteName, id: &str) -> Refusal {
    refusal.hint(format!("run again to finish: fleetkey delete-image {of} -i {id}"))
}

fn unfinished(error: anyhow::Error, of: &AbsoluteName, id: &str) -> anyhow::Error {
    let refusal = Refusal::new(format!("image {id} is deregistered, but snapshots of it are left"));
    let refusal = refusal.hint_permissions(error.downcast_ref::<CallError>());
    error.context(again(refusal, of, id))
}

async fn warn_of_boxes(fleet: &Fleet, target: &Target, printer: Printer) -> anyhow::Result<()> {
    if target.image.is_none() {
        printer.note(&format!("image {} is deregistered already; its snapshots are left", target.id));
        return Ok(());
    }
    let launched = instances::launched_from(&fleet.ec2, &target.id).await.map_err(told)?;
    if !launched.is_empty() {
        printer.warn(&format!("launched from image {}, and unharmed by its end: {}", target.id, launched.join(", ")));
    }
    Ok(())
}

/// What goes and what stays.
fn plan(target: &Target, keep_snapshots: bool) -> Vec<Step> {
    let image = target.image.as_ref().map(|image| Step {
        action: "deregister",
        what: image.id.clone(),
        details: format!("{}, {}, generation {}", image.name, image.architecture, image.generation()),
    });
    let snapshots = target.snapshots.iter().map(|volume| {
        let device = if volume.device.is_empty() { String::new() } else { format!("{}, ", volume.device) };
        let action = if keep_snapshots { "keep" } else { "delete" };
        Step { action, what: volume.snapshot.clone(), details: format!("{device}{} GiB", volume.gib) }
    });
    image.into_iter().chain(snapshots).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn fault_12_what_is_asked_names_every_snapshot() {
        let volume = |device: &str, snapshot: &str| ImageVolume {
            device: device.to_owned(),
            snapshot: snapshot.to_owned(),
            gib: 8,
        };
        let whole = Target {
            id: "ami-1".to_owned(),
            image: Some(Image {
                id: "ami-1".to_owned(),
                name: "prod_web__2026-11-21__04-05-06".to_owned(),
                state: "available".to_owned(),
                architecture: "x86_64".to_owned(),
                source: None,
                made: None,
                root_device: "/dev/xvda".to_owned(),
                volumes: Vec::new(),
                tags: BTreeMap::from([("generation".to_owned(), "1".to_owned())]),
            }),
            snapshots: vec![volume("/dev/xvda", "snap-1"), volume("/dev/xvdf", "snap-2")],
        };
        insta::assert_snapshot!(dry_run::table(&plan(&whole, false)).to_string(), @r"
        ACTION      WHAT    DETAILS
        deregister  ami-1   prod_web__2026-11-21__04-05-06, x86_64, generation 1
        delete      snap-1  /dev/xvda, 8 GiB
        delete      snap-2  /dev/xvdf, 8 GiB
        ");
        let left = Target { id: "ami-1".to_owned(), image: None, snapshots: vec![volume("", "snap-2")] };
        insta::assert_snapshot!(dry_run::table(&plan(&left, true)).to_string(), @r"
        ACTION  WHAT    DETAILS
        keep    snap-2  8 GiB
        ");
    }
}
