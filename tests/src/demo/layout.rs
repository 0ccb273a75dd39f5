//! How the lines of the demo look. Plain functions of text, times and the width; nothing here prints.

use std::io::IsTerminal as _;
use std::time::Duration;

/// The width when stdout is no terminal, in columns.
const WIDTH: usize = 100;

/// The widths that lines are laid out for: below, there is no room for words, and above, the eye loses the line.
const WIDTHS: std::ops::RangeInclusive<usize> = 60..=110;

/// How far the text of a step stands from the left.
const INDENT: usize = 9;

/// How far what belongs to a step stands from the left.
const QUOTE: &str = "         | ";

/// What turns while a step waits.
const FRAMES: [char; 4] = ['|', '/', '-', '\\'];

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

    /// A step that is done: its number, whether it held, what it was, and its time at the right edge.
    pub(super) fn done(self, number: Option<usize>, held: bool, text: &str, took: Duration) -> String {
        let mark = if held { self.good("ok") } else { self.bad("FAILED") };
        let gap = if held { INDENT - 4 - "ok".len() } else { 1 };
        let time = span(took);
        let room = self.width.saturating_sub(INDENT + time.len() + 2);
        let lines = wrap(text, room);
        let last = lines.last().map_or(0, |line| line.chars().count());
        // The mark of a failed step is longer; the time stays at the edge.
        let shift = if held || lines.len() > 1 { 0 } else { "FAILED".len() + 1 + 4 - INDENT };
        let fill = " ".repeat((self.width - INDENT - time.len()).saturating_sub(last + shift).max(2));
        let text = lines.join(&format!("\n{}", " ".repeat(INDENT)));
        format!("{} {mark}{}{text}{fill}{time}", numbered(number), " ".repeat(gap))
    }

    /// A step that is under way, to be drawn over: exactly one line, however long its text is.
    pub(super) fn waiting(self, number: Option<usize>, frame: usize, text: &str, elapsed: Duration) -> String {
        let time = span(elapsed);
        let room = self.width.saturating_sub(INDENT + time.len() + 3);
        let text: String = text.chars().take(room).collect();
        let fill = " ".repeat(room + 2 - text.chars().count());
        let turning = self.paint("36", &FRAMES[frame % FRAMES.len()].to_string());
        format!("{} {turning}{}{text}{fill}{time}", numbered(number), " ".repeat(INDENT - 5))
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
    const MS: Duration = Duration::from_millis(84);

    #[test]
    fn times_stand_at_the_right_edge_whether_a_step_held_or_not() {
        let held = PLAIN.done(Some(2), true, "alice joins", MS);
        assert_eq!(held, "  2 ok   alice joins                                   84 ms");
        let failed = PLAIN.done(Some(12), false, "alice joins", Duration::from_millis(20_040));
        assert_eq!(failed, " 12 FAILED alice joins                                20.0 s");
        assert_eq!(PLAIN.waiting(None, 5, "alice joins", MS).len(), 60);
        assert!([held, failed].iter().all(|line| line.len() == 60));
    }

    #[test]
    fn a_long_text_is_broken_between_words_and_one_that_waits_is_cut() {
        let text = "carol leaves, the last one: the block is empty but for the break-glass key";
        let done = PLAIN.done(Some(9), true, text, MS);
        assert_eq!(
            done,
            "  9 ok   carol leaves, the last one: the block is\n         empty but for the break-glass key             84 ms"
        );
        assert_eq!(PLAIN.waiting(Some(9), 0, text, MS).chars().count(), 60);
    }

    #[test]
    fn colours_are_those_of_the_marks_and_none_without_a_terminal() {
        let colourful = Layout { colour: true, ..PLAIN };
        assert!(colourful.done(None, true, "x", MS).starts_with("    \x1b[32mok\x1b[0m   x"));
        assert!(!PLAIN.done(None, false, "x", MS).contains('\x1b'));
    }
}
