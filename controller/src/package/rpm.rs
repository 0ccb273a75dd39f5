//! RPM packages: a lead, a header of signatures, a header of facts, the payload.
//! <https://rpm-software-management.github.io/rpm/manual/format_v4.html>

use sha2::{Digest as _, Sha256};

use super::{Claims, Unfit};

/// What the file begins with.
pub(super) const MAGIC: &[u8] = &[0xed, 0xab, 0xee, 0xdb];

/// The lead, in bytes; at 6 the kind of package, 0 being one to install.
const LEAD: usize = 96;
const BINARY: &[u8] = &[0, 0];

const HEADER_MAGIC: &[u8] = &[0x8e, 0xad, 0xe8, 0x01];
/// What comes before a header's index: magic, 4 bytes of nothing, how many entries, how many bytes of values.
const INTRO: usize = 16;
/// An entry of the index: tag, type, offset, count, of 4 bytes each.
const ENTRY: usize = 16;

// Types of values that end with a zero byte.
const STRING: u32 = 6;
const STRING_ARRAY: u32 = 8;

// Tags. <https://rpm-software-management.github.io/rpm/manual/tags.html>
const SIGNATURE_SHA256: u32 = 273;
const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const ARCH: u32 = 1022;
/// SHA-256 of the payload as it stands in the file; tag 5093, which says that it is SHA-256, has had no other value.
const PAYLOAD_DIGEST: u32 = 5092;

/// A header, taken apart.
struct Header<'a> {
    index: &'a [u8],
    values: &'a [u8],
}

/// What the package says of itself, once all of it is seen to be whole.
pub(super) fn claims(bytes: &[u8]) -> Result<Claims, Unfit> {
    let (lead, rest) = bytes.split_at_checked(LEAD).ok_or_else(short)?;
    if lead.get(6..8) != Some(BINARY) {
        return Err(Unfit::Foreign("it is a source package".to_owned()));
    }
    let (signatures, length) = Header::parse(rest)?;
    // The header of facts begins at a multiple of 8.
    let rest = rest.get(length.next_multiple_of(8)..).ok_or_else(short)?;
    let (facts, length) = Header::parse(rest)?;
    let (header, payload) = rest.split_at_checked(length).ok_or_else(short)?;
    for (what, bytes, digest) in
        [("header", header, signatures.text(SIGNATURE_SHA256)), ("payload", payload, facts.text(PAYLOAD_DIGEST))]
    {
        let digest = digest.ok_or_else(|| Unfit::Foreign(format!("it has no digest of its {what}")))?;
        if digest != hex::encode(Sha256::digest(bytes)) {
            return Err(damaged(&format!("its {what} is not what its digest says")));
        }
    }
    let field = |tag, name: &str| facts.text(tag).ok_or_else(|| damaged(&format!("it has no {name}")));
    let version = format!("{}-{}", field(VERSION, "version")?, field(RELEASE, "release")?);
    Ok(Claims { name: field(NAME, "name")?.to_owned(), version, arch: field(ARCH, "architecture")?.to_owned() })
}

impl<'a> Header<'a> {
    /// The header at the beginning of `bytes`, and how long it is.
    fn parse(bytes: &'a [u8]) -> Result<(Self, usize), Unfit> {
        let (intro, rest) = bytes.split_at_checked(INTRO).ok_or_else(short)?;
        if !intro.starts_with(HEADER_MAGIC) {
            return Err(damaged("a header is not where it should be"));
        }
        let index = number(intro, 8).and_then(|entries| entries.checked_mul(ENTRY)).ok_or_else(short)?;
        let values = number(intro, 12).ok_or_else(short)?;
        let (index, rest) = rest.split_at_checked(index).ok_or_else(short)?;
        let (values, _) = rest.split_at_checked(values).ok_or_else(short)?;
        Ok((Self { index, values }, INTRO + index.len() + values.len()))
    }

    /// The first string of a tag.
    fn text(&self, tag: u32) -> Option<&'a str> {
        let is = |entry: &&[u8], at: usize, wanted: u32| number(entry, at) == usize::try_from(wanted).ok();
        let mut entries = self.index.chunks_exact(ENTRY);
        let entry = entries.find(|entry| is(entry, 0, tag) && (is(entry, 4, STRING) || is(entry, 4, STRING_ARRAY)))?;
        let value = self.values.get(number(entry, 8)?..)?.split(|byte| *byte == 0).next()?;
        str::from_utf8(value).ok()
    }
}

/// The number at an offset: 4 bytes, the highest first.
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_be_bytes(field.try_into().ok()?)).ok()
}

fn damaged(why: &str) -> Unfit {
    Unfit::Damaged(why.to_owned())
}

fn short() -> Unfit {
    damaged("it ends too early")
}
