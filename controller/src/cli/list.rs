//! `fleetkey list`: the boxes that there are.

use anyhow::Context as _;
use clap::Args;
use clap_complete::ArgValueCandidates;
use fleetkey_common::aws_names::AbsoluteName;
use serde::Serialize;

use super::missing;
use super::on_box::told;
use crate::aws::instances::{self, Which};
use crate::complete;
use crate::complete::cache::{Cache, SeenBox};
use crate::fleet::Fleet;
use crate::instance::{Instance, State};
use crate::listing::{self, Row};
use crate::printer::Printer;
use crate::selection;
use crate::settings::Settings;

/// List boxes, with the ordinals by which other commands choose among them.
///
/// Boxes that are terminated, or about to be, are not listed.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Role of the boxes [default: all roles of the namespace and of those below it]
    #[arg(add = ArgValueCandidates::new(complete::roles_with_boxes))]
    role: Option<String>,
    /// Only boxes of this cluster; ordinals then count these alone
    #[arg(short, long, value_name = "NAME", add = ArgValueCandidates::new(complete::clusters))]
    cluster_name: Option<String>,
}

/// What is printed with `--output json`.
#[derive(Serialize)]
struct Listed<'a> {
    region: &'a str,
    namespace: &'a str,
    boxes: &'a [Row<'a>],
}

impl List {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let fleet = Fleet::open(settings, printer).await?;
        let Fleet { namespace, region, .. } = &fleet;
        let name = self.role.as_deref().map(|role| selection::name(namespace, role)).transpose()?;
        let which = name.as_ref().map_or(Which::Namespace(namespace), Which::Name);
        let boxes = instances::find(&fleet.ec2, &which, &State::LIVE).await.map_err(told)?;
        let boxes = selection::numbered(boxes, self.cluster_name.as_deref());
        if boxes.is_empty() {
            let what = name.as_ref().map_or_else(|| format!("no box in {namespace}"), |name| format!("no box {name}"));
            printer.note(&format!("there is {what} in {region}"));
            match &name {
                Some(name) => missing::hints(&fleet, name).await.iter().for_each(|hint| printer.hint(hint)),
                None => printer.hint("fleetkey create ROLE makes one; fleetkey role list names the roles"),
            }
        }
        if self.cluster_name.is_none() {
            remember(settings, &fleet, name.as_ref(), &boxes, printer);
        }
        let rows: Vec<Row> = boxes.iter().map(|(ordinal, found)| Row::new(Some(*ordinal), found, namespace)).collect();
        let listed = Listed { region, namespace: namespace.as_str(), boxes: &rows };
        printer.data(&listing::table(&rows), &listed).context("writing to standard output")
    }
}

/// Keeps what was seen, for shells that complete it.
fn remember(
    settings: &Settings,
    fleet: &Fleet,
    name: Option<&AbsoluteName>,
    boxes: &[(usize, Instance)],
    printer: Printer,
) {
    let seen = boxes.iter().map(|(ordinal, found)| SeenBox {
        role: fleet.namespace.relative(&found.name).to_owned(),
        name: found.name.as_str().to_owned(),
        ordinal: *ordinal,
        id: found.id.clone(),
        state: found.state.as_str().to_owned(),
        zone: found.zone.clone(),
        cluster: found.cluster.clone(),
        address: found.private_address.clone(),
    });
    let Some(cache) = Cache::of(settings, |name| std::env::var(name).ok()) else { return };
    if let Err(error) = cache.keep_boxes(name.map(AbsoluteName::as_str), seen.collect()) {
        printer.detail(&format!("shells will not complete these boxes: {error}"));
    }
}
