//! From the text of the file to a fragment: every value with its line and column.
//!
//! The TOML tree is walked by hand, since serde stops at its first error and an operator wants to see all of them.
//! Only the shape is checked here (unknown fields, a list where a string belongs), never what a value means.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fragment::{Fragment, GrantFragment, List, Text, Written};
use super::problem::{Findings, Origin, did_you_mean};
use super::schema;

/// Of a file that is no TOML at all, only this many faults are told.
const MAX_SYNTAX_ERRORS: usize = 10;

/// Reads the file's bytes. `None` when it is not TOML: only that is told then, anything more would be guesswork.
pub(super) fn read(path: &Path, bytes: &[u8], findings: &mut Findings) -> Option<Fragment> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let origin = Places::new(path, &good).origin(good.len(), String::new());
            findings.error(&origin, "the file is not UTF-8 from here on; save it as UTF-8");
            return None;
        }
    };
    let places = Places::new(path, text);
    let (tree, errors) = DeTable::parse_recoverable(text);
    for error in errors.iter().take(MAX_SYNTAX_ERRORS) {
        let at = error.span().map_or(0, |span| span.start);
        let hint = if is_bare_word(text, at) { "; write text in quotes" } else { "" };
        findings.error(&places.origin(at, String::new()), format!("not valid TOML: {}{hint}", error.message()));
    }
    if !errors.is_empty() {
        return None;
    }
    Some(Reader { places, findings }.fragment(tree.get_ref()))
}

/// Whether a value begins here that is neither quoted nor a number: of this TOML readers say odd things.
fn is_bare_word(text: &str, at: usize) -> bool {
    let (Some(before), Some(after)) = (text.get(..at), text.get(at..)) else { return false };
    let is_word = after.starts_with(|c: char| c.is_alphabetic() || "/@*~$_".contains(c));
    let line = before.rsplit('\n').next().unwrap_or_default();
    // Without the `=` it is the name of a table that begins here.
    is_word && line.contains('=') && line.trim_end().ends_with(['=', '[', ','])
}

/// Turns byte offsets into places.
struct Places<'a> {
    path: Arc<Path>,
    text: &'a str,
    /// The offset at which each line begins.
    lines: Vec<usize>,
}

impl<'a> Places<'a> {
    fn new(path: &Path, text: &'a str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(newline, _)| newline + 1)).collect();
        Self { path: path.into(), text, lines }
    }

    fn origin(&self, offset: usize, field: String) -> Origin {
        let line = self.lines.partition_point(|&start| start <= offset);
        let start = self.lines[..line].last().copied().unwrap_or_default();
        let column = self.text[start..].char_indices().take_while(|(at, _)| start + at < offset).count() + 1;
        Origin::File { path: Arc::clone(&self.path), line, column, field }
    }
}

/// A table of the file, and how messages call it.
#[derive(Clone, Copy)]
struct Table<'a> {
    /// Its name in the schema; empty for the top of the file.
    name: &'static str,
    /// Its number among the grants, from 1.
    number: Option<usize>,
    entries: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    fn get(self, name: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.entries.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value)
    }

    /// How a message calls a field of this table.
    fn label(self, field: &str) -> String {
        match (self.number, self.name) {
            (Some(number), _) => format!("grant {number}"),
            (None, "") => field.to_owned(),
            (None, table) => format!("{table}.{field}"),
        }
    }
}

struct Reader<'a, 'f> {
    places: Places<'a>,
    findings: &'f mut Findings,
}

