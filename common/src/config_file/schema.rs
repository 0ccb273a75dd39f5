//! Every field of a configuration file: a table for messages and tests, never for reading.

/// A field of the file.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The table it stands in; empty at the top of the file.
    pub table: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// The long flag for it, without dashes; empty where there is none.
    pub flag: &'static str,
    /// A value for it, as written in TOML.
    pub example: &'static str,
}

/// A field, its parts in order.
#[must_use]
pub const fn field(table: &'static str, name: &'static str, flag: &'static str, example: &'static str) -> Field {
    Field { table, name, flag, example }
}

/// All fields of a kind of file.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// The fields, table by table.
    pub fields: &'static [Field],
    /// A table that stands in the file in a way of its own: its name among the fields, and how it is begun, such as
    /// `[[grant]]`.
    pub special: (&'static str, &'static str),
}

impl Schema {
    /// The names that can stand in a table: its fields, and at the top of the file the tables too.
    pub fn names_in(&self, table: &str) -> Vec<&'static str> {
        let fields = self.fields.iter().filter(|field| field.table == table).map(|field| field.name);
        let tables = self.fields.iter().map(|field| field.table).filter(|name| table.is_empty() && !name.is_empty());
        let mut names: Vec<_> = fields.chain(tables).collect();
        names.dedup();
        names
    }

    /// How a field is written, such as `poll_interval = "60s"`.
    pub fn example(&self, table: &str, name: &str) -> String {
        let found = self.fields.iter().find(|field| field.table == table && field.name == name);
        format!("{name} = {}", found.map_or("...", |field| field.example))
    }

    /// Where else a field of this name stands, in words; `None` also when it could be meant in several tables.
    pub fn home_of(&self, name: &str) -> Option<String> {
        let mut fields = self.fields.iter().filter(|field| field.name == name);
        let (Some(field), None) = (fields.next(), fields.next()) else { return None };
        let (special, begun) = self.special;
        Some(match field.table {
            "" => format!("{name} stands at the top of the file, above the first [table]"),
            table if table == special => format!("{name} stands in a {begun}"),
            table => format!("{name} stands in [{table}]"),
        })
    }
}
