//! From the text of the file to a fragment: which value stands in which field.

use std::path::Path;

use fleetkey_common::config_file::{Findings, Reader, Table, read as read_file};

use super::fragment::{Fragment, GrantFragment};
use super::schema::{GRANT, SCHEMA};

/// Reads the file's bytes. `None` when it is not TOML.
pub(super) fn read(path: &Path, bytes: &[u8], findings: &mut Findings) -> Option<Fragment> {
    read_file(path, bytes, &SCHEMA, findings, fragment)
}

fn fragment<'a>(reader: &mut Reader<'a, '_>, top: &Table<'a>) -> Fragment {
    let [guard, push, aws] = ["guard", "push", "aws"].map(|name| reader.table(top, name));
    let [instance, render, report] = ["instance", "render", "report"].map(|name| reader.table(top, name));
    let [metrics, paths] = ["metrics", "paths"].map(|name| reader.table(top, name));
    let [guard, push, aws] = [&guard, &push, &aws].map(Option::as_ref);
    let [instance, render, report] = [&instance, &render, &report].map(Option::as_ref);
    let [metrics, paths] = [&metrics, &paths].map(Option::as_ref);
    let top = Some(top);
    Fragment {
        source: reader.text(top, "source"),
        registries: reader.list(top, "registries"),
        directory: reader.text(top, "directory"),
        poll_interval: reader.text(top, "poll_interval"),
        grants: grants(reader, top),
        guard_max_removed: reader.text(guard, "max_removed"),
        guard_break_glass: reader.text(guard, "break_glass"),
        guard_max_stale: reader.text(guard, "max_stale"),
        push_enabled: reader.switch(push, "enabled"),
        push_topic: reader.text(push, "topic"),
        push_delete_queue: reader.text(push, "delete_queue"),
        aws_region: reader.text(aws, "region"),
        aws_bucket: reader.text(aws, "bucket"),
        aws_endpoint_url: reader.text(aws, "endpoint_url"),
        aws_ca_bundle: reader.text(aws, "ca_bundle"),
        aws_credentials_file: reader.text(aws, "credentials_file"),
        instance_id: reader.text(instance, "id"),
        instance_account_id: reader.text(instance, "account_id"),
        instance_metadata_url: reader.text(instance, "metadata_url"),
        render_allowed_options: reader.list(render, "allowed_options"),
        render_expiry_time: reader.switch(render, "expiry_time"),
        report_status_object: reader.switch(report, "status_object"),
        metrics_enabled: reader.switch(metrics, "enabled"),
        metrics_interval: reader.text(metrics, "interval"),
        metrics_namespace: reader.text(metrics, "namespace"),
        paths_state: reader.text(paths, "state"),
        paths_runtime: reader.text(paths, "runtime"),
        paths_system_keys: reader.text(paths, "system_keys"),
    }
}

fn grants<'a>(reader: &mut Reader<'a, '_>, top: Option<&Table<'a>>) -> Option<Vec<GrantFragment>> {
    let value = top?.get(GRANT)?;
    let tables = reader.numbered(value, GRANT, "account and keys");
    let mut grants = Vec::with_capacity(tables.len());
    for (origin, table) in &tables {
        let table = Some(table);
        let (account, keys) = (reader.text(table, "account"), reader.list(table, "keys"));
        // What is there in the wrong shape was told; what is not there at all is told here.
        for name in ["account", "keys"].into_iter().filter(|name| table.is_some_and(|table| table.get(name).is_none()))
        {
            let example = SCHEMA.example(GRANT, name);
            reader.error(origin, format!("{name} is missing; write {example}"));
        }
        grants.push(GrantFragment { origin: origin.clone(), account, keys, mode: reader.text(table, "mode") });
    }
    Some(grants)
}
