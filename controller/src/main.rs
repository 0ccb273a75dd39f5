//! `fleetkey`: the operator's program. It reads its command line and hands over; nothing else happens here.

use std::process::ExitCode;

mod account;
mod aws;
mod cli;
mod complete;
mod config;
mod details;
mod doctor;
mod entry;
mod expiry;
mod fleet;
mod folders;
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
mod near;
mod package;
mod price;
mod printer;
mod progress;
mod reach_settings;
mod refusal;
mod registration;
mod revocation;
mod role;
mod selection;
mod session;
mod settings;
mod ssh;
mod sweep;
mod table;
mod volume;
mod wait;
mod work;
mod zone;

fn main() -> ExitCode {
    // Before there is anything else: a shell waits for the answer at each press of a key.
    cli::completions::answer().unwrap_or_else(run)
}

#[tokio::main(flavor = "current_thread")]
async fn run() -> ExitCode {
    Box::pin(cli::run()).await
}
