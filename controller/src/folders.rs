//! The caller's own folders, of all programs.
//! <https://specifications.freedesktop.org/basedir-spec/latest/>

use std::path::PathBuf;

/// Where configuration is: `$XDG_CONFIG_HOME`, else `~/.config`. `None` for a caller who has no home.
pub(crate) fn config() -> Option<PathBuf> {
    named_or_below_home("XDG_CONFIG_HOME", ".config")
}

/// Where what can be made again is: `$XDG_CACHE_HOME`, else `~/.cache`. `None` for a caller who has no home.
pub(crate) fn cache() -> Option<PathBuf> {
    named_or_below_home("XDG_CACHE_HOME", ".cache")
}

/// Where what has to be remembered from one command to the next is: `$XDG_STATE_HOME`, else `~/.local/state`. `None` for
/// a caller who has no home.
pub(crate) fn state() -> Option<PathBuf> {
    named_or_below_home("XDG_STATE_HOME", ".local/state")
}

/// A folder that a variable names, else one of this name in the caller's home. A path that is relative counts for
/// nothing, as the specification has it.
fn named_or_below_home(variable: &str, name: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::home_dir().filter(|path| path.is_absolute());
    named.or_else(|| home().map(|home| home.join(name)))
}
