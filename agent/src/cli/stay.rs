//! `stay`: holds the box on, or says what does. The one command, with `authorized-keys`, that needs not be root's: whoever
//! is logged in may hold off that the box powers off.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;

use super::output::{data, note};
use super::{USAGE, block_on};
use crate::config::settings::AutostopSettings;
use crate::config::{self, Flags};
use crate::idle::{hold, notice, observe};

/// Hold it off that the box powers off for want of use.
///
/// A process of the caller's own is left behind for that long, which does nothing; it outlives the session, and ends when
/// the box is rebooted. Without a time, says how it stands.
#[derive(Debug, Args)]
pub(super) struct Stay {
    /// For how long, from now on, such as 4h; in place of what the caller said before
    #[arg(value_name = "TIME", value_parser = parse)]
    time: Option<Duration>,
    /// Take back what the caller said before; root takes back everybody's
    #[arg(long, conflicts_with = "time")]
    clear: bool,
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_FILE)]
    config: PathBuf,
}

fn parse(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time >= Duration::from_mins(1) => Ok(time),
        Ok(_) => Err("give a minute or more, such as 30m or 4h; --clear takes it back".to_owned()),
        Err(_) => Err("give a time such as 30m or 4h".to_owned()),
    }
}

impl Stay {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        if self.clear {
            let user = nix::unistd::getuid();
            let held = hold::of((!user.is_root()).then_some(user.as_raw())).context("cannot look for what was said")?;
            hold::end(&held).context("cannot take it back")?;
            note(if held.is_empty() { "there is nothing to take back" } else { "taken back" });
            return Ok(ExitCode::SUCCESS);
        }
        let settings = config::load(&self.config, &Flags::default())?.settings;
        let Some(autostop) = settings.autostop else {
            let nothing = "nothing powers this box off by itself: agent.toml has no [autostop]";
            return match self.time {
                None => data(format!("{nothing}\n")).map(|()| ExitCode::SUCCESS),
                Some(_) => Err(anyhow::anyhow!("{nothing}; so nothing was done")),
            };
        };
        match self.time {
            None => block_on(show(autostop)),
            Some(time) if time > autostop.max_stay => {
                let most = humantime::format_duration(autostop.max_stay);
                note(&format!("fleetkey-agent: that is longer than this box allows at once; give up to {most}"));
                Ok(ExitCode::from(USAGE))
            }
            Some(time) => stay(time),
        }
    }
}

fn stay(time: Duration) -> anyhow::Result<ExitCode> {
    let minutes = hold::in_minutes(time);
    let program = std::env::current_exe().context("cannot tell which program this is")?;
    // The new one first: at no time does nobody hold the box on.
    let before = hold::of(Some(nix::unistd::getuid().as_raw())).context("cannot look for what was said before")?;
    hold::start(&program, minutes).context("cannot hold the box on")?;
    hold::end(&before).context("cannot take back what was said before")?;
    note(&format!("this box stays on until {}", notice::minute(Timestamp::now(), Duration::from_mins(minutes))));
    if block_on(async { Ok(observe::ends_with_sessions().await) })? {
        note(
            "but no longer than you are logged in: it ends what users leave behind (KillUserProcesses in logind.conf)",
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(settings: AutostopSettings) -> anyhow::Result<ExitCode> {
    let seen = observe::look(&settings, true).await;
    data(notice::text(&settings, &seen.holds, Timestamp::now()))?;
    let reasons = seen.reasons(&settings);
    let now = if reasons.is_empty() { "nothing".to_owned() } else { reasons.join("; ") };
    data(format!("Now it is held on by: {now}\n"))?;
    Ok(ExitCode::SUCCESS)
}
