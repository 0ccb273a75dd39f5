//! What is done in a box that runs, whichever kind of box it is.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long something in a box may take to come true.
const PATIENCE: Duration = Duration::from_mins(1);

/// Time between two looks.
const TICK: Duration = Duration::from_millis(25);

/// A box that runs: a machine of its own, with its own init, journal and files.
pub trait InBox {
    /// A command that runs `program` in the box as root; its exit status is the program's. It cannot set the clock, which
    /// the machine has one of.
    fn command(&self, program: &str) -> Command;

    /// Where this machine sees a file of the box. Not for paths with absolute links in them: those would be followed
    /// on this machine.
    fn path(&self, inside: &str) -> PathBuf;

    /// What the box has printed to its console since it was started.
    fn console(&self) -> String;

    /// Runs a line of shell in the box and returns what it printed, without the last newline.
    ///
    /// # Panics
    /// When it fails.
    fn sh(&self, line: &str) -> String {
        let output = self.command("sh").args(["-ec", line]).output().expect("a command is run in the box");
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "in the box, `{line}` ended with {}:\n{stdout}{stderr}", output.status);
        stdout.trim_end_matches('\n').to_owned()
    }

    /// How a line of shell ends in the box; what it prints is dropped.
    ///
    /// # Panics
    /// When it cannot be run.
    fn status(&self, line: &str) -> ExitStatus {
        let (out, err) = (Stdio::null(), Stdio::null());
        self.command("sh").args(["-c", line]).stdout(out).stderr(err).status().expect("a command is run in the box")
    }

    /// A property of a unit, as `systemctl show` prints it.
    fn property(&self, unit: &str, property: &str) -> String {
        self.sh(&format!("systemctl show --value --property={property} {unit}"))
    }

    /// The bytes of a file of the box; `None` when there is none.
    ///
    /// # Panics
    /// When it is there and cannot be read.
    fn read(&self, inside: &str) -> Option<Vec<u8>> {
        match fs::read(self.path(inside)) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => panic!("cannot read the box's {inside}: {error}"),
        }
    }

    /// Waits until `condition` holds, and says how long that took.
    ///
    /// # Panics
    /// After a minute; with `what`, and the ends of the box's journal and console.
    fn wait_for(&self, what: &str, condition: impl Fn(&Self) -> bool) -> Duration {
        let start = Instant::now();
        while !condition(self) {
            if start.elapsed() > PATIENCE {
                let journal = self.command("journalctl").args(["--no-pager", "--lines=60"]).output();
                let journal = journal.map(|output| text(&output.stdout)).unwrap_or_default();
                panic!("waited {PATIENCE:?} for {what}\n{journal}\n{}", self.console());
            }
            std::thread::sleep(TICK);
        }
        start.elapsed()
    }
}

/// Bytes as text, what is none replaced.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
