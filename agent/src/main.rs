//! The `fleetkey-agent` program.

use std::process::ExitCode;

use fleetkey_agent::write::close_inherited_descriptors;

fn main() -> ExitCode {
    // First of all: whoever started the agent may have left descriptors open, which no helper may inherit.
    close_inherited_descriptors();
    fleetkey_agent::cli::main()
}
