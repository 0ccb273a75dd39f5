//! The program `fleetkey-agent`: here only its helper.

use std::process::ExitCode;

use fleetkey_agent::write::{close_inherited_descriptors, helper_main};

fn main() -> ExitCode {
    close_inherited_descriptors();
    helper_main()
}
