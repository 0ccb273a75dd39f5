//! The documentation as a person reads it: from the top, each example in its turn.
//!
//! What a page may say to the runner of its examples is told in docs/development/testing.md.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

mod compare;
mod example;
mod markdown;
mod shell;

pub use compare::{difference, matches};
pub use example::{Example, Expected, Fault, NotRun, Page, Place};
pub use markdown::{Fence, fences, prose, quotes};
pub use shell::{Ran, Shell};

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The paths of every Markdown page of the repository, from its root, sorted.
pub fn all() -> Result<Vec<PathBuf>> {
    let mut folders = vec![PathBuf::new()];
    let mut pages = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(repository().join(&folder))? {
            let entry = entry?;
            let name = entry.file_name().into_string().ok().context("a name is not UTF-8")?;
            let path = folder.join(&name);
            if entry.file_type()?.is_dir() {
                if !name.starts_with('.') && name != "target" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    ensure!(pages.len() > 5, "only {} pages were found", pages.len());
    pages.sort();
    Ok(pages)
}

/// The text of a page, or of another file, by its path from the root of the repository.
pub fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(repository().join(path)).with_context(|| format!("cannot read {}", path.display()))
}
