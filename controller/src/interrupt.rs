//! Ctrl-C and SIGTERM: the first asks the command to end in order, the second ends it at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of a program that was ended by Ctrl-C, as shells give it: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// Cancelled when somebody asks the program to end. Listens from the first call on.
///
/// # Errors
/// When the system does not let the program listen.
pub(crate) fn listen() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::spawn(hear(interrupt, terminate, token.clone()));
    Ok(token)
}

/// Ends the program where it stands, as one that was interrupted.
#[expect(clippy::exit, reason = "nothing of this program is to go on")]
pub(crate) fn end() -> ! {
    std::process::exit(INTERRUPTED)
}

async fn hear(mut interrupt: Signal, mut terminate: Signal, token: CancellationToken) {
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if token.is_cancelled() {
            // Whoever asks twice does not want to wait for what is being undone.
            end();
        }
        token.cancel();
    }
}
