//! The agent's side of an update: starts the helper, talks with it, and outlives it.
//!
//! It must never wait without limit, nor believe the helper anything but what the account's user could say as well.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::geteuid;

use super::error::{Refusal, Trouble, WriteError};
use super::helper::HELPER_ARGUMENT;
use super::label::Labelled;
use super::wire::{self, Answer, Ask, Done, Labels, READINGS, Request, SIZE_LIMIT, Target};
use super::{Account, Change, KeyFile, Note, Outcome, Writer};

/// How much of the helper's stderr goes into a message.
const SAID_LIMIT: u64 = 1024;

/// How long a helper that was killed may take to be gone before a thread of its own waits for it.
const GRACE: Duration = Duration::from_secs(1);

pub(super) fn update(
    writer: &Writer,
    file: &KeyFile,
    change: impl FnMut(Option<&[u8]>) -> Change,
) -> Result<Outcome, WriteError> {
    let account = file.account();
    let request = request(file);
    let mut helper = Helper::start(&writer.helper, &request, Instant::now() + writer.limit)
        .map_err(|source| WriteError::Start { account: account.name.clone(), helper: writer.helper.clone(), source })?;
    let mut conversation = Conversation { writer, file, notes: Vec::new() };
    match conversation.hold(&mut helper.line, request, change) {
        Ok(done) => {
            helper.end();
            let notes = conversation.notes.into_iter().chain(done.notes).collect();
            Ok(Outcome { changed: done.changed, stamp: done.stamp, notes })
        }
        Err(Broken::Trouble(trouble)) => {
            helper.end();
            Err(trouble.of(&account.name))
        }
        Err(Broken::Line(error)) => Err(helper.break_off(account, file, writer.limit, error)),
    }
}

fn request(file: &KeyFile) -> Request {
    let stripped = geteuid().is_root();
    match file {
        KeyFile::Home { account } => {
            Request { uid: account.uid.as_raw(), gid: account.gid.as_raw(), stripped, target: Target::Home }
        }
        KeyFile::System { account, .. } => Request {
            uid: 0,
            gid: 0,
            stripped,
            target: Target::System { name: account.name.as_str().to_owned(), group: account.gid.as_raw() },
        },
    }
}

/// What ends a conversation early.
enum Broken {
    /// The line is dead, late or garbled.
    Line(io::Error),
    /// The helper, or the agent itself, says why not.
    Trouble(Trouble),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Line(error)
    }
}

struct Conversation<'a> {
    writer: &'a Writer,
    file: &'a KeyFile,
    notes: Vec<Note>,
}

impl Conversation<'_> {
    fn hold(
        &mut self,
        line: &mut Line,
        request: Request,
        mut change: impl FnMut(Option<&[u8]>) -> Change,
    ) -> Result<Done, Broken> {
        let place = match self.file {
            KeyFile::Home { account } => &account.home,
            KeyFile::System { folder, .. } => folder,
        };
        wire::send(line, &Ask::Open(request), place.as_os_str().as_bytes())?;
        // Each reading has an answer, and so has their end.
        for _ in 0..=READINGS {
            let (answer, bytes) = wire::receive(line)?;
            match answer {
                Answer::Found { file, folder } => {
                    let old = file.then_some(&bytes[..]);
                    match change(old) {
                        Change::Replace(new) if Some(&new[..]) != old => {
                            self.check_size(&new)?;
                            wire::send(line, &Ask::Replace(self.labels(folder)), &new)?;
                        }
                        Change::Look => wire::send(line, &Ask::Look, &[])?,
                        Change::Remove if file => wire::send(line, &Ask::Remove, &[])?,
                        Change::Keep | Change::Replace(_) | Change::Remove => wire::send(line, &Ask::Keep, &[])?,
                    }
                }
                Answer::Done(done) => return Ok(done),
                Answer::Trouble(trouble) => return Err(Broken::Trouble(trouble)),
            }
        }
        Err(Broken::Line(io::ErrorKind::InvalidData.into()))
    }

    fn check_size(&self, new: &[u8]) -> Result<(), Broken> {
        if new.len() > SIZE_LIMIT {
            let refusal = Refusal::TooLarge { limit: SIZE_LIMIT as u64 };
            return Err(Broken::Trouble(Trouble::refused(&self.file.path(), refusal)));
        }
        Ok(())
    }

    fn labels(&mut self, folder_exists: bool) -> Labels {
        let source = &self.writer.labels;
        if !source.is_on() {
            return Labels::default();
        }
        let file = source.label(&self.file.path(), Labelled::File);
        if file.is_none() && self.notes.is_empty() {
            self.notes.push(Note::LabelNotSet(None));
        }
        let folder = if folder_exists { None } else { source.label(&self.file.folder(), Labelled::Folder) };
        Labels { folder, file }
    }
}

