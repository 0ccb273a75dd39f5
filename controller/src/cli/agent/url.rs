//! `fleetkey agent url`: what user-data that is written by other tools needs to know of the newest package.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::explain;
use crate::aws::agent_package::{self, LONGEST_VALID};
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::role::{Arch, PackageFormat};
use crate::session::Session;
use crate::settings::Settings;
use crate::table::Table;

/// The shortest time that is of use to a box that has yet to boot.
const SHORTEST_VALID: Duration = Duration::from_mins(1);

/// Print a URL of the newest package and its SHA-256, for user-data of Terraform, Packer and the like.
///
/// Whoever has the URL can fetch the package, without credentials, until it ends. It ends with the credentials that
/// signed it, if those end first: keys of an IAM user do not.
#[derive(Debug, Args)]
pub(super) struct Url {
    /// Kind of package: deb or rpm
    #[arg(long, value_name = "KIND")]
    format: PackageFormat,
    /// Architecture: x86_64 or arm64
    #[arg(long, value_name = "ARCH", default_value = "x86_64")]
    arch: Arch,
    /// For how long it is valid: 1m to 7d
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = parse_valid)]
    valid: Duration,
}

/// What is printed with `--output json`.
#[derive(Serialize)]
struct Signed<'a> {
    url: &'a str,
    sha256: &'a str,
    version: &'a str,
    ends: Timestamp,
}

fn parse_valid(text: &str) -> Result<Duration, String> {
    let valid = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (SHORTEST_VALID..=LONGEST_VALID).contains(&valid) {
        return Ok(valid);
    }
    Err("S3 takes URLs that are valid for at most 7d; less than 1m is of no use".to_owned())
}

impl Url {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let session = Session::open(settings, printer).await?;
        let bucket = &session.bucket;
        let found = agent_package::newest(bucket, self.format, self.arch).await;
        let package = found.map_err(|error| explain(error, "it is not known what is published"))?.ok_or_else(|| {
            Refusal::new(format!("no {} of the agent for {} is published in {}", self.format, self.arch, bucket.name()))
                .hint("fleetkey agent publish FILE publishes one; fleetkey agent list shows what is there")
        })?;
        let signed = agent_package::presign(bucket, &package, self.valid).await?;
        if signed.cut_short {
            printer.warn(&format!("the URL ends at {}, as the credentials that signed it do", signed.ends));
        }
        let mut table = Table::new(&["VERSION", "ENDS", "SHA256", "URL"]);
        let ends = signed.ends.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        table.row(vec![package.version.clone(), ends, package.sha256.clone(), signed.url.clone()]);
        let json = Signed { url: &signed.url, sha256: &package.sha256, version: &package.version, ends: signed.ends };
        printer.data(&table, &json).context("writing to standard output")
    }
}
