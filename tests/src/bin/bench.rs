//! `make bench`: measures, and prints a Markdown table.

#![allow(clippy::print_stdout, reason = "the table goes there")]

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::builder::PossibleValue;
use clap::{Parser, Subcommand, ValueEnum};
use fleetkey_tests::bench::{self, Options, Section};

/// Measures Fleetkey next to keymaker and awscli, with AWS played by moto, and prints a Markdown table.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    /// Fewer samples, and no group of 10,000 people
    #[arg(long)]
    quick: bool,
    /// Measure ten idle minutes, in place of one that is scaled
    #[arg(long)]
    full_idle: bool,
    /// Only these sections
    #[arg(long, value_name = "SECTION", value_delimiter = ',')]
    only: Vec<Named>,
    /// Write the numbers to a file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(subcommand)]
    inner: Option<Inner>,
}

#[derive(Debug, Subcommand)]
enum Inner {
    /// Time a program: what the bench calls inside a sandbox
    #[command(hide = true)]
    Repeat {
        runs: usize,
        program: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// A section by its name.
#[derive(Debug, Clone, Copy)]
struct Named(Section);

impl ValueEnum for Named {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [Named; Section::ALL.len()] = {
            let mut all = [Named(Section::ALL[0]); Section::ALL.len()];
            let mut at = 0;
            while at < all.len() {
                all[at] = Named(Section::ALL[at]);
                at += 1;
            }
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name()))
    }
}

fn main() -> Result<()> {
    let Arguments { quick, full_idle, only, json, inner } = Arguments::parse();
    if let Some(Inner::Repeat { runs, program, arguments }) = inner {
        println!("{}", bench::repeat_to_json(runs, &program, &arguments)?);
        return Ok(());
    }
    let only = only.into_iter().map(|Named(section)| section).collect();
    let (report, failures) = bench::run(Options { quick, full_idle, only })?;
    print!("{}", report.markdown());
    if let Some(file) = json {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    failures.into_iter().next().map_or(Ok(()), Err)
}
