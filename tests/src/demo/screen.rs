//! The terminal, owned by one thread: it prints lines, and turns a sign while a step waits.
//!
//! Where stdout is no terminal, it prints each line once, when it is complete. It never fails: a reader who has gone
//! away does not change whether the steps hold.

use std::io::{self, Write as _};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::layout::Layout;

/// Time between two pictures of the turning sign.
const FRAME: Duration = Duration::from_millis(100);

/// Goes back to the start of the line and empties it (ECMA-48, `EL`).
const WIPE: &str = "\r\x1b[2K";

/// What is to be shown.
#[derive(Debug)]
enum Event {
    /// A line that stays. It takes the place of the one that waits.
    Line(String),
    /// A line that waits until the next one comes.
    Waiting(Waiting),
}

#[derive(Debug)]
struct Waiting {
    number: Option<usize>,
    text: String,
    since: Instant,
}

/// The one way to the terminal. When dropped, all that was said is on it.
#[derive(Debug)]
pub(super) struct Screen {
    events: Option<Sender<Event>>,
    drawing: Option<JoinHandle<()>>,
}

impl Screen {
    /// Takes stdout.
    pub(super) fn start(layout: Layout) -> io::Result<Self> {
        let (events, incoming) = mpsc::channel();
        let drawing = std::thread::Builder::new().name("screen".to_owned()).spawn(move || draw(layout, &incoming))?;
        Ok(Self { events: Some(events), drawing: Some(drawing) })
    }

    /// Shows a line, or several.
    pub(super) fn line(&self, text: String) {
        self.send(Event::Line(text));
    }

    /// Shows that a step is under way, until its line comes.
    pub(super) fn waiting(&self, number: Option<usize>, text: &str) {
        self.send(Event::Waiting(Waiting { number, text: text.to_owned(), since: Instant::now() }));
    }

    fn send(&self, event: Event) {
        if let Some(events) = &self.events {
            // The thread ends only when stdout is gone, and then there is nobody to tell.
            let _ = events.send(event);
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.events = None;
        if let Some(drawing) = self.drawing.take() {
            let _ = drawing.join();
        }
    }
}

/// Draws until nobody can say anything any more, or stdout is gone.
fn draw(layout: Layout, incoming: &Receiver<Event>) {
    let mut waiting: Option<Waiting> = None;
    for frame in 0_usize.. {
        let event = match &waiting {
            Some(_) => incoming.recv_timeout(FRAME),
            None => incoming.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let drawn = match (event, &waiting) {
            (Ok(Event::Line(text)), before) => {
                let wipe = if before.is_some() { WIPE } else { "" };
                waiting = None;
                put(&format!("{wipe}{text}\n"))
            }
            (Ok(Event::Waiting(step)), _) => {
                waiting = layout.is_terminal().then_some(step);
                Ok(())
            }
            (Err(RecvTimeoutError::Timeout), Some(step)) => {
                let line = layout.waiting(step.number, frame, &step.text, step.since.elapsed());
                put(&format!("{WIPE}{line}"))
            }
            (Err(RecvTimeoutError::Timeout), None) => Ok(()),
            (Err(RecvTimeoutError::Disconnected), _) => return,
        };
        if drawn.is_err() {
            return;
        }
    }
}

fn put(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
