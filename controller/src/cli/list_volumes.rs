//! `fleetkey list-volumes`: the volumes of boxes beside their root volumes, and those that outlived their boxes.

use anyhow::Context as _;
use clap::Args;
use clap_complete::ArgValueCandidates;
use jiff::Timestamp;
use serde::Serialize;

use super::on_box::told;
use crate::aws::instances::Which;
use crate::aws::volumes;
use crate::complete;
use crate::fleet::Fleet;
use crate::printer::Printer;
use crate::selection;
use crate::settings::Settings;
use crate::table::Table;
use crate::volume::{AVAILABLE, Stored};

/// List the volumes of boxes beside their root volumes, those that outlived their boxes among them.
///
/// One that is available is taken over by the next create or recreate of its role in its zone, if the role keeps it.
#[derive(Debug, Args)]
pub(super) struct ListVolumes {
    /// Role of the boxes [default: all roles of the namespace and of those below it]
    #[arg(add = ArgValueCandidates::new(complete::roles_with_boxes))]
    role: Option<String>,
    /// Only volumes of this cluster
    #[arg(short, long, value_name = "NAME", add = ArgValueCandidates::new(complete::clusters))]
    cluster_name: Option<String>,
    /// Only volumes that hang on no box
    #[arg(long)]
    available: bool,
}

/// What is printed with `--output json`.
#[derive(Serialize)]
struct Listed<'a> {
    region: &'a str,
    namespace: &'a str,
    volumes: &'a [Row<'a>],
}

/// A volume as it is printed.
#[derive(Debug, Serialize)]
struct Row<'a> {
    id: &'a str,
    /// Its name in the role.
    volume: &'a str,
    role: &'a str,
    /// The boxes' full name.
    of: &'a str,
    cluster: Option<&'a str>,
    cluster_ordinal: Option<u32>,
    state: &'a str,
    zone: &'a str,
    gib: u32,
    #[serde(rename = "type")]
    kind: &'a str,
    encrypted: bool,
    /// The box that it hangs on, and under which device name.
    instance: Option<&'a str>,
    device: Option<&'a str>,
    made: Option<Timestamp>,
}

impl ListVolumes {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let fleet = Fleet::open(settings, printer).await?;
        let Fleet { namespace, region, .. } = &fleet;
        let name = self.role.as_deref().map(|role| selection::name(namespace, role)).transpose()?;
        let which = name.as_ref().map_or(Which::Namespace(namespace), Which::Name);
        let mut found = volumes::stored(&fleet.ec2, &which).await.map_err(told)?;
        found.retain(|volume| !self.available || volume.state == AVAILABLE);
        found.retain(|volume| {
            let cluster = volume.node.as_ref().map(|node| &node.cluster);
            self.cluster_name.is_none() || cluster == self.cluster_name.as_ref()
        });
        if found.is_empty() {
            let of = name.map_or_else(|| format!("of boxes in {namespace}"), |name| format!("of {name}"));
            printer.note(&format!("there is no volume {of} in {region} beside root volumes"));
        }
        let rows: Vec<Row> = found.iter().map(|volume| row(volume, namespace.relative(&volume.of))).collect();
        let listed = Listed { region, namespace: namespace.as_str(), volumes: &rows };
        printer.data(&table(&rows), &listed).context("writing to standard output")
    }
}

fn row<'a>(volume: &'a Stored, role: &'a str) -> Row<'a> {
    Row {
        id: &volume.id,
        volume: &volume.label,
        role,
        of: volume.of.as_str(),
        cluster: volume.node.as_ref().map(|node| node.cluster.as_str()),
        cluster_ordinal: volume.node.as_ref().map(|node| node.ordinal),
        state: &volume.state,
        zone: &volume.zone,
        gib: volume.gib,
        kind: &volume.kind,
        encrypted: volume.encrypted,
        instance: volume.instance.as_deref(),
        device: volume.device.as_deref(),
        made: volume.made,
    }
}

fn table(rows: &[Row<'_>]) -> Table {
    let mut table =
        Table::new(&["ID", "VOLUME", "ROLE", "CLUSTER", "STATE", "ZONE", "GIB", "TYPE", "INSTANCE", "MADE"]);
    for row in rows {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        table.row(vec![
            row.id.to_owned(),
            row.volume.to_owned(),
            row.role.to_owned(),
            row.cluster.zip(row.cluster_ordinal).map(|(name, ordinal)| format!("{name}/{ordinal}")).unwrap_or_default(),
            row.state.to_owned(),
            row.zone.to_owned(),
            row.gib.to_string(),
            row.kind.to_owned(),
            text(row.instance),
            row.made.map(|moment| moment.to_string()).unwrap_or_default(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::Node;

    #[test]
    fn a_volume_is_a_row_with_what_it_hangs_on() {
        let free = Stored {
            id: "vol-0123456789abcdef0".into(),
            label: "data".into(),
            of: "/prod/web".parse().unwrap(),
            node: None,
            state: AVAILABLE.into(),
            zone: "us-west-2a".into(),
            gib: 100,
            kind: "gp3".into(),
            encrypted: true,
            made: Some("2026-11-21T04:05:06Z".parse().unwrap()),
            instance: None,
            device: None,
        };
        let hangs = Stored {
            node: Some(Node { cluster: "red".into(), ordinal: 3 }),
            state: "in-use".into(),
            instance: Some("i-0123456789abcdef0".into()),
            device: Some("/dev/sdf".into()),
            ..free.clone()
        };
        let rows = [row(&free, "web"), row(&hangs, "web")];
        insta::assert_snapshot!(table(&rows).to_string(), @r"
        ID                     VOLUME  ROLE  CLUSTER  STATE      ZONE        GIB  TYPE  INSTANCE             MADE
        vol-0123456789abcdef0  data    web   -        available  us-west-2a  100  gp3   -                    2026-11-21T04:05:06Z
        vol-0123456789abcdef0  data    web   red/3    in-use     us-west-2a  100  gp3   i-0123456789abcdef0  2026-11-21T04:05:06Z
        ");
        insta::assert_snapshot!(serde_json::to_string(&rows[1]).unwrap(), @r#"{"id":"vol-0123456789abcdef0","volume":"data","role":"web","of":"/prod/web","cluster":"red","cluster_ordinal":3,"state":"in-use","zone":"us-west-2a","gib":100,"type":"gp3","encrypted":true,"instance":"i-0123456789abcdef0","device":"/dev/sdf","made":"2026-11-21T04:05:06Z"}"#);
    }
}
