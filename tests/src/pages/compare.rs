//! What an example should print against what it printed.
//!
//! `...` in a line stands for any text, a line of `...` alone for any lines, also none. Blanks around a line do not count,
//! and runs of them count as one. Empty lines at the end do not count.

/// What stands for anything.
const ANYTHING: &str = "...";

/// Whether an output is what the page says.
pub fn matches(expected: &str, got: &str) -> bool {
    let (expected, got) = (lines(expected), lines(got));
    // Which ends of the output fit the lines of the page from the current one on, beginning with none of them.
    let mut fitting = vec![false; got.len() + 1];
    fitting[got.len()] = true;
    for line in expected.iter().rev() {
        let mut before = vec![false; got.len() + 1];
        for at in (0..=got.len()).rev() {
            before[at] = if line == ANYTHING {
                fitting[at] || (at < got.len() && before[at + 1])
            } else {
                at < got.len() && fits(line, &got[at]) && fitting[at + 1]
            };
        }
        fitting = before;
    }
    fitting[0]
}

/// Both side by side: `-` before a line that was missing, `+` before one that should not be there.
pub fn difference(expected: &str, got: &str) -> String {
    let (expected, got) = (lines(expected), lines(got));
    // For each pair of rests, how many lines of the page can be found again.
    let mut found = vec![vec![0_usize; got.len() + 1]; expected.len() + 1];
    for e in (0..expected.len()).rev() {
        for g in (0..=got.len()).rev() {
            let skipped = if g < got.len() { found[e][g + 1] } else { 0 };
            let both = g < got.len() && fits(&expected[e], &got[g]);
            let paired = if both && expected[e] != ANYTHING { 1 + found[e + 1][g + 1] } else { 0 };
            found[e][g] = found[e + 1][g].max(skipped).max(paired);
        }
    }
    let (mut e, mut g, mut text) = (0, 0, String::new());
    let mut say = |sign: char, line: &str| {
        text.push(sign);
        text.push(' ');
        text += line;
        text.push('\n');
    };
    while e < expected.len() || g < got.len() {
        let anything = e < expected.len() && expected[e] == ANYTHING;
        if e < expected.len() && g < got.len() && !anything && fits(&expected[e], &got[g]) {
            say(' ', &got[g]);
            (e, g) = (e + 1, g + 1);
        } else if g < got.len() && (e == expected.len() || found[e][g + 1] == found[e][g]) {
            say(if anything { ' ' } else { '+' }, &got[g]);
            g += 1;
        } else {
            if !anything {
                say('-', &expected[e]);
            }
            e += 1;
        }
    }
    text
}

/// The lines of a text with single blanks, without empty ones at the end.
fn lines(text: &str) -> Vec<String> {
    let single = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.trim_end().lines().map(single).collect()
}

/// Whether a line is what a line of a page says.
fn fits(expected: &str, got: &str) -> bool {
    // Blanks are doubled, but beside dots, so that dots between two blanks can also stand for nothing.
    let expected = expected.replace(' ', "  ").replace("  ...", " ...").replace("...  ", "... ");
    let got = got.replace(' ', "  ");
    let mut parts = expected.split(ANYTHING);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = got.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_with_anything_where_the_page_has_dots() {
        assert!(fits("a", "a"));
        assert!(!fits("a", "ab"));
        assert!(fits("id i-... is up", "id i-0123 is up"));
        assert!(fits("...", ""));
        assert!(fits("a...b...c", "abc"));
        assert!(!fits("a...a", "a"), "what is taken by one end is not there for the other");
        assert!(!fits("x ... y", "x y z"));
        assert!(fits("waits...", "waits"));
        assert!(fits("a ... b", "a b") && fits("a ... b", "a c b") && !fits("a ... b", "ab"));
    }

    #[test]
    fn blanks_count_once_and_empty_lines_at_the_end_do_not() {
        assert!(matches("A   B\n1 2\n", "A B   \n 1      2\n\n\n"));
        assert!(!matches("a\nb\n", "a\n\nb\n"), "an empty line within is one");
    }

    #[test]
    fn a_line_of_dots_stands_for_any_lines_also_none() {
        for got in ["a\nb\n", "a\nx\nb\n", "a\nx\n\ny\nb\n", "a\nb\nb\n"] {
            assert!(matches("a\n...\nb\n", got), "{got:?}");
        }
        assert!(!matches("a\n...\nb\n", "a\nx\n"));
        assert!(matches("...\n", ""));
        assert!(matches("...\na\n...\n", "x\na\ny"));
        assert!(!matches("a\n", "a\nb\n"));
        assert!(!matches("a\nb\n", "a\n"));
    }

    #[test]
    fn the_difference_names_what_is_missing_and_what_is_too_much() {
        let expected = "start\nid i-...\n...\nend\nlast\n";
        let got = "start\nextra\nid i-5\nwhatever\nand more\nend\n";
        assert_eq!(difference(expected, got), "  start\n+ extra\n  id i-5\n  whatever\n  and more\n  end\n- last\n");
        assert_eq!(difference("a\n", "b\n").lines().count(), 2);
        assert_eq!(difference("", "b\n"), "+ b\n");
    }
}
