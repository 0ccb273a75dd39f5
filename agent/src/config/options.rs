//! The options of sshd(8), `AUTHORIZED_KEYS FILE FORMAT`, that `render.allowed_options` can name.
//!
//! Only the names are checked here; the values of options are the business of whatever reads registered keys.

use super::problem::did_you_mean;

/// Options that only take something away: registered keys may always carry them.
const ALWAYS: &[&str] = &[
    "expiry-time",
    "from",
    "no-agent-forwarding",
    "no-port-forwarding",
    "no-pty",
    "no-user-rc",
    "no-X11-forwarding",
    "restrict",
    "verify-required",
];

/// Options that give something, or change what a login does: only by leave of the configuration.
const BY_LEAVE: &[&str] = &[
    "agent-forwarding",
    "cert-authority",
    "command",
    "environment",
    "no-touch-required",
    "permitlisten",
    "permitopen",
    "port-forwarding",
    "principals",
    "pty",
    "tunnel",
    "user-rc",
    "X11-forwarding",
];

/// An option to be allowed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// It is allowed only because it is named, in sshd's own spelling.
    ByLeave(&'static str),
    /// It would be anyway.
    Always(&'static str),
}

/// The option of that name; case does not count, as in sshd.
pub(super) fn allowed(text: &str) -> Result<Allowed, String> {
    let find = |names: &[&'static str]| names.iter().copied().find(|name| name.eq_ignore_ascii_case(text));
    if let Some(name) = find(BY_LEAVE) {
        return Ok(Allowed::ByLeave(name));
    }
    if let Some(name) = find(ALWAYS) {
        return Ok(Allowed::Always(name));
    }
    if let Some((name, _)) = text.split_once('=') {
        return Err(format!("{text:?} has a value; give the option's name alone, {name:?}"));
    }
    let hint = match did_you_mean(text, BY_LEAVE) {
        hint if hint.is_empty() => format!("; known are {}", BY_LEAVE.join(", ")),
        hint => hint,
    };
    Err(format!("{text:?} is no option of authorized_keys{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t6_an_option_is_allowed_by_its_name_alone_in_the_spelling_of_sshd() {
        assert_eq!(allowed("Command"), Ok(Allowed::ByLeave("command")));
        assert_eq!(allowed("x11-forwarding"), Ok(Allowed::ByLeave("X11-forwarding")));
        assert_eq!(allowed("restrict"), Ok(Allowed::Always("restrict")));
        assert_eq!(
            allowed("command=\"ls\"").unwrap_err(),
            "\"command=\\\"ls\\\"\" has a value; give the option's name alone, \"command\""
        );
        assert_eq!(
            allowed("comand").unwrap_err(),
            "\"comand\" is no option of authorized_keys (did you mean \"command\"?)"
        );
        assert!(allowed("").is_err());
    }
}
