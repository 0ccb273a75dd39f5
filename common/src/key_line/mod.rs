//! Lines of `authorized_keys`, by sshd(8), `AUTHORIZED_KEYS FILE FORMAT`. There are two readers:
//!
//! [`read`] finds in a file on the box every key that sshd would find there, however oddly it is written: a key that it
//! failed to see would outlive its owner's access. It must never be used to decide what is handed out.
//!
//! [`registered`] reads what a registry holds, and refuses whatever is not plainly a key with allowed options. It must
//! never put a part of a key into a message.

mod lenient;
mod strict;
#[cfg(test)]
mod tests;

pub use lenient::{Line, read};
pub use strict::{Accepted, KeyLineError, MAX_BODY, registered};

/// Cuts off the option list, which ends at the first blank outside quotes; `None` if a quote is left open.
///
/// OpenSSH, `authfile.c`, `sshkey_advance_past_options`: a backslash before a quote takes it along, quoted or not.
fn split_options(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut at, mut quoted) = (0, false);
    while let Some(&byte) = text.get(at) {
        match byte {
            b' ' | b'\t' if !quoted => break,
            b'\\' if text.get(at + 1) == Some(&b'"') => at += 1,
            b'"' => quoted = !quoted,
            _ => {}
        }
        at += 1;
    }
    (!quoted).then(|| text.split_at(at))
}

/// The text without the blanks that begin it.
fn skip_blanks(text: &[u8]) -> &[u8] {
    &text[text.iter().position(|byte| !is_blank(byte)).unwrap_or(text.len())..]
}

/// The first word, and what stands behind it.
fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(is_blank).unwrap_or(text.len()))
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}
