//! From the text of the file to what it says: its profiles, and what holds for all of them.
//!
//! All that is wrong in it is told at once, in profiles that are not used too: a file with faults yields nothing.

use std::collections::BTreeMap;
use std::path::Path;

use fleetkey_common::config_file::{Findings, List, Problem, Problems, Reader, Table, Text, Written, read};
use fleetkey_common::did_you_mean::did_you_mean;

use super::fragment::Fragment;
use super::schema::{DEFAULT_PROFILE, PROFILE, SCHEMA};
use crate::settings::rules;
use crate::zone::region_of_all;

/// What a file says, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Document {
    /// The profile that counts where none is asked for.
    pub(super) default_profile: Option<Text>,
    /// What holds in all profiles that do not say otherwise.
    pub(super) top: Fragment,
    /// The profiles, by name.
    pub(super) profiles: BTreeMap<String, Fragment>,
}

impl Document {
    /// Reads a file's bytes; `path` is for messages.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Problems> {
        let mut findings = Findings::default();
        let read = read(path, bytes, &SCHEMA, &mut findings, document);
        let _: Vec<Problem> = findings.into_result()?;
        Ok(read.unwrap_or_default())
    }
}

fn document<'a>(reader: &mut Reader<'a, '_>, top: &Table<'a>) -> Document {
    let default_profile = reader.text(Some(top), DEFAULT_PROFILE);
    let fragment = fragment(reader, top);
    let mut profiles = BTreeMap::new();
    for (name, table) in reader.named(top, PROFILE) {
        if let Err(fault) = rules::profile(&name.value) {
            reader.error(&name.origin, fault);
        }
        profiles.insert(name.value, self::fragment(reader, &table));
    }
    if let Some(Written { value, origin }) = &default_profile
        && !profiles.contains_key(value)
    {
        let known: Vec<&str> = profiles.keys().map(String::as_str).collect();
        let hint = did_you_mean(value, &known);
        reader.error(origin, format!("there is no [{PROFILE}.{value}] in this file{hint}"));
    }
    Document { default_profile, top: fragment, profiles }
}

fn fragment<'a>(reader: &mut Reader<'a, '_>, table: &Table<'a>) -> Fragment {
    let mut text = |name: &str, rule: rules::Check| {
        let written = reader.text(Some(table), name)?;
        if let Err(fault) = rule(&written.value) {
            reader.error(&written.origin, fault);
        }
        Some(written)
    };
    let fragment = Fragment {
        aws_profile: text("aws_profile", rules::aws_profile),
        region: text("region", rules::region),
        zone: text("zone", rules::zone),
        namespace: text("namespace", rules::namespace),
        me: text("me", rules::person),
        keypairs: None,
        instance_type: text("instance_type", rules::instance_type),
        bucket: text("bucket", rules::bucket),
        topic: text("topic", rules::topic),
        output: text("output", rules::output),
        address: text("address", rules::address),
        jump: text("jump", rules::jump),
        via: text("via", rules::via),
        ssh_from: text("ssh_from", rules::ssh_from),
    };
    if let (Some(_), Some(via)) = (&fragment.jump, &fragment.via) {
        reader.error(&via.origin, "jump names another way; leave one of them out");
    }
    if let (Some(region), Some(zone)) = (&fragment.region, &fragment.zone)
        && region_of_all(&zone.value).is_some_and(|implied| implied != region.value)
    {
        let message =
            format!("{} is not in region {}; leave region out: the zone implies it", zone.value, region.value);
        reader.error(&zone.origin, message);
    }
    let keypairs = reader.list(Some(table), "keypairs").map(|list| key_specs(reader, list));
    Fragment { keypairs, ..fragment }
}

/// Key specs as one text, each checked.
fn key_specs(reader: &mut Reader<'_, '_>, list: List) -> Text {
    let Written { value: specs, origin } = list;
    if specs.is_empty() {
        reader.error(&origin, "nobody is named; leave keypairs out, which means __me__");
    }
    for Written { value, origin } in &specs {
        if let Err(fault) = rules::key_spec(value) {
            reader.error(origin, fault);
        }
    }
    let words: Vec<String> = specs.into_iter().map(|spec| spec.value).collect();
    Written { value: words.join(" "), origin }
}
