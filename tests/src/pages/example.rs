//! A page's examples: what is run, where, and what it should say. Pure: text to [`Page`].

use std::fmt;

use super::markdown::{Fence, Piece, pieces};

/// Languages behind a fence that are the output of what stands above.
const OUTPUTS: [&str; 3] = ["", "diff", "json"];

/// Where an example is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the machine of an operator.
    Operator,
    /// On a box, as root.
    Box,
}

/// What an example should print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The line of the fence.
    pub line: usize,
    /// The lines in it.
    pub text: String,
}

/// One block of shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The line above the first of the script.
    pub line: usize,
    /// What is run.
    pub script: String,
    /// Where.
    pub place: Place,
    /// How it should end.
    pub code: i32,
    /// `None` when it may print what it likes.
    pub expected: Option<Expected>,
    /// Whether readers of the page do not see it.
    pub hidden: bool,
}

/// An example that is not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRun {
    /// The line of its fence.
    pub line: usize,
    /// The page's word for why.
    pub reason: String,
}

/// The examples of one page.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In the order in which they are run.
    pub examples: Vec<Example>,
    /// Those that are not.
    pub not_run: Vec<NotRun>,
    /// The lines of outputs that nothing is held against.
    pub shown: Vec<usize>,
}

/// Something that a page says wrongly to the runner.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.what)
    }
}

/// What a comment says of the block behind it, or of the script in it.
#[derive(Default)]
struct Words {
    line: usize,
    setup: bool,
    prints: bool,
    code: i32,
    place: Option<Place>,
    not_run: Option<String>,
}

/// What an output would belong to.
#[derive(Clone, Copy)]
enum Above {
    Nothing,
    Example,
    NotRun,
    /// A script in a comment that is there for the output behind it.
    Prints(usize),
}

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// All that is wrong with what it says to the runner.
    pub fn read(text: &str) -> Result<Self, Vec<Fault>> {
        let mut reading = Reading { page: Self::default(), faults: Vec::new(), words: None, above: Above::Nothing };
        let mut place = Place::Operator;
        for piece in pieces(text) {
            match piece {
                Piece::Prose(line) if line.trim().is_empty() => {}
                Piece::Prose(_) => reading.interrupted(),
                Piece::Comment(line, text) => {
                    if let Some(words) = text.strip_prefix("examples:") {
                        match words.trim() {
                            "on the box" => place = Place::Box,
                            "by the operator" => place = Place::Operator,
                            other => reading.fault(line, format!("{other:?} is no place for examples")),
                        }
                    } else if let Some(text) = text.strip_prefix("example:") {
                        reading.comment(line, text, place);
                    }
                }
                Piece::Fence(fence) => reading.fence(fence, place),
            }
        }
        reading.interrupted();
        if reading.faults.is_empty() { Ok(reading.page) } else { Err(reading.faults) }
    }
}

struct Reading {
    page: Page,
    faults: Vec<Fault>,
    /// What was said of the block that comes next.
    words: Option<Words>,
    above: Above,
}

impl Reading {
    fn fault(&mut self, line: usize, what: impl Into<String>) {
        self.faults.push(Fault { line, what: what.into() });
    }

    /// Something stands here to which no comment above can belong.
    fn interrupted(&mut self) {
        if let Some(words) = self.words.take() {
            self.fault(words.line, "no block of sh follows");
        }
        if let Above::Prints(line) = self.above {
            self.fault(line, "no output follows");
        }
        self.above = Above::Nothing;
    }

    fn comment(&mut self, line: usize, text: &str, place: Place) {
        self.interrupted();
        let (first, script) = text.split_once('\n').unwrap_or((text, ""));
        let words = match words(line, first.trim()) {
            Ok(words) => words,
            Err(what) => return self.fault(line, what),
        };
        if !words.setup && !words.prints {
            if !script.trim().is_empty() {
                self.fault(line, "only setup and prints have a script");
            }
            self.words = Some(words);
            return;
        }
        let (place, code) = (words.place.unwrap_or(place), words.code);
        self.page.examples.push(Example { line, script: script.to_owned(), place, code, expected: None, hidden: true });
        if words.prints {
            self.above = Above::Prints(line);
        }
    }

    fn fence(&mut self, fence: Fence, place: Place) {
        let Fence { line, language, text } = fence;
        if language == "sh" {
            let words = self.words.take().unwrap_or_default();
            self.interrupted();
            if let Some(reason) = words.not_run {
                self.page.not_run.push(NotRun { line, reason });
                self.above = Above::NotRun;
            } else {
                let (place, code) = (words.place.unwrap_or(place), words.code);
                self.page.examples.push(Example { line, script: text, place, code, expected: None, hidden: false });
                self.above = Above::Example;
            }
            return;
        }
        let output = OUTPUTS.contains(&language.as_str());
        match (output, self.above, self.page.examples.last_mut()) {
            (true, Above::Example | Above::Prints(_), Some(example)) => {
                example.expected = Some(Expected { line, text });
                self.above = Above::Nothing;
            }
            (true, Above::Nothing | Above::NotRun, _) => {
                self.interrupted();
                self.page.shown.push(line);
            }
            _ => self.interrupted(),
        }
    }
}

