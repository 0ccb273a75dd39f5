//! The documentation, held to what is: configurations and roles are valid, links lead somewhere, commands and flags
//! exist, code that is quoted stands where it is said to be.
//!
//! Its examples are run by `tests/localcloud/tests/pages/`. Whether the rest of a text is true is for whoever writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use fleetkey_tests::pages::{self, difference, fences, matches, prose, quotes, repository};
use fleetkey_tests::program;
use fleetkey_tests::sandbox::Sandbox;
use tempfile::TempDir;

const PROGRAMS: [&str; 2] = ["fleetkey", "fleetkey-agent"];

/// A page, by its path from the root of the repository.
struct Page {
    path: PathBuf,
    text: String,
}

/// Every Markdown page of the repository.
fn pages() -> Result<Vec<Page>> {
    pages::all()?.into_iter().map(|path| Ok(Page { text: pages::text(&path)?, path })).collect()
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
        for block in fences(&page.text).iter().filter(|block| block.language == "toml") {
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
fn every_role_in_the_documentation_is_valid() -> Result<()> {
    let mut checked = 0;
    for page in pages()? {
        let home = TempDir::new()?;
        let roles = home.path().join(".config/fleetkey/roles");
        std::fs::create_dir_all(&roles)?;
        let before = checked;
        for block in fences(&page.text).iter().filter(|block| block.language == "yaml") {
            let first = block.text.lines().next().unwrap_or_default();
            if let Some(file) =
                first.strip_prefix("# ").filter(|name| Path::new(name).extension().is_some_and(|kind| kind == "yaml"))
            {
                std::fs::write(roles.join(file), &block.text)?;
                checked += 1;
            }
        }
        if checked > before {
            let mut check = Command::new(program("fleetkey"));
            let output = check.args(["role", "check"]).env_clear().env("HOME", home.path()).output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {said}", page.path.display());
        }
    }
    assert!(checked > 0, "the documentation has no role any more");
    Ok(())
}

#[test]
fn every_piece_of_code_in_the_documentation_stands_in_the_file_that_it_names() -> Result<()> {
    let mut wrong = Vec::new();
    for page in pages()? {
        for (file, fence) in quotes(&page.text) {
            let at = format!("{}:{}", page.path.display(), fence.line);
            let Some(file) = file else {
                wrong.push(format!("{at}: say where it is from: <!-- quote: FILE -->"));
                continue;
            };
            let text = pages::text(Path::new(&file))?;
            let quoted = format!("...\n{}...\n", fence.text);
            if !matches(&quoted, &text) {
                let difference = difference(&quoted, &text);
                let missing: Vec<_> = difference.lines().filter(|line| line.starts_with('-')).collect();
                wrong.push(format!("{at}: this is not in {file}:\n{}", missing.join("\n")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn every_relative_link_in_the_documentation_leads_somewhere() -> Result<()> {
    let mut wrong = Vec::new();
    for page in pages()? {
        let prose = prose(&page.text);
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")) {
            let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
            let here = repository().join(&page.path);
            let there = if file.is_empty() { here } else { here.with_file_name(file) };
            let found = match anchor {
                None => there.exists(),
                Some(anchor) => {
                    fs::read_to_string(&there).is_ok_and(|text| anchors(&pages::prose(&text)).contains(anchor))
                }
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
        let (blocks, prose) = (fences(&page.text), prose(&page.text));
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
fn spans_anchors_and_calls_are_found() {
    assert_eq!(spans("# A `b` (c)\n- x\n").collect::<Vec<_>>(), ["b"]);
    assert!(anchors("# A `b` (c)\n- x\n").contains("a-b-c"));
    let shell = "fleetkey-agent sync --dry-run  # y\n";
    assert_eq!(calls(shell), [("fleetkey-agent", vec!["sync"], vec!["--dry-run"])]);
    assert_eq!(calls("fleetkey role show X --output json"), [("fleetkey", vec!["role", "show"], vec!["--output"])]);
    assert!(calls("systemctl reload fleetkey-agent; journalctl -u fleetkey-agent -e").is_empty());
}
