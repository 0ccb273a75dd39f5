//! The parts of a Markdown page that tests look at: fenced blocks, comments, and the prose around them.

/// A fenced block: where it begins, the language behind the fence, and the lines without the indentation of the fence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The line of the opening fence, from 1.
    pub line: usize,
    /// Empty when there is none.
    pub language: String,
    /// Each line with its end.
    pub text: String,
}

/// A part of a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// One line, also an empty one.
    Prose(&'a str),
    /// What stands in an HTML comment that begins its line, and the line where it begins.
    Comment(usize, String),
    Fence(Fence),
}

/// Takes a page apart. A block or a comment that is never closed goes to the end of the page.
pub(super) fn pieces(page: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut lines = page.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let start = line.trim_start();
        let indent = line.len() - start.len();
        if let Some(language) = start.strip_prefix("```") {
            let inside = lines.by_ref().map(|(line, _)| line).take_while(|line| line.trim_start() != "```");
            // A line that is indented less than the fence loses what it has.
            let cut = inside.map(|line| line.get(indent..).unwrap_or_else(|| line.trim_start()).to_owned() + "\n");
            let text = cut.collect();
            pieces.push(Piece::Fence(Fence { line: number, language: language.trim().to_owned(), text }));
        } else if let Some(first) = start.strip_prefix("<!--") {
            let mut text = String::new();
            let mut rest = Some(first);
            while let Some(line) = rest {
                if let Some((last, _)) = line.split_once("-->") {
                    text += last;
                    break;
                }
                text += line;
                text.push('\n');
                rest = lines.next().map(|(line, _)| line);
            }
            pieces.push(Piece::Comment(number, text.trim().to_owned()));
        } else {
            pieces.push(Piece::Prose(line));
        }
    }
    pieces
}

/// The fenced blocks of a page.
pub fn fences(page: &str) -> Vec<Fence> {
    let pieces = pieces(page).into_iter();
    pieces.filter_map(|piece| if let Piece::Fence(fence) = piece { Some(fence) } else { None }).collect()
}

/// The blocks of Rust of a page, each with the file that it says to be from, by `<!-- quote: FILE -->` above it.
pub fn quotes(page: &str) -> Vec<(Option<String>, Fence)> {
    let mut quotes = Vec::new();
    let mut file = None;
    for piece in pieces(page) {
        match piece {
            Piece::Comment(_, text) => file = text.strip_prefix("quote:").map(|file| file.trim().to_owned()),
            Piece::Fence(fence) if fence.language == "rust" => quotes.push((file.take(), fence)),
            Piece::Prose(line) if line.trim().is_empty() => {}
            Piece::Fence(_) | Piece::Prose(_) => file = None,
        }
    }
    quotes
}

/// A page without its blocks and comments.
pub fn prose(page: &str) -> String {
    let pieces = pieces(page).into_iter();
    let lines = pieces.filter_map(|piece| if let Piece::Prose(line) = piece { Some(line) } else { None });
    lines.map(|line| line.to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_their_language_and_line_and_lose_the_indentation_of_the_fence() {
        let page = "# A\n- x\n  ```sh\n  if a; then\n    b\n  fi\n  ```\ny\n```\nout\n```\n";
        let text = "if a; then\n  b\nfi\n".to_owned();
        let first = Fence { line: 3, language: "sh".to_owned(), text };
        assert_eq!(fences(page), [first, Fence { line: 9, language: String::new(), text: "out\n".to_owned() }]);
        assert_eq!(prose(page), "# A\n- x\ny\n");
    }

    #[test]
    fn a_comment_of_one_line_or_many_is_no_prose() {
        let page = "a\n<!-- one -->\n<!-- two\n```sh\nrun me\n-->\nb\n";
        let comments: Vec<_> = pieces(page).into_iter().filter(|piece| matches!(piece, Piece::Comment(..))).collect();
        let second = Piece::Comment(3, "two\n```sh\nrun me".to_owned());
        assert_eq!(comments, [Piece::Comment(2, "one".to_owned()), second]);
        assert_eq!(prose(page), "a\nb\n");
    }

    #[test]
    fn a_quote_has_the_file_that_the_comment_above_it_names() {
        let page = "<!-- quote: a/b.rs -->\n```rust\nx\n```\n\n```rust\ny\n```\n";
        let files: Vec<_> = quotes(page).into_iter().map(|(file, _)| file).collect();
        assert_eq!(files, [Some("a/b.rs".to_owned()), None]);
    }

    #[test]
    fn what_is_never_closed_goes_to_the_end() {
        assert_eq!(fences("```sh\na\nb")[0].text, "a\nb\n");
        assert_eq!(pieces("<!-- a\nb"), [Piece::Comment(1, "a\nb".to_owned())]);
    }
}
