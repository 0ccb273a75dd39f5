//! `fleetkey list-images`: the images that were taken of boxes of a role.

use anyhow::Context as _;
use clap::Args;
use clap_complete::ArgValueCandidates;
use jiff::Timestamp;
use serde::Serialize;

use super::on_box::told;
use crate::aws::images;
use crate::complete;
use crate::complete::cache::{Cache, SeenImage};
use crate::fleet::Fleet;
use crate::image::Image;
use crate::printer::Printer;
use crate::selection;
use crate::settings::Settings;
use crate::table::Table;

/// List the images that were taken of boxes of a role, oldest first.
#[derive(Debug, Args)]
pub(super) struct ListImages {
    /// Role of the boxes, in the namespace unless it begins with a slash
    #[arg(add = ArgValueCandidates::new(complete::roles_with_images))]
    role: String,
}

/// What is printed with `--output json`.
#[derive(Serialize)]
struct Listed<'a> {
    region: &'a str,
    /// The boxes' full name.
    of: &'a str,
    images: &'a [Row<'a>],
}

/// An image as it is printed.
#[derive(Debug, Serialize)]
pub(super) struct Row<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ordinal: Option<usize>,
    id: &'a str,
    name: &'a str,
    state: &'a str,
    generation: u32,
    created: Option<Timestamp>,
    architecture: &'a str,
    snapshots: Vec<&'a str>,
    /// The size of all its volumes together.
    gib: u32,
}

impl<'a> Row<'a> {
    pub(super) fn new(ordinal: Option<usize>, image: &'a Image) -> Self {
        Self {
            ordinal,
            id: &image.id,
            name: &image.name,
            state: &image.state,
            generation: image.generation(),
            created: image.taken().map(|(_, moment)| moment),
            architecture: &image.architecture,
            snapshots: image.volumes.iter().map(|volume| volume.snapshot.as_str()).collect(),
            gib: image.volumes.iter().map(|volume| volume.gib).sum(),
        }
    }
}

/// The rows as a table.
pub(super) fn table(rows: &[Row<'_>]) -> Table {
    let mut table =
        Table::new(&["ORDINAL", "ID", "NAME", "STATE", "GENERATION", "CREATED", "ARCHITECTURE", "SNAPSHOTS", "GIB"]);
    for row in rows {
        table.row(vec![
            row.ordinal.map(|ordinal| ordinal.to_string()).unwrap_or_default(),
            row.id.to_owned(),
            row.name.to_owned(),
            row.state.to_owned(),
            row.generation.to_string(),
            row.created.map(|moment| moment.to_string()).unwrap_or_default(),
            row.architecture.to_owned(),
            row.snapshots.len().to_string(),
            row.gib.to_string(),
        ]);
    }
    table
}

impl ListImages {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let fleet = Fleet::open(settings, printer).await?;
        let of = selection::name(&fleet.namespace, &self.role)?;
        let images = images::of_box(&fleet.ec2, &of).await.map_err(told)?;
        if images.is_empty() {
            printer.note(&format!("there is no image of {of} in {}", fleet.region));
            printer.hint(&format!("fleetkey image {of} takes one of a box that is stopped"));
        }
        if let Some(cache) = Cache::of(settings, |name| std::env::var(name).ok()) {
            let seen = images.iter().map(|image| SeenImage { id: image.id.clone(), name: image.name.clone() });
            if let Err(error) = cache.keep_images(of.as_str(), seen.collect()) {
                printer.detail(&format!("shells will not complete these images: {error}"));
            }
        }
        let rows: Vec<Row> = images.iter().enumerate().map(|(at, image)| Row::new(Some(at), image)).collect();
        let listed = Listed { region: &fleet.region, of: of.as_str(), images: &rows };
        printer.data(&table(&rows), &listed).context("writing to standard output")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::image::ImageVolume;

    #[test]
    fn an_image_is_a_row_with_all_its_snapshots_counted() {
        let volume = |snapshot: &str, gib| ImageVolume { device: String::new(), snapshot: snapshot.to_owned(), gib };
        let image = Image {
            id: "ami-0123456789abcdef0".to_owned(),
            name: "prod_web__2026-11-21__04-05-06".to_owned(),
            state: "available".to_owned(),
            architecture: "x86_64".to_owned(),
            source: None,
            made: None,
            root_device: "/dev/xvda".to_owned(),
            volumes: vec![volume("snap-1", 8), volume("snap-2", 100)],
            tags: BTreeMap::from([("generation".to_owned(), "1".to_owned())]),
        };
        insta::assert_snapshot!(table(&[Row::new(Some(0), &image)]).to_string(), @r"
        ORDINAL  ID                     NAME                            STATE      GENERATION  CREATED               ARCHITECTURE  SNAPSHOTS  GIB
        0        ami-0123456789abcdef0  prod_web__2026-11-21__04-05-06  available  1           2026-11-21T04:05:06Z  x86_64        2          108
        ");
    }
}
