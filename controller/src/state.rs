//! Where the program keeps what it has to remember from one command to the next.

use std::path::PathBuf;

/// The folder of the caller's state, of all programs: `$XDG_STATE_HOME`, else `~/.local/state`. `None` for a caller who
/// has no home.
/// <https://specifications.freedesktop.org/basedir-spec/latest/>
pub(crate) fn folder() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::home_dir().filter(|path| path.is_absolute());
    state.or_else(|| home().map(|home| home.join(".local/state")))
}
