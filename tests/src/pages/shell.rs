//! One bash that runs the examples of a page, so that what one sets, the next has.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::process::Kept;

/// What is said once: errors go where output goes, and the first command that fails ends its example. The trap is called
/// once more for the example as a whole, where there is nothing to return from.
const BEGIN: &str = "exec 2>&1\ntrap '__code=$?; : ${__line:=$LINENO}; return $__code 2>/dev/null' ERR\n";

/// A bash, as the last program of a command; ended when dropped.
#[derive(Debug)]
pub struct Shell {
    process: Kept,
    input: ChildStdin,
    lines: Receiver<String>,
    /// Begins the line that ends what an example printed; nobody else prints it.
    mark: String,
}

/// How an example ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    /// The exit code of its last command, or of the first that failed.
    pub code: i32,
    /// In which line of the example that was, from 1.
    pub line: Option<usize>,
    /// What it printed, stdout and stderr in order.
    pub output: String,
}

impl Shell {
    /// Starts a bash: `command` is all that stands before its name, or `bash` itself.
    pub fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Kept::start("a shell", command)?;
        let mut input = process.child_mut().stdin.take().context("stdin was asked for")?;
        let output = process.child_mut().stdout.take().context("stdout was asked for")?;
        let (say, lines) = channel();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            // Ends when the shell, and all that it left running, is gone.
            while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                if say.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
        input.write_all(BEGIN.as_bytes())?;
        Ok(Self { process, input, lines, mark: format!("example-{:016x}", fastrand::u64(..)) })
    }

    /// Whether it can still run something.
    pub fn is_there(&mut self) -> Result<bool> {
        Ok(self.process.ended()?.is_none())
    }

    /// Runs a script to its end, or to the first command that fails.
    ///
    /// # Errors
    /// When it does not end within `limit`, or ends the shell; with what it said.
    pub fn run(&mut self, script: &str, limit: Duration) -> Result<Ran> {
        // As a file of its own, so that its lines count from 1 and it cannot read what comes after it.
        let (script, mark) = (STANDARD.encode(script), &self.mark);
        writeln!(
            self.input,
            "__line=; . <(printf %s {script} | base64 -d) </dev/null; printf '\\n%s %s %s\\n' {mark} $? \"$__line\""
        )
        .context("the shell has ended")?;
        self.input.flush()?;
        let start = Instant::now();
        let mut output = String::new();
        loop {
            let line = match self.lines.recv_timeout(limit.saturating_sub(start.elapsed())) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => bail!("it had not ended after {limit:?}; so far:\n{output}"),
                Err(RecvTimeoutError::Disconnected) => bail!("it ended the shell; it said:\n{output}"),
            };
            let Some(end) = line.strip_prefix(&self.mark) else {
                output += &line;
                continue;
            };
            let mut end = end.split_whitespace();
            let code = end.next().and_then(|code| code.parse().ok()).context("the shell says no code")?;
            ensure!(output.ends_with('\n'), "the shell's mark stands alone");
            output.pop();
            return Ok(Ran { code, line: end.next().and_then(|line| line.parse().ok()).filter(|_| code != 0), output });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::bound;

    const SOON: Duration = Duration::from_secs(20);

    fn shell() -> Shell {
        Shell::start(bound("bash")).expect("bash starts")
    }

    fn ran(shell: &mut Shell, script: &str) -> (i32, Option<usize>, String) {
        let Ran { code, line, output } = shell.run(script, SOON).expect("it ends");
        (code, line, output)
    }

    #[test]
    fn what_one_example_sets_the_next_has_and_output_and_errors_come_in_order() {
        let mut shell = shell();
        assert_eq!(ran(&mut shell, "a=1; cd /\necho out; echo err >&2; printf end"), (0, None, "out\nerr\nend".into()));
        assert_eq!(ran(&mut shell, "echo $a; pwd"), (0, None, "1\n/\n".into()));
    }

    #[test]
    fn the_first_command_that_fails_ends_an_example_and_the_shell_goes_on() {
        let mut shell = shell();
        assert_eq!(ran(&mut shell, "echo a\n(exit 3)\necho b"), (3, Some(2), "a\n".into()));
        assert_eq!(ran(&mut shell, "if false; then :; fi\n! true\necho c"), (0, None, "c\n".into()));
    }

    #[test]
    fn an_example_cannot_read_what_comes_after_it() {
        let mut shell = shell();
        assert_eq!(ran(&mut shell, "cat\ncat <<'END'\n$x\nEND"), (0, None, "$x\n".into()));
    }

    #[test]
    fn what_does_not_end_and_what_ends_the_shell_are_errors_with_what_it_said() {
        let error = shell().run("echo begun; sleep 60", Duration::from_secs(5)).expect_err("it takes longer");
        assert!(error.to_string().contains("so far:\nbegun"), "{error}");
        let mut ended = shell();
        let error = ended.run("echo bye; exit 0", SOON).expect_err("there is no shell any more");
        assert!(error.to_string().contains("it said:\nbye"), "{error}");
    }
}
