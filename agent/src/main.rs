//! The program `fleetkey-agent`: here only its helper.

use std::process::ExitCode;

use fleetkey_agent::write::helper_main;

fn main() -> ExitCode {
    helper_main()
}
