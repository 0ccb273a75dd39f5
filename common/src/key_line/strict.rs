//! The reader of what registries hold: one key a line, or a reason why not.

use thiserror::Error;

use super::{split_options, split_word};
use crate::public_key::{ALGORITHMS, PublicKey, PublicKeyError, is_private, looks_like_algorithm};
use crate::restrictions::{AllowedOptions, OptionError, Restrictions};

/// The longest body that is read, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// A registered key that can be handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The key.
    pub key: PublicKey,
    /// What its options take away.
    pub restrictions: Restrictions,
}

/// Why what a registry holds, or one line of it, is refused. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyLineError {
    /// The body is too long to be keys.
    #[error("it has {0} bytes, and no more than {MAX_BODY} are read; it should hold public keys, one a line")]
    TooLong(usize),
    /// The body is a public key in another form.
    #[error("it is a public key in {form}; turn it into OpenSSH's form by: ssh-keygen -i {options}-f FILE")]
    Foreign {
        /// The form that it is in.
        form: &'static str,
        /// What ssh-keygen must be told of it, with a blank behind it.
        options: &'static str,
    },
    /// A line is not UTF-8.
    #[error("line {line} is not UTF-8 text")]
    Encoding {
        /// Which line.
        line: usize,
    },
    /// A line has a control character.
    #[error("line {line} has the control character {character:?}")]
    Control {
        /// Which line.
        line: usize,
        /// The first such character.
        character: char,
    },
    /// A line has options, and these are refused.
    #[error("line {line}: the options are refused")]
    Options {
        /// Which line.
        line: usize,
        /// What is wrong with them.
        #[source]
        cause: OptionError,
    },
    /// A line is not a key that is handed out.
    #[error("line {line}: the key is refused")]
    Key {
        /// Which line.
        line: usize,
        /// What is wrong with it.
        #[source]
        cause: PublicKeyError,
    },
}

/// Public keys in forms other than OpenSSH's: what their first line has, what the form is, what ssh-keygen(1) must know.
const FOREIGN: [(&str, &str, &str); 5] = [
    ("---- BEGIN SSH2 PUBLIC KEY", "the form of RFC 4716", ""),
    ("-----BEGIN PUBLIC KEY-----", "PEM", "-m PKCS8 "),
    ("-----BEGIN RSA PUBLIC KEY-----", "PEM", "-m PEM "),
    // X.509 has to be taken apart first; that it is not a key is all that can be said in few words.
    ("-----BEGIN CERTIFICATE-----", "a certificate", "-m PKCS8 "),
    ("-----BEGIN ", "PEM", "-m PKCS8 "),
];

/// Reads what a registry holds: keys in OpenSSH's form, one a line, with options that `allowed` has.
///
/// There is one result for each line that is neither blank nor a comment, or a single error for a body that is refused
/// whole: too long, a private key, a key in another form. Comments are dropped.
pub fn registered(body: &[u8], allowed: &AllowedOptions) -> Vec<Result<Accepted, KeyLineError>> {
    if body.len() > MAX_BODY {
        return vec![Err(KeyLineError::TooLong(body.len()))];
    }
    let mut results = Vec::new();
    for (index, bytes) in body.split(|&byte| byte == b'\n').enumerate() {
        let line = index + 1;
        let text = match text(bytes, line) {
            Ok(text) => text,
            Err(error) => {
                results.push(Err(error));
                continue;
            }
        };
        if let Some(error) = whole_refused(text, line) {
            return vec![Err(error)];
        }
        if !text.is_empty() && !text.starts_with('#') {
            results.push(read_line(text, line, allowed));
        }
    }
    results
}

/// The text of a line without its end and the blanks around it.
fn text(bytes: &[u8], line: usize) -> Result<&str, KeyLineError> {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let text = str::from_utf8(bytes).map_err(|_| KeyLineError::Encoding { line })?;
    match text.chars().find(|&c| c.is_control() && c != '\t') {
        Some(character) => Err(KeyLineError::Control { line, character }),
        None => Ok(text.trim_matches([' ', '\t'])),
    }
}

/// Whether this line tells that the body is no list of keys at all.
fn whole_refused(text: &str, line: usize) -> Option<KeyLineError> {
    if is_private(text) {
        return Some(KeyLineError::Key { line, cause: PublicKeyError::Private });
    }
    let (_, form, options) = FOREIGN.into_iter().find(|(mark, ..)| text.starts_with(mark))?;
    Some(KeyLineError::Foreign { form, options })
}

fn read_line(text: &str, line: usize, allowed: &AllowedOptions) -> Result<Accepted, KeyLineError> {
    let refused = |cause| KeyLineError::Key { line, cause };
    let (first, _) = words(text);
    if looks_like_algorithm(first) {
        return Ok(Accepted { key: read_key(text).map_err(refused)?, restrictions: Restrictions::default() });
    }
    let bad_options = |cause| KeyLineError::Options { line, cause };
    let (options, _) = split_options(text.as_bytes()).ok_or_else(|| bad_options(OptionError::Quotes))?;
    let (options, rest) = text.split_at(options.len());
    let rest = rest.trim_start_matches([' ', '\t']);
    if !looks_like_algorithm(words(rest).0) {
        return Err(refused(PublicKeyError::Form));
    }
    let restrictions = allowed.parse(options).map_err(bad_options)?;
    Ok(Accepted { key: read_key(rest).map_err(refused)?, restrictions })
}

/// Reads `type base64`, with a comment behind it or not.
fn read_key(text: &str) -> Result<PublicKey, PublicKeyError> {
    let (algorithm, base64) = words(text);
    if base64.is_empty() && ALGORITHMS.contains(&algorithm) {
        return Err(PublicKeyError::Form);
    }
    PublicKey::from_parts(algorithm, base64)
}

/// The first two words.
fn words(text: &str) -> (&str, &str) {
    let (first, rest) = text.split_at(split_word(text.as_bytes()).0.len());
    let rest = rest.trim_start_matches([' ', '\t']);
    (first, rest.split([' ', '\t']).next().unwrap_or(""))
}
