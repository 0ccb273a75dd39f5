//! `fleetkey agent publish`: puts packages of the agent where new boxes get them.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::explain;
use crate::aws::agent_package;
use crate::cli::dry_run::DryRun;
use crate::package::AgentPackage;
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::role::{Arch, PackageFormat};
use crate::session::Session;
use crate::settings::Settings;
use crate::table::Table;

/// Put packages of the agent into the bucket, for new boxes to install.
///
/// A package is kept under its SHA-256, and what it is is read from itself. New boxes get the package of their kind
/// that was published last: to go back to an earlier one, publish that again. What is published already is left as it
/// is.
#[derive(Debug, Args)]
pub(super) struct Publish {
    /// Packages, Debian's or RPMs, as `make packages` makes them; at most one of each kind and architecture
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    dry: DryRun,
}

/// What becomes of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Planned,
    Published,
    Already,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Outcome::Planned => "planned",
            Outcome::Published => "published",
            Outcome::Already => "already so",
        }
    }
}

/// What is printed with `--output json`.
#[derive(Serialize)]
struct Packages<'a> {
    packages: &'a [Row],
}

/// A package as it is printed.
#[derive(Serialize)]
struct Row {
    file: PathBuf,
    version: String,
    format: PackageFormat,
    arch: Arch,
    size: usize,
    sha256: String,
    key: String,
    result: Outcome,
}

impl Publish {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let files = self.files;
        let read = move || files.into_iter().map(|file| Ok((AgentPackage::read(&file)?, file))).collect();
        let read: anyhow::Result<Vec<(AgentPackage, PathBuf)>> =
            tokio::task::spawn_blocking(read).await.context("reading the packages")?;
        let packages = read.context(Refusal::new("nothing was published"))?;
        one_of_each(&packages)?;

        let mut session = Session::open(settings, printer).await?;
        let found = agent_package::index(&session.bucket).await;
        let index = found.map_err(|error| explain(error, "nothing was published"))?;
        let mut held = Vec::new();
        for (package, _) in &packages {
            let holds = agent_package::holds(&session.bucket, package).await;
            held.push((package, holds.map_err(|error| explain(error.into(), "nothing was published"))?));
        }
        let outcome = |package: &AgentPackage, held: bool, otherwise| {
            if held && index.is_newest(package) { Outcome::Already } else { otherwise }
        };
        if self.dry.dry_run {
            let planned = |package: &AgentPackage, held| outcome(package, held, Outcome::Planned);
            return print(printer, &packages, &held, planned);
        }
        if held.iter().any(|(package, held)| outcome(package, *held, Outcome::Published) == Outcome::Published) {
            session.prepare(printer).await?;
            let published = agent_package::publish(&session.bucket, &held, &session.caller.arn).await;
            published.map_err(|error| {
                explain(error, "not everything was published; the same command goes on where this one stopped")
            })?;
        }
        printer.note(&format!("new boxes install from {}", session.bucket.name()));
        print(printer, &packages, &held, |package, held| outcome(package, held, Outcome::Published))
    }
}

/// Two of a kind are refused: which of them new boxes get would be a matter of order.
fn one_of_each(packages: &[(AgentPackage, PathBuf)]) -> Result<(), Refusal> {
    for (at, (package, file)) in packages.iter().enumerate() {
        let kind = |other: &AgentPackage| (other.format, other.arch) == (package.format, package.arch);
        if let Some((_, earlier)) = packages.iter().take(at).find(|(other, _)| kind(other)) {
            let (earlier, file, format, arch) = (earlier.display(), file.display(), package.format, package.arch);
            return Err(Refusal::usage(format!("{earlier} and {file} are both a {format} for {arch}"))
                .hint("give the one that new boxes are to get"));
        }
    }
    Ok(())
}

fn print(
    printer: Printer,
    packages: &[(AgentPackage, PathBuf)],
    held: &[(&AgentPackage, bool)],
    outcome: impl Fn(&AgentPackage, bool) -> Outcome,
) -> anyhow::Result<()> {
    let row = |((package, file), (_, held)): (&(AgentPackage, PathBuf), &(&AgentPackage, bool))| Row {
        file: file.clone(),
        version: package.version.clone(),
        format: package.format,
        arch: package.arch,
        size: package.bytes.len(),
        sha256: package.sha256.clone(),
        key: package.key(),
        result: outcome(package, *held),
    };
    let rows: Vec<Row> = packages.iter().zip(held).map(row).collect();
    let mut table = Table::new(&["VERSION", "FORMAT", "ARCH", "KEY", "RESULT"]);
    for row in &rows {
        let (format, arch) = (row.format.to_string(), row.arch.to_string());
        table.row(vec![row.version.clone(), format, arch, row.key.clone(), row.result.as_str().to_owned()]);
    }
    printer.data(&table, &Packages { packages: &rows }).context("writing to standard output")
}
