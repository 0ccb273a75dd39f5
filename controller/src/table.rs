//! A plain table: left-aligned columns, two spaces apart. It holds no colours and no borders, so that it can be cut
//! and searched.

use std::fmt;

/// Rows of text under a header.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    pub(crate) fn new(columns: &[&str]) -> Self {
        Self { rows: vec![columns.iter().map(ToString::to_string).collect()] }
    }

    /// Adds a row; a cell that is empty is shown as `-`.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        let shown = |cell: String| if cell.is_empty() { "-".to_owned() } else { cell.replace(char::is_control, " ") };
        self.rows.push(cells.into_iter().map(shown).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            let line = cells.collect::<Vec<_>>().join("  ");
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_have_no_blanks_at_the_end() {
        let mut table = Table::new(&["ACTION", "PLACE"]);
        table.row(vec!["put".into(), "people/zoë/x.pub".into()]);
        table.row(vec!["replace".into(), String::new()]);
        table.row(vec!["a\nb".into(), "x".into()]);
        insta::assert_snapshot!(table.to_string(), @r"
        ACTION   PLACE
        put      people/zoë/x.pub
        replace  -
        a b      x
        ");
    }
}
