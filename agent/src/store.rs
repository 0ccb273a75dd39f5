//! The agent's own files: state, look-up files, status. All belong to root; none is written in place.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleetkey_common::error_text::one_line;
use fleetkey_common::names::AccountName;
use fleetkey_common::public_key::Fingerprint;
use serde::{Deserialize, Serialize};

use crate::clock::Moment;
use crate::config::settings::PathSettings;
use crate::instance::HostIdentity;
use crate::state::{State, StateError};
use crate::write::{open_private_folder, replace_file};

/// The last good key set, root's alone.
const STATE: &str = "state.json";
/// What `status` prints, root's alone.
const STATUS: &str = "status.json";
/// How long the box has been idle, root's alone.
const IDLE: &str = "idle.json";
/// The folder of the look-up files, one for each account.
const LOOKUP: &str = "lookup";
/// The group that sshd's AuthorizedKeysCommand runs as, which may read the look-up files.
const LOOKUP_GROUP: &str = "fleetkey-keys";

/// The state folder: others may pass through to the look-up folder, and see nothing.
const STATE_FOLDER_MODE: u32 = 0o711;
/// The look-up folder and its files, for root and for [`LOOKUP_GROUP`].
const LOOKUP_FOLDER_MODE: u32 = 0o750;
const LOOKUP_MODE: u32 = 0o640;
const PRIVATE_MODE: u32 = 0o600;

/// How the first line of a look-up file begins; the box that it was made for follows, as JSON.
const LOOKUP_HEADER: &str = "# fleetkey-lookup 1 ";

/// How long the look-up files hold, in their folder. No account has such a name.
const SERVING: &str = ".serving";
/// What stands before the fingerprint of a key for emergencies, whose line holds without end.
const FOR_EMERGENCIES: &[u8] = b"!";

/// Until when the look-up files let anybody in, should nobody be there to renew them.
#[derive(Debug, Serialize, Deserialize)]
struct Serving {
    reached: Moment,
    max_stale: Duration,
}

/// A line for `authorized-keys`.
#[derive(Debug, Clone, Copy)]
pub struct LookupLine<'a> {
    /// The key in it.
    pub fingerprint: Fingerprint,
    /// Whether it is let in however long nobody was asked.
    pub for_emergencies: bool,
    /// The line, as in a key file.
    pub line: &'a str,
}

/// What a look-up came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LookedUp {
    /// The lines, each with its end.
    pub lines: Vec<u8>,
    /// Whether the source was not reached for so long that only keys for emergencies are let in.
    pub stale: bool,
}

/// Where the agent's own files are.
#[derive(Debug, Clone)]
pub struct Store {
    state: PathBuf,
    runtime: PathBuf,
}

/// What was found of the last good key set.
#[derive(Debug, PartialEq, Eq)]
pub enum LastGood {
    /// This box's own.
    Ours(Box<State>),
    /// That of another box: this one was made of its image.
    AnotherBoxs,
    /// None, or none that can be read.
    None,
}

impl Store {
    /// The files in these folders, which are made when they are missing.
    pub fn new(paths: &PathSettings) -> Self {
        Self { state: paths.state.clone(), runtime: paths.runtime.clone() }
    }

    /// The state of this box, if there is one that can be read; what is wrong with another is logged.
    pub fn load_state(&self, host: &HostIdentity) -> LastGood {
        let path = self.state.join(STATE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return LastGood::None,
            Err(error) => {
                tracing::error!(
                    action = "state-not-read",
                    "{}: {error}; starting without a last good key set",
                    path.display()
                );
                return LastGood::None;
            }
        };
        match State::parse(&bytes, host) {
            Ok(state) => LastGood::Ours(Box::new(state)),
            Err(error) => {
                tracing::warn!(
                    action = "state-dropped",
                    "{}: {}; starting without a last good key set",
                    path.display(),
                    one_line(&error)
                );
                if matches!(error, StateError::OtherBox) { LastGood::AnotherBoxs } else { LastGood::None }
            }
        }
    }

    /// Puts the state in place.
    pub fn save_state(&self, bytes: &[u8]) -> io::Result<()> {
        let folder = folder(&self.state, STATE_FOLDER_MODE)?;
        replace(&folder, STATE, bytes, PRIVATE_MODE)
    }

    /// Puts the status in place. A failure is logged: the status never stands in the way of the work.
    pub fn save_status(&self, bytes: &[u8]) {
        let saved = folder(&self.runtime, 0o755).and_then(|at| replace(&at, STATUS, bytes, PRIVATE_MODE));
        if let Err(error) = saved {
            tracing::warn!(action = "status-not-saved", "{}: {error}", self.runtime.join(STATUS).display());
        }
    }

    /// The status that the running agent last left.
    pub fn load_status(&self) -> io::Result<Vec<u8>> {
        std::fs::read(self.runtime.join(STATUS))
    }

    /// Keeps how long the box has been idle, over a restart of the agent and not over one of the box.
    pub fn save_idle(&self, bytes: &[u8]) -> io::Result<()> {
        replace(&folder(&self.runtime, 0o755)?, IDLE, bytes, PRIVATE_MODE)
    }

    /// What was kept of it.
    pub fn load_idle(&self) -> io::Result<Vec<u8>> {
        std::fs::read(self.runtime.join(IDLE))
    }

    /// Says how long the look-up files hold: until `max_stale` after the source was last reached.
    pub fn save_serving(&self, reached: &Moment, max_stale: Duration) -> io::Result<()> {
        let serving = Serving { reached: reached.clone(), max_stale };
        self.replace_lookup(SERVING, &serde_json::to_vec(&serving)?)
    }

