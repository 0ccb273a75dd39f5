//! The command line as a whole: what every verb has to have.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Command, CommandFactory as _};
use clap_complete::{ArgValueCandidates, ArgValueCompleter};

use super::*;

/// What a verb does, and so what it has to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It looks: what it prints as JSON is in docs/usage/fleetkey.schema.json.
    Reads,
    /// It changes something: it has `--dry-run` too.
    Writes,
    /// Neither fits, for this reason.
    Other(&'static str),
}

use Kind::{Other, Reads, Writes};

/// Every verb. A new one stands here with what it is.
const VERBS: &[(&str, Kind)] = &[
    ("agent list", Reads),
    ("agent publish", Writes),
    ("agent url", Reads),
    ("cleanup", Writes),
    ("completions", Other("it prints a script for a shell")),
    ("config check", Reads),
    ("config path", Reads),
    ("config show", Reads),
    ("create", Writes),
    ("delete-image", Writes),
    ("doctor", Reads),
    ("image", Writes),
    ("init", Writes),
    ("list", Reads),
    ("list-images", Reads),
    ("list-options", Reads),
    ("list-roles", Reads),
    ("list-volumes", Reads),
    ("man", Other("it writes where it is told to, and nowhere else")),
    ("proxy", Other("it is the connection of an ssh")),
    ("reboot", Writes),
    ("recreate", Writes),
    ("refresh-ingress", Writes),
    ("register-key", Writes),
    ("reset-security", Writes),
    ("revoke-key", Writes),
    ("role check", Reads),
    ("role list", Reads),
    ("role options", Reads),
    ("role render", Reads),
    ("role show", Reads),
    ("rsync", Other("it becomes rsync, which has a --dry-run of its own")),
    ("show", Reads),
    ("ssh", Other("it becomes ssh")),
    ("ssh-config", Writes),
    ("start", Writes),
    ("stop", Writes),
    ("terminate", Writes),
    ("update-instance-profile", Writes),
];

/// Verbs that print what another does.
const SAME_AS: &[(&str, &str)] = &[("list-options", "role options"), ("list-roles", "role list")];

/// The verbs below a command, with their full names: `role list`.
fn verbs(command: &Command, above: &str) -> Vec<(String, Command)> {
    let mut found = Vec::new();
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        let name = format!("{above} {}", below.get_name()).trim_start().to_owned();
        if below.has_subcommands() {
            found.extend(verbs(below, &name));
        } else {
            found.push((name, below.clone()));
        }
    }
    found
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_verb_reads_or_writes_and_has_what_belongs_to_that() {
    let known: BTreeMap<&str, Kind> = VERBS.iter().copied().collect();
    let verbs = verbs(&Cli::command(), "");
    let names: BTreeSet<&str> = verbs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, known.keys().copied().collect(), "the verbs of the command line, and those of VERBS");
    let schema = include_str!("../../../docs/usage/fleetkey.schema.json");
    let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
    for (name, verb) in &verbs {
        let kind = known[name.as_str()];
        let changes_nothing_if_asked = verb.get_arguments().any(|flag| flag.get_long() == Some("dry-run"));
        assert_eq!(changes_nothing_if_asked, kind == Writes, "{name} is said to be {kind:?}");
        let same = SAME_AS.iter().find(|(verb, _)| verb == name).map_or(name.as_str(), |(_, same)| *same);
        let described = schema["$defs"].get(format!("fleetkey {same}")).is_some();
        assert_eq!(described, matches!(kind, Reads | Writes), "docs/usage/fleetkey.schema.json, of {name}");
        if let Other(reason) = kind {
            assert!(!reason.is_empty(), "{name}");
        }
    }
}

#[test]
fn every_flag_says_what_it_is_for_and_what_its_value_is() {
    for (name, verb) in verbs(&Cli::command(), "") {
        for flag in verb.get_arguments().filter(|flag| !flag.is_hide_set()) {
            assert!(flag.get_help().is_some(), "{name}: {} has no help", flag.get_id());
        }
        assert!(verb.get_about().is_some(), "{name} does not say what it does");
    }
}

#[test]
fn every_word_that_names_a_role_a_box_or_a_cluster_is_completed() {
    let (mut named, mut missing) = (0, Vec::new());
    for (name, verb) in verbs(&Cli::command(), "") {
        for word in verb.get_arguments() {
            let of = word.get_value_names().and_then(<[_]>::first).map(clap::builder::Str::as_str);
            // A box that is made may be the first of its cluster.
            let made = matches!(name.as_str(), "create" | "recreate");
            let by_flag = matches!(word.get_long(), Some("cluster-name" | "instance-id")) && !made;
            if !by_flag && !matches!((of, word.is_positional()), (Some("ROLE"), _) | (Some("ID"), true)) {
                continue;
            }
            named += 1;
            let completed = word.get::<ArgValueCandidates>().is_some() || word.get::<ArgValueCompleter>().is_some();
            missing.extend((!completed).then(|| format!("{name}: {}", word.get_id())));
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
    assert!(named > 30, "{named}");
}

#[test]
fn every_verb_has_a_manual_page_with_all_of_its_flags() {
    let folder = tempfile::tempdir().unwrap();
    clap_mangen::generate_to(Cli::command(), folder.path()).unwrap();
    let mut whole = Cli::command();
    whole.build();
    for (name, verb) in verbs(&whole, "") {
        let page = folder.path().join(format!("fleetkey-{}.1", name.replace(' ', "-")));
        let page = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        for flag in verb.get_arguments().filter(|flag| !flag.is_hide_set()) {
            let Some(long) = flag.get_long() else { continue };
            let written = format!("--{long}").replace('-', "\\-");
            assert!(page.contains(&written), "{name}: {written} is not in its page");
        }
    }
}
