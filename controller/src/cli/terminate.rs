//! `fleetkey terminate`: a box is gone for good, and what it leaves behind is named.

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::asking::{self, Consent};
use super::dry_run::{self, Step};
use super::on_box::{self, WaitFlags, described};
use crate::details::Volume;
use crate::fleet::Fleet;
use crate::instance::{Instance, State};
use crate::lifecycle::Wish;
use crate::listing::{self, Row};
use crate::printer::Printer;
use crate::selection::Selector;
use crate::settings::Settings;
use crate::ssh::known_hosts::KnownHosts;
use crate::volume::VOLUME_TAG;

/// Terminate a box for good, and wait until it is gone.
///
/// Shows first what goes with it and what stays, and asks.
#[derive(Debug, Args)]
pub(super) struct Terminate {
    #[command(flatten)]
    selector: Selector,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    waiting: WaitFlags,
}

/// What is printed with `--output json`.
#[derive(Serialize)]
struct Terminated<'a> {
    #[serde(flatten)]
    row: Row<'a>,
    /// The volumes that it had, each with what becomes of it.
    volumes: &'a [Volume],
}

impl Terminate {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let asks = self.consent.asks();
        if asks {
            asking::needs_a_terminal("terminating", "--dry-run tells what would go")?;
        }
        let fleet = Fleet::open(settings, printer).await?;
        let (_, chosen) = on_box::find(&fleet, &self.selector.role, &self.selector.among).await?;
        let volumes = match chosen.state {
            State::Terminated => Vec::new(),
            _ => on_box::details(&fleet, chosen.clone()).await?.volumes,
        };
        if self.consent.dry.dry_run {
            return would(&chosen, &volumes, printer);
        }
        if asks && State::LIVE.contains(&chosen.state) {
            let question = format!("Terminate box {} for good?", chosen.id);
            asking::confirm(dry_run::table(&plan(&chosen, &volumes)), question).await?;
        }
        let gone = on_box::bring(&fleet, chosen, Wish::Terminate, &self.waiting, printer).await?;
        forget_host_keys(&fleet, &gone, printer);
        for kept in volumes.iter().filter(|volume| !volume.deleted_with_box) {
            let id = &kept.id;
            printer.note(&format!("volume {} is kept and goes on costing", kept.described()));
            if let Some(label) = kept.tags.get(VOLUME_TAG) {
                printer.hint(&found_again(&gone, label));
            }
            printer.hint(&format!("delete it with: aws ec2 delete-volume --volume-id {id} --region {}", fleet.region));
        }
        let row = Row::new(None, &gone, &fleet.namespace);
        let table = listing::table(std::slice::from_ref(&row));
        printer.data(&table, &Terminated { row, volumes: &volumes }).context("writing to standard output")
    }
}

/// How the next box comes by a volume that was kept.
fn found_again(gone: &Instance, label: &str) -> String {
    let node = gone.cluster.as_ref().zip(gone.cluster_ordinal);
    let node =
        node.map(|(name, ordinal)| format!(" --cluster-name {name} --cluster-ordinal {ordinal}")).unwrap_or_default();
    format!("fleetkey create {}{node} in zone {} takes it over as {label}", gone.name, gone.zone)
}

/// A box that is gone has no host keys: one that were to show them would be another.
fn forget_host_keys(fleet: &Fleet, gone: &Instance, printer: Printer) {
    let forgotten = KnownHosts::open(&fleet.region).and_then(|known| known.forget(&gone.id));
    if let Err(error) = forgotten {
        printer.warn(&format!("the host keys of box {} stay on this machine: {error}", gone.id));
    }
}

/// Says what would go.
fn would(chosen: &Instance, volumes: &[Volume], printer: Printer) -> anyhow::Result<()> {
    if State::LIVE.contains(&chosen.state) {
        return dry_run::show(&plan(chosen, volumes), printer);
    }
    printer.note(&format!("box {} is {} already", chosen.id, chosen.state.as_str()));
    dry_run::show(&[], printer)
}

/// What goes and what stays.
fn plan(chosen: &Instance, volumes: &[Volume]) -> Vec<Step> {
    let terminate = Step { action: "terminate", what: chosen.id.clone(), details: described(chosen) };
    let volumes = volumes.iter().map(|volume| Step {
        action: if volume.deleted_with_box { "delete" } else { "keep" },
        what: volume.id.clone(),
        details: format!("{}, {} GiB {}", volume.device, volume.gib, volume.kind),
    });
    std::iter::once(terminate).chain(volumes).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn fault_12_what_is_asked_names_the_volumes_that_go_and_those_that_stay() {
        let volume = |id: &str, device: &str, deleted_with_box| Volume {
            id: id.to_owned(),
            device: device.to_owned(),
            gib: 8,
            kind: "gp3".to_owned(),
            encrypted: false,
            deleted_with_box,
            tags: BTreeMap::new(),
        };
        let chosen = Instance {
            id: "i-0123456789abcdef0".to_owned(),
            name: "/prod/web".parse().unwrap(),
            state: State::Stopping,
            launched: None,
            instance_type: "t3.micro".to_owned(),
            zone: String::new(),
            image: String::new(),
            architecture: String::new(),
            private_address: None,
            public_address: None,
            generation: Some(0),
            cluster: None,
            cluster_ordinal: None,
            tags: BTreeMap::new(),
        };
        let volumes = [volume("vol-1", "/dev/xvda", true), volume("vol-2", "/dev/xvdf", false)];
        insta::assert_snapshot!(dry_run::table(&plan(&chosen, &volumes)).to_string(), @r"
        ACTION     WHAT                 DETAILS
        terminate  i-0123456789abcdef0  /prod/web, t3.micro, stopping
        delete     vol-1                /dev/xvda, 8 GiB gp3
        keep       vol-2                /dev/xvdf, 8 GiB gp3
        ");
    }
}
