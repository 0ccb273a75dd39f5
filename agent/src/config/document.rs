//! From the text of the file to a fragment: which value stands in which field.

use std::path::Path;

use fleetkey_common::config_file::{Findings, Reader, Table, read as read_file};

use super::fragment::{Fragment, GrantFragment};
use super::schema::{GRANT, SCHEMA};

/// Reads the file's bytes. `None` when it is not TOML.
pub(super) fn read(path: &Path, bytes: &[u8], findings: &mut Findings) -> Option<Fragment> {
    read_file(path, bytes, &SCHEMA, findings, fragment)
}

fn fragment<'a>(file: &mut Reader<'a, '_>, top: &Table<'a>) -> Fragment {
    let [guard, push, aws] = ["guard", "push", "aws"].map(|name| file.table(top, name));
    let [instance, render, report] = ["instance", "render", "report"].map(|name| file.table(top, name));
    let [metrics, autostop, paths] = ["metrics", "autostop", "paths"].map(|name| file.table(top, name));
    let [guard, push, aws] = [&guard, &push, &aws].map(Option::as_ref);
    let [instance, render, report] = [&instance, &render, &report].map(Option::as_ref);
    let [metrics, autostop, paths] = [&metrics, &autostop, &paths].map(Option::as_ref);
    let top = Some(top);
    Fragment {
        source: file.text(top, "source"),
        registries: file.list(top, "registries"),
        directory: file.text(top, "directory"),
        poll_interval: file.text(top, "poll_interval"),
        grants: grants(file, top),
        guard_max_removed: file.text(guard, "max_removed"),
        guard_break_glass: file.text(guard, "break_glass"),
        guard_max_stale: file.text(guard, "max_stale"),
        push_enabled: file.switch(push, "enabled"),
        push_topic: file.text(push, "topic"),
        push_delete_queue: file.text(push, "delete_queue"),
        aws_region: file.text(aws, "region"),
        aws_bucket: file.text(aws, "bucket"),
        aws_endpoint_url: file.text(aws, "endpoint_url"),
        aws_ca_bundle: file.text(aws, "ca_bundle"),
        aws_credentials_file: file.text(aws, "credentials_file"),
        instance_id: file.text(instance, "id"),
        instance_account_id: file.text(instance, "account_id"),
        instance_metadata_url: file.text(instance, "metadata_url"),
        render_allowed_options: file.list(render, "allowed_options"),
        render_expiry_time: file.switch(render, "expiry_time"),
        report_status_object: file.switch(report, "status_object"),
        metrics_enabled: file.switch(metrics, "enabled"),
        metrics_interval: file.text(metrics, "interval"),
        metrics_namespace: file.text(metrics, "namespace"),
        autostop_after: file.text(autostop, "after"),
        autostop_action: file.text(autostop, "action"),
        autostop_max_load: file.text(autostop, "max_load"),
        autostop_max_stay: file.text(autostop, "max_stay"),
        paths_state: file.text(paths, "state"),
        paths_runtime: file.text(paths, "runtime"),
        paths_system_keys: file.text(paths, "system_keys"),
    }
}

fn grants<'a>(file: &mut Reader<'a, '_>, top: Option<&Table<'a>>) -> Option<Vec<GrantFragment>> {
    let value = top?.get(GRANT)?;
    let tables = file.numbered(value, GRANT, "account and keys");
    let mut grants = Vec::with_capacity(tables.len());
    for (origin, table) in &tables {
        let table = Some(table);
        let (account, keys) = (file.text(table, "account"), file.list(table, "keys"));
        // What is there in the wrong shape was told; what is not there at all is told here.
        for name in ["account", "keys"].into_iter().filter(|name| table.is_some_and(|table| table.get(name).is_none()))
        {
            let example = SCHEMA.example(GRANT, name);
            file.error(origin, format!("{name} is missing; write {example}"));
        }
        grants.push(GrantFragment { origin: origin.clone(), account, keys, mode: file.text(table, "mode") });
    }
    Some(grants)
}
