//! The `fleetkey-agent` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    fleetkey_agent::cli::main()
}
