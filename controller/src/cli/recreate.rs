//! `fleetkey recreate`: launches a box from an image that was taken of one.

use clap::Args;
use clap_complete::ArgValueCandidates;

use super::create::{LaunchFlags, launch};
use crate::complete;
use crate::image::ImageChoice;
use crate::launch::request::Source;
use crate::printer::Printer;
use crate::settings::Settings;

/// Launch a box from an image that was taken of an earlier one.
///
/// It has what the earlier one had on its disks, and an identity of its own. The role's own setup is not run again; who
/// may log in is what this command says. Otherwise it goes as create does.
#[derive(Debug, Args)]
pub(super) struct Recreate {
    #[command(flatten)]
    flags: LaunchFlags,
    /// Image: its id, or the how-manieth of the role's, from 0 in the order in which they were taken; -1 is the newest
    #[arg(short, long, alias = "boot-image", value_name = "AMI|N", default_value = "-1", allow_hyphen_values = true,
        add = ArgValueCandidates::new(complete::images))]
    image: ImageChoice,
}

impl Recreate {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        Box::pin(launch(self.flags, Source::Taken(self.image), false, settings, printer)).await
    }
}
