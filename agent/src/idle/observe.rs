//! One look at the box: what holds it on, if anything does.
//!
//! Reads, and changes nothing. What cannot be told holds the box on: an error is never taken for nobody.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use fleetkey_common::error_text::one_line;
use nix::unistd::{Uid, User};

use super::hold::{Hold, holds};
use super::processes::{self, sessions, work};
use super::{in_words, logind};
use crate::clock::since_boot;
use crate::config::settings::AutostopSettings;

/// The load averages of one, five and fifteen minutes; proc_loadavg(5).
const LOADAVG: &str = "/proc/loadavg";
/// As whom sshd talks to strangers.
const STRANGER: &str = "sshd";

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// Who has a session.
    pub sessions: Vec<String>,
    /// Who holds the box on, each once, and for how long yet; the longest first.
    pub holds: Vec<(String, Duration)>,
    /// The load, averaged over five minutes.
    pub load: f64,
    /// A program that is not to be cut short.
    pub work: Option<String>,
    /// Whether somebody has asked logind that the box be left on.
    pub inhibited: bool,
    /// What could not be told.
    pub fault: Option<String>,
}

impl Seen {
    /// What holds the box on, in words; empty when nothing does.
    pub fn reasons(&self, settings: &AutostopSettings) -> Vec<String> {
        let mut reasons = Vec::new();
        if !self.sessions.is_empty() {
            let mut names: Vec<_> = self.sessions.iter().map(String::as_str).collect();
            names.sort_unstable();
            names.dedup();
            reasons.push(format!("logged in: {}", in_words(&names)));
        }
        if !self.holds.is_empty() {
            let names: Vec<_> = self.holds.iter().map(|(name, _)| name.as_str()).collect();
            reasons.push(format!("stay, by {}", in_words(&names)));
        }
        if self.load > settings.max_load {
            reasons.push(format!("load {:.2}", self.load));
        }
        reasons.extend(self.work.iter().map(|program| format!("{program} is at work")));
        if self.inhibited {
            reasons.push("somebody inhibits it; see systemd-inhibit --list".to_owned());
        }
        reasons.extend(self.fault.iter().map(|fault| format!("it cannot be told whether the box is in use: {fault}")));
        reasons
    }
}

/// Looks. Logind is asked only where nothing else holds the box on, unless `all` is wanted.
pub async fn look(settings: &AutostopSettings, all: bool) -> Seen {
    let max_stay = settings.max_stay;
    let mut seen = crate::blocking::run(move || by_proc(max_stay)).await;
    if all || seen.reasons(settings).is_empty() {
        match logind::ask().await {
            Ok(said) => {
                seen.inhibited = said.inhibited;
                // Those by ssh are known already.
                let new = said.sessions.into_iter().filter(|name| !seen.sessions.contains(name));
                let new: Vec<_> = new.collect();
                seen.sessions.extend(new);
            }
            Err(error) => seen.fault = Some(one_line(&error)),
        }
    }
    seen
}

/// Whether a hold ends with the session that it was made in.
pub async fn ends_with_sessions() -> bool {
    logind::kills_user_processes().await
}

/// What the kernel tells.
fn by_proc(max_stay: Duration) -> Seen {
    let processes = match processes::list() {
        Ok(processes) => processes,
        Err(error) => return Seen { fault: Some(format!("/proc cannot be read: {error}")), ..Seen::default() },
    };
    let load = fs::read_to_string(LOADAVG).ok();
    let load = load.as_deref().and_then(five_minutes);
    let stranger = User::from_name(STRANGER).ok().flatten().map(|user| user.uid.as_raw());
    let hold = |hold: Hold| (name(hold.user), hold.left);
    // A name may have to be asked for elsewhere: once for each user, whatever a user may have started.
    let users: BTreeSet<u32> = sessions(&processes, stranger).into_iter().collect();
    Seen {
        sessions: users.into_iter().map(name).collect(),
        holds: holds(&processes, max_stay, since_boot()).into_iter().map(hold).collect(),
        load: load.unwrap_or_default(),
        work: work(&processes).map(str::to_owned),
        inhibited: false,
        fault: load.is_none().then(|| format!("{LOADAVG} does not say how loaded it is")),
    }
}

/// The second number. Averaged over five minutes, since what cron does for some seconds each hour is not use.
fn five_minutes(text: &str) -> Option<f64> {
    text.split_ascii_whitespace().nth(1)?.parse().ok().filter(|load: &f64| load.is_finite())
}

/// The name of a user, or the number of one that has none.
fn name(user: u32) -> String {
    let known = User::from_uid(Uid::from_raw(user)).ok().flatten();
    known.map_or_else(|| format!("user {user}"), |known| known.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::AutostopAction;

    const SETTINGS: AutostopSettings = AutostopSettings {
        after: Duration::from_hours(2),
        action: AutostopAction::Stop,
        max_load: 0.5,
        max_stay: Duration::from_hours(24),
    };

    #[test]
    fn nothing_holds_a_box_on_that_nobody_uses() {
        assert!(Seen { load: 0.5, ..Seen::default() }.reasons(&SETTINGS).is_empty());
    }

    #[test]
    fn each_of_these_holds_a_box_on_and_is_told() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let seen = Seen {
            sessions: names(&["bob", "alice", "bob"]),
            holds: vec![("carol".to_owned(), Duration::from_hours(1))],
            load: 0.51,
            work: Some("dpkg".to_owned()),
            inhibited: true,
            fault: Some("loginctl gave no answer within 10 s".to_owned()),
        };
        insta::assert_snapshot!(seen.reasons(&SETTINGS).join("\n"), @r"
        logged in: alice, bob
        stay, by carol
        load 0.51
        dpkg is at work
        somebody inhibits it; see systemd-inhibit --list
        it cannot be told whether the box is in use: loginctl gave no answer within 10 s
        ");
    }

    #[test]
    fn t8_a_crowd_is_named_in_part_and_counted() {
        let crowd = (0..1000).map(|at| format!("user {at:03}"));
        let holds: Vec<_> = crowd.clone().map(|name| (name, Duration::from_hours(1))).collect();
        let reasons = Seen { sessions: crowd.collect(), holds, ..Seen::default() }.reasons(&SETTINGS);
        assert!(reasons[0].starts_with("logged in: user 000, user 001, "), "{}", reasons[0]);
        assert!(reasons[0].ends_with(", user 009 and 990 more"), "{}", reasons[0]);
        assert!(reasons[1].ends_with(", user 009 and 990 more"), "{}", reasons[1]);
    }

    #[test]
    fn the_load_is_that_of_five_minutes() {
        assert_eq!(five_minutes("0.10 0.25 0.30 1/80 1234\n"), Some(0.25));
        for bad in ["", "0.1", "0.1 x 0.3", "0.1 NaN 0.3", "0.1 inf 0.3"] {
            assert_eq!(five_minutes(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_user_without_a_name_is_told_by_number() {
        assert_eq!(name(0), "root");
        assert_eq!(name(3_999_999_999), "user 3999999999");
    }
}
