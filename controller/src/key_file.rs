//! The public key file that `register-key` is given: one OpenSSH public key, and nothing else.
//!
//! Whatever is wrong with it is said before anything is sent. No message repeats what the file holds: it may be a
//! private key.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use fleetkey_common::public_key::{ALGORITHMS, PublicKey, PublicKeyError};

use crate::refusal::Refusal;

/// The largest file that is looked at, in bytes: far above any key, far below a wrong file.
const MAX_FILE: u64 = 64 * 1024;

/// The longest comment that is kept, in characters.
const MAX_COMMENT: usize = 255;

/// A public key with its comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyFile {
    /// The key.
    pub(crate) key: PublicKey,
    /// The rest of its line; empty if there is none. No control characters.
    pub(crate) comment: String,
}

impl KeyFile {
    /// Reads a file, or stdin where the path is `-`. Blocks.
    pub(crate) fn read(path: &Path) -> Result<Self, Refusal> {
        let shown = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
        let bytes = read_bytes(path).map_err(|error| match error.kind() {
            io::ErrorKind::IsADirectory => Refusal::new(format!("{shown} is a folder"))
                .hint("give the file of one public key in it, such as id_ed25519.pub"),
            io::ErrorKind::NotFound => Refusal::new(format!("{shown} does not exist"))
                .hint("ssh-keygen -t ed25519 makes a key pair; give the file that ends in .pub"),
            _ => Refusal::new(format!("{shown} cannot be read: {error}")),
        })?;
        Self::parse(&bytes, &shown)
    }

    /// Takes the one public key in `bytes`; `shown` names the file in messages.
    pub(crate) fn parse(bytes: &[u8], shown: &str) -> Result<Self, Refusal> {
        if bytes.len() as u64 > MAX_FILE {
            return Err(Refusal::new(format!("{shown} is larger than any public key ({MAX_FILE} bytes)")));
        }
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            return Err(Refusal::new(format!("{shown} is UTF-16 text")).hint("save it as UTF-8 and try again"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| {
            Refusal::new(format!("{shown} is not text")).hint("give an OpenSSH public key: type base64 comment")
        })?;
        let text = text.trim_start_matches('\u{feff}');
        refuse_other_forms(text, shown)?;
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let keys: Vec<&str> = lines.iter().copied().filter(|line| !line.starts_with('#')).collect();
        match keys[..] {
            [] if lines.is_empty() => Err(Refusal::new(format!("{shown} is empty"))
                .hint("ssh-keygen -y -f KEY prints the public half of the private key KEY")),
            [] => Err(Refusal::new(format!("{shown} has comments and no key"))),
            [line] => parse_line(line, shown),
            [first, second, ..] => Err(several(first, second, keys.len(), shown)),
        }
    }

    /// `type base64 comment` and a line break: how the key stands in S3 and goes to EC2.
    pub(crate) fn line(&self) -> String {
        let space = if self.comment.is_empty() { "" } else { " " };
        format!("{}{space}{}\n", self.key, self.comment)
    }
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().lock().take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Names the forms of keys that are not OpenSSH's one-line form, each with the way from it.
fn refuse_other_forms(text: &str, shown: &str) -> Result<(), Refusal> {
    let is = |what: &str, hint: String| Err(Refusal::new(format!("{shown} is {what}")).hint(hint));
    if text.contains("PRIVATE KEY-----") {
        return is(
            "a private key; it was not sent anywhere",
            format!("give its public half: {shown}.pub, or what ssh-keygen -y -f {shown} prints"),
        );
    }
    if text.contains("PuTTY-User-Key-File-") {
        return is(
            "a PuTTY key file, which holds a private key; it was not sent anywhere",
            format!("puttygen {shown} -O public-openssh -o {shown}.pub takes the public half out of it"),
        );
    }
    if text.contains("---- BEGIN SSH2 PUBLIC KEY ----") {
        return is("a public key in the form of RFC 4716", format!("ssh-keygen -i -f {shown} prints it in OpenSSH's"));
    }
    for (label, format) in [("PUBLIC KEY", "PKCS8"), ("RSA PUBLIC KEY", "PEM")] {
        if text.contains(&format!("-----BEGIN {label}-----")) {
            return is(
                "a public key in PEM form",
                format!("ssh-keygen -i -m {format} -f {shown} prints it in OpenSSH's"),
            );
        }
    }
    if text.contains("-----BEGIN ") {
        return is("a PEM file and not a public key", "give an OpenSSH public key: type base64 comment".to_owned());
    }
    Ok(())
}

fn several(first: &str, second: &str, count: usize, shown: &str) -> Refusal {
    let starts_key = |line: &str| parse_line(line, shown).is_ok();
    if starts_key(first) && !starts_key(second) {
        return Refusal::new(format!("{shown} has a line after its key that is not a key"))
            .hint("a public key is one line; remove what follows it");
    }
    if !starts_key(first) && !ALGORITHMS.iter().any(|known| second.starts_with(known)) {
        return Refusal::new(format!("{shown} has {count} lines and no whole key"))
            .hint("a public key is one line: type base64 comment; the key may have been wrapped when it was copied");
    }
    Refusal::new(format!("{shown} holds {count} keys")).hint("register them one at a time, each from a file of its own")
}

fn parse_line(line: &str, shown: &str) -> Result<KeyFile, Refusal> {
    if line.contains(|c: char| c.is_control() && c != '\t') {
        return Err(Refusal::new(format!("{shown} has control characters in its line"))
            .hint("a public key is one line of plain text; copy it again"));
    }
    let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
    let algorithm = words.first().copied().unwrap_or_default();
    if !ALGORITHMS.contains(&algorithm) && words.iter().skip(1).any(|word| ALGORITHMS.contains(word)) {
        return Err(Refusal::new(format!("{shown} has options before the key"))
            .hint("give the key alone; a grant says what it may be used for, and --expires when it ends"));
    }
    if algorithm.contains("-cert-v0") {
        return Err(Refusal::new(format!("{shown} is a certificate"))
            .hint("give the public key that it was made for: the file without -cert in its name"));
    }
    let key = line.parse::<PublicKey>().map_err(|error| refuse_key(&error, shown))?;
    let comment = words[2..].join(" ");
    if comment.chars().count() > MAX_COMMENT {
        return Err(Refusal::new(format!("{shown} has a comment of more than {MAX_COMMENT} characters"))
            .hint("shorten it; ssh-keygen -c changes the comment of a key pair"));
    }
    Ok(KeyFile { key, comment })
}

fn refuse_key(error: &PublicKeyError, shown: &str) -> Refusal {
    let refusal = Refusal::new(format!("{shown}: {error}"));
    match error {
        PublicKeyError::Algorithm(_) | PublicKeyError::ShortRsa(_) | PublicKeyError::LongRsa(_) => {
            refusal.hint("ssh-keygen -t ed25519 makes a key that every system takes")
        }
        PublicKeyError::Base64 | PublicKeyError::Blob(_) => refusal.hint("copy it again from where it was made"),
        PublicKeyError::Private | PublicKeyError::Form => refusal,
    }
}

#[cfg(test)]
#[path = "key_file_tests.rs"]
mod tests;
