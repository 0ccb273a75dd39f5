//! How the lines of the demo look. Plain functions of text, times and the width; nothing here prints.

use std::io::IsTerminal as _;
use std::time::Duration;

/// The width when stdout is no terminal, in columns.
const WIDTH: usize = 100;

/// The widths that lines are laid out for: below, there is no room for words, and above, the eye loses the line.
const WIDTHS: std::ops::RangeInclusive<usize> = 60..=110;

/// How far the text of a step stands from the left.
const INDENT: usize = 9;

/// The width of each of the two columns of times at the right edge.
const TIME: usize = 10;

/// How far what belongs to a step stands from the left.
const QUOTE: &str = "         | ";

/// What turns while a step waits.
const FRAMES: [char; 4] = ['|', '/', '-', '\\'];

/// How long a step took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// Until the key file was as it should be, where that is what the step is about.
    pub(super) file: Option<Duration>,
    /// Until all of it was shown to hold.
    pub(super) all: Duration,
}

/// How lines are laid out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    width: usize,
    colour: bool,
    terminal: bool,
}

impl Layout {
    /// As stdout and the environment ask for. <https://no-color.org>
    pub(super) fn of_stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let columns = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        let width = columns.filter(|_| terminal).unwrap_or(WIDTH).clamp(*WIDTHS.start(), *WIDTHS.end());
        Self { width, colour: terminal && !plain, terminal }
    }

    /// Whether a line may be drawn over.
    pub(super) fn is_terminal(self) -> bool {
        self.terminal
    }

    /// A heading.
    pub(super) fn title(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// What is said aside.
    pub(super) fn note(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// A good end.
    pub(super) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// A bad end.
    pub(super) fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// What belongs to the step above.
    pub(super) fn quote(self, text: &str) -> String {
        self.note(&format!("{QUOTE}{text}"))
    }

    /// What the two columns of times say.
    pub(super) fn columns(self, first: &str, second: &str) -> String {
        self.note(&format!("{}{first:>TIME$}{second:>TIME$}", " ".repeat(self.width - 2 * TIME)))
    }

    /// A step that is done: its number, whether it held, what it was, and its times at the right edge.
    pub(super) fn done(self, number: Option<usize>, held: bool, text: &str, times: Times) -> String {
        let (mark, painted) = if held { ("ok", self.good("ok")) } else { ("FAILED", self.bad("FAILED")) };
        let start = numbered(number);
        // The longer mark takes of the gap first, then of the room.
        let gap = " ".repeat((INDENT - start.len() - 1).saturating_sub(mark.len()).max(1));
        let indent = start.len() + 1 + mark.len() + gap.len();
        let room = self.width - indent - 2 * TIME;
        let mut lines = wrap(text, room);
        let last = lines.pop().unwrap_or_default();
        let above: String = lines.iter().map(|line| format!("{line}\n{}", " ".repeat(indent))).collect();
        let file = times.file.map(span).unwrap_or_default();
        format!("{start} {painted}{gap}{above}{last:<room$}{file:>TIME$}{:>TIME$}", span(times.all))
    }

    /// A step that is under way, to be drawn over: exactly one line, however long its text is.
    pub(super) fn waiting(self, number: Option<usize>, frame: usize, text: &str, elapsed: Duration) -> String {
        let start = numbered(number);
        let gap = " ".repeat(INDENT - start.len() - 2);
        let room = self.width - INDENT - 2 * TIME;
        let text: String = text.chars().take(room).collect();
        let turning = self.paint("36", &FRAMES[frame % FRAMES.len()].to_string());
        format!("{start} {turning}{gap}{text:<room$}{:>1$}", span(elapsed), 2 * TIME)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The number of a step, three columns wide; what only prepares has none.
fn numbered(number: Option<usize>) -> String {
    number.map_or_else(|| "   ".to_owned(), |number| format!("{number:>3}"))
}

/// A time, as exact as it is of interest.
pub(super) fn span(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

/// Breaks a text between words into lines of at most `room` columns; a longer word has a line of its own.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut().filter(|line| line.chars().count() + 1 + word.chars().count() <= room) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Layout = Layout { width: 60, colour: false, terminal: false };
    const TIMES: Times = Times { file: Some(Duration::from_millis(84)), all: Duration::from_millis(20_040) };

    #[test]
    fn times_stand_at_the_right_edge_whether_a_step_held_or_not() {
        let held = PLAIN.done(Some(2), true, "alice joins", TIMES);
        assert_eq!(held, "  2 ok   alice joins                         84 ms    20.0 s");
        let failed = PLAIN.done(Some(12), false, "alice joins", Times { file: None, ..TIMES });
        assert_eq!(failed, " 12 FAILED alice joins                                20.0 s");
        let waiting = PLAIN.waiting(None, 5, "alice joins", TIMES.all);
        assert_eq!(waiting, "    /    alice joins                                  20.0 s");
        assert_eq!(PLAIN.columns("key file", "in all").len(), 60);
    }

    #[test]
    fn a_long_text_is_broken_between_words_and_one_that_waits_is_cut() {
        let text = "carol leaves, the last one: only the break-glass key lets in";
        let done = PLAIN.done(Some(9), true, text, TIMES);
        let lines: Vec<_> = done.lines().collect();
        assert_eq!(
            lines,
            [
                "  9 ok   carol leaves, the last one:",
                "         only the break-glass key lets",
                "         in                                  84 ms    20.0 s",
            ]
        );
        assert_eq!(PLAIN.waiting(Some(9), 0, text, TIMES.all).chars().count(), 60);
    }

    #[test]
    fn colours_are_those_of_the_marks_and_there_are_none_without_a_terminal() {
        let colourful = Layout { colour: true, ..PLAIN };
        assert!(colourful.done(None, true, "x", TIMES).starts_with("    \x1b[32mok\x1b[0m   x"));
        assert!(!PLAIN.done(None, false, "x", TIMES).contains('\x1b'));
    }
}
