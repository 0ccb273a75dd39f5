//! What the bench found, as a Markdown table for people and as JSON for programs. Pure: it measures and prints nothing.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::samples::Samples;

/// From so many samples on, a row shows its 99th percentile: of fewer, that would be no more than the worst.
const ENOUGH_FOR_P99: usize = 50;

/// What a row counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Milliseconds of the clock on the wall.
    Milliseconds,
    /// Seconds of processor time.
    Seconds,
    /// 1,048,576 bytes.
    Mebibytes,
    /// Calls to AWS.
    Calls,
}

/// What a row is to come to, at most, in the unit of the row.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Aim {
    median: f64,
    p99: Option<f64>,
}

/// What somebody would otherwise run, measured in the same run of the bench.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Rival {
    name: &'static str,
    median: f64,
    runs: usize,
    /// How many times as much as Fleetkey.
    ratio: f64,
}

/// One thing measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    what: String,
    unit: Unit,
    median: f64,
    p99: Option<f64>,
    runs: usize,
    aim: Option<Aim>,
    /// Whether the aim is met; `None` where there is none.
    met: Option<bool>,
    rival: Option<Rival>,
}

impl Row {
    pub(super) fn new(what: impl Into<String>, unit: Unit, samples: &Samples) -> Self {
        let runs = samples.count();
        let p99 = (runs >= ENOUGH_FOR_P99).then(|| samples.p99());
        Self { what: what.into(), unit, median: samples.median(), p99, runs, aim: None, met: None, rival: None }
    }

    /// Holds the row against an aim for its median.
    pub(super) fn aim(mut self, median: f64) -> Self {
        self.aim = Some(Aim { median, p99: None });
        self.met = Some(self.median <= median);
        self
    }

    /// Holds the row against an aim for its median and one for its 99th percentile.
    pub(super) fn aims(mut self, median: f64, p99: f64) -> Self {
        self.aim = Some(Aim { median, p99: Some(p99) });
        self.met = Some(self.median <= median && self.p99.is_some_and(|found| found <= p99));
        self
    }

    /// Puts what somebody would otherwise run next to it, measured in the same unit.
    pub(super) fn next_to(mut self, name: &'static str, samples: &Samples) -> Self {
        let median = samples.median();
        self.rival = Some(Rival { name, median, runs: samples.count(), ratio: median / self.median });
        self
    }

    fn cells(&self) -> [String; 8] {
        let aim = self.aim.map(|aim| match aim.p99 {
            Some(p99) => format!("{}, p99 {}", Shown(self.unit, aim.median), Shown(self.unit, p99)),
            None => Shown(self.unit, aim.median).to_string(),
        });
        let rival = self.rival.as_ref();
        [
            self.what.clone(),
            Shown(self.unit, self.median).to_string(),
            self.p99.map(|p99| Shown(self.unit, p99).to_string()).unwrap_or_default(),
            self.runs.to_string(),
            aim.unwrap_or_default(),
            self.met.map(|met| if met { "met" } else { "MISSED" }.to_owned()).unwrap_or_default(),
            rival.map(|it| format!("{} {} ({})", it.name, Shown(self.unit, it.median), it.runs)).unwrap_or_default(),
            rival.map(|it| format!("{:.1}", it.ratio)).unwrap_or_default(),
        ]
    }
}

/// All that one run of the bench found.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Report {
    /// What it was measured on, in one line.
    pub machine: String,
    /// The rows, in the order of the table.
    pub rows: Vec<Row>,
    /// What has to be known to read them, a sentence or two each.
    pub notes: Vec<String>,
}

