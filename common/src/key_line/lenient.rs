//! The reader that finds every key that sshd finds.
//!
//! OpenSSH, `auth2-pubkeyfile.c`, `auth_check_authkeys_file` and `auth_check_authkey_line`; `sshkey.c`, `sshkey_read`.

use super::{skip_blanks, split_options, split_word};
use crate::public_key::PublicKey;

/// What a line of `authorized_keys` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line<'a> {
    /// Nothing but blanks.
    Blank,
    /// A `#`, perhaps behind blanks.
    Comment,
    /// A key.
    Key {
        /// The option list before the key as it stands, empty if there is none. sshd may refuse the key for it.
        options: &'a [u8],
        /// The key.
        key: PublicKey,
        /// What stands behind the key, without blanks and carriage returns around it.
        comment: &'a [u8],
    },
    /// No key, or none of a type in [`crate::public_key::ALGORITHMS`].
    Other,
}

/// Reads a line as sshd does. It is given without its `\n`, and may end in `\r`.
///
/// As in C, a NUL ends the line. Whether sshd would take the options is not looked at.
pub fn read(line: &[u8]) -> Line<'_> {
    let line = &line[..line.iter().position(|&byte| byte == 0).unwrap_or(line.len())];
    let line = skip_blanks(line);
    match line.first() {
        Some(b'#') => return Line::Comment,
        _ if line.trim_ascii().is_empty() => return Line::Blank,
        _ => {}
    }
    if let Some((key, comment)) = read_key(line) {
        return Line::Key { options: &[], key, comment };
    }
    let found = split_options(line).and_then(|(options, rest)| Some((options, read_key(skip_blanks(rest))?)));
    match found {
        Some((options, (key, comment))) => Line::Key { options, key, comment },
        None => Line::Other,
    }
}

/// Reads `type base64`, and gives the comment behind it.
fn read_key(text: &[u8]) -> Option<(PublicKey, &[u8])> {
    let (algorithm, rest) = split_word(text);
    let (base64, comment) = split_word(skip_blanks(rest));
    Some((PublicKey::as_sshd_reads(algorithm, base64)?, comment.trim_ascii()))
}
