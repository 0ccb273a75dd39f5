//! An error in one line of text.
//!
//! Errors here do not repeat their causes in their messages, so whoever shows one shows its causes with it.

use std::error::Error;

/// The error and all its causes, joined by `: `, without line breaks or other control characters.
pub fn one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_line::registered;
    use crate::restrictions::AllowedOptions;

    #[test]
    fn an_error_is_told_with_its_causes_each_once() {
        let errors = registered(b"ssh-ed25519 AAAA=\n", &AllowedOptions::default());
        let error = errors[0].as_ref().unwrap_err();
        assert_eq!(one_line(error), "line 1: the key is refused: the base64 part of the key is damaged");
    }

    #[test]
    fn t5_line_breaks_in_an_error_are_blanks_in_its_line() {
        assert_eq!(one_line(&std::io::Error::other("a\nb\u{7}c")), "a b c");
    }
}
