//! SSH public keys and the three ways in which AWS and OpenSSH name them.
//!
//! A [`PublicKey`] is the key alone: no options, no comment. It was decoded, so that its text form is the one
//! canonical form, whatever was read.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};
use ssh_key::public::KeyData;
use thiserror::Error;

mod ec2;
mod sshd;
#[cfg(test)]
mod tests;

pub use ec2::{Ec2Fingerprint, Verdict};

/// The longest key blob that is looked at, in bytes: an RSA key of 16,384 bits has 2,071.
const MAX_BLOB: usize = 8 * 1024;

/// The key types that Fleetkey hands out, by their SSH names.
/// <https://www.iana.org/assignments/ssh-parameters/ssh-parameters.xhtml>
pub const ALGORITHMS: [&str; 7] = [
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
];

/// The shortest RSA modulus taken, in bits: what sshd(8) accepts by default (`RequiredRSASize`).
const MIN_RSA_BITS: usize = 1024;

/// The longest RSA modulus taken, in bits: sshd reads no longer number (`SSHBUF_MAX_BIGNUM`).
const MAX_RSA_BITS: usize = 16_384;

/// The longest name of a key type that an error message repeats, in bytes.
const MAX_SHOWN_NAME: usize = 64;

/// A decoded SSH public key of a type in [`ALGORITHMS`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct PublicKey {
    fingerprint: Fingerprint,
    algorithm: &'static str,
    blob: Box<[u8]>,
}

/// Why bytes are not a public key that Fleetkey takes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PublicKeyError {
    /// A private key was given.
    #[error("this is a private key; give the public half, the file that ends in .pub")]
    Private,
    /// Not `type base64`.
    #[error("not an OpenSSH public key; it should read: type base64 comment")]
    Form,
    /// A type that is not handed out.
    #[error("key type {0:?} is not supported; use ed25519, ecdsa, rsa or a security key (sk-) type")]
    Algorithm(String),
    /// The base64 part does not decode.
    #[error("the base64 part of the key is damaged")]
    Base64,
    /// The blob does not decode to the key type that the text names.
    #[error("the key is damaged: its {0} data does not decode")]
    Blob(&'static str),
    /// An RSA modulus that sshd would refuse.
    #[error("the RSA key has {0} bits; sshd takes no less than {MIN_RSA_BITS}")]
    ShortRsa(usize),
    /// An RSA modulus that sshd cannot read.
    #[error("the RSA key has {0} bits; sshd takes no more than {MAX_RSA_BITS}")]
    LongRsa(usize),
}

impl PublicKey {
    /// Reads `type base64`, and nothing behind it.
    pub fn from_parts(algorithm: &str, base64: &str) -> Result<Self, PublicKeyError> {
        let known =
            ALGORITHMS.into_iter().find(|&known| known == algorithm).ok_or_else(|| unknown_algorithm(algorithm))?;
        Self::from_blob(known, &decode(known, base64.as_bytes())?)
    }

    /// Reads a type and its base64 as sshd does: spaces within the base64 are passed over, a type may be named by one
    /// of its signature algorithms, and numbers may begin with zeros. The key comes out in its one canonical form.
    ///
    /// For finding keys in files that others write; what is to be handed out is read by [`PublicKey::from_parts`].
    pub(crate) fn as_sshd_reads(algorithm: &[u8], base64: &[u8]) -> Option<Self> {
        let algorithm = sshd::algorithm(algorithm)?;
        // The characters of isspace(3), which b64_pton(3) skips.
        let is_space = |byte: &u8| matches!(byte, b'\t'..=b'\r' | b' ');
        let base64: Vec<u8> = base64.iter().filter(|byte| !is_space(byte)).copied().collect();
        let blob = decode(algorithm, &base64).ok()?;
        Self::from_blob(algorithm, &sshd::canonical(algorithm, &blob)?).ok()
    }

    /// Reads a key blob in the wire form of RFC 4253, section 6.6, which must be of the type named.
    fn from_blob(algorithm: &'static str, blob: &[u8]) -> Result<Self, PublicKeyError> {
        let damaged = || PublicKeyError::Blob(algorithm);
        let data = ssh_key::PublicKey::from_bytes(blob).map_err(|_| damaged())?;
        if data.algorithm().as_str() != algorithm {
            return Err(damaged());
        }
        check(data.key_data()).map_err(|error| error.unwrap_or_else(damaged))?;
        // Encoding what was decoded drops what a lenient decoder would have passed over.
        let canonical = data.to_bytes().map_err(|_| damaged())?;
        if canonical != blob {
            return Err(damaged());
        }
        Ok(Self { fingerprint: Fingerprint(Sha256::digest(blob).into()), algorithm, blob: blob.into() })
    }

    /// The SSH name of the key's type, one of [`ALGORITHMS`].
    pub fn algorithm(&self) -> &'static str {
        self.algorithm
    }

    /// The SHA-256 fingerprint, as `ssh-keygen -l` and sshd's log print it.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The wire form of RFC 4253, section 6.6.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }
}

