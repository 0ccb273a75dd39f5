//! Configuration files in TOML, read so that all that is wrong is told at once, each fault with its file, line and
//! column, and what to write instead.
//!
//! Pure, and only the shape: what a value means, the program checks whose file it is.

mod document;
mod problem;
mod schema;

pub use document::{List, Reader, Table, Text, Written, read};
pub use problem::{Findings, Origin, Problem, Problems};
pub use schema::{Field, Schema, field};
