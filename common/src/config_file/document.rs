//! From the text of a file to its values, each with its line and column.
//!
//! The TOML tree is walked by hand, since serde stops at its first error and an operator wants to see all of them.
//! Only the shape is checked here (unknown fields, a list where a string belongs), never what a value means.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Findings, Origin};
use super::schema::Schema;
use crate::did_you_mean::did_you_mean;

/// Of a file that is no TOML at all, only this many faults are told.
const MAX_SYNTAX_ERRORS: usize = 10;

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub origin: Origin,
}

/// A string as written.
pub type Text = Written<String>;
/// A list of strings as written; the place is that of the whole list.
pub type List = Written<Vec<Text>>;

/// Reads a file's bytes and has `make` take out what it wants; `path` is for messages. Unknown fields at the top of the
/// file are told. `None` when it is not TOML: only that is told then, anything more would be guesswork.
pub fn read<T>(
    path: &Path,
    bytes: &[u8],
    schema: &Schema,
    findings: &mut Findings,
    make: impl for<'a> FnOnce(&mut Reader<'a, '_>, &Table<'a>) -> T,
) -> Option<T> {
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
    let top = Table { name: "", called: Called::Top, entries: tree.get_ref() };
    let mut reader = Reader { places, schema, findings };
    reader.unknown_fields(&top);
    Some(make(&mut reader, &top))
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
#[derive(Debug)]
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

/// How messages call a table.
#[derive(Debug, Clone)]
enum Called {
    /// The top of the file, whose fields go by their own names.
    Top,
    /// By this name, which stands before those of its fields: `guard.max_stale`.
    Named(String),
    /// By this name, which stands for those of its fields too: `grant 2`.
    Numbered(String),
}

/// A table of the file.
#[derive(Debug, Clone)]
pub struct Table<'a> {
    /// Its name in the schema; empty for the top of the file.
    name: &'static str,
    called: Called,
    entries: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    /// The value of a field, whatever its type.
    pub fn get(&self, name: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.entries.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value)
    }

    /// How a message calls a field of this table.
    fn label(&self, field: &str) -> String {
        match &self.called {
            Called::Top => field.to_owned(),
            Called::Named(table) => format!("{table}.{field}"),
            Called::Numbered(table) => table.clone(),
        }
    }

    /// How a message calls the table itself.
    fn title(&self) -> String {
        match &self.called {
            Called::Top => String::new(),
            Called::Named(table) | Called::Numbered(table) => table.clone(),
        }
    }
}

/// Takes values out of a file, and notes what is wrong with their shape.
#[derive(Debug)]
pub struct Reader<'a, 'f> {
    places: Places<'a>,
    schema: &'f Schema,
    findings: &'f mut Findings,
}

impl<'a> Reader<'a, '_> {
    /// Notes a fault.
    pub fn error(&mut self, origin: &Origin, message: impl Into<String>) {
        self.findings.error(origin, message);
    }

    /// The place of a value that a message calls by this name.
    pub fn origin_of(&self, value: &Spanned<DeValue<'_>>, field: &str) -> Origin {
        self.origin(value.span(), field.to_owned())
    }

    /// The table of that name at the top of the file, its unknown fields told.
    pub fn table(&mut self, top: &Table<'a>, name: &'static str) -> Option<Table<'a>> {
        let value = top.get(name)?;
        let Some(entries) = value.get_ref().as_table() else {
            let message = match value.get_ref() {
                DeValue::Array(_) => format!("there can be only one: write [{name}], in single brackets"),
                _ => format!("write [{name}], and its fields on the lines below it"),
            };
            self.findings.error(&self.origin(value.span(), name.to_owned()), message);
            return None;
        };
        let table = Table { name, called: Called::Named(name.to_owned()), entries };
        self.unknown_fields(&table);
        Some(table)
    }

    /// The tables `[[name]]`, each called by its number, from 1, with the place where it begins; their unknown fields
    /// told. `fields` are those that stand on the lines below it, in words.
    pub fn numbered(
        &mut self,
        value: &'a Spanned<DeValue<'a>>,
        name: &'static str,
        fields: &str,
    ) -> Vec<(Origin, Table<'a>)> {
        let Some(array) = value.get_ref().as_array() else {
            let message = format!("there can be several {name}s: write [[{name}]], in double brackets");
            self.findings.error(&self.origin(value.span(), name.to_owned()), message);
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(array.len());
        for (index, value) in array.iter().enumerate() {
            let title = format!("{name} {}", index + 1);
            let origin = self.origin(value.span(), title.clone());
            let Some(entries) = value.get_ref().as_table() else {
                self.findings.error(&origin, format!("write [[{name}]], and {fields} on the lines below it"));
                continue;
            };
            let table = Table { name, called: Called::Numbered(title), entries };
            self.unknown_fields(&table);
            tables.push((origin, table));
        }
        tables
    }

    /// The tables `[name.ANY]`, by their names, with the place of each name; their unknown fields told.
    pub fn named(&mut self, top: &Table<'a>, name: &'static str) -> Vec<(Text, Table<'a>)> {
        let Some(value) = top.get(name) else { return Vec::new() };
        let how = format!("write [{name}.NAME], and its fields on the lines below it");
        let Some(entries) = value.get_ref().as_table() else {
            self.findings.error(&self.origin(value.span(), name.to_owned()), how);
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let title = format!("{name}.{}", key.get_ref());
            let origin = self.origin(key.span(), title.clone());
            let Some(entries) = value.get_ref().as_table() else {
                self.findings.error(&origin, how.clone());
                continue;
            };
            let table = Table { name, called: Called::Named(title), entries };
            self.unknown_fields(&table);
            tables.push((Written { value: key.get_ref().clone().into_owned(), origin }, table));
        }
        tables
    }

    fn unknown_fields(&mut self, table: &Table<'a>) {
        let known = self.schema.names_in(table.name);
        for key in table.entries.keys().filter(|key| !known.contains(&&**key.get_ref())) {
            let name = &**key.get_ref();
            let hint = match (self.schema.home_of(name), did_you_mean(name, &known)) {
                (Some(home), _) => format!("; {home}"),
                (None, hint) if hint.is_empty() => format!("; known are {}", known.join(", ")),
                (None, hint) => hint,
            };
            let origin = self.origin(key.span(), table.title());
            self.findings.error(&origin, format!("unknown field {name:?}{hint}"));
        }
    }

    /// A string.
    pub fn text(&mut self, table: Option<&Table<'a>>, name: &str) -> Option<Text> {
        let (table, value) = (table?, table?.get(name)?);
        let origin = self.origin(value.span(), table.label(name));
        match value.get_ref().as_str() {
            Some(text) => Some(Written { value: text.to_owned(), origin }),
            None => self.misshapen(&origin, "a string", table, name, value),
        }
    }

    /// True or false.
    pub fn switch(&mut self, table: Option<&Table<'a>>, name: &str) -> Option<Written<bool>> {
        let (table, value) = (table?, table?.get(name)?);
        let origin = self.origin(value.span(), table.label(name));
        match value.get_ref().as_bool() {
            Some(on) => Some(Written { value: on, origin }),
            None => self.misshapen(&origin, "true or false,", table, name, value),
        }
    }

    /// A list of strings.
    pub fn list(&mut self, table: Option<&Table<'a>>, name: &str) -> Option<List> {
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
        table: &Table<'_>,
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
        let example = self.schema.example(table.name, name);
        self.findings.error(origin, format!("expected {wanted} such as {example}, found {found}"));
        None
    }

    fn origin(&self, span: Range<usize>, field: String) -> Origin {
        self.places.origin(span.start, field)
    }
}
