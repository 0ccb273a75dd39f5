//! Debian packages: an ar archive of `debian-binary`, `control.tar.gz` and `data.tar.gz`. See deb(5) and
//! deb-control(5).

use std::io::{self, Read};

use flate2::read::GzDecoder;

use super::{Claims, Unfit};

/// What the file begins with; see ar(5).
pub(super) const MAGIC: &[u8] = b"!<arch>\n";

/// The header of a member: name 16, time 12, owner 6, group 6, mode 8, size 10, end 2.
const MEMBER_HEADER: usize = 60;
const MEMBER_END: &[u8] = b"`\n";

/// A block of a tar archive, in bytes.
const BLOCK: usize = 512;

/// The most that control files come to unpacked, in bytes.
const MAX_CONTROL: u64 = 1024 * 1024;

/// What the package says of itself, once all of it is seen to be whole.
pub(super) fn claims(bytes: &[u8]) -> Result<Claims, Unfit> {
    let members = members(bytes)?;
    let [(first, version), (second, control), (third, data)] = members[..] else {
        return Err(damaged("it should have three members"));
    };
    if first != "debian-binary" || !version.starts_with(b"2.") {
        return Err(damaged("it should begin with debian-binary 2.0"));
    }
    for (name, wanted) in [(second, "control.tar"), (third, "data.tar")] {
        if !name.starts_with(wanted) {
            return Err(damaged(&format!("{wanted} is missing")));
        }
        if name != format!("{wanted}.gz") {
            return Err(Unfit::Foreign(format!("{name} is not compressed by gzip")));
        }
    }
    let mut unpacked = Vec::new();
    let mut control = GzDecoder::new(control).take(MAX_CONTROL);
    control.read_to_end(&mut unpacked).map_err(|error| damaged(&format!("control.tar.gz: {error}")))?;
    // To the end, where the checksum is.
    io::copy(&mut GzDecoder::new(data), &mut io::sink()).map_err(|error| damaged(&format!("data.tar.gz: {error}")))?;
    let control = tar_file(&unpacked, "control").ok_or_else(|| damaged("it has no control file"))?;
    let control = str::from_utf8(control).map_err(|_| damaged("its control file is no text"))?;
    let field = |name: &str| {
        let lines = control.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(field, _)| *field == name).map(|(_, value)| value.trim().to_owned());
        found.next().ok_or_else(|| damaged(&format!("its control file has no field {name}")))
    };
    Ok(Claims { name: field("Package")?, version: field("Version")?, arch: field("Architecture")? })
}

/// The members of an ar archive, in order.
fn members(bytes: &[u8]) -> Result<Vec<(&str, &[u8])>, Unfit> {
    let short = || damaged("it ends too early");
    let mut rest = &bytes[MAGIC.len()..];
    let mut members = Vec::new();
    while !rest.is_empty() {
        let (header, after) = rest.split_at_checked(MEMBER_HEADER).ok_or_else(short)?;
        let text = |range: std::ops::Range<usize>| header.get(range).and_then(|field| str::from_utf8(field).ok());
        let (Some(name), Some(size), true) = (text(0..16), text(48..58), header.ends_with(MEMBER_END)) else {
            return Err(damaged("a member has no header"));
        };
        let size: usize = size.trim_end().parse().map_err(|_| damaged("a member has no size"))?;
        let (data, after) = after.split_at_checked(size).ok_or_else(short)?;
        members.push((name.trim_end().trim_end_matches('/'), data));
        // Members begin at even offsets.
        rest = after.get(size % 2..).ok_or_else(short)?;
    }
    Ok(members)
}

/// A file at the top of a tar archive. See tar(5).
fn tar_file<'a>(archive: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let mut rest = archive;
    loop {
        let (header, after) = rest.split_at_checked(BLOCK)?;
        let text = |range: std::ops::Range<usize>| {
            let field = header.get(range)?.split(|byte| *byte == 0).next()?;
            str::from_utf8(field).ok().map(str::trim)
        };
        let name = text(0..100)?;
        let size = usize::from_str_radix(text(124..136)?, 8).ok()?;
        let (content, _) = after.split_at_checked(size)?;
        if name.strip_prefix("./").unwrap_or(name) == wanted {
            return Some(content);
        }
        rest = after.get(size.checked_next_multiple_of(BLOCK)?..)?;
    }
}

fn damaged(why: &str) -> Unfit {
    Unfit::Damaged(why.to_owned())
}