/// Reads what stands behind `example:`.
fn words(line: usize, text: &str) -> Result<Words, String> {
    let mut words = Words { line, ..Words::default() };
    if let Some(reason) = text.strip_prefix("not run") {
        let reason = reason.trim_start_matches(':').trim();
        if reason.is_empty() {
            return Err("say why it is not run: `not run: REASON`".to_owned());
        }
        words.not_run = Some(reason.to_owned());
        return Ok(words);
    }
    for word in text.split(',').map(str::trim) {
        match word {
            "setup" => words.setup = true,
            "prints" => words.prints = true,
            "on the box" => words.place = Some(Place::Box),
            "by the operator" => words.place = Some(Place::Operator),
            _ => {
                let code = word.strip_prefix("fails ").and_then(|code| code.parse().ok());
                words.code = code.ok_or_else(|| {
                    format!(
                        "{word:?} says nothing to the runner; it knows: setup, prints, fails CODE, on the box, by \
                         the operator, not run: REASON"
                    )
                })?;
            }
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Page {
        Page::read(text).unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    fn fault(text: &str) -> String {
        let faults = Page::read(text).expect_err("it is wrong");
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn blocks_of_sh_are_run_in_their_order_and_the_output_behind_one_is_its_own() {
        let page = read("```sh\na\n```\n\n```\nA\n```\n\ntext\n\n```sh\nb\n```\n\ntext\n\n```\nno output of b\n```\n");
        let [first, second] = page.examples.as_slice() else { panic!("{page:?}") };
        assert_eq!((first.script.as_str(), first.line, first.code), ("a\n", 1, 0));
        assert_eq!(first.expected, Some(Expected { line: 5, text: "A\n".to_owned() }));
        assert_eq!((second.script.as_str(), &second.expected), ("b\n", &None));
        assert_eq!(page.shown, [17]);
    }

    #[test]
    fn a_comment_says_how_the_block_behind_it_ends_and_where_it_is_run() {
        let page = read("<!-- example: fails 2, on the box -->\n```sh\na\n```\n\n```sh\nb\n```\n");
        assert_eq!((page.examples[0].code, page.examples[0].place), (2, Place::Box));
        assert_eq!((page.examples[1].code, page.examples[1].place), (0, Place::Operator));
    }

    #[test]
    fn a_page_can_be_one_for_the_box() {
        let page = read("<!-- examples: on the box -->\n```sh\na\n```\n<!-- example: setup, by the operator\nb\n-->\n");
        assert_eq!((page.examples[0].place, page.examples[1].place), (Place::Box, Place::Operator));
    }

    #[test]
    fn setup_is_run_unseen_and_prints_is_held_against_the_output_behind_it() {
        let page = read("<!-- example: setup\na\nb\n-->\ntext\n\n<!-- example: prints, fails 1\nc\n-->\n```\nC\n```\n");
        let [setup, prints] = page.examples.as_slice() else { panic!("{page:?}") };
        assert_eq!((setup.script.as_str(), setup.hidden, &setup.expected), ("a\nb", true, &None));
        assert_eq!((prints.script.as_str(), prints.hidden, prints.code), ("c", true, 1));
        assert_eq!(prints.expected.as_ref().map(|output| output.text.as_str()), Some("C\n"));
        assert!(page.shown.is_empty());
    }

    #[test]
    fn what_is_not_run_has_a_reason_and_its_output_is_only_shown() {
        let page = read("<!-- example: not run: needs a person, and time -->\n```sh\na\n```\n```\nA\n```\n");
        assert_eq!(page.not_run, [NotRun { line: 2, reason: "needs a person, and time".to_owned() }]);
        assert!(page.examples.is_empty());
        assert_eq!(page.shown, [5]);
        assert_eq!(fault("<!-- example: not run -->\n```sh\na\n```\n"), "1: say why it is not run: `not run: REASON`");
    }

    #[test]
    fn a_word_that_is_not_known_and_a_comment_with_nothing_behind_it_are_faults() {
        assert!(fault("<!-- example: fials 1 -->\n```sh\na\n```\n").starts_with("1: \"fials 1\" says nothing"));
        assert_eq!(fault("x\n<!-- example: fails 1 -->\n\nprose\n"), "2: no block of sh follows");
        assert_eq!(fault("<!-- example: fails 1 -->\n```toml\na = 1\n```\n"), "1: no block of sh follows");
        assert_eq!(fault("<!-- example: prints\na\n-->\n\nprose\n"), "1: no output follows");
        assert_eq!(fault("<!-- examples: on the moon -->\n"), "1: \"on the moon\" is no place for examples");
    }

    #[test]
    fn other_comments_and_other_languages_say_nothing() {
        assert_eq!(read("<!-- a note -->\n```toml\na = 1\n```\n"), Page::default());
    }
}
