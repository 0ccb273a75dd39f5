//! SELinux labels: what the policy says a key file should bear, and the kernel's switch that gives it at creation.
//!
//! A file is never relabelled: it is born with its label, so that sshd sees no other. Boxes without SELinux pay for
//! one look at a path that does not exist.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::exchange::{leave, reap};

/// Set for the calling thread: the label of whatever it creates from now on. See proc_pid_attr(5).
const CREATION_LABEL: &str = "/proc/thread-self/attr/fscreate";

/// How long the policy's file contexts may take to read.
const LIMIT: Duration = Duration::from_secs(2);

/// Longest label that is believed, in bytes: a user, role, type and a range of levels stay far below.
const LABEL_LIMIT: usize = 1024;

/// Where the label of a path is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelSource {
    /// Exists where SELinux is on.
    pub switch: PathBuf,
    /// matchpathcon(8), which reads the policy's file contexts.
    pub program: PathBuf,
}

impl Default for LabelSource {
    fn default() -> Self {
        Self { switch: "/sys/fs/selinux/enforce".into(), program: "/usr/sbin/matchpathcon".into() }
    }
}

/// The kinds of file, as matchpathcon(8) takes them by `-m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Labelled {
    Folder,
    File,
}

impl LabelSource {
    /// Whether there is SELinux at all.
    pub(super) fn is_on(&self) -> bool {
        self.switch.exists()
    }

    /// The policy's label for a path, which need not exist. `None`: the policy cannot be asked, or names none, and what
    /// is created takes after its folder, as the kernel has it.
    ///
    /// It is asked whenever something is to be written, which is rare, so that a new policy holds at once.
    pub(super) fn label(&self, path: &Path, kind: Labelled) -> Option<String> {
        let kind = match kind {
            Labelled::Folder => "dir",
            Labelled::File => "file",
        };
        let mut child = Command::new(&self.program)
            .args(["-n", "-m", kind])
            .arg(path)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let Some(status) = reap(&mut child, Instant::now() + LIMIT) else {
            leave(child);
            return None;
        };
        status.success().then(|| printed(&mut child)).flatten()
    }
}

fn printed(child: &mut Child) -> Option<String> {
    let mut line = String::new();
    child.stdout.take()?.take(LABEL_LIMIT as u64).read_to_string(&mut line).ok()?;
    let label = line.trim_end();
    // `<<none>>` is how a policy says that it has no opinion.
    let is_label = label.contains(':') && label.bytes().all(|c| c.is_ascii_graphic());
    is_label.then(|| label.to_owned())
}

/// Has the kernel label what this thread creates from now on; `None`: as it sees fit.
pub(super) fn set_creation_label(label: Option<&str>) -> io::Result<()> {
    // A line break alone is the kernel's word for "none".
    OpenOptions::new().write(true).open(CREATION_LABEL)?.write_all(label.unwrap_or("\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stand-in for matchpathcon(8) of one shell line. It is put there by another process, because one that this
    /// process has open for writing could not be executed while other tests fork.
    fn source(folder: &Path, line: &str) -> LabelSource {
        let program = folder.join("matchpathcon");
        let mut install = Command::new("install")
            .args(["-m", "755", "/dev/stdin"])
            .arg(&program)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        write!(install.stdin.take().unwrap(), "#!/bin/sh\n{line}\n").unwrap();
        assert!(install.wait().unwrap().success());
        LabelSource { switch: folder.to_owned(), program }
    }

    #[test]
    fn r13_the_label_is_what_the_policy_says_for_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let source = source(folder.path(), r#"echo "u:r:$*" | tr ' ' ,"#);
        let label = |kind| source.label(Path::new("/home/a/.ssh"), kind);
        assert_eq!(label(Labelled::Folder).as_deref(), Some("u:r:-n,-m,dir,/home/a/.ssh"));
        assert_eq!(label(Labelled::File).as_deref(), Some("u:r:-n,-m,file,/home/a/.ssh"));
    }

    #[test]
    fn r13_no_opinion_no_program_and_nonsense_are_no_label() {
        let folder = tempfile::tempdir().unwrap();
        for line in ["echo '<<none>>'", "", "echo u:r:t two", "echo u:r:t; exit 1"] {
            assert_eq!(source(folder.path(), line).label(Path::new("/x"), Labelled::File), None, "{line}");
        }
        let absent = LabelSource { switch: folder.path().into(), program: folder.path().join("absent") };
        assert_eq!(absent.label(Path::new("/x"), Labelled::File), None);
    }
}
