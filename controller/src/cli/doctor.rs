//! `fleetkey doctor`: what works, what does not, and the command that mends it.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use fleetkey_common::names::PersonName;
use serde::Serialize;

use crate::account::shipped::Audience;
use crate::doctor::{self, Finding, State, World};
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::table::Table;
use crate::wait::parse_timeout;

/// Check all that Fleetkey needs: credentials, clock, region, bucket, topic, keys, packages, permissions and programs.
///
/// Changes nothing. Each line is ok, a warning, missing, or not known, with the command that mends it. Exit code 1 when
/// something is missing.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Whose permissions the caller should have
    #[arg(long = "as", value_name = "WHO", value_enum, value_delimiter = ',', default_value = "operators")]
    audiences: Vec<Audience>,
    /// Whose keys to look at [default: the IAM user who calls]
    #[arg(long, value_name = "NAME")]
    person: Option<PersonName>,
    /// How long each check may take
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = parse_timeout)]
    timeout: Duration,
}

/// What is printed with `--output json`.
#[derive(Serialize)]
struct Examined<'a> {
    /// Whether nothing is missing.
    ok: bool,
    findings: &'a [Finding],
}

impl Doctor {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let world = World::new(settings, self.person, self.audiences).await;
        printer.note("checking; this takes some seconds");
        let done = |check: &str, left: usize| printer.detail(&format!("checked: {check}; {left} to go"));
        let findings = doctor::examine(&world, self.timeout, done).await;
        let missing = findings.iter().filter(|finding| finding.state == State::Missing).count();
        let json = Examined { ok: missing == 0, findings: &findings };
        printer.data(&table(&findings), &json).context("writing to standard output")?;
        match missing {
            0 => Ok(()),
            1 => Err(Refusal::new("1 thing is missing").into()),
            n => Err(Refusal::new(format!("{n} things are missing")).into()),
        }
    }
}

/// What mends a line stands below it: a column of its own would be far to the right.
fn table(findings: &[Finding]) -> Table {
    let mut table = Table::new(&["CHECK", "STATE", "WHAT"]);
    for finding in findings {
        table.row(vec![finding.check.to_owned(), finding.state.as_str().to_owned(), finding.what.clone()]);
        if let Some(mend) = &finding.mend {
            table.row(vec![" ".to_owned(), " ".to_owned(), format!("mend: {mend}")]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_seen_and_what_mends_it() {
        let finding = |check, state, what: &str, mend: Option<&str>| Finding {
            check,
            state,
            what: what.to_owned(),
            mend: mend.map(str::to_owned),
        };
        let findings = [
            finding("clock", State::Ok, "in step with AWS's", None),
            finding("topic", State::Missing, "there is no topic t in us-west-2", Some("fleetkey init")),
            finding("package", State::Unknown, "not looked at: see bucket", None),
        ];
        insta::assert_snapshot!(table(&findings).to_string(), @r"
        CHECK    STATE      WHAT
        clock    ok         in step with AWS's
        topic    missing    there is no topic t in us-west-2
                            mend: fleetkey init
        package  not known  not looked at: see bucket
        ");
    }
}
