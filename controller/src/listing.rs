//! Boxes as commands print them: a row of a table, an object of JSON. The names of the JSON's fields are kept.

use fleetkey_common::aws_names::Namespace;
use jiff::Timestamp;
use serde::Serialize;

use crate::instance::{Instance, State};
use crate::table::Table;

/// A box as it is printed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row<'a> {
    /// The how-manieth of its role it is; none where nothing was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    ordinal: Option<usize>,
    role: &'a str,
    name: &'a str,
    cluster: Option<&'a str>,
    cluster_ordinal: Option<u32>,
    id: &'a str,
    state: State,
    private_address: Option<&'a str>,
    public_address: Option<&'a str>,
    #[serde(rename = "type")]
    instance_type: &'a str,
    zone: &'a str,
    image: &'a str,
    architecture: &'a str,
    generation: Option<u32>,
    launched: Option<Timestamp>,
}

const COLUMNS: [&str; 12] = [
    "ORDINAL",
    "ROLE",
    "CLUSTER",
    "ID",
    "STATE",
    "PRIVATE",
    "PUBLIC",
    "TYPE",
    "ZONE",
    "IMAGE",
    "GENERATION",
    "LAUNCHED",
];

impl<'a> Row<'a> {
    /// The box as one sees it from a namespace.
    pub(crate) fn new(ordinal: Option<usize>, found: &'a Instance, namespace: &Namespace) -> Self {
        Self {
            ordinal,
            role: namespace.relative(&found.name),
            name: found.name.as_str(),
            cluster: found.cluster.as_deref(),
            cluster_ordinal: found.cluster_ordinal,
            id: &found.id,
            state: found.state,
            private_address: found.private_address.as_deref(),
            public_address: found.public_address.as_deref(),
            instance_type: &found.instance_type,
            zone: &found.zone,
            image: &found.image,
            architecture: &found.architecture,
            generation: found.generation,
            launched: found.launched,
        }
    }

    /// The columns with their names.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'static str, String)> {
        COLUMNS.into_iter().zip(self.cells())
    }

    fn cells(&self) -> Vec<String> {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let cluster = match (self.cluster, self.cluster_ordinal) {
            (Some(cluster), Some(ordinal)) => format!("{cluster}/{ordinal}"),
            (cluster, _) => text(cluster),
        };
        vec![
            self.ordinal.map(|ordinal| ordinal.to_string()).unwrap_or_default(),
            self.role.to_owned(),
            cluster,
            self.id.to_owned(),
            self.state.as_str().to_owned(),
            text(self.private_address),
            text(self.public_address),
            self.instance_type.to_owned(),
            self.zone.to_owned(),
            self.image.to_owned(),
            self.generation.map(|generation| generation.to_string()).unwrap_or_default(),
            self.launched.map(|moment| moment.to_string()).unwrap_or_default(),
        ]
    }
}

/// The rows as a table.
pub(crate) fn table(rows: &[Row<'_>]) -> Table {
    let mut table = Table::new(&COLUMNS);
    for row in rows {
        table.row(row.cells());
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_box_is_a_row_with_its_role_as_seen_from_the_namespace() {
        let found = Instance {
            id: "i-0123456789abcdef0".into(),
            name: "/prod/sub/web".parse().unwrap(),
            state: State::ShuttingDown,
            launched: Some("2026-11-21T04:05:06Z".parse().unwrap()),
            instance_type: "t3.micro".into(),
            zone: "us-west-2a".into(),
            image: "ami-1".into(),
            architecture: "x86_64".into(),
            private_address: Some("10.0.0.1".into()),
            public_address: None,
            generation: Some(2),
            cluster: Some("c1".into()),
            cluster_ordinal: Some(0),
            tags: BTreeMap::new(),
        };
        let row = Row::new(Some(3), &found, &"/prod/".parse().unwrap());
        insta::assert_snapshot!(table(std::slice::from_ref(&row)).to_string(), @r"
        ORDINAL  ROLE     CLUSTER  ID                   STATE          PRIVATE   PUBLIC  TYPE      ZONE        IMAGE  GENERATION  LAUNCHED
        3        sub/web  c1/0     i-0123456789abcdef0  shutting-down  10.0.0.1  -       t3.micro  us-west-2a  ami-1  2           2026-11-21T04:05:06Z
        ");
        insta::assert_snapshot!(serde_json::to_string_pretty(&row).unwrap(), @r#"
        {
          "ordinal": 3,
          "role": "sub/web",
          "name": "/prod/sub/web",
          "cluster": "c1",
          "cluster_ordinal": 0,
          "id": "i-0123456789abcdef0",
          "state": "shutting-down",
          "private_address": "10.0.0.1",
          "public_address": null,
          "type": "t3.micro",
          "zone": "us-west-2a",
          "image": "ami-1",
          "architecture": "x86_64",
          "generation": 2,
          "launched": "2026-11-21T04:05:06Z"
        }
        "#);
    }
}