/// What sshd asks of a key beyond its form. `Err(None)`: the key is damaged.
fn check(key: &KeyData) -> Result<(), Option<PublicKeyError>> {
    match key {
        KeyData::Rsa(rsa) => {
            rsa.e.as_positive_bytes().ok_or(None)?;
            let modulus = rsa.n.as_positive_bytes().ok_or(None)?;
            let bits = modulus.len() * 8 - modulus.first().map_or(0, |top| top.leading_zeros() as usize);
            match bits {
                0..MIN_RSA_BITS => Err(Some(PublicKeyError::ShortRsa(bits))),
                MIN_RSA_BITS..=MAX_RSA_BITS => Ok(()),
                _ => Err(Some(PublicKeyError::LongRsa(bits))),
            }
        }
        KeyData::Ecdsa(ecdsa) => uncompressed(ecdsa.as_sec1_bytes()),
        KeyData::SkEcdsaSha2NistP256(key) => uncompressed(key.ec_point().as_bytes()),
        _ => Ok(()),
    }
}

/// sshd takes a point of a curve in its uncompressed form alone: RFC 5656, section 3.1, makes the other optional.
fn uncompressed(point: &[u8]) -> Result<(), Option<PublicKeyError>> {
    const UNCOMPRESSED: u8 = 4;
    if point.first() == Some(&UNCOMPRESSED) { Ok(()) } else { Err(None) }
}

/// The error for a type that is not handed out. What does not look like the name of a type could be part of a key,
/// a private one even, and must not get into a message.
fn unknown_algorithm(name: &str) -> PublicKeyError {
    if looks_like_algorithm(name) { PublicKeyError::Algorithm(name.to_owned()) } else { PublicKeyError::Form }
}

/// Whether a word could be the name of a key type, known or not.
pub(crate) fn looks_like_algorithm(word: &str) -> bool {
    let family = ["ssh-", "sk-", "ecdsa-", "rsa-", "webauthn-"].iter().any(|start| word.starts_with(start));
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-@._".contains(&byte);
    family && word.len() <= MAX_SHOWN_NAME && word.bytes().all(fits)
}

/// Decodes the base64 of a key, with its padding or without.
fn decode(algorithm: &'static str, base64: &[u8]) -> Result<Vec<u8>, PublicKeyError> {
    if base64.len() > MAX_BLOB * 4 / 3 + 4 {
        return Err(PublicKeyError::Blob(algorithm));
    }
    STANDARD.decode(base64).or_else(|_| STANDARD_NO_PAD.decode(base64)).map_err(|_| PublicKeyError::Base64)
}

/// The headers by which private keys are known: PEM and OpenSSH, RFC 4716's commercial cousin, PuTTY.
const PRIVATE_MARKS: [&str; 3] = ["PRIVATE KEY-----", "PRIVATE KEY ----", "PuTTY-User-Key-File-"];

/// Whether a text holds a private key.
pub(crate) fn is_private(text: &str) -> bool {
    PRIVATE_MARKS.iter().any(|mark| text.contains(mark))
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    /// Reads `type base64`, one line, with any comment behind it left aside. Options before it are an error: see
    /// [`crate::key_line`] for lines of `authorized_keys`.
    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        if is_private(text) {
            return Err(PublicKeyError::Private);
        }
        let text = text.trim_end();
        if text.contains(['\n', '\r', '\0']) {
            return Err(PublicKeyError::Form);
        }
        let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
        let (Some(algorithm), Some(base64)) = (words.next(), words.next()) else {
            return Err(PublicKeyError::Form);
        };
        Self::from_parts(algorithm, base64)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = PublicKeyError;

    fn try_from(text: String) -> Result<Self, PublicKeyError> {
        text.parse()
    }
}

/// By hand: the derived one would, for the sake of the `&'static str` within, read from static text alone.
impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

/// `type base64`, the canonical text.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm, STANDARD.encode(&self.blob))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm, self.fingerprint)
    }
}

/// The SHA-256 of a key's blob: 32 bytes.
///
/// Printed as OpenSSH does (`SHA256:` and base64 without padding); in object keys it stands as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint([u8; 32]);

/// Why a text is not a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not a fingerprint; give SHA256:... as ssh-keygen -l prints it, or 64 hex digits")]
pub struct FingerprintError(String);

impl Fingerprint {
    /// 64 lower-case hex digits, as in the names of S3 objects.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let bytes = match text.strip_prefix("SHA256:") {
            Some(base64) => STANDARD_NO_PAD.decode(base64.trim_end_matches('=')).ok(),
            None => hex::decode(text).ok(),
        };
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| FingerprintError(text.chars().take(100).collect()))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = FingerprintError;

    fn try_from(text: String) -> Result<Self, FingerprintError> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", STANDARD_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
