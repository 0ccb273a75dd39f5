//! The helper: this program, started for one update of one key file, as the account's user.
//!
//! It makes sure of who it is before it touches anything, does as it is asked once, and ends. It must never print what
//! it reads, nor go on when the agent is gone.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::sys::prctl;
use nix::sys::stat::{Mode, fstat, umask};
use nix::unistd::{getgroups, getresgid, getresuid};

use super::error::{Kind, Refusal, Trouble};
use super::site::Site;
use super::wire::{self, Answer, Ask, Done, READINGS, Request};

/// The hidden first argument that makes this program the helper.
pub const HELPER_ARGUMENT: &str = "write-helper";

/// Exit status when nobody asked for anything that a helper does: sshd or PAM would take 0 for a yes.
const USAGE: u8 = 2;

/// Takes away group's and others' write permission from whatever is made, and nothing more.
const UMASK: Mode = Mode::S_IWGRP.union(Mode::S_IWOTH);

/// Runs the helper: the whole of the program when its first argument is [`HELPER_ARGUMENT`].
///
/// Exits 0 when the agent was answered, 1 when the line to it broke, and 2 when there is no agent at all.
pub fn helper_main() -> ExitCode {
    let Some(mut line) = line_to_agent() else {
        return complain("this is a part of the agent that only the agent starts", USAGE);
    };
    let (request, path) = match wire::receive(&mut line) {
        Ok((Ask::Open(request), path)) => (request, PathBuf::from(OsString::from_vec(path))),
        Ok(_) => return complain("the agent did not say which file", USAGE),
        Err(error) => return complain(&format!("the agent's request cannot be read: {error}"), USAGE),
    };
    let last = match serve(&mut line, &request, &path) {
        Ok(answer) => answer,
        Err(Ended::Trouble(trouble)) => Answer::Trouble(trouble),
        Err(Ended::Line(error)) => return complain(&format!("the line to the agent broke: {error}"), 1),
    };
    match wire::send(&mut line, &last, &[]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("the agent cannot be answered: {error}"), 1),
    }
}

/// The socket that the agent put in place of stdin; `None` for anybody else, and for any further argument.
fn line_to_agent() -> Option<UnixStream> {
    let mut arguments = env::args_os().skip(1);
    if arguments.next()? != HELPER_ARGUMENT || arguments.next().is_some() {
        return None;
    }
    let stdin: OwnedFd = io::stdin().as_fd().try_clone_to_owned().ok()?;
    let is_socket = fstat(&stdin).is_ok_and(|stat| Kind::of(&stat) == Kind::Socket);
    is_socket.then(|| stdin.into())
}

fn complain(what: &str, status: u8) -> ExitCode {
    // Nobody is left to be told that stderr is closed.
    let _ = writeln!(io::stderr(), "{HELPER_ARGUMENT}: {what}");
    ExitCode::from(status)
}

/// What ends the helper's work early.
enum Ended {
    Line(io::Error),
    Trouble(Trouble),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Line(error)
    }
}

impl From<Trouble> for Ended {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

fn serve(line: &mut UnixStream, request: &Request, path: &Path) -> Result<Answer, Ended> {
    if !is_who_it_should_be(request) {
        return Err(Trouble::refused(path, Refusal::Identity).into());
    }
    umask(UMASK);
    let mut site = Site::open(&request.target, request.uid, path)?;
    for _ in 0..READINGS {
        let old = site.read()?;
        let found = Answer::Found { file: old.is_some(), folder: site.has_folder() };
        wire::send(line, &found, old.as_ref().map_or(&[], |old| &old.bytes))?;
        let (ask, bytes) = wire::receive(line)?;
        if !matches!(ask, Ask::Look) {
            site.tidy()?;
        }
        let done = match ask {
            Ask::Look => return Ok(Answer::Done(Done { changed: false, stamp: None, notes: Vec::new() })),
            Ask::Keep => site.keep(old.as_ref())?,
            Ask::Replace(labels) => site.replace(&labels, old.as_ref(), &bytes)?,
            Ask::Remove => site.remove(old.as_ref())?,
            Ask::Open(_) => return Err(io::Error::from(io::ErrorKind::InvalidData).into()),
        };
        if let Some(done) = done {
            return Ok(Answer::Done(done));
        }
    }
    Err(Trouble::refused(path, Refusal::KeepsChanging).into())
}

/// Whether this process is the one user, with the one group, that it was asked to be, for good and in every respect.
///
/// The standard library goes on where it may not drop the supplementary groups, so this is the place that notices.
fn is_who_it_should_be(request: &Request) -> bool {
    let users = getresuid().map(|ids| [ids.real, ids.effective, ids.saved]);
    let groups = getresgid().map(|ids| [ids.real, ids.effective, ids.saved]);
    users.is_ok_and(|ids| ids.iter().all(|id| id.as_raw() == request.uid))
        && groups.is_ok_and(|ids| ids.iter().all(|id| id.as_raw() == request.gid))
        && (!request.stripped || getgroups().is_ok_and(|groups| groups.is_empty()))
        && prctl::set_no_new_privs().is_ok()
}
