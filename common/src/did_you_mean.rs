//! Words that are nearly those that are known: for messages about mistyped ones.

/// How alike two words are at least, from 0 to 1.
const CUTOFF: f32 = 0.6;

/// ` (did you mean "x"?)` when a known word is close to the one given, else nothing.
pub fn did_you_mean(word: &str, known: &[&str]) -> String {
    match similar::get_close_matches(word.to_ascii_lowercase().as_str(), known, 1, CUTOFF).first() {
        Some(close) => format!(" (did you mean {close:?}?)"),
        None => String::new(),
    }
}
