//! The door of a box: its sshd and the key file behind it, and how long they take to follow a change.

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use tokio_util::sync::CancellationToken;

use super::story::Outcome;
use crate::keys::TestKey;
use crate::sandbox::Sandbox;
use crate::sshd::Sshd;
use crate::wait_until;

/// The account of each box that is logged in to.
pub(super) const ACCOUNT: &str = "demo";

/// How long a box may take to follow before a step has failed.
const DEADLINE: Duration = Duration::from_secs(20);

/// The first line of the agent's block, up to where it speaks to people.
const BEGIN: &str = "# BEGIN fleetkey";

/// The last line of the agent's block.
const END: &str = "# END fleetkey";

/// One account of a box, with the sshd that lets in to it.
#[derive(Debug)]
pub(super) struct Door<'sandbox> {
    sandbox: &'sandbox Sandbox,
    sshd: Sshd<'sandbox>,
    key_file: String,
    cancel: CancellationToken,
}

impl<'sandbox> Door<'sandbox> {
    /// Makes the account and starts sshd with these lines of configuration. `key_file` is what the agent keeps.
    pub(super) fn open(
        sandbox: &'sandbox Sandbox,
        key_file: &str,
        sshd_lines: &str,
        cancel: CancellationToken,
    ) -> Result<Self> {
        sandbox.add_account(ACCOUNT)?;
        let sshd = Sshd::start(sandbox, sshd_lines)?;
        Ok(Self { sandbox, sshd, key_file: key_file.to_owned(), cancel })
    }

    /// The key file; empty when there is none.
    pub(super) fn text(&self) -> Result<String> {
        match fs::read_to_string(self.sandbox.path(&self.key_file)) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error).with_context(|| format!("cannot read {} of the box", self.key_file)),
        }
    }

    /// Whether the key stands in the key file.
    pub(super) fn has(&self, key: &TestKey) -> Result<bool> {
        Ok(self.text()?.contains(&key.public().to_string()))
    }

    /// The lines between the marks of the agent's block.
    pub(super) fn block(&self) -> Result<Vec<String>> {
        let text = self.text()?;
        let lines = text.lines().skip_while(|line| !line.starts_with(BEGIN)).skip(1);
        Ok(lines.take_while(|line| !line.starts_with(END)).map(str::to_owned).collect())
    }

    /// Writes a line into the agent's block, as somebody would who means to stay.
    pub(super) fn smuggle_in(&self, line: &str) -> Result<()> {
        let text = self.text()?;
        let (before, after) = text.split_once(END).context("the key file has no block")?;
        self.sandbox.write(&self.key_file, format!("{before}{line}\n{END}{after}"))
    }

    /// Deletes the key file.
    pub(super) fn delete_key_file(&self) -> Result<()> {
        fs::remove_file(self.sandbox.path(&self.key_file)).context("cannot delete the key file")
    }

    /// Waits until `ready` holds; an interruption ends the wait.
    pub(super) fn wait(&self, what: &str, mut ready: impl FnMut() -> Result<bool>) -> Result<()> {
        let looking = || {
            ensure!(!self.cancel.is_cancelled(), "interrupted");
            ready()
        };
        wait_until(what, DEADLINE, looking).map(drop)
    }

    /// Waits until the key is let in, or no longer, trying without a pause; both times count from `since`.
    ///
    /// The file is watched beside the logins, which take longer than the change does.
    pub(super) fn follow(&self, since: Instant, key: &TestKey, wanted: bool) -> Result<Outcome> {
        let what = if wanted { "the key is let in" } else { "the key is refused" };
        std::thread::scope(|scope| {
            let watching = scope.spawn(|| {
                self.wait("the key file follows", || Ok(self.has(key)? == wanted))?;
                anyhow::Ok(since.elapsed())
            });
            self.wait(what, || Ok(self.sshd.can_log_in(ACCOUNT, key)? == wanted))?;
            let login = since.elapsed();
            let file = watching.join().map_err(|_| anyhow!("the thread that watches the key file panicked"))??;
            Ok(Outcome::after(file, login))
        })
    }

    /// Makes sure that the key is let in, or refused, right now.
    pub(super) fn expect(&self, who: &str, key: &TestKey, wanted: bool) -> Result<()> {
        let lets_in = self.sshd.can_log_in(ACCOUNT, key)?;
        ensure!(lets_in == wanted, "{who} is {}", if lets_in { "let in" } else { "refused" });
        Ok(())
    }
}
