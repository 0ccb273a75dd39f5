//! What the agent and its helper say to each other: frames of a JSON head and a body of plain bytes.
//!
//! Neither side believes the other: the helper runs as a user who may tamper with it, so every length is bounded, and
//! a frame that makes no sense ends the exchange.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::Trouble;
use super::{Note, Stamp};

/// The largest key file that is read or written, in bytes.
pub(super) const SIZE_LIMIT: usize = 16 << 20;

/// How often a file is read in one update, when it changes under the helper's hands.
pub(super) const READINGS: usize = 5;

const HEAD_LIMIT: usize = 64 << 10;

/// What the agent says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Go to a key file and say what it holds. The body is the path of the home or the folder.
    Open(Request),
    /// Leave everything as it is.
    Look,
    /// Leave it, but put permissions right.
    Keep,
    /// Put the body in its place.
    Replace(Labels),
    /// Remove it.
    Remove,
}

/// Which file, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    /// Whom the helper must find itself to be.
    pub(super) uid: u32,
    /// That user's group.
    pub(super) gid: u32,
    /// Whether the agent is root, so that the helper must have been stripped of all further groups.
    pub(super) stripped: bool,
    /// The file.
    pub(super) target: Target,
}

/// Which file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Target {
    /// `.ssh/authorized_keys` below the path in the body.
    Home,
    /// The file `name` in the folder in the body, readable by a group.
    System {
        /// File name.
        name: String,
        /// Group that may read it.
        group: u32,
    },
}

/// SELinux labels for what is created; `None` leaves the choice to the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Labels {
    /// For the folder.
    pub(super) folder: Option<String>,
    /// For the file.
    pub(super) file: Option<String>,
}

/// What the helper says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// What stands there now; the body is its bytes. Said again when somebody changed the file in between.
    Found {
        /// Whether there is a file.
        file: bool,
        /// Whether there is a folder for it.
        folder: bool,
    },
    /// The file is as was asked.
    Done(Done),
    /// It is not, and is as it was.
    Trouble(Trouble),
}

/// How it ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Done {
    /// Whether the file was replaced or removed.
    pub(super) changed: bool,
    /// What stands there now.
    pub(super) stamp: Option<Stamp>,
    /// What else was done.
    pub(super) notes: Vec<Note>,
}

/// Sends one frame: the head's length, the head, the body's length, the body; lengths are 4 bytes, big-endian.
pub(super) fn send(to: &mut impl Write, head: &impl Serialize, body: &[u8]) -> io::Result<()> {
    let head = serde_json::to_vec(head)?;
    let mut frame = Vec::with_capacity(head.len() + body.len() + 8);
    for part in [&head[..], body] {
        let length = u32::try_from(part.len()).map_err(|_| garbled("a part of a frame is too long"))?;
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(part);
    }
    to.write_all(&frame)
}

/// Receives one frame.
pub(super) fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<(T, Vec<u8>)> {
    let head = receive_part(from, HEAD_LIMIT)?;
    let body = receive_part(from, SIZE_LIMIT)?;
    Ok((serde_json::from_slice(&head)?, body))
}

fn receive_part(from: &mut impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u64::from(u32::from_be_bytes(length));
    if length > limit as u64 {
        return Err(garbled("a part of a frame is longer than agreed"));
    }
    let mut part = Vec::new();
    // Grows with what really comes, not with what was announced.
    if from.take(length).read_to_end(&mut part)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(part)
}

fn garbled(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_received() {
        let mut pipe = Vec::new();
        send(&mut pipe, &Ask::Replace(Labels::default()), b"bytes\0\n").unwrap();
        let (ask, body): (Ask, _) = receive(&mut &pipe[..]).unwrap();
        assert!(matches!(ask, Ask::Replace(_)));
        assert_eq!(body, b"bytes\0\n");
    }

    #[test]
    fn half_a_frame_and_an_endless_one_are_errors() {
        let mut pipe = Vec::new();
        send(&mut pipe, &Ask::Keep, b"body").unwrap();
        for end in 0..pipe.len() {
            assert!(receive::<Ask>(&mut &pipe[..end]).is_err(), "cut at {end}");
        }
        assert!(receive::<Ask>(&mut &[0xff; 4096][..]).is_err());
        assert!(receive::<Ask>(&mut &b"\0\0\0\x02{}\0\0\0\0"[..]).is_err());
    }
}
