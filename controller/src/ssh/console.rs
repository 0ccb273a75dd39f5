//! The console of a box, searched for the host keys that cloud-init prints there. Pure.
//!
//! cloud-init prints them once in the life of an instance, near the end of its first boot, by its program
//! `write-ssh-key-fingerprints`: a line to begin with, the files `/etc/ssh/ssh_host_*_key.pub`, a line to end with.
//! <https://github.com/canonical/cloud-init/blob/main/tools/write-ssh-key-fingerprints>
//!
//! Only root writes to the console, but what root runs at boot may print what it was sent. No block is therefore
//! believed against another: neither the first nor the last is known to be cloud-init's own, so all must say the same.

use std::borrow::Cow;
use std::collections::BTreeSet;

use fleetkey_common::public_key::{PublicKey, PublicKeyError};

use super::host_keys::HostKeys;

const BEGIN: &str = "-----BEGIN SSH HOST KEY KEYS-----";
const END: &str = "-----END SSH HOST KEY KEYS-----";

/// The line that cloud-init's last module prints begins and goes on like this, unless a role words it anew.
const FINISHED: (&str, &str) = ("Cloud-init v. ", " finished at ");

/// The programs as which logger(1) prints for cloud-init, older and newer.
const TAGS: [&str; 2] = ["ec2: ", "cloud-init: "];

/// What a console says about the host keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Nothing, and the boot goes on.
    NotYet,
    /// Nothing, and cloud-init is through.
    Never,
    /// These keys.
    Keys(HostKeys),
    /// Different things.
    Contradiction,
}

/// What stands between a line that begins the keys and the next that ends them.
#[derive(Default)]
struct Block {
    keys: BTreeSet<PublicKey>,
    /// It has its end, and nothing but keys in it.
    whole: bool,
    /// It has its end.
    closed: bool,
}

/// Reads all that is known of one console: texts that may overlap.
pub(crate) fn read<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Reading {
    let (mut blocks, mut finished) = (Vec::new(), false);
    for text in texts {
        finished |= search(text, &mut blocks);
    }
    match judge(&blocks) {
        Ok(None) if finished => Reading::Never,
        Ok(None) => Reading::NotYet,
        Ok(Some(keys)) => Reading::Keys(keys),
        Err(()) => Reading::Contradiction,
    }
}

/// Adds the blocks of a text; returns whether cloud-init says in it that it is through.
fn search(text: &[u8], blocks: &mut Vec<Block>) -> bool {
    let (mut open, mut finished): (Option<Block>, bool) = (None, false);
    for line in text.split(|&byte| byte == b'\n') {
        let line = String::from_utf8_lossy(line);
        let line = content(&line);
        let line = unprefixed(&line);
        match (line, &mut open) {
            (BEGIN, _) => {
                // A second beginning: whatever the first was, it has no end.
                blocks.extend(open.replace(Block { whole: true, ..Block::default() }));
            }
            (END, Some(_)) => blocks.extend(open.take().map(|block| Block { closed: true, ..block })),
            (line, Some(block)) => take(line, block),
            (line, None) => finished |= line.starts_with(FINISHED.0) && line.contains(FINISHED.1),
        }
    }
    blocks.extend(open);
    finished
}

/// Takes a line of a block. Types that are not for Fleetkey, such as `ssh-dss`, are passed over.
fn take(line: &str, block: &mut Block) {
    match line.parse() {
        Ok(key) => {
            block.keys.insert(key);
        }
        Err(PublicKeyError::Algorithm(_)) => {}
        Err(_) if line.is_empty() => {}
        // A message of the kernel within the block, or within a key.
        Err(_) => block.whole = false,
    }
}

/// What the blocks agree on; an error if they do not.
///
/// Those that are whole must be alike, and what is left of the others must not go beyond them.
fn judge(blocks: &[Block]) -> Result<Option<HostKeys>, ()> {
    let sets = |whole: bool| -> BTreeSet<&BTreeSet<PublicKey>> {
        let closed = blocks.iter().filter(|block| block.closed && block.whole == whole && !block.keys.is_empty());
        closed.map(|block| &block.keys).collect()
    };
    let whole = sets(true);
    let counting = if whole.is_empty() { sets(false) } else { whole };
    let mut counting = counting.into_iter();
    let Some(keys) = counting.next() else { return Ok(None) };
    let agreed = counting.next().is_none() && blocks.iter().all(|block| block.keys.is_subset(keys));
    if agreed { Ok(HostKeys::new(keys.iter().cloned())) } else { Err(()) }
}

/// A line without line ends, blanks behind it, and the control sequences (CSI of ECMA-48) that systemd colours with.
fn content(line: &str) -> Cow<'_, str> {
    const CSI: &str = "\x1b[";
    let line = line.trim_matches('\r').trim_end();
    if !line.contains(CSI) {
        return Cow::Borrowed(line);
    }
    let mut parts = line.split(CSI);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| ('\x40'..='\x7e').contains(&c)).map_or(part.len(), |end| end + 1);
        text += &part[end..];
    }
    Cow::Owned(text.trim_end().to_owned())
}

/// A line without what systemd or logger(1) put before a line of cloud-init. What others print keeps its own prefix,
/// and so is never taken for cloud-init's.
fn unprefixed(line: &str) -> &str {
    by_systemd(line).or_else(|| by_logger(line)).unwrap_or(line)
}

/// `[   12.345678] cloud-init[412]: `, or without the time, which a container does not have.
fn by_systemd(line: &str) -> Option<&str> {
    let made_of =
        |text: &str, more: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || more.contains(c));
    let line = match line.strip_prefix('[') {
        Some(rest) => rest.split_once("] ").filter(|(time, _)| made_of(time, ". "))?.1,
        None => line,
    };
    let (id, rest) = line.strip_prefix("cloud-init[")?.split_once("]: ")?;
    made_of(id, "").then_some(rest)
}

/// `<14>Nov 12 10:51:39 ec2: `, or the program alone.
fn by_logger(line: &str) -> Option<&str> {
    const TIME: usize = "Nov 12 10:51:39 ".len();
    let line = match line.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        Some((level, rest)) => {
            let (time, rest) = rest.split_at_checked(TIME)?;
            let level_fits = level.len() <= 3 && level.chars().all(|c| c.is_ascii_digit());
            let time_fits = time.chars().all(|c| c.is_ascii_alphanumeric() || ": ".contains(c));
            if !level_fits || !time_fits {
                return None;
            }
            rest
        }
        None => line,
    };
    TAGS.iter().find_map(|tag| line.strip_prefix(tag))
}

#[cfg(test)]
#[path = "console_tests.rs"]
mod tests;
