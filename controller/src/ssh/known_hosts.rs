//! The host keys of boxes, kept on the operator's machine: a file for each box, in the form of known_hosts that ssh
//! reads, with the instance id as the host's name (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
//!
//! One file per box needs no lock and no editing: it is written aside and renamed. Nobody's own known_hosts is touched.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::host_keys::HostKeys;
use crate::folders;
use crate::instance::Instance;
use crate::selection::parse_instance_id;

/// The folder below that of the program's state.
const FOLDER: &str = "fleetkey/known_hosts.d";

/// Before the start of the box after which it was last reached with these keys.
const REACHED: &str = "# reached since its start: ";

/// What is known about a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Its host keys.
    pub(crate) keys: HostKeys,
    /// The start of the box after which a server with one of them last answered, as [`start`] tells it.
    pub(crate) reached: Option<String>,
}

/// What tells one start of a box from the next: when it was, and the addresses that it gave.
///
/// EC2 tells the launch time anew at each start; its imitations do not all, but give another address.
pub(crate) fn start(instance: &Instance) -> String {
    // What is no address could be a line of its own in the file.
    let address = |text: &Option<String>| {
        let address = text.as_ref().and_then(|text| text.parse::<IpAddr>().ok());
        address.map_or_else(|| "none".to_owned(), |address| address.to_string())
    };
    let launched = instance.launched.map_or_else(|| "unknown".to_owned(), |launch| launch.to_string());
    format!("{launched} at {} and {}", address(&instance.public_address), address(&instance.private_address))
}

impl Kept {
    /// Whether the box was reached since it was started.
    pub(crate) fn is_reached(&self, instance: &Instance) -> bool {
        self.reached.as_ref() == Some(&start(instance))
    }
}

/// Why what is known cannot be read or kept.
#[derive(Debug, Error)]
pub(crate) enum KnownHostsError {
    /// There is no place for the file.
    #[error("there is no home folder to keep host keys in; set HOME or XDG_STATE_HOME")]
    NoHome,
    /// EC2 told an id that is none.
    #[error("{0:?} is no instance id")]
    Id(String),
    /// The file or its folder.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Somebody else wrote in it.
    #[error("{}: line {line} is no host key of {id}; remove the file to have the keys taken from the console anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The box.
        id: String,
    },
}

/// The files of one operator for the boxes of one region.
#[derive(Debug, Clone)]
pub(crate) struct KnownHosts {
    folder: PathBuf,
}

impl KnownHosts {
    /// Those of the caller.
    pub(crate) fn open(region: &str) -> Result<Self, KnownHostsError> {
        let state = folders::state().ok_or(KnownHostsError::NoHome)?;
        Ok(Self::below(&state, region))
    }

    fn below(state: &Path, region: &str) -> Self {
        Self { folder: state.join(FOLDER).join(region) }
    }

    /// The file of a box, which need not be there.
    pub(crate) fn file(&self, id: &str) -> Result<PathBuf, KnownHostsError> {
        // An id that is none could lead out of the folder.
        parse_instance_id(id).map(|id| self.folder.join(id)).map_err(|_| KnownHostsError::Id(id.to_owned()))
    }

    /// What is known of a box.
    pub(crate) fn find(&self, id: &str) -> Result<Option<Kept>, KnownHostsError> {
        let path = self.file(id)?;
        match fs::read_to_string(&path) {
            Ok(text) => {
                read(&text, id).map(Some).map_err(|line| KnownHostsError::Damaged { path, line, id: id.to_owned() })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(KnownHostsError::Io { action: "read", path, source }),
        }
    }

    /// Keeps what is known of a box, in place of what was.
    pub(crate) fn keep(&self, id: &str, kept: &Kept) -> Result<(), KnownHostsError> {
        let path = self.file(id)?;
        let aside = self.folder.join(format!(".{id}.{}", std::process::id()));
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|source| KnownHostsError::Io { action: "make", path: self.folder.clone(), source })?;
        let written = write(&aside, &render(id, kept)).and_then(|()| fs::rename(&aside, &path));
        written.map_err(|source| {
            // It may not even be there.
            let _ = fs::remove_file(&aside);
            KnownHostsError::Io { action: "write", path, source }
        })
    }

