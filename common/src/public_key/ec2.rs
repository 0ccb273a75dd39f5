//! How EC2 names public keys: the fingerprints of its key pairs.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

use super::{Fingerprint, FingerprintError, PublicKey};

/// The fingerprint by which EC2 names a key pair.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-keys.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ec2Fingerprint {
    /// RSA, imported: MD5 of the DER SubjectPublicKeyInfo.
    Md5([u8; 16]),
    /// RSA, made by EC2: SHA-1 over the private key. The public half cannot be held against it.
    Sha1([u8; 20]),
    /// Ed25519: SHA-256, as OpenSSH has it.
    Sha256(Fingerprint),
}

/// Whether a key is the one that an EC2 fingerprint names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Same,
    /// It is another key.
    Different,
    /// The fingerprint was made over the private half, so nobody can tell.
    CannotTell,
}

impl Ec2Fingerprint {
    /// Holds a key against the fingerprint.
    pub fn verify(&self, key: &PublicKey) -> Verdict {
        match self {
            Ec2Fingerprint::Sha1(_) => Verdict::CannotTell,
            known if *known == key.ec2_fingerprint() => Verdict::Same,
            _ => Verdict::Different,
        }
    }
}

impl FromStr for Ec2Fingerprint {
    type Err = FingerprintError;

    /// Reads 16 or 20 colon-separated hex bytes, or the base64 of 32 bytes with or without `SHA256:` and padding.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let error = || FingerprintError(text.chars().take(100).collect());
        if text.contains(':') && !text.starts_with("SHA256:") {
            let pairs_are_whole = text.split(':').all(|pair| pair.len() == 2);
            let bytes = hex::decode(text.replace(':', "")).ok().filter(|_| pairs_are_whole).ok_or_else(error)?;
            return match bytes.len() {
                16 => bytes.try_into().map(Ec2Fingerprint::Md5).map_err(|_| error()),
                20 => bytes.try_into().map(Ec2Fingerprint::Sha1).map_err(|_| error()),
                _ => Err(error()),
            };
        }
        let base64 = text.strip_prefix("SHA256:").unwrap_or(text);
        format!("SHA256:{base64}").parse().map(Ec2Fingerprint::Sha256).map_err(|_: FingerprintError| error())
    }
}

/// As EC2 prints it: hex bytes with colons, or base64 with padding.
impl fmt::Display for Ec2Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: &[u8] = match self {
            Ec2Fingerprint::Md5(bytes) => bytes,
            Ec2Fingerprint::Sha1(bytes) => bytes,
            Ec2Fingerprint::Sha256(fingerprint) => return f.write_str(&STANDARD.encode(fingerprint.0)),
        };
        for (at, byte) in bytes.iter().enumerate() {
            write!(f, "{}{byte:02x}", if at == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl PublicKey {
    /// Whether EC2 takes this type as a key pair: RSA and Ed25519 alone.
    /// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/create-key-pairs.html>
    pub fn ec2_can_import(&self) -> bool {
        matches!(self.algorithm, "ssh-rsa" | "ssh-ed25519")
    }

    /// The fingerprint that EC2 gives this key when it is imported: for RSA the MD5 of the DER
    /// SubjectPublicKeyInfo, for every other type the SHA-256 as OpenSSH prints it.
    /// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-keys.html>
    pub fn ec2_fingerprint(&self) -> Ec2Fingerprint {
        match self.rsa_parts() {
            Some((n, e)) => Ec2Fingerprint::Md5(Md5::digest(rsa_spki_der(&n, &e)).into()),
            None => Ec2Fingerprint::Sha256(self.fingerprint),
        }
    }

    /// Modulus and exponent, big-endian without a sign byte, of an RSA key.
    fn rsa_parts(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let data = ssh_key::PublicKey::from_bytes(&self.blob).ok()?;
        let rsa = data.key_data().rsa()?;
        Some((rsa.n.as_positive_bytes()?.to_vec(), rsa.e.as_positive_bytes()?.to_vec()))
    }
}

/// The DER SubjectPublicKeyInfo of an RSA key (RFC 8017, appendix A.1.1, in RFC 5280, section 4.1).
fn rsa_spki_der(n: &[u8], e: &[u8]) -> Vec<u8> {
    /// AlgorithmIdentifier { rsaEncryption, NULL }
    const RSA_ENCRYPTION: [u8; 15] =
        [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    const INTEGER: u8 = 0x02;
    const BIT_STRING: u8 = 0x03;
    const SEQUENCE: u8 = 0x30;
    let integer = |bytes: &[u8]| {
        let sign: &[u8] = if bytes.first().is_some_and(|top| top & 0x80 != 0) { &[0] } else { &[] };
        der(INTEGER, &[sign, bytes])
    };
    let key = der(SEQUENCE, &[&integer(n), &integer(e)]);
    der(SEQUENCE, &[&RSA_ENCRYPTION, &der(BIT_STRING, &[&[0], &key])])
}

/// One DER element: tag, length, the parts one after another.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let bytes = length.to_be_bytes();
    let significant = &bytes[bytes.iter().position(|&b| b != 0).unwrap_or(bytes.len() - 1)..];
    let mut out = vec![tag];
    if length >= 0x80 {
        // At most eight length bytes: the cast cannot lose any.
        #[allow(clippy::cast_possible_truncation)]
        out.push(0x80 | significant.len() as u8);
    }
    out.extend_from_slice(significant);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}
