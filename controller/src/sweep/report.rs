//! How a cleanup is shown: a table, JSON, and a line that sums it up. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::course::{Failure, Fate, Swept};
use super::thing::{Thing, age, size};
use crate::table::Table;

/// A thing as it is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Row<'a> {
    kind: &'a str,
    /// `null` for what the account has once.
    region: Option<&'a str>,
    id: &'a str,
    /// The boxes that it is of.
    of: Option<&'a str>,
    bytes: Option<u64>,
    /// When it was made, or last known to be of use.
    since: Option<Timestamp>,
    why: &'a str,
    result: Fate,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A part that could not be looked at, as it is printed.
#[derive(Debug, Serialize)]
pub(crate) struct FailedPart<'a> {
    kind: &'a str,
    region: Option<&'a str>,
    error: String,
}

impl<'a> Row<'a> {
    /// A thing that would go.
    pub(crate) fn planned(thing: &'a Thing) -> Self {
        Self::new(thing, Fate::Planned, None)
    }

    /// A thing that was to go.
    pub(crate) fn swept(swept: &'a Swept) -> Self {
        Self::new(&swept.thing, swept.fate, swept.error.as_ref().map(ToString::to_string))
    }

    fn new(thing: &'a Thing, result: Fate, error: Option<String>) -> Self {
        Self {
            kind: thing.kind,
            region: thing.region.as_deref(),
            id: &thing.id,
            of: thing.of.as_ref().map(fleetkey_common::aws_names::AbsoluteName::as_str),
            bytes: thing.bytes,
            since: thing.since,
            why: thing.why(),
            result,
            error,
        }
    }
}

impl<'a> From<&'a Failure> for FailedPart<'a> {
    fn from(failure: &'a Failure) -> Self {
        Self { kind: failure.kind, region: failure.region.as_deref(), error: failure.error.to_string() }
    }
}

/// The rows as a table.
pub(crate) fn table(rows: &[Row<'_>], now: Timestamp) -> Table {
    let mut table = Table::new(&["KIND", "REGION", "ID", "OF", "SIZE", "AGE", "WHY", "RESULT"]);
    for row in rows {
        let result = match row.result {
            Fate::Planned => "planned",
            Fate::Deleted => "deleted",
            Fate::InUse => "in use",
            Fate::Failed => "failed",
            Fate::NotTried => "not tried",
        };
        table.row(vec![
            row.kind.to_owned(),
            row.region.unwrap_or_default().to_owned(),
            row.id.to_owned(),
            row.of.unwrap_or_default().to_owned(),
            row.bytes.map(size).unwrap_or_default(),
            row.since.map(|since| age(since, now)).unwrap_or_default(),
            row.why.to_owned(),
            result.to_owned(),
        ]);
    }
    table
}

/// How many of each kind, and how large they are together: `3 snapshots (24 GiB), 1 keys`.
pub(crate) fn sum<'a>(things: impl IntoIterator<Item = &'a Thing>) -> String {
    let mut kinds: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    for thing in things {
        let (count, bytes) = kinds.entry(thing.kind).or_default();
        *count += 1;
        *bytes += thing.bytes.unwrap_or(0);
    }
    let words = kinds.into_iter().map(|(kind, (count, bytes))| match bytes {
        0 => format!("{count} {kind}"),
        bytes => format!("{count} {kind} ({})", size(bytes)),
    });
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::thing::Verdict;

    #[test]
    fn a_table_has_what_goes_how_large_and_old_it_is_and_why() {
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        let snapshot = Thing {
            of: Some("/prod/web".parse().unwrap()),
            since: Some("2026-11-01T12:00:00Z".parse().unwrap()),
            ..Thing::new("snapshots", "snap-1", Verdict::Unused("no image has it".to_owned()))
        };
        let things = [
            snapshot.in_region("us-west-2").gib(8),
            Thing::new("keys", "ssh_pubkey:a\x1b[31mb", Verdict::Unused("nobody has it".to_owned())),
        ];
        let rows: Vec<_> = things.iter().map(Row::planned).collect();
        insta::assert_snapshot!(table(&rows, now).to_string(), @r"
        KIND       REGION     ID                  OF         SIZE   AGE  WHY              RESULT
        snapshots  us-west-2  snap-1              /prod/web  8 GiB  20d  no image has it  planned
        keys       -          ssh_pubkey:a [31mb  -          -      -    nobody has it    planned
        ");
        assert_eq!(sum(&things), "1 keys, 1 snapshots (8 GiB)");
        assert_eq!(sum(&[]), "");
    }
}