impl<'a> Reader<'a, '_> {
    fn fragment(&mut self, tree: &'a DeTable<'a>) -> Fragment {
        let top = Table { name: "", number: None, entries: tree };
        self.unknown_fields(top);
        let [guard, push, aws] = ["guard", "push", "aws"].map(|name| self.table(top, name));
        let [instance, render, report] = ["instance", "render", "report"].map(|name| self.table(top, name));
        let [metrics, autostop, paths] = ["metrics", "autostop", "paths"].map(|name| self.table(top, name));
        Fragment {
            source: self.text(Some(top), "source"),
            registries: self.list(Some(top), "registries"),
            directory: self.text(Some(top), "directory"),
            poll_interval: self.text(Some(top), "poll_interval"),
            grants: top.get(schema::GRANT).map(|value| self.grants(value)),
            guard_max_removed: self.text(guard, "max_removed"),
            guard_break_glass: self.text(guard, "break_glass"),
            guard_max_stale: self.text(guard, "max_stale"),
            push_enabled: self.switch(push, "enabled"),
            push_topic: self.text(push, "topic"),
            push_delete_queue: self.text(push, "delete_queue"),
            aws_region: self.text(aws, "region"),
            aws_bucket: self.text(aws, "bucket"),
            aws_endpoint_url: self.text(aws, "endpoint_url"),
            aws_ca_bundle: self.text(aws, "ca_bundle"),
            aws_credentials_file: self.text(aws, "credentials_file"),
            instance_id: self.text(instance, "id"),
            instance_account_id: self.text(instance, "account_id"),
            instance_metadata_url: self.text(instance, "metadata_url"),
            render_allowed_options: self.list(render, "allowed_options"),
            render_expiry_time: self.switch(render, "expiry_time"),
            report_status_object: self.switch(report, "status_object"),
            metrics_enabled: self.switch(metrics, "enabled"),
            metrics_interval: self.text(metrics, "interval"),
            metrics_namespace: self.text(metrics, "namespace"),
            autostop_after: self.text(autostop, "after"),
            autostop_action: self.text(autostop, "action"),
            autostop_max_load: self.text(autostop, "max_load"),
            autostop_max_stay: self.text(autostop, "max_stay"),
            paths_state: self.text(paths, "state"),
            paths_runtime: self.text(paths, "runtime"),
            paths_system_keys: self.text(paths, "system_keys"),
        }
    }

    fn grants(&mut self, value: &'a Spanned<DeValue<'a>>) -> Vec<GrantFragment> {
        let Some(array) = value.get_ref().as_array() else {
            let origin = self.origin(value.span(), schema::GRANT.to_owned());
            self.findings.error(&origin, "there can be several grants: write [[grant]], in double brackets");
            return Vec::new();
        };
        array.iter().enumerate().filter_map(|(index, value)| self.grant(index + 1, value)).collect()
    }

    fn grant(&mut self, number: usize, value: &'a Spanned<DeValue<'a>>) -> Option<GrantFragment> {
        let origin = self.origin(value.span(), format!("grant {number}"));
        let Some(entries) = value.get_ref().as_table() else {
            self.findings.error(&origin, "write [[grant]], and account and keys on the lines below it");
            return None;
        };
        let table = Table { name: schema::GRANT, number: Some(number), entries };
        self.unknown_fields(table);
        let (account, keys) = (self.text(Some(table), "account"), self.list(Some(table), "keys"));
        // What is there in the wrong shape was told; what is not there at all is told here.
        for name in ["account", "keys"].into_iter().filter(|name| table.get(name).is_none()) {
            let example = schema::example(schema::GRANT, name);
            self.findings.error(&origin, format!("{name} is missing; write {example}"));
        }
        Some(GrantFragment { origin, account, keys, mode: self.text(Some(table), "mode") })
    }

    /// The table of that name at the top of the file, its unknown fields told.
    fn table(&mut self, top: Table<'a>, name: &'static str) -> Option<Table<'a>> {
        let value = top.get(name)?;
        let Some(entries) = value.get_ref().as_table() else {
            let message = match value.get_ref() {
                DeValue::Array(_) => format!("there can be only one: write [{name}], in single brackets"),
                _ => format!("write [{name}], and its fields on the lines below it"),
            };
            self.findings.error(&self.origin(value.span(), name.to_owned()), message);
            return None;
        };
        let table = Table { name, number: None, entries };
        self.unknown_fields(table);
        Some(table)
    }

    fn unknown_fields(&mut self, table: Table<'a>) {
        let known = schema::names_in(table.name);
        for key in table.entries.keys().filter(|key| !known.contains(&&**key.get_ref())) {
            let name = &**key.get_ref();
            let hint = match (schema::home_of(name), did_you_mean(name, &known)) {
                (Some(home), _) => format!("; {home}"),
                (None, hint) if hint.is_empty() => format!("; known are {}", known.join(", ")),
                (None, hint) => hint,
            };
            let label = if table.name.is_empty() { String::new() } else { table.label("").replace('.', "") };
            let origin = self.origin(key.span(), label);
            self.findings.error(&origin, format!("unknown field {name:?}{hint}"));
        }
    }

    fn text(&mut self, table: Option<Table<'a>>, name: &str) -> Option<Text> {
        let (table, value) = (table?, table?.get(name)?);
        let origin = self.origin(value.span(), table.label(name));
        match value.get_ref().as_str() {
            Some(text) => Some(Written { value: text.to_owned(), origin }),
            None => self.misshapen(&origin, "a string", table, name, value),
        }
    }

    fn switch(&mut self, table: Option<Table<'a>>, name: &str) -> Option<Written<bool>> {
        let (table, value) = (table?, table?.get(name)?);
        let origin = self.origin(value.span(), table.label(name));
        match value.get_ref().as_bool() {
            Some(on) => Some(Written { value: on, origin }),
            None => self.misshapen(&origin, "true or false,", table, name, value),
        }
    }

    fn list(&mut self, table: Option<Table<'a>>, name: &str) -> Option<List> {
        let (table, value) = (table?, table?.get(name)?);
        let origin = self.origin(value.span(), table.label(name));
        let Some(array) = value.get_ref().as_array() else {
            return self.misshapen(&origin, "a list", table, name, value);
        };
        let mut items = Vec::with_capacity(array.len());
        for item in array {
            let origin = self.origin(item.span(), table.label(name));
            match item.get_ref().as_str() {
                Some(text) => items.push(Written { value: text.to_owned(), origin }),
                None => self.misshapen(&origin, "a list of strings", table, name, item).unwrap_or_default(),
            }
        }
        Some(Written { value: items, origin })
    }

    /// Tells that a value has the wrong type; always `None`.
    fn misshapen<T>(
        &mut self,
        origin: &Origin,
        wanted: &str,
        table: Table<'_>,
        name: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<T> {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a number without quotes",
            DeValue::Float(_) => "a fraction without quotes",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date without quotes",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let example = schema::example(table.name, name);
        self.findings.error(origin, format!("expected {wanted} such as {example}, found {found}"));
        None
    }

    fn origin(&self, span: Range<usize>, field: String) -> Origin {
        self.places.origin(span.start, field)
    }
}
