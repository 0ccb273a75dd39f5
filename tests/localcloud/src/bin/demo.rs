//! What `make demo` runs.

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    fleetkey_tests::demo::run(fleetkey_localcloud::demo::play)
}
