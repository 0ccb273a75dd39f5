//! What is wrong with a configuration, said so that whoever wrote it finds the place and knows what to write instead.
//!
//! Nothing here decides what is wrong, and nothing in the program branches on a [`Problem`]: it is for people.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In the file.
    File {
        /// The file, as it was named.
        path: Arc<Path>,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// The field with its table, such as `guard.max_stale` or `grant 2`; empty for a fault of the TOML itself.
        field: String,
    },
    /// On the command line, in this flag, such as `--max-stale`.
    Flag(String),
    /// In the environment, in this variable.
    Variable(&'static str),
}

impl Origin {
    /// Whether it is a flag, and so was written over whatever the file says.
    pub fn is_flag(&self) -> bool {
        matches!(self, Origin::Flag(_))
    }

    /// The place without the file's path, for a message about another place of the same file.
    pub fn nearby(&self) -> String {
        match self {
            Origin::File { line, field, .. } => format!("{field} (line {line})"),
            Origin::Flag(flag) => flag.clone(),
            Origin::Variable(name) => (*name).to_owned(),
        }
    }

    /// Orders problems as one reads: down the file, then the flags and variables.
    fn reading_order(&self) -> (bool, usize, usize) {
        match self {
            Origin::File { line, column, .. } => (false, *line, *column),
            Origin::Flag(_) | Origin::Variable(_) => (true, 0, 0),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { path, line, column, field } => {
                write!(f, "{}:{line}:{column}", path.display())?;
                if field.is_empty() { Ok(()) } else { write!(f, ": {field}") }
            }
            Origin::Flag(flag) => f.write_str(flag),
            Origin::Variable(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong, or at least odd: one line, `place: what is wrong; what to do`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)
    }
}

/// All problems of a configuration that cannot be used, in the order of the file, then of the flags; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems, one by one.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// What was found while a configuration was read and checked; passed along from step to step.
#[derive(Debug, Default)]
pub struct Findings {
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Findings {
    /// Notes what makes the configuration unusable.
    pub fn error(&mut self, origin: &Origin, message: impl Into<String>) {
        self.errors.push(Problem { origin: origin.clone(), message: message.into() });
    }

    /// Notes what is odd, and can be worked with.
    pub fn warn(&mut self, origin: &Origin, message: impl Into<String>) {
        self.warnings.push(Problem { origin: origin.clone(), message: message.into() });
    }

    /// The warnings, or, if there is any error, the errors; both in reading order.
    pub fn into_result(mut self) -> Result<Vec<Problem>, Problems> {
        self.errors.sort_by_key(|problem| problem.origin.reading_order());
        self.warnings.sort_by_key(|problem| problem.origin.reading_order());
        if self.errors.is_empty() { Ok(self.warnings) } else { Err(Problems(self.errors)) }
    }
}
