//! The demo: a person joins and leaves, and a real box follows, with the times that this took.
//!
//! AWS is played by moto; the box, its sshd and the agent are real, in sandboxes. Nothing here touches the machine's own
//! accounts, files or sshd, and nothing of it is left behind, also when it is interrupted. Its last act, on boxes that
//! boot, is handed in by the crate that has them.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::layout::{Layout, span};
use self::screen::Screen;
pub use self::story::{Outcome, Stop, Story};

mod backdrop;
mod directory;
mod door;
mod iam;
mod layout;
mod screen;
mod story;

/// The exit code of a program that was interrupted, by the custom of shells: 128 and SIGINT's number.
const INTERRUPTED: u8 = 130;

/// Plays the demo on stdout, with `last` as its last act. The exit code is 0 when every step held, 1 when one did not, and 130 when it was
/// interrupted.
///
/// # Errors
/// When it could not begin at all.
pub fn run(last: impl FnOnce(&mut Story<'_>, &Runtime) -> Result<(), Stop>) -> Result<ExitCode> {
    let start = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let cancel = CancellationToken::new();
    obey_signals(&runtime, &cancel)?;
    let layout = Layout::of_stdout();
    let screen = Screen::start(layout).context("cannot start the thread that draws")?;
    let mut story = Story::new(&screen, layout, cancel);
    story.title("Fleetkey: a box that follows IAM");
    story.note("sshd, the agent and the boxes are real, in places of their own. AWS is played by moto.");
    // Each act has taken down all that it built by the time it returns.
    let played = iam::play(&mut story, &runtime)
        .and_then(|()| directory::play(&mut story))
        .and_then(|()| last(&mut story, &runtime));
    let (summary, code) = match played {
        Ok(()) => {
            let text =
                format!("All {} steps held, in {}. Nothing is left behind.", story.steps(), span(start.elapsed()));
            (layout.good(&text), ExitCode::SUCCESS)
        }
        Err(Stop::Failed(step)) => (layout.bad(&format!("FAILED: {step}")), ExitCode::FAILURE),
        Err(Stop::Interrupted) => (layout.bad("Interrupted. Nothing is left behind."), ExitCode::from(INTERRUPTED)),
    };
    story.say(String::new());
    story.say(summary);
    Ok(code)
}

/// Has the usual signals cancel what waits, so that everything is taken down in order.
fn obey_signals(runtime: &Runtime, cancel: &CancellationToken) -> Result<()> {
    let _context = runtime.enter();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut signals = signal(kind).context("cannot listen for signals")?;
        let cancel = cancel.clone();
        runtime.spawn(async move {
            signals.recv().await;
            cancel.cancel();
        });
    }
    Ok(())
}
