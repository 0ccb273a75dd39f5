//! `fleetkey`: the operator's program. It reads its command line and hands over; nothing else happens here.

use std::process::ExitCode;

mod aws;
mod cli;
mod expiry;
mod holdings;
mod key_file;
mod log;
mod printer;
mod refusal;
mod registration;
mod revocation;
mod session;
mod settings;
mod table;
mod work;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    cli::run().await
}
