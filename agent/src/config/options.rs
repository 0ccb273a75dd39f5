//! The options of sshd(8), `AUTHORIZED_KEYS FILE FORMAT`, that `render.allowed_options` can name.
//!
//! Which ones can be allowed is for [`AllowedOptions`] alone to say; here it is only said so that an operator can act
//! on it.

use fleetkey_common::did_you_mean::did_you_mean;
use fleetkey_common::restrictions::{AllowedOptions, UnknownOption};

/// Options that give something, or change what a login does: only by leave of the configuration.
const BY_LEAVE: &[&str] = &[
    "agent-forwarding",
    "command",
    "environment",
    "no-touch-required",
    "permitlisten",
    "permitopen",
    "port-forwarding",
    "pty",
    "user-rc",
    "X11-forwarding",
];

/// An option to be allowed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// It is allowed only because it is named, in sshd's own spelling.
    ByLeave(&'static str),
    /// It would be anyway, since it only takes away.
    Always,
}

/// The option of that name; case does not count, as in sshd.
pub(super) fn allowed(text: &str) -> Result<Allowed, String> {
    match AllowedOptions::with(&[text.to_owned()]) {
        Ok(_) => {
            let by_leave = BY_LEAVE.iter().find(|name| name.eq_ignore_ascii_case(text));
            Ok(by_leave.map_or(Allowed::Always, |name| Allowed::ByLeave(name)))
        }
        Err(error @ UnknownOption::Never(_)) => Err(error.to_string()),
        Err(UnknownOption::Unknown(_)) => Err(unknown(text)),
    }
}

fn unknown(text: &str) -> String {
    if let Some((name, _)) = text.split_once('=') {
        return format!("{text:?} has a value; give the option's name alone, {name:?}");
    }
    let hint = match did_you_mean(text, BY_LEAVE) {
        hint if hint.is_empty() => format!("; known are {}", BY_LEAVE.join(", ")),
        hint => hint,
    };
    format!("{text:?} is no option of authorized_keys{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t6_an_option_is_allowed_by_its_name_alone_in_the_spelling_of_sshd() {
        assert_eq!(allowed("Command"), Ok(Allowed::ByLeave("command")));
        assert_eq!(allowed("x11-forwarding"), Ok(Allowed::ByLeave("X11-forwarding")));
        assert_eq!(allowed("restrict"), Ok(Allowed::Always));
        assert_eq!(
            allowed("command=\"ls\"").unwrap_err(),
            "\"command=\\\"ls\\\"\" has a value; give the option's name alone, \"command\""
        );
        assert_eq!(
            allowed("comand").unwrap_err(),
            "\"comand\" is no option of authorized_keys (did you mean \"command\"?)"
        );
        assert!(allowed("").unwrap_err().contains("known are agent-forwarding, command"));
    }

    #[test]
    fn t6_what_the_reader_of_keys_never_allows_is_refused_here_and_what_is_offered_here_it_takes() {
        for never in ["cert-authority", "principals", "tunnel", "no-verify-required"] {
            assert!(allowed(never).unwrap_err().contains("cannot be allowed"), "{never}");
        }
        for name in BY_LEAVE {
            assert_eq!(allowed(name), Ok(Allowed::ByLeave(name)));
        }
    }
}
