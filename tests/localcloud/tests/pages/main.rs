//! The examples of the documentation, run: a test for each page, found when this program starts.
//!
//! Each page has a cloud of its own, so that pages are independent of each other and each speaks of the same people. What
//! is not run, and why, is printed at the end. What a page may say is in docs/development/testing.md.

mod on_box;
mod reader;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use fleetkey_tests::pages::{self, Example, Page, Ran, difference, matches};
use libtest_mimic::{Arguments, Failed, Trial};

use self::reader::Reader;

/// How long one example may take: it may boot a box, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(4);

/// The pages with examples, beside those in docs/.
const OTHERS: [&str; 1] = ["README.md"];

fn main() -> Result<ExitCode> {
    let arguments = Arguments::from_args();
    let mut found = pages::all()?;
    found.retain(|path| path.starts_with("docs") || OTHERS.iter().any(|other| path == Path::new(other)));
    let trial = |path: &PathBuf| {
        let name = path.with_extension("").display().to_string();
        let path = path.clone();
        Trial::test(name, move || check(&path).map_err(|error| Failed::from(format!("{error:#}"))))
    };
    let conclusion = libtest_mimic::run(&arguments, found.iter().map(trial).collect());
    if !arguments.list {
        tell(&found)?;
    }
    Ok(conclusion.exit_code())
}

/// Says how much of the documentation is held to what is, and what is not.
fn tell(found: &[PathBuf]) -> Result<()> {
    let (mut run, mut compared, mut shown, mut not_run) = (0, 0, 0, Vec::new());
    for path in found {
        // What is wrong in it has been told as a failure of its test.
        let Ok(page) = Page::read(&pages::text(path)?) else { continue };
        run += page.examples.iter().filter(|example| !example.hidden).count();
        compared += page.examples.iter().filter(|example| example.expected.is_some()).count();
        shown += page.shown.len();
        not_run.extend(page.not_run.into_iter().map(|one| format!("{}:{}: {}", path.display(), one.line, one.reason)));
    }
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{} pages: {run} examples are run, {} are not:", found.len(), not_run.len())?;
    not_run.iter().try_for_each(|line| writeln!(stdout, "  {line}"))?;
    writeln!(stdout, "{compared} outputs are compared, {shown} are only shown")?;
    Ok(())
}

/// Runs the examples of one page.
fn check(path: &Path) -> Result<()> {
    let page = match Page::read(&pages::text(path)?) {
        Ok(page) => page,
        Err(faults) => {
            let faults: Vec<_> = faults.iter().map(|fault| format!("{}:{fault}", path.display())).collect();
            bail!("{}", faults.join("\n"))
        }
    };
    if page.examples.is_empty() {
        return Ok(());
    }
    let mut reader = Reader::new()?;
    let mut wrong = Vec::new();
    for example in &page.examples {
        let script = example.script.trim_end();
        let ran = reader.run(example, PATIENCE);
        let ran = ran.with_context(|| format!("{}:{}: {script}", path.display(), example.line))?;
        if ran.code != example.code {
            let Ran { code, line, output } = ran;
            let line = example.line + line.unwrap_or_default();
            let wanted = example.code;
            wrong.push(format!("{}:{line}: exit code {code}, not {wanted}\n{script}\n{output}", path.display()));
            // What comes after it builds on it.
            break;
        }
        wrong.extend(unlike(path, example, &ran.output));
    }
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("\n\n")) }
}

/// How an output is not what the page says.
fn unlike(path: &Path, example: &Example, output: &str) -> Option<String> {
    let expected = example.expected.as_ref()?;
    let different = || {
        let (at, script) = (format!("{}:{}", path.display(), expected.line), example.script.trim_end());
        format!("{at}: another output than the page's (-)\n{script}\n{}", difference(&expected.text, output))
    };
    (!matches(&expected.text, output)).then(different)
}