    /// Forgets a box that is gone. One that was never known is no error.
    pub(crate) fn forget(&self, id: &str) -> Result<(), KnownHostsError> {
        let path = self.file(id)?;
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(KnownHostsError::Io { action: "remove", path, source })
            }
            _ => Ok(()),
        }
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn render(id: &str, kept: &Kept) -> String {
    let mut lines = vec!["# Kept by fleetkey; ssh trusts the box if it has one of these keys.".to_owned()];
    lines.extend(kept.reached.as_ref().map(|start| format!("{REACHED}{start}")));
    lines.extend(kept.keys.iter().map(|key| format!("{id} {key}")));
    lines.join("\n") + "\n"
}

/// Reads a file; an error is the line that is wrong, or the one behind the last if there is no key.
fn read(text: &str, id: &str) -> Result<Kept, usize> {
    let (mut keys, mut reached) = (Vec::new(), None);
    for (at, line) in text.lines().enumerate() {
        if let Some(start) = line.strip_prefix(REACHED) {
            reached = Some(start.to_owned());
        } else if !line.starts_with('#') && !line.is_empty() {
            let key = line.strip_prefix(id).and_then(|rest| rest.strip_prefix(' ')).and_then(|key| key.parse().ok());
            keys.push(key.ok_or(at + 1)?);
        }
    }
    let keys = HostKeys::new(keys).ok_or_else(|| text.lines().count() + 1)?;
    Ok(Kept { keys, reached })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const ID: &str = "i-0123456789abcdef0";
    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFToVL5pbHpyW9yWPPUjqqONo1PxR7VwgQN3R8YnRmpL";

    fn kept() -> Kept {
        let keys = HostKeys::new([ED25519.parse().unwrap()]).unwrap();
        Kept { keys, reached: Some("2026-11-21T04:00:00Z at none and 10.0.0.1".to_owned()) }
    }

    #[test]
    fn what_is_kept_is_found_again_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let hosts = KnownHosts::below(folder.path(), "us-west-2");
        assert_eq!(hosts.find(ID).unwrap(), None);
        hosts.forget(ID).unwrap();
        for reached in [None, kept().reached] {
            let kept = Kept { reached, ..kept() };
            hosts.keep(ID, &kept).unwrap();
            assert_eq!(hosts.find(ID).unwrap(), Some(kept));
        }
        let path = hosts.file(ID).unwrap();
        assert!(fs::read_to_string(&path).unwrap().ends_with(&format!("\n{ID} {ED25519}\n")));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        hosts.forget(ID).unwrap();
        assert_eq!(hosts.find(ID).unwrap(), None);
    }

    #[test]
    fn a_file_that_somebody_changed_is_refused_by_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let hosts = KnownHosts::below(folder.path(), "us-west-2");
        hosts.keep(ID, &kept()).unwrap();
        let path = hosts.file(ID).unwrap();
        for (text, wrong) in [
            ("", 1),
            ("# nothing\n", 2),
            (&format!("{ID} {ED25519}\n* {ED25519}\n"), 2),
            (&format!("@cert-authority {ID} {ED25519}\n"), 1),
            (&format!("{ID} ssh-ed25519 AAAA\n"), 1),
        ] {
            fs::write(&path, text).unwrap();
            let error = hosts.find(ID).unwrap_err();
            assert!(matches!(error, KnownHostsError::Damaged { line, .. } if line == wrong), "{text:?}: {error}");
        }
    }

    #[test]
    fn t5_an_id_that_leads_elsewhere_is_refused() {
        let hosts = KnownHosts::below(Path::new("/nowhere"), "us-west-2");
        for bad in ["", "..", "../known_hosts", "i-0123456789abcdef0/../../x", "i-0123456789abcdef0\n*"] {
            assert!(matches!(hosts.file(bad), Err(KnownHostsError::Id(_))), "{bad:?}");
            assert!(hosts.keep(bad, &kept()).is_err() && hosts.find(bad).is_err() && hosts.forget(bad).is_err());
        }
    }
}
