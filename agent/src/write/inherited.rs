//! Descriptors that a careless parent left open: closed before anything else, so that no helper has them.
//!
//! The agent's own descriptors are all closed on exec. Those that it inherits are not, and a helper runs as a user who
//! can look into it.

use std::fs;

use nix::unistd::close;

/// Closes every descriptor but the three standard ones.
///
/// To be called first in `main`, while the program has opened nothing of its own. Without `/proc` it does nothing.
pub fn close_inherited_descriptors() {
    let Ok(listing) = fs::read_dir("/proc/self/fd") else { return };
    // The listing's own descriptor is among them, and is gone before any is closed.
    let descriptors: Vec<i32> = listing
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&number| number > 2)
        .collect();
    for descriptor in descriptors {
        // An error means that it is closed.
        let _ = close(descriptor);
    }
}
