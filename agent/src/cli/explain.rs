//! `explain`: is this key let in here, by which grant, group and registry; and if not, what is missing.
//!
//! It looks at the source as the agent would, and at the key file as it is, and changes neither.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use fleetkey_common::error_text::one_line;
use fleetkey_common::key_line::{self, Line};
use fleetkey_common::names::AccountName;
use fleetkey_common::public_key::{Fingerprint, PublicKey};
use jiff::Timestamp;

use super::output::data;
use super::sync::{Once, open};
use super::{Configured, block_on, require_root};
use crate::clock::since_boot;
use crate::config::settings::Settings;
use crate::engine::Preview;
use crate::key_set::Entry;
use crate::source::Findings;

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The account that somebody wants to log in to
    account: AccountName,
    /// The key, as a file: somebody's .pub
    #[arg(long, value_name = "FILE", conflicts_with = "fingerprint")]
    key: Option<PathBuf>,
    /// The key, by its fingerprint: SHA256:... as sshd logs it
    #[arg(long, value_name = "FINGERPRINT")]
    fingerprint: Option<Fingerprint>,
    #[command(flatten)]
    configured: Configured,
}

impl Explain {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        // What the look finds wrong is part of the answer; the log would say it twice.
        self.configured.log.start(Some(tracing_subscriber::filter::LevelFilter::ERROR));
        require_root("explain")?;
        let settings = Arc::new(self.configured.settings()?);
        let key = self.key.map(|path| read_key(&path)).transpose()?;
        let fingerprint = key.as_ref().map(PublicKey::fingerprint).or(self.fingerprint);
        let answer = block_on(Answer::find(settings, self.account, key, fingerprint))?;
        let lines = answer.lines.iter().map(|line| format!("{line}\n"));
        data(lines.collect::<String>())?;
        Ok(if answer.let_in { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The first key of a file, which may be a .pub or an authorized_keys.
fn read_key(path: &std::path::Path) -> anyhow::Result<PublicKey> {
    let body = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let key = body.split(|&byte| byte == b'\n').find_map(|line| match key_line::read(line) {
        Line::Key { key, .. } => Some(key),
        _ => None,
    });
    key.with_context(|| format!("{} holds no OpenSSH public key", path.display()))
}

/// What is to be said.
#[derive(Debug, Default)]
struct Answer {
    let_in: bool,
    lines: Vec<String>,
}

impl Answer {
    async fn find(
        settings: Arc<Settings>,
        account: AccountName,
        key: Option<PublicKey>,
        fingerprint: Option<Fingerprint>,
    ) -> anyhow::Result<Self> {
        let mut answer = Self::default();
        let Some(grant) = settings.grants.iter().find(|grant| grant.account == account) else {
            answer.say(format!("no: the configuration has no grant for {account}"));
            answer.say("hint: add a [[grant]] with this account to agent.toml, then reload the agent".to_owned());
            return Ok(answer);
        };
        let specs: Vec<_> = grant.keys.iter().map(ToString::to_string).collect();
        let mode = format!("{:?}", grant.mode).to_lowercase();
        answer.say(format!("grant: {account} <- {} ({mode} mode)", specs.join(", ")));

        let mut once = open(&settings).await;
        let findings = once.look().await;
        once.engine.take(&findings, since_boot());
        for (part, fault) in once.engine.faults() {
            let too_old = once.engine.too_old().contains(part);
            let stands = if too_old { "is too old to let anybody in" } else { "stands" };
            answer.say(format!("fault: {part}: {fault}; what was known before {stands}"));
        }
        for notice in once.engine.notices() {
            answer.say(format!("note: {notice}"));
        }
        let in_file = once.engine.preview().await.into_iter().find(|(name, _)| *name == account);
        let standing = answer.standing(in_file.map(|(_, preview)| preview));
        match fingerprint {
            Some(fingerprint) => answer.one_key(&once, &account, key, fingerprint, &findings, &standing).await,
            None => answer.all_keys(&once, &account, &standing),
        }
        Ok(answer)
    }

    fn say(&mut self, line: String) {
        self.lines.push(line);
    }

    /// The keys on the lines of the account's key file, as it is now.
    fn standing(&mut self, preview: Option<Result<Preview, crate::write::WriteError>>) -> Vec<Fingerprint> {
        match preview {
            Some(Ok(Preview { old, .. })) => old
                .split(|&byte| byte == b'\n')
                .filter_map(|line| match key_line::read(line) {
                    Line::Key { key, .. } => Some(key.fingerprint()),
                    _ => None,
                })
                .collect(),
            Some(Err(error)) => {
                self.say(format!("the key file cannot be kept: {}", one_line(&error)));
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// Every key that the grants let in.
    fn all_keys(&mut self, once: &Once, account: &AccountName, standing: &[Fingerprint]) {
        let wanted = once.engine.wanted(account, Timestamp::now());
        self.let_in = !wanted.is_empty();
        if wanted.is_empty() {
            self.say(format!("nobody is let in to {account}"));
        }
        for granted in wanted {
            let fingerprint = granted.key.fingerprint();
            let here = if standing.contains(&fingerprint) { "" } else { " (NOT in the key file yet)" };
            self.say(format!("{:<20} {fingerprint}{here}", granted.person));
            for entry in entries(once, account, fingerprint) {
                self.say(format!("{:<20} {}", "", origin(entry)));
            }
        }
    }

    /// One key, and what it has or lacks.
    async fn one_key(
        &mut self,
        once: &Once,
        account: &AccountName,
        key: Option<PublicKey>,
        fingerprint: Fingerprint,
        findings: &Findings,
        standing: &[Fingerprint],
    ) {
        let now = Timestamp::now();
        let granted = once.engine.wanted(account, now).into_iter().find(|key| key.key.fingerprint() == fingerprint);
        let mut because: Vec<_> =
            entries(once, account, fingerprint).map(|entry| format!("  {}", origin(entry))).collect();
        if let Some(granted) = granted {
            if because.is_empty() {
                because.push("  it is a key for emergencies, from the break-glass file".to_owned());
            }
            let stands = standing.contains(&fingerprint);
            self.let_in = stands;
            let yes = if stands { "yes" } else { "granted, but not in the key file yet" };
            self.say(format!("{yes}: {} may log in to {account} with {fingerprint}", granted.person));
            self.lines.append(&mut because);
            if let Some(expires) = granted.restrictions.expires {
                self.say(format!("  until {expires}"));
            }
            if !stands {
                self.say("hint: is the agent running? see `fleetkey-agent status`".to_owned());
            }
        } else {
            self.say(format!("no: {fingerprint} is not let in to {account}"));
            for why in self.missing(once, key, fingerprint, findings, &because).await {
                self.say(why);
            }
            if standing.contains(&fingerprint) {
                self.let_in = true;
                self.say(
                    "BUT it stands in the key file, on a line that no registry governs: sshd lets it in".to_owned(),
                );
            }
        }
    }

    /// What a key lacks, in words.
    async fn missing(
        &self,
        once: &Once,
        key: Option<PublicKey>,
        fingerprint: Fingerprint,
        findings: &Findings,
        because: &[String],
    ) -> Vec<String> {
        if once.engine.state().revoked.contains(&fingerprint) {
            return vec![
                "  it is revoked: see revoked/ in the bucket or the folder for who did so, and why".to_owned(),
            ];
        }
        if !because.is_empty() {
            let mut lines =
                vec!["  it is registered and granted, but it has expired, or its restrictions clash:".to_owned()];
            lines.extend(because.iter().cloned());
            return lines;
        }
        let holder = findings.keys.iter().find(|(_, registries)| {
            registries.values().flat_map(|lookup| &lookup.keys).any(|held| held.key.fingerprint() == fingerprint)
        });
        if let Some((person, _)) = holder {
            return vec![format!("  {person} holds it, and no grant of this account names {person}")];
        }
        let (Ok(source), Some(key)) = (&once.source, key) else {
            return vec![
                "  no person whom the grants name holds it (give --key FILE to have all registries asked)".to_owned(),
            ];
        };
        match source.known(&[key]).await {
            Ok(known) if known.contains(&fingerprint) => {
                vec!["  a registry holds it, for a person whom no grant of this account names".to_owned()]
            }
            Ok(_) => vec![
                "  no registry holds it".to_owned(),
                "hint: register it with `fleetkey register-key FILE --person NAME`".to_owned(),
            ],
            Err(fault) => vec![format!("  the registries could not be asked: {fault}")],
        }
    }
}

fn entries<'a>(
    once: &'a Once,
    account: &AccountName,
    fingerprint: Fingerprint,
) -> impl Iterator<Item = &'a Entry> + use<'a> {
    let all = once.engine.key_set().accounts.get(account).into_iter().flatten();
    all.filter(move |entry| entry.fingerprint() == fingerprint)
}

/// By what a key is let in.
fn origin(entry: &Entry) -> String {
    format!("by {}: {} holds it in {} ({})", entry.spec, entry.person, entry.registry, entry.registered.place)
}
