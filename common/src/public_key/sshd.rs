//! Key blobs as sshd reads them: with all the ways of writing one key that it takes for that key.
//!
//! A key that is revoked must be found in whatever form a line of `authorized_keys` holds it, so nothing that sshd
//! takes may be refused here. What is read here is never handed out as it stands: it is written anew first.

use super::ALGORITHMS;

/// What stands in a blob behind the name of the key's type.
enum Field {
    /// A string kept as it is.
    Bytes,
    /// A string that may end in one NUL, which is not part of it.
    Text,
    /// A positive number, which may begin with any number of zero bytes.
    Number,
}

/// Names that sshd takes, in a line and in a blob, for one of [`ALGORITHMS`]: those of signature algorithms.
/// OpenSSH, `sshkey.c`, `keyimpls`.
const ALIASES: [(&str, &str); 3] = [
    ("rsa-sha2-256", "ssh-rsa"),
    ("rsa-sha2-512", "ssh-rsa"),
    ("webauthn-sk-ecdsa-sha2-nistp256@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"),
];

/// The one of [`ALGORITHMS`] that sshd understands by `name`.
pub(super) fn algorithm(name: &[u8]) -> Option<&'static str> {
    let alias = ALIASES.into_iter().find(|(alias, _)| alias.as_bytes() == name).map(|(_, known)| known);
    let name = alias.map_or(name, str::as_bytes);
    ALGORITHMS.into_iter().find(|known| known.as_bytes() == name)
}

/// The blob that sshd would write for the key that it reads in `blob`, which must be of the type `algorithm`.
///
/// RFC 4253, section 6.6; RFC 5656, section 3.1; RFC 8709, section 4; OpenSSH, `PROTOCOL.u2f`.
pub(super) fn canonical(algorithm: &'static str, blob: &[u8]) -> Option<Vec<u8>> {
    let fields: &[Field] = match algorithm {
        "ssh-rsa" => &[Field::Number, Field::Number],
        "ssh-ed25519" => &[Field::Bytes],
        "sk-ssh-ed25519@openssh.com" => &[Field::Bytes, Field::Text],
        "sk-ecdsa-sha2-nistp256@openssh.com" => &[Field::Text, Field::Bytes, Field::Text],
        _ => &[Field::Text, Field::Bytes],
    };
    let mut rest = blob;
    if self::algorithm(text(take(&mut rest)?)?)? != algorithm {
        return None;
    }
    let mut out = Vec::with_capacity(blob.len());
    put(&mut out, &[], algorithm.as_bytes())?;
    for field in fields {
        let value = take(&mut rest)?;
        match field {
            Field::Bytes => put(&mut out, &[], value)?,
            Field::Text => put(&mut out, &[], text(value)?)?,
            Field::Number => {
                let digits = number(value)?;
                let sign: &[u8] = if digits.first().is_some_and(|top| top & 0x80 != 0) { &[0] } else { &[] };
                put(&mut out, sign, digits)?;
            }
        }
    }
    rest.is_empty().then_some(out)
}

/// Takes a string, four bytes of length and as many bytes, off the front.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (value, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    Some(value)
}

fn put(out: &mut Vec<u8>, sign: &[u8], value: &[u8]) -> Option<()> {
    let length = u32::try_from(sign.len() + value.len()).ok()?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(sign);
    out.extend_from_slice(value);
    Some(())
}

/// A string of C: one NUL may end it, none may stand within.
fn text(value: &[u8]) -> Option<&[u8]> {
    let value = value.strip_suffix(&[0]).unwrap_or(value);
    (!value.contains(&0)).then_some(value)
}

/// The digits of a number without leading zeros; `None` if it is negative.
fn number(value: &[u8]) -> Option<&[u8]> {
    if value.first().is_some_and(|top| top & 0x80 != 0) {
        return None;
    }
    Some(&value[value.iter().position(|&byte| byte != 0).unwrap_or(value.len())..])
}
