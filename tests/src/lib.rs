//! What the integration tests, the demo and the benchmarks share: real parts, started, watched and cleaned up.

use std::path::PathBuf;

/// The path of one of the project's own programs, built in the same profile as the caller.
///
/// # Panics
/// When it was not built: `make test` builds it first.
pub fn program(name: &str) -> PathBuf {
    let me = std::env::current_exe().expect("the path of this program is known");
    let profile = me.ancestors().find(|folder| folder.join(name).is_file());
    let Some(folder) = profile else {
        panic!("{name} is not built beside {}; run `cargo build --workspace --bins` first", me.display());
    };
    folder.join(name)
}
