//! The render stage: from a key file's bytes and the keys wanted to its new bytes. Plain functions of bytes.
//!
//! In `shared` mode only the agent's own block is made anew. Other lines survive byte for byte, save those that hold a
//! key which the grants govern.

use std::collections::BTreeSet;

use fleetkey_common::key_line::{self, Line};
use fleetkey_common::public_key::{Fingerprint, PublicKey};
use jiff::tz::TimeZone;

use crate::key_set::GrantedKey;

/// How the first line of the block begins. The rest of the line is for people.
const BEGIN: &str = "# BEGIN fleetkey";
/// How the last line of the block begins.
const END: &str = "# END fleetkey";
/// What the first line of the block tells people.
const BEGIN_NOTE: &str = ": kept by fleetkey-agent; a change between these lines is undone";

/// The lines of the keys wanted, in order, without line ends.
///
/// `time_zone` is the system's, in which sshd reads `expiry-time`; `expiry_time` tells whether to write that option.
pub fn lines(keys: &[GrantedKey], time_zone: &TimeZone, expiry_time: bool) -> Vec<String> {
    keys.iter().map(|granted| line(granted, time_zone, expiry_time)).collect()
}

fn line(granted: &GrantedKey, time_zone: &TimeZone, expiry_time: bool) -> String {
    let options = granted.restrictions.to_options(time_zone, expiry_time);
    let gap = if options.is_empty() { "" } else { " " };
    format!("{options}{gap}{} {}", granted.key, granted.person)
}

/// A key file, as it is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The new bytes of the whole file.
    pub bytes: Vec<u8>,
    /// The keys on lines outside the block that were taken out, since the grants govern them.
    pub taken: Vec<Fingerprint>,
    /// The keys on lines outside the block that stay.
    pub foreign: Vec<PublicKey>,
    /// Whether the block was there and was not what it should be.
    pub block_differed: bool,
}

/// The file in `shared` mode: the block holds `wanted`; of the other lines those go whose key is `governed`.
///
/// The block stays where it stands; a file without one gets it in front, so that no byte of an unfinished last line
/// is touched. Markers without their other half are taken out, and the lines around them count as other people's.
pub fn shared(old: &[u8], wanted: &[String], governed: &BTreeSet<Fingerprint>) -> Rendered {
    let split = Split::new(old);
    let mut rendered = Rendered { bytes: Vec::with_capacity(old.len()), ..Rendered::default() };
    let block = block(wanted);
    rendered.block_differed = split.blocks.first().is_some_and(|first| first.as_slice() != block.as_slice())
        || split.blocks.len() > 1
        || split.stray_markers;
    if split.blocks.is_empty() {
        rendered.bytes.extend_from_slice(&block);
    }
    for (at, line) in split.foreign.iter().enumerate() {
        if split.block_before == Some(at) {
            rendered.bytes.extend_from_slice(&block);
        }
        rendered.keep_or_take(line, governed);
    }
    if split.block_before == Some(split.foreign.len()) {
        rendered.bytes.extend_from_slice(&block);
    }
    rendered
}

/// The file once its account is managed no more: without the block, and without lines whose key is `governed`.
pub fn retired(old: &[u8], governed: &BTreeSet<Fingerprint>) -> Rendered {
    let split = Split::new(old);
    let mut rendered = Rendered { bytes: Vec::with_capacity(old.len()), ..Rendered::default() };
    for line in split.foreign {
        rendered.keep_or_take(line, governed);
    }
    rendered
}

/// A file that is the key set and nothing else: `exclusive` and `system` mode.
pub fn whole(wanted: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in wanted {
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

impl Rendered {
    fn keep_or_take(&mut self, line: &[u8], governed: &BTreeSet<Fingerprint>) {
        if let Line::Key { key, .. } = key_line::read(line.strip_suffix(b"\n").unwrap_or(line)) {
            if governed.contains(&key.fingerprint()) {
                self.taken.push(key.fingerprint());
                return;
            }
            self.foreign.push(key);
        }
        self.bytes.extend_from_slice(line);
    }
}

/// The block's bytes.
fn block(wanted: &[String]) -> Vec<u8> {
    let mut bytes = format!("{BEGIN}{BEGIN_NOTE}\n").into_bytes();
    bytes.extend_from_slice(&whole(wanted));
    bytes.extend_from_slice(END.as_bytes());
    bytes.push(b'\n');
    bytes
}

/// A file taken apart.
struct Split<'a> {
    /// Lines outside every block, each with its line end, if it has one.
    foreign: Vec<&'a [u8]>,
    /// Every block, markers included.
    blocks: Vec<Vec<u8>>,
    /// Before which of the foreign lines the first block stands.
    block_before: Option<usize>,
    /// Whether a marker stands without its other half.
    stray_markers: bool,
}

impl<'a> Split<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut split = Split { foreign: Vec::new(), blocks: Vec::new(), block_before: None, stray_markers: false };
        // The lines since a BEGIN whose END was not seen yet.
        let mut open: Option<Vec<&[u8]>> = None;
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            if is_marker(line, BEGIN) {
                split.give_back(open.take());
                open = Some(vec![line]);
            } else if is_marker(line, END) {
                match open.take() {
                    Some(mut block) => {
                        block.push(line);
                        split.block_before.get_or_insert(split.foreign.len());
                        split.blocks.push(block.concat());
                    }
                    None => split.stray_markers = true,
                }
            } else if let Some(block) = &mut open {
                block.push(line);
            } else {
                split.foreign.push(line);
            }
        }
        split.give_back(open);
        split
    }

    /// A block that never ended: its lines are other people's, its marker goes.
    fn give_back(&mut self, open: Option<Vec<&'a [u8]>>) {
        if let Some(lines) = open {
            self.stray_markers = true;
            self.foreign.extend(&lines[1..]);
        }
    }
}

/// Whether the line is the marker, with whatever note behind it.
fn is_marker(line: &[u8], marker: &str) -> bool {
    line.strip_prefix(marker.as_bytes()).is_some_and(|rest| rest.first().is_none_or(|next| b": \t\r\n".contains(next)))
}

#[cfg(test)]
mod tests;
