//! `fleetkey agent list`: what is published.

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::explain;
use crate::aws::agent_package;
use crate::package::PublishedPackage;
use crate::printer::Printer;
use crate::session::Session;
use crate::settings::Settings;
use crate::table::Table;

/// Show the packages of the agent in the bucket, the last published first.
#[derive(Debug, Args)]
pub(super) struct List {}

/// What is printed with `--output json`.
#[derive(Serialize)]
struct Packages<'a> {
    bucket: &'a str,
    packages: &'a [Listed<'a>],
}

/// A package as it is printed.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    package: &'a PublishedPackage,
    /// Whether new boxes of its kind get it.
    newest: bool,
}

impl List {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let session = Session::open(settings, printer).await?;
        let found = agent_package::index(&session.bucket).await;
        let index = found.map_err(|error| explain(error, "it is not known what is published"))?;
        let listed: Vec<_> = index
            .packages()
            .map(|package| Listed { package, newest: index.newest(package.format, package.arch) == Some(package) })
            .collect();
        if listed.is_empty() {
            printer.note(&format!("no package of the agent is published in {}", session.bucket.name()));
            printer.hint("fleetkey agent publish FILE publishes one");
        }
        let mut table = Table::new(&["VERSION", "FORMAT", "ARCH", "NEWEST", "PUBLISHED", "SHA256"]);
        for Listed { package, newest } in &listed {
            table.row(vec![
                package.version.clone(),
                package.format.to_string(),
                package.arch.to_string(),
                if *newest { "yes".to_owned() } else { String::new() },
                package.published_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                package.sha256.clone(),
            ]);
        }
        let json = Packages { bucket: session.bucket.name(), packages: &listed };
        printer.data(&table, &json).context("writing to standard output")
    }
}
