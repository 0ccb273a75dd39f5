//! `fleetkey config show`: what each setting comes to, and where that is written.

use anyhow::Context as _;
use clap::Args;
use fleetkey_common::aws_names::DEFAULT_NAMESPACE;
use fleetkey_common::config_file::{Origin, Text};
use serde::Serialize;

use super::{load, profile_variable};
use crate::config::Chosen;
use crate::printer::{Output, Printer};
use crate::refusal::Refusal;
use crate::settings::{DEFAULT_TOPIC, PlaceFlags, Settings, laid_over, variables};
use crate::table::Table;

/// Show what each setting comes to with these flags and variables, and where that is written.
#[derive(Debug, Args)]
pub(super) struct Show {}

/// What is printed with `--output json`.
#[derive(Serialize)]
struct Shown<'a> {
    profile: Option<Profile<'a>>,
    settings: Vec<Setting<'a>>,
}

#[derive(Serialize)]
struct Profile<'a> {
    name: &'a str,
    place: String,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names are those of the JSON")]
struct Setting<'a> {
    setting: &'static str,
    /// None where the default depends on something that is not asked here.
    value: Option<&'a str>,
    from: From,
    /// The flag, the variable, or the place in the file.
    place: Option<String>,
}

/// Where a setting is from.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
enum From {
    Flag,
    Variable,
    Profile,
    File,
    Default,
}

impl Show {
    pub(super) fn run(
        place: &PlaceFlags,
        output: Option<Output>,
        env: impl Fn(&str) -> Option<String>,
        printer: Printer,
    ) -> anyhow::Result<()> {
        let configured = load()?.choose(place.profile.as_deref(), profile_variable(&env))?;
        let laid = laid_over(place, &variables(&env), &configured).map_err(Refusal::usage)?;
        // What a command would refuse is no answer to what would count.
        let settings = Settings::new(place, &env, &configured).map_err(Refusal::usage)?;
        let printer = match output {
            Some(_) => printer,
            None => printer.with_output(settings.output),
        };
        let settings: Vec<Setting> = laid.fields().map(|(name, written)| setting(name, written)).collect();
        let mut table = Table::new(&["SETTING", "VALUE", "FROM"]);
        for Setting { setting, value, place, .. } in &settings {
            let from = place.clone().unwrap_or_else(|| format!("default: {}", default(setting).1));
            table.row(vec![(*setting).to_owned(), value.unwrap_or_default().to_owned(), from]);
        }
        let Chosen { profile, .. } = &configured;
        match profile {
            Some(profile) => printer.note(&format!("profile {}, by {}", profile.value, profile.origin)),
            None => printer.note("no profile is chosen"),
        }
        let profile = profile.as_ref().map(|name| Profile { name: &name.value, place: name.origin.to_string() });
        printer.data(&table, &Shown { profile, settings }).context("writing to standard output")
    }
}

fn setting<'a>(name: &'static str, written: Option<&'a Text>) -> Setting<'a> {
    let Some(written) = written else {
        return Setting { setting: name, value: default(name).0, from: From::Default, place: None };
    };
    let from = match &written.origin {
        Origin::Flag(_) => From::Flag,
        Origin::Variable(_) => From::Variable,
        Origin::File { field, .. } if field.starts_with("profile.") => From::Profile,
        Origin::File { .. } => From::File,
    };
    Setting { setting: name, value: Some(&written.value), from, place: Some(written.origin.to_string()) }
}

/// What a setting is where nothing says so: the value, if it is always the same, and words for it.
fn default(name: &str) -> (Option<&'static str>, &'static str) {
    match name {
        "aws_profile" => (None, "AWS_PROFILE, or AWS's own default"),
        "region" => (None, "AWS_REGION, or that of the AWS profile"),
        "zone" => (None, "any that EC2 picks"),
        "namespace" => (Some(DEFAULT_NAMESPACE), "your own"),
        "me" => (None, "the IAM user who calls"),
        "keypairs" => (Some("__me__"), "you alone"),
        "instance_type" => (None, "that of the role"),
        "bucket" => (None, "ACCOUNT_ID-fleetkey"),
        "topic" => (Some(DEFAULT_TOPIC), "where agents listen"),
        "output" => (Some("table"), "for people"),
        "address" => (None, "the public one, if the box has one"),
        "jump" | "via" => (None, "straight to the box"),
        _ => (None, "what the verb says"),
    }
}
