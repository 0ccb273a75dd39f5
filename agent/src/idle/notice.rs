//! What people are told when they log in: a file in the folder that pam_motd(8) shows, on every distribution with Linux-PAM
//! 1.3.1 (2018) or later. It is public, and says nothing that a user of the box could not find out.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use jiff::{Timestamp, ToSpan as _};

use super::NAMED;
use crate::config::settings::{AutostopAction, AutostopSettings};
use crate::write::{open_private_folder, replace_file};

/// The folder, which lasts until the next boot.
const FOLDER: &str = "/run/motd.d";
/// The file in it.
const FILE: &str = "fleetkey";
/// For how long the box is held on by the command that people are told, unless that is more than they may ask for.
const ADVISED: Duration = Duration::from_hours(4);
/// What others need to read what is in the folder.
const READABLE: u32 = 0o055;

/// The rule, and who holds the box on until when.
pub fn text(settings: &AutostopSettings, holds: &[(String, Duration)], now: Timestamp) -> String {
    let after = humantime::format_duration(settings.after);
    let end = match settings.action {
        AutostopAction::Stop => "is stopped",
        AutostopAction::Terminate => "is TERMINATED, its disks with it,",
    };
    let rule = format!(
        "This box {end} after {after} without a session and with little load.\n\
         To hold it off: {}\n",
        advice(settings)
    );
    let hold = |(name, left): &(String, Duration)| {
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        format!("{name} holds it on until {}.\n", minute(now, *left))
    };
    // One that is too long is shown to nobody.
    let more = holds.len().checked_sub(NAMED).filter(|more| *more > 0);
    let more = more.map(|more| format!("So do {more} more.\n"));
    std::iter::once(rule).chain(holds.iter().take(NAMED).map(hold)).chain(more).collect()
}

/// The command that holds the box on, for a time that it allows.
pub(super) fn advice(settings: &AutostopSettings) -> String {
    let time = humantime::format_duration(ADVISED.min(settings.max_stay)).to_string();
    format!("fleetkey-agent stay {}", time.replace(' ', ""))
}

/// The minute in which a time is over.
pub fn minute(now: Timestamp, left: Duration) -> String {
    let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
    let end = now.checked_add(seconds.seconds()).unwrap_or(Timestamp::MAX);
    end.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// Puts the notice up.
pub(super) fn put(text: &str) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(FOLDER)?;
    let folder = File::from(open_private_folder(Path::new(FOLDER)).map_err(io::Error::other)?);
    // Made just now, it has what the service's umask has left of its mode.
    if folder.metadata()?.permissions().mode() & READABLE != READABLE {
        folder.set_permissions(Permissions::from_mode(0o755))?;
    }
    replace_file(folder.as_fd(), OsStr::new(FILE), text.as_bytes(), 0o644).map(|_| ()).map_err(io::Error::other)
}

/// Takes it down.
pub(super) fn remove() -> io::Result<()> {
    match std::fs::remove_file(Path::new(FOLDER).join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_logs_in_is_told_what_becomes_of_the_box_and_who_holds_it_on() {
        let mut settings = AutostopSettings {
            after: Duration::from_hours(2),
            action: AutostopAction::Stop,
            max_load: 0.5,
            max_stay: Duration::from_hours(24),
        };
        let now: Timestamp = "2026-11-28T12:40:59Z".parse().unwrap();
        let holds =
            [("alice".to_owned(), Duration::from_hours(4)), ("b\u{1b}[2Job".to_owned(), Duration::from_mins(1))];
        insta::assert_snapshot!(text(&settings, &holds, now), @r"
        This box is stopped after 2h without a session and with little load.
        To hold it off: fleetkey-agent stay 4h
        alice holds it on until 2026-11-28 16:40 UTC.
        b[2Job holds it on until 2026-11-28 12:41 UTC.
        ");
        settings.action = AutostopAction::Terminate;
        assert!(text(&settings, &[], now).starts_with("This box is TERMINATED, its disks with it, after 2h"));

        // What is told can be done.
        settings.max_stay = Duration::from_mins(90);
        assert_eq!(advice(&settings), "fleetkey-agent stay 1h30m");
        assert!(text(&settings, &[], now).contains("\nTo hold it off: fleetkey-agent stay 1h30m\n"));
    }

    #[test]
    fn t8_a_crowd_that_holds_the_box_on_hides_nothing_of_the_notice() {
        let settings = AutostopSettings {
            after: Duration::from_hours(2),
            action: AutostopAction::Terminate,
            max_load: 0.5,
            max_stay: Duration::from_hours(24),
        };
        let holds: Vec<_> = (0..1000).map(|at| (format!("user {at}"), Duration::from_hours(1))).collect();
        let text = text(&settings, &holds, "2026-11-28T12:40:59Z".parse().unwrap());
        assert!(text.starts_with("This box is TERMINATED") && text.ends_with("\nSo do 990 more.\n"), "{text}");
        assert_eq!(text.lines().count(), 13);
    }
}
