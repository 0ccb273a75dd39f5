//! The documentation, held to what is: configurations are valid, links lead somewhere, commands and flags exist.
//!
//! It says nothing about whether a text is true; that is for whoever writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use fleetkey_tests::program;
use fleetkey_tests::sandbox::Sandbox;

const PROGRAMS: [&str; 2] = ["fleetkey", "fleetkey-agent"];

/// A page, by its path from the root of the repository.
struct Page {
    path: PathBuf,
    text: String,
}

/// A fenced block: the language behind the fence, and the lines without the indentation of the fence.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) language: String,
    pub(super) text: String,
}

pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Markdown page of the repository.
fn pages() -> Result<Vec<Page>> {
    let mut folders = vec![PathBuf::new()];
    let mut pages = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder))? {
            let entry = entry?;
            let name = entry.file_name().into_string().ok().context("a name is not UTF-8")?;
            let path = folder.join(&name);
            if entry.file_type()?.is_dir() {
                if !name.starts_with('.') && name != "target" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(root().join(&path))?;
                pages.push(Page { path, text });
            }
        }
    }
    ensure!(pages.len() > 5, "only {} pages were found", pages.len());
    Ok(pages)
}

/// The fenced blocks of a page, and its text without them.
pub(super) fn split(text: &str) -> (Vec<Block>, String) {
    let (mut blocks, mut prose) = (Vec::new(), String::new());
    let mut open: Option<(usize, Block)> = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        match (line.trim_start().strip_prefix("```"), open.take()) {
            (Some(language), None) => {
                open = Some((indent, Block { language: language.trim().to_owned(), text: String::new() }));
            }
            (Some(_), Some((_, block))) => blocks.push(block),
            (None, Some((indent, mut block))) => {
                block.text += line.get(indent..).unwrap_or_default();
                block.text.push('\n');
                open = Some((indent, block));
            }
            (None, None) => {
                prose += line;
                prose.push('\n');
            }
        }
    }
    (blocks, prose)
}

/// The code spans of prose.
fn spans(prose: &str) -> impl Iterator<Item = &str> {
    prose.split('`').skip(1).step_by(2)
}