/// A socket to the helper on which nothing waits past a moment.
struct Line {
    socket: UnixStream,
    until: Instant,
}

impl Line {
    fn remaining(&self) -> io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

/// A socket's own timeout is told as if it were non-blocking.
fn as_timeout(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.remaining()?)?;
        self.socket.read(buffer).map_err(as_timeout)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.remaining()?)?;
        self.socket.write(bytes).map_err(as_timeout)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A helper at work.
struct Helper {
    child: Child,
    line: Line,
    stderr: UnixStream,
}

impl Helper {
    /// Starts the helper as the user of the request, with nothing of the agent's but a socket.
    ///
    /// Sockets, and not pipes, because they know timeouts. The standard library sets the group, drops the supplementary
    /// groups and sets the user, in this order; the helper checks that it came about.
    fn start(program: &Path, request: &Request, until: Instant) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let (stderr, their_stderr) = UnixStream::pair()?;
        let mut command = Command::new(program);
        command
            .arg(HELPER_ARGUMENT)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::from(OwnedFd::from(their_stderr)));
        if request.stripped {
            command.uid(request.uid).gid(request.gid);
        }
        let child = command.spawn()?;
        Ok(Self { child, line: Line { socket, until }, stderr })
    }

    /// Hangs up, and waits for the helper to end: its work is done, or there is none for it.
    fn end(self) {
        let Self { mut child, line, stderr: _ } = self;
        let until = line.until;
        drop(line);
        if reap(&mut child, until).is_none() {
            leave(child);
        }
    }

    /// Ends a helper that did not do its work, and says what became of it.
    fn break_off(mut self, account: &Account, file: &KeyFile, limit: Duration, source: io::Error) -> WriteError {
        let account = account.name.clone();
        if source.kind() == io::ErrorKind::TimedOut {
            self.kill();
            return WriteError::TimedOut { account, path: file.path(), limit };
        }
        // It closed the line, so it is about to end by itself; how, is worth knowing.
        let until = self.line.until.min(Instant::now() + GRACE);
        let mut said = Vec::new();
        let status = reap(&mut self.child, until);
        if self.stderr.set_read_timeout(Some(GRACE)).is_ok() {
            // What came before an error or a timeout is in `said` all the same.
            let _ = (&self.stderr).take(SAID_LIMIT).read_to_end(&mut said);
        }
        if status.is_none() {
            self.kill();
        }
        let said = String::from_utf8_lossy(&said).trim_end().to_owned();
        WriteError::BrokeOff { account, status, said, source }
    }

    fn kill(mut self) {
        // An error means that it is gone already.
        let _ = self.child.kill();
        if reap(&mut self.child, Instant::now() + GRACE).is_none() {
            leave(self.child);
        }
    }
}

/// Waits for a child to end, up to a moment; `None`: it has not, or cannot be waited for.
pub(super) fn reap(child: &mut Child, until: Instant) -> Option<ExitStatus> {
    let mut pause = Duration::from_micros(50);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < until => thread::sleep(pause),
            Ok(None) | Err(_) => return None,
        }
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// Kills a child that may be stuck in the kernel, and has a thread of its own wait until it is gone: seconds or days.
pub(super) fn leave(mut child: Child) {
    let _ = child.kill();
    // Without a thread it stays a zombie, which harms nobody.
    let _ = thread::Builder::new().name("reaper".to_owned()).spawn(move || child.wait());
}
