//! The write stage against hostile local users: the real helper, real accounts' rights, real folders.
//!
//! Root is needed, to be somebody else; the accounts are mere numbers that no user database knows.

#![allow(clippy::unwrap_used, reason = "where its ground is missing, a test ends")]

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use fleetkey_agent::write::{Account, Change, KeyFile, Outcome, WriteError, Writer};
use nix::unistd::{Gid, Uid, geteuid};
use tempfile::TempDir;

mod crashes;
mod identity;
mod labels;
mod mounts;
mod obstacles;
mod race;
mod system;

const OLD: &[u8] = b"ssh-ed25519 AAAAold somebody else's line\r\nno final newline";
const NEW: &[u8] = b"ssh-ed25519 AAAAnew\n";

/// An account of a number of its own, with a home in a folder of root's, and no `.ssh` yet.
struct Stage {
    folder: TempDir,
    account: Account,
}

impl Stage {
    /// `None`, and a line that says so, without root.
    fn set(uid: u32) -> Option<Self> {
        Self::set_below(&std::env::temp_dir(), uid)
    }

    fn set_below(parent: &Path, uid: u32) -> Option<Self> {
        if !geteuid().is_root() {
            let _ = writeln!(std::io::stderr(), "skipped: needs root");
            return None;
        }
        let folder = tempfile::tempdir_in(parent).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let home = folder.path().join("home");
        let account =
            Account { name: "mallory".parse().unwrap(), uid: Uid::from_raw(uid), gid: Gid::from_raw(uid), home };
        let stage = Self { folder, account };
        stage.make_folder(&stage.account.home, 0o755);
        Some(stage)
    }

    /// The same with a `.ssh` and a key file of `OLD`.
    fn set_with_keys(uid: u32) -> Option<Self> {
        let stage = Self::set(uid)?;
        stage.put_keys();
        Some(stage)
    }

    fn put_keys(&self) {
        if !self.ssh().exists() {
            self.make_folder(&self.ssh(), 0o700);
        }
        fs::write(self.keys(), OLD).unwrap();
        self.give(&self.keys(), 0o600);
    }

    fn make_folder(&self, path: &Path, mode: u32) {
        fs::create_dir(path).unwrap();
        self.give(path, mode);
    }

    /// Makes a file the account's own.
    fn give(&self, path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        chown(path, Some(self.account.uid.as_raw()), Some(self.account.gid.as_raw())).unwrap();
    }

    /// A path in root's folder, outside the home.
    fn outside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ssh(&self) -> PathBuf {
        self.account.home.join(".ssh")
    }

    fn keys(&self) -> PathBuf {
        self.ssh().join("authorized_keys")
    }

    fn file(&self) -> KeyFile {
        KeyFile::Home { account: self.account.clone() }
    }

    fn replace(&self) -> Result<Outcome, WriteError> {
        writer().update(&self.file(), |_| Change::Replace(NEW.to_vec()))
    }

    /// A writer whose helper runs under strace with these options; the trace goes to the path that is returned.
    fn traced(&self, name: &str, options: &str) -> (Writer, PathBuf) {
        let traces = self.outside("traces");
        if !traces.exists() {
            fs::create_dir(&traces).unwrap();
            fs::set_permissions(&traces, Permissions::from_mode(0o1777)).unwrap();
        }
        let trace = traces.join(name);
        let strace = format!("exec /usr/bin/strace -qq -y -s 256 -o {} {options}", trace.display());
        let reachable = self.outside("fleetkey-agent");
        if !reachable.exists() {
            // By another process, as in `script`.
            let program = fleetkey_tests::program("fleetkey-agent");
            assert!(Command::new("cp").args([&program, &reachable]).status().unwrap().success());
        }
        let script = self.script(name, &format!("{strace} {} \"$@\"", reachable.display()));
        (Writer::new(script).with_limit(LIMIT), trace)
    }

    /// A program of one shell line.
    fn script(&self, name: &str, line: &str) -> PathBuf {
        let path = self.outside(&format!("{name}.sh"));
        // By another process: one that is open for writing here could not be executed while other tests fork.
        let mut install = Command::new("install")
            .args(["-m", "755", "/dev/stdin"])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .expect("install(1) runs");
        write!(install.stdin.take().unwrap(), "#!/bin/sh\n{line}\n").unwrap();
        assert!(install.wait().unwrap().success());
        path
    }
}

/// The agent's program, by a descriptor of this process: the path to where it was built may lead through folders that
/// only root can enter, as the agent's own `/proc/self/exe` does in no case.
fn agent() -> PathBuf {
    static PROGRAM: OnceLock<fs::File> = OnceLock::new();
    let open =
        || fs::File::open(fleetkey_tests::program("fleetkey-agent")).expect("the agent is built and can be read");
    PathBuf::from(format!("/proc/self/fd/{}", PROGRAM.get_or_init(open).as_raw_fd()))
}

/// How long a write may take that stands for nothing; the agent's own limit is too short for a disk that is busy.
const LIMIT: Duration = Duration::from_mins(2);

fn writer() -> Writer {
    Writer::new(agent()).with_limit(LIMIT)
}

/// Whose a file is, who may do what with it, and what is in it.
fn portrait(path: &Path) -> (u32, u32, u32, Vec<u8>) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let content = if metadata.is_file() { fs::read(path).unwrap() } else { names(path).join("\n").into_bytes() };
    (metadata.uid(), metadata.gid(), metadata.mode(), content)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Runs one test of this program again as a process of its own, with `role` in the environment.
fn again(program: &str, arguments: &[&str], test: &str, role: &str) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .stdout(Stdio::null());
    command
}

/// Says what a process started by [`again`] is to do.
const ROLE: &str = "FLEETKEY_TEST_ROLE";

fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}