/// The anchors of a page's headings, as GitHub makes them: small letters, digits, `-` and `_`, blanks as `-`.
fn anchors(prose: &str) -> BTreeSet<String> {
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let kept = line.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

/// The calls of one of the programs in a piece of shell: the program, the subcommand with the word behind it, which may
/// be a subcommand of its own, and its long flags.
fn calls(shell: &str) -> Vec<(&str, Vec<&str>, Vec<&str>)> {
    let mut calls = Vec::new();
    for part in shell.split(['\n', ';', '|', '&']) {
        let part = part.split(" #").next().unwrap_or_default();
        let words: Vec<&str> = part.split_whitespace().collect();
        let Some(at) = words.iter().position(|word| PROGRAMS.contains(word)) else { continue };
        let lower = |word: &&&str| word.starts_with(|c: char| c.is_ascii_lowercase());
        let verbs: Vec<&str> = words[at + 1..].iter().take(2).take_while(lower).copied().collect();
        if verbs.is_empty() {
            continue;
        }
        let flags = words[at + 2..].iter().filter(|word| word.starts_with("--") && word.len() > 2);
        calls.push((words[at], verbs, flags.map(|flag| long(flag)).collect()));
    }
    calls
}

/// A long flag without its value and without what a sentence or a help text puts around it.
fn long(word: &str) -> &str {
    let end = word.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(word.len());
    &word[..end]
}

/// The help of a subcommand; `None` when there is no such subcommand.
fn help(name: &str, verbs: &[&str]) -> Result<Option<String>> {
    let output = Command::new(program(name)).args(verbs).arg("--help").output()?;
    // `authorized-keys` prints its help on stderr, since sshd would take stdout for keys.
    let help = String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?;
    Ok(Some(help).filter(|help| help.contains(&format!("Usage: {name} {}", verbs.join(" ")))))
}

/// The long flags that the help of a subcommand names; `None` when there is no such subcommand. What stands behind a
/// subcommand is one of its own only if it has such.
fn flags_of(name: &str, verbs: &[&str]) -> Result<Option<BTreeSet<String>>> {
    let Some(mut found) = help(name, &verbs[..1])? else { return Ok(None) };
    let has_own = found.lines().any(|line| line.starts_with("Usage:") && line.contains("<COMMAND>"));
    if has_own && verbs.len() > 1 {
        match help(name, verbs)? {
            Some(own) => found = own,
            None => return Ok(None),
        }
    }
    let words = found.split(|c: char| c.is_whitespace() || "[,".contains(c));
    Ok(Some(words.filter(|word| word.starts_with("--")).map(|word| long(word).to_owned()).collect()))
}

#[test]
fn every_agent_configuration_in_the_documentation_is_valid() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let (mut accounts, mut checked, mut wrong) = (BTreeSet::new(), 0, Vec::new());
    for page in pages()? {
        for block in split(&page.text).0.iter().filter(|block| block.language == "toml") {
            let named = block.text.lines().filter_map(|line| line.strip_prefix("account = \"")?.strip_suffix('"'));
            for account in named.filter(|account| accounts.insert((*account).to_owned())) {
                sandbox.add_account(account)?;
            }
            let file = "/etc/fleetkey/agent.toml";
            sandbox.write(file, &block.text)?;
            let output =
                sandbox.command("/usr/bin/fleetkey-agent").args(["check-config", "--config", file]).output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            if !output.status.success() || !said.is_empty() {
                wrong.push(format!("{}: {said}\n{}", page.path.display(), block.text));
            }
            checked += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 0, "the documentation has no configuration any more");
    Ok(())
}

#[test]
fn every_relative_link_in_the_documentation_leads_somewhere() -> Result<()> {
    let mut wrong = Vec::new();
    for page in pages()? {
        let prose = split(&page.text).1;
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")) {
            let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
            let here = root().join(&page.path);
            let there = if file.is_empty() { here } else { here.with_file_name(file) };
            let found = match anchor {
                None => there.exists(),
                Some(anchor) => fs::read_to_string(&there).is_ok_and(|text| anchors(&split(&text).1).contains(anchor)),
            };
            if !found {
                wrong.push(format!("{}: {target}", page.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "these lead nowhere:\n{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn every_command_and_long_flag_that_the_documentation_names_exists() -> Result<()> {
    let mut known = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut alone = Vec::new();
    for page in pages()? {
        let (blocks, prose) = split(&page.text);
        let shell = blocks.iter().filter(|block| block.language == "sh").map(|block| block.text.replace("\\\n", " "));
        let shell: Vec<String> = shell.chain(spans(&prose).map(str::to_owned)).collect();
        for (name, verbs, flags) in shell.iter().flat_map(|text| calls(text)) {
            let verb = verbs.join(" ");
            let key = (name.to_owned(), verb.clone());
            if !known.contains_key(&key) {
                known.insert(key.clone(), flags_of(name, &verbs)?);
            }
            let missing = |flag: &&&str| known[&key].as_ref().is_some_and(|have| !have.contains(**flag));
            if known[&key].is_none() {
                wrong.push(format!("{}: {name} {verb}", page.path.display()));
            }
            let missing = flags.iter().filter(missing);
            wrong.extend(missing.map(|flag| format!("{}: {name} {verb} {flag}", page.path.display())));
        }
        // What stands by itself in a page for users is a flag of one of ours.
        if page.path.starts_with("docs/usage") {
            let flags = spans(&prose).filter(|span| span.starts_with("--"));
            alone.extend(flags.map(|flag| (page.path.clone(), long(flag).to_owned())));
        }
    }
    assert!(known.len() >= 8, "only these commands are told of: {:?}", known.keys());
    let flags: BTreeSet<&String> = known.values().flatten().flatten().collect();
    let unknown = alone.iter().filter(|(_, flag)| !flags.contains(flag));
    wrong.extend(unknown.map(|(path, flag)| format!("{}: {flag}", path.display())));
    assert!(wrong.is_empty(), "these do not exist:\n{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn blocks_spans_anchors_and_calls_are_found() {
    let (blocks, prose) = split("# A `b` (c)\n- x\n  ```sh\n  fleetkey-agent sync --dry-run  # y\n  ```\n");
    let text = "fleetkey-agent sync --dry-run  # y\n".to_owned();
    assert_eq!(blocks, [Block { language: "sh".to_owned(), text }]);
    assert_eq!(spans(&prose).collect::<Vec<_>>(), ["b"]);
    assert!(anchors(&prose).contains("a-b-c"));
    assert_eq!(calls(&blocks[0].text), [("fleetkey-agent", vec!["sync"], vec!["--dry-run"])]);
    assert_eq!(calls("fleetkey role show X --output json"), [("fleetkey", vec!["role", "show"], vec!["--output"])]);
    assert!(calls("systemctl reload fleetkey-agent; journalctl -u fleetkey-agent -e").is_empty());
}