    /// Keeps an account's lines for `authorized-keys`, each behind its key's fingerprint. A failure is logged.
    pub fn save_lookup(&self, account: &AccountName, host: &HostIdentity, lines: &[LookupLine<'_>]) {
        let marked = |line: &LookupLine<'_>| {
            let mark = if line.for_emergencies { "!" } else { "" };
            format!("{mark}{} {}\n", line.fingerprint, line.line)
        };
        let mut lines: Vec<_> = lines.iter().map(marked).collect();
        // In the order of their bytes, so that one line of many is found without reading them all.
        lines.sort_unstable();
        let text = format!("{LOOKUP_HEADER}{}\n{}", serde_json::to_string(host).unwrap_or_default(), lines.concat());
        let path = self.lookup_path(account);
        if std::fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
            return;
        }
        if let Err(error) = self.replace_lookup(account.as_str(), text.as_bytes()) {
            tracing::error!(action = "lookup-not-saved", %account, "{}: {error}", path.display());
        }
    }

    fn replace_lookup(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        folder(&self.state, STATE_FOLDER_MODE)?;
        let folder = folder(&self.state.join(LOOKUP), LOOKUP_FOLDER_MODE)?;
        let group = nix::unistd::Group::from_name(LOOKUP_GROUP).ok().flatten().map(|group| group.gid);
        replace(&folder, name, bytes, LOOKUP_MODE)?;
        if let Some(group) = group {
            nix::unistd::fchown(&folder, None, Some(group))?;
            nix::unistd::fchownat(
                &folder,
                Path::new(name),
                None,
                Some(group),
                nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW,
            )?;
        }
        Ok(())
    }

    /// Takes away the look-up file of an account without a grant.
    pub fn remove_lookup(&self, account: &AccountName) {
        let path = self.lookup_path(account);
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(action = "lookup-not-saved", %account, "{}: {error}", path.display());
        }
    }

    fn lookup_path(&self, account: &AccountName) -> PathBuf {
        self.state.join(LOOKUP).join(account.as_str())
    }

    /// The lines of an account that let in `wanted`, or all of them. Nothing for an account that is not managed, and
    /// nothing when the files came from another box. Once the agent is dead, or its source out of reach, for longer than
    /// the last known may serve, the keys for emergencies alone.
    pub fn look_up(
        &self,
        account: &AccountName,
        wanted: Option<Fingerprint>,
        host: &HostIdentity,
    ) -> io::Result<LookedUp> {
        let mut text = Vec::new();
        match File::open(self.lookup_path(account)) {
            Ok(mut file) => file.read_to_end(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LookedUp::default()),
            Err(error) => return Err(error),
        };
        let header = text.iter().position(|&byte| byte == b'\n').map_or(text.len(), |at| at + 1);
        let (header, lines) = text.split_at(header);
        let made_for = header.strip_prefix(LOOKUP_HEADER.as_bytes());
        let made_for: Option<HostIdentity> = made_for.and_then(|json| serde_json::from_slice(json).ok());
        if !made_for.is_some_and(|made_for| made_for.same_host(host)) {
            return Err(io::Error::other("the look-up file was made for another box"));
        }
        let stale = !self.serves();
        let candidates: Vec<&[u8]> = match wanted {
            None => lines.split_inclusive(|&byte| byte == b'\n').collect(),
            Some(key) => ["!", ""].into_iter().filter_map(|mark| find(lines, &format!("{mark}{key} "))).collect(),
        };
        let mut found = LookedUp { lines: Vec::new(), stale };
        for line in candidates {
            let (line, holds) = match line.strip_prefix(FOR_EMERGENCIES) {
                Some(line) => (line, true),
                None => (line, !stale),
            };
            if let (Some(gap), true) = (line.iter().position(|&byte| byte == b' '), holds) {
                found.lines.extend_from_slice(&line[gap + 1..]);
            }
        }
        Ok(found)
    }

    /// Whether the look-up files still hold.
    fn serves(&self) -> bool {
        let bytes = std::fs::read(self.state.join(LOOKUP).join(SERVING)).ok();
        let serving: Option<Serving> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        serving.is_some_and(|serving| serving.reached.age(&Moment::now()) <= serving.max_stale)
    }
}

/// The line that begins so, of lines in the order of their bytes. Looks at few of them, however many there are.
fn find<'a>(lines: &'a [u8], beginning: &str) -> Option<&'a [u8]> {
    let beginning = beginning.as_bytes();
    // Both are always where a line begins, or the end.
    let (mut low, mut high) = (0, lines.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start = lines[low..middle].iter().rposition(|&byte| byte == b'\n').map_or(low, |at| low + at + 1);
        let end = lines[middle..high].iter().position(|&byte| byte == b'\n').map_or(high, |at| middle + at + 1);
        let line = &lines[start..end];
        if line.starts_with(beginning) {
            return Some(line);
        }
        if line < beginning { low = end } else { high = start }
    }
    None
}

/// Opens a folder of the agent's own, which is made when it is missing.
fn folder(path: &Path, mode: u32) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(mode).create(path)?;
    let folder = File::from(open_private_folder(path).map_err(io::Error::other)?);
    if folder.metadata()?.permissions().mode() & 0o7777 != mode {
        folder.set_permissions(std::fs::Permissions::from_mode(mode))?;
    }
    Ok(folder)
}

fn replace(folder: &File, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace_file(folder.as_fd(), OsStr::new(name), bytes, mode).map(|_| ()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