impl Report {
    /// The table, with the machine above it and the notes below.
    pub fn markdown(&self) -> String {
        const HEAD: [&str; 8] = ["what", "median", "p99", "runs", "aim", "", "next to (runs)", "ratio"];
        let rows: Vec<[String; 8]> =
            std::iter::once(HEAD.map(str::to_owned)).chain(self.rows.iter().map(Row::cells)).collect();
        let widths: [usize; 8] =
            std::array::from_fn(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or_default());
        let mut text = format!("{}\n\n", self.machine);
        for (number, row) in rows.iter().enumerate() {
            line(&mut text, row, &widths);
            if number == 0 {
                // What is counted stands to the right.
                let rule: [String; 8] = std::array::from_fn(|at| match at {
                    1..=3 | 7 => format!("{}:", "-".repeat(widths[at].max(2) - 1)),
                    _ => "-".repeat(widths[at].max(1)),
                });
                line(&mut text, &rule, &widths);
            }
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        for note in &self.notes {
            text.extend(["- ", note, "\n"]);
        }
        text
    }
}

fn line(text: &mut String, cells: &[String; 8], widths: &[usize; 8]) {
    for (at, cell) in cells.iter().enumerate() {
        let width = widths[at];
        let written = match at {
            1..=3 | 7 => write!(text, "| {cell:>width$} "),
            _ => write!(text, "| {cell:<width$} "),
        };
        written.expect("writing to a string does not fail");
    }
    text.push_str("|\n");
}

/// A number with its unit, in three digits or so.
struct Shown(Unit, f64);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(unit, value) = *self;
        let (value, unit) = match unit {
            Unit::Milliseconds if value >= 1000.0 => (value / 1000.0, "s"),
            Unit::Milliseconds => (value, "ms"),
            Unit::Seconds => (value, "s"),
            Unit::Mebibytes => (value, "MiB"),
            Unit::Calls => (value, "calls"),
        };
        let digits = match value.abs() {
            _ if value.fract() == 0.0 => 0,
            100.0.. => 0,
            10.0..100.0 => 1,
            _ => 2,
        };
        write!(f, "{value:.digits$} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        Samples::new(values.iter().copied()).expect("there are some")
    }

    #[test]
    fn the_table_shows_aims_met_and_missed_and_the_rival_with_its_ratio() {
        let met = Row::new("look-up", Unit::Milliseconds, &samples(&[2.0])).aim(3.0);
        let missed = Row::new("memory", Unit::Mebibytes, &samples(&[12.5])).aim(12.0);
        let report = Report {
            machine: "a machine".to_owned(),
            rows: vec![met.next_to("keymaker", &samples(&[500.0, 500.0])), missed],
            notes: vec!["A note.".to_owned()],
        };
        let expected = "\
a machine

| what    |   median | p99 | runs | aim    |        | next to (runs)      | ratio |
| ------- | -------: | --: | ---: | ------ | ------ | ------------------- | ----: |
| look-up |     2 ms |     |    1 | 3 ms   | met    | keymaker 500 ms (2) | 250.0 |
| memory  | 12.5 MiB |     |    1 | 12 MiB | MISSED |                     |       |

- A note.
";
        assert_eq!(report.markdown(), expected);
    }

    #[test]
    fn an_aim_for_the_p99_is_met_only_by_a_p99() {
        let few = Row::new("x", Unit::Milliseconds, &samples(&[1.0])).aims(10.0, 30.0);
        assert_eq!((few.met, few.p99), (Some(false), None), "one sample proves nothing about one in a hundred");
        let many = Row::new("x", Unit::Milliseconds, &samples(&[1.0; 50])).aims(10.0, 30.0);
        assert_eq!(many.met, Some(true));
        let slow = Row::new("x", Unit::Milliseconds, &samples(&[&[1.0; 49][..], &[31.0]].concat())).aims(10.0, 30.0);
        assert_eq!(slow.met, Some(false));
    }

    #[test]
    fn numbers_keep_about_three_digits() {
        let shown =
            [0.123, 9.876, 12.34, 345.6, 20.0, 12_340.0].map(|value| Shown(Unit::Milliseconds, value).to_string());
        assert_eq!(shown, ["0.12 ms", "9.88 ms", "12.3 ms", "346 ms", "20 ms", "12.3 s"]);
    }
}
