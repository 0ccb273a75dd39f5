//! What logind knows: sessions that no process tells of by its name (desktops, and whatever else asks PAM), and who has
//! asked that the box be left on (`systemd-inhibit`, package managers).
//!
//! Asked by loginctl, whose output is made to be read, and not by its files, which are its own. It is asked only once
//! nothing else holds the box on.

use std::process::Stdio;
use std::time::Duration;

use thiserror::Error;
use tokio::process::Command;

/// How long loginctl may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The kinds of inhibitor that hold the box on: against powering off, and against doing so for want of use.
/// <https://www.freedesktop.org/software/systemd/man/latest/org.freedesktop.login1.html>
const HOLD: [&str; 2] = ["shutdown", "idle"];

/// What logind says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The names of those who have a session.
    pub(super) sessions: Vec<String>,
    /// Whether somebody has asked that the box be left on.
    pub(super) inhibited: bool,
}

/// Logind gives no answer. That is none to be taken for "nobody".
#[derive(Debug, Error)]
pub(super) enum LogindError {
    /// loginctl cannot be run.
    #[error("loginctl cannot be run")]
    Run(#[from] std::io::Error),
    /// It takes too long.
    #[error("loginctl gave no answer within {} s", LIMIT.as_secs())]
    TimedOut,
    /// It says no.
    #[error("loginctl {call}: {said}")]
    Failed {
        /// What was asked.
        call: String,
        /// What it said.
        said: String,
    },
}

/// Asks. A box without loginctl has no logind, and nobody who is known to it.
pub(super) async fn ask() -> Result<Said, LogindError> {
    let manager = match loginctl(&["show-session", "--property=BlockInhibited", "--property=NCurrentSessions"]).await {
        Err(LogindError::Run(error)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Said::default()),
        answer => answer?,
    };
    let inhibited =
        property(&manager, "BlockInhibited").is_some_and(|kinds| kinds.split(':').any(|k| HOLD.contains(&k)));
    if property(&manager, "NCurrentSessions") == Some("0") {
        return Ok(Said { sessions: Vec::new(), inhibited });
    }
    let listed = loginctl(&["list-sessions", "--no-legend"]).await?;
    let ids: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    if ids.is_empty() {
        return Ok(Said { sessions: Vec::new(), inhibited });
    }
    let properties = ["--property=Name", "--property=Class", "--property=State"];
    let sessions = match loginctl(&[&["show-session"], &properties[..], &ids].concat()).await {
        Ok(shown) => users(&shown),
        // One of them has ended meanwhile; the others are there still, or the next look will tell.
        Err(LogindError::Failed { said, .. }) if said.contains("No session") => vec!["somebody".to_owned()],
        Err(error) => return Err(error),
    };
    Ok(Said { sessions, inhibited })
}

/// Whether logind ends what users leave behind; no, where it does not say.
pub(super) async fn kills_user_processes() -> bool {
    let shown = loginctl(&["show-session", "--property=KillUserProcesses"]).await;
    shown.is_ok_and(|shown| property(&shown, "KillUserProcesses") == Some("yes"))
}

async fn loginctl(arguments: &[&str]) -> Result<String, LogindError> {
    let mut command = Command::new("loginctl");
    command.args(["--no-pager"]).args(arguments).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output()).await.map_err(|_| LogindError::TimedOut)??;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or("it does not say why").to_owned();
    Err(LogindError::Failed { call: arguments.first().copied().unwrap_or_default().to_owned(), said })
}

/// The value of a property, as `show-session` prints it.
fn property<'a>(shown: &'a str, name: &str) -> Option<&'a str> {
    shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

/// The users of the sessions shown, a block each. One that is closing has ended, and left something behind; those of
/// greeters, of jobs and of the users' own managers are nobody's.
fn users(shown: &str) -> Vec<String> {
    let is_somebodys = |block: &&str| {
        let class = property(block, "Class").unwrap_or_default();
        (class == "user" || class.starts_with("user-")) && property(block, "State") != Some("closing")
    };
    let blocks = shown.split("\n\n").filter(is_somebodys);
    blocks.map(|block| property(block, "Name").unwrap_or("somebody").to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_people_count_and_those_of_jobs_greeters_and_the_past_do_not() {
        let shown = "Name=alice\nClass=user\nState=active\n\nName=bob\nClass=user\nState=closing\n\n\
                     Name=root\nClass=background\nState=online\n\nName=gdm\nClass=greeter\nState=active\n\n\
                     Name=carol\nClass=user-early\nState=online\n\nName=carol\nClass=manager\nState=active\n";
        assert_eq!(users(shown), ["alice", "carol"]);
        assert!(users("").is_empty());
    }

    #[test]
    fn properties_are_read_as_loginctl_prints_them() {
        let manager = "BlockInhibited=shutdown:sleep\nNCurrentSessions=0\n";
        assert_eq!(property(manager, "BlockInhibited"), Some("shutdown:sleep"));
        assert_eq!(property(manager, "Block"), None);
        assert_eq!(property("BlockInhibited=\n", "BlockInhibited"), Some(""));
    }
}
