//! `sync`: one look and one pass, for those who run it by hand or by cron.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use fleetkey_common::aws::Connections;
use similar::TextDiff;
use tracing_subscriber::filter::LevelFilter;

use super::output::{data, note};
use super::{Configured, block_on, helper, require_root};
use crate::app::{connect, source_of};
use crate::clock::since_boot;
use crate::config::settings::{Settings, SourceSettings};
use crate::engine::{Engine, Preview, Scope};
use crate::instance::HostIdentity;
use crate::lock;
use crate::source::{Findings, Source};

#[derive(Debug, Args)]
pub(super) struct Sync {
    /// Print what would change in the key files, as a diff, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    configured: Configured,
}

impl Sync {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        // Of a dry run the diff tells what would be; the log would tell it as done.
        self.configured.log.start(self.dry_run.then_some(LevelFilter::WARN));
        require_root("sync")?;
        let settings = Arc::new(self.configured.settings()?);
        if self.dry_run {
            return block_on(dry_run(settings));
        }
        let _lock = lock::take(&settings.paths.runtime)?;
        block_on(sync(settings))
    }
}

/// An engine that has not looked yet, and the source it looks at.
pub(super) struct Once {
    pub(super) engine: Engine,
    /// What kept the source from being asked at all, or the source.
    pub(super) source: Result<Arc<dyn Source>, Findings>,
}

/// Opens the engine on what this box knows, and the way to the source.
pub(super) async fn open(settings: &Arc<Settings>) -> Once {
    let opened = Arc::clone(settings);
    let engine = crate::blocking::run(move || {
        let host = HostIdentity::read("/".as_ref(), opened.instance.id.as_deref());
        Engine::open(opened, host, helper())
    });
    let mut engine = engine.await;
    let cloud = match settings.source {
        SourceSettings::Directory { .. } => None,
        SourceSettings::Iam { .. } => Some(connect(settings, &Connections::default()).await),
    };
    let source = match cloud {
        Some(Err(fault)) => Err(Findings::unreachable(fault)),
        Some(Ok(cloud)) => {
            let mut host = engine.state().host.clone();
            host.instance_id.get_or_insert_with(|| cloud.identity.instance_id.clone());
            engine.bind(host);
            source_of(settings, Some(&cloud)).ok_or_else(Findings::default)
        }
        None => source_of(settings, None).ok_or_else(Findings::default),
    };
    Once { engine, source }
}

impl Once {
    /// One look.
    pub(super) async fn look(&self) -> Findings {
        match &self.source {
            Ok(source) => source.fetch(&self.engine.specs(), &self.engine.cache()).await,
            Err(findings) => findings.clone(),
        }
    }

    /// Asks whose keys stand on other people's lines; true when the answer changes something.
    async fn learn(&mut self) -> bool {
        let candidates = self.engine.candidates(since_boot());
        let Ok(source) = &self.source else { return false };
        if candidates.is_empty() {
            return false;
        }
        let known = source.known(&candidates).await;
        self.engine.learn(&candidates, known, since_boot())
    }
}

async fn sync(settings: Arc<Settings>) -> anyhow::Result<ExitCode> {
    let mut once = open(&settings).await;
    let mut failed = loop {
        let findings = once.look().await;
        let look = once.engine.take(&findings, since_boot());
        let pass = once.engine.pass(Scope::All).await;
        let Some(confirm_at) = look.confirm_at else { break look.failed || !pass.failed.is_empty() };
        // A cut that must be seen twice: the second look is this call's business too.
        let wait = confirm_at.saturating_sub(since_boot());
        note(&format!("looking again in {} s, to confirm a large cut", wait.as_secs() + 1));
        tokio::time::sleep(wait + Duration::from_millis(100)).await;
    };
    if once.learn().await {
        failed |= !once.engine.pass(Scope::All).await.failed.is_empty();
    }
    let counters = once.engine.counters();
    let accounts = once.engine.accounts().len();
    let not_all = if failed { "; NOT all in step" } else { "" };
    note(&format!("{accounts} accounts, {} key files changed{not_all}", counters.writes));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn dry_run(settings: Arc<Settings>) -> anyhow::Result<ExitCode> {
    let mut once = open(&settings).await;
    let findings = once.look().await;
    let mut failed = once.engine.take(&findings, since_boot()).failed;
    let mut previews = once.engine.preview().await;
    if once.learn().await {
        previews = once.engine.preview().await;
    }
    for (account, preview) in previews {
        match preview {
            Ok(Preview { path, old, new }) => {
                let (old, new) = (String::from_utf8_lossy(&old), String::from_utf8_lossy(&new));
                let diff = TextDiff::from_lines(&old, &new);
                let path = path.display().to_string();
                data(diff.unified_diff().header(&path, &format!("{path} (in step)")).to_string())?;
            }
            Err(error) => {
                failed = true;
                note(&format!("{account}: {}", fleetkey_common::error_text::one_line(&error)));
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
