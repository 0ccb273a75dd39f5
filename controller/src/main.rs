//! `fleetkey`: the operator's program. It reads its command line and hands over; nothing else happens here.

use std::process::ExitCode;

mod aws;
mod cli;
mod details;
mod entry;
mod expiry;
mod fleet;
mod holdings;
mod image;
mod ingress;
mod instance;
mod interrupt;
mod key_file;
mod launch;
mod lifecycle;
mod listing;
mod log;
mod package;
mod printer;
mod reach_settings;
mod refusal;
mod registration;
mod revocation;
mod role;
mod selection;
mod session;
mod settings;
mod ssh;
mod state;
mod table;
mod wait;
mod work;
mod zone;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    cli::run().await
}
