//! What the integration tests, the demo and the benchmarks share: real parts, started, watched and cleaned up.
//!
//! Nothing here touches the machine's own accounts, sshd or mounts, and nothing that is started here outlives the
//! process that started it, not even when that is killed.

use std::path::PathBuf;

pub mod agent;
pub mod bench;
pub mod cloud;
pub mod demo;
pub mod http;
pub mod imds;
pub mod in_box;
pub mod keys;
pub mod log;
pub mod moto;
pub mod nspawn;
pub mod packages;
pub mod pages;
pub mod policy;
pub mod process;
pub mod proxy;
pub mod sandbox;
pub mod scratch;
mod server;
pub mod ssh_agent;
pub mod sshd;
pub mod stub;
pub mod tls;
pub mod tunnel;
mod wait;

pub use wait::wait_until;

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
