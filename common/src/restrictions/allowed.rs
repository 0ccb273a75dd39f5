//! Option lists of registered keys: read as sshd reads them, and held against what is allowed.
//!
//! An option that is not understood whole is refused: nothing is passed on unread.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use thiserror::Error;

use super::{PERMISSIONS, Restrictions, SINGLE, time_zone_of_the_box};

/// How an option is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `name`
    Flag,
    /// `name="value"`
    Value,
}

/// Who may let an option in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// It takes something away: let in by default.
    Default,
    /// It gives something: let in where the box's configuration names it.
    Extra,
    /// It makes something else of the key than a person's way in.
    Never,
}

/// The options of sshd(8), spelt as there.
const KNOWN: [(&str, Form, Rule); 23] = [
    ("restrict", Form::Flag, Rule::Default),
    ("no-agent-forwarding", Form::Flag, Rule::Default),
    ("no-port-forwarding", Form::Flag, Rule::Default),
    ("no-pty", Form::Flag, Rule::Default),
    ("no-user-rc", Form::Flag, Rule::Default),
    ("no-X11-forwarding", Form::Flag, Rule::Default),
    ("verify-required", Form::Flag, Rule::Default),
    ("from", Form::Value, Rule::Default),
    ("expiry-time", Form::Value, Rule::Default),
    ("agent-forwarding", Form::Flag, Rule::Extra),
    ("port-forwarding", Form::Flag, Rule::Extra),
    ("pty", Form::Flag, Rule::Extra),
    ("user-rc", Form::Flag, Rule::Extra),
    ("X11-forwarding", Form::Flag, Rule::Extra),
    ("no-touch-required", Form::Flag, Rule::Extra),
    ("command", Form::Value, Rule::Extra),
    ("environment", Form::Value, Rule::Extra),
    ("permitlisten", Form::Value, Rule::Extra),
    ("permitopen", Form::Value, Rule::Extra),
    ("cert-authority", Form::Flag, Rule::Never),
    ("principals", Form::Value, Rule::Never),
    ("tunnel", Form::Value, Rule::Never),
    ("no-verify-required", Form::Flag, Rule::Never),
];

/// The longest option list that is read, in bytes.
const MAX_OPTIONS: usize = 8 * 1024;

/// The options that registered keys may carry, and the time zone in which their times are meant.
#[derive(Debug, Clone)]
pub struct AllowedOptions {
    extra: BTreeSet<&'static str>,
    time_zone: TimeZone,
}

/// A name that cannot be put on the allow-list.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnknownOption {
    /// sshd has no such option.
    #[error("{0:?} is not an option of sshd that registered keys can carry; it can be one of {known}", known = extras())]
    Unknown(String),
    /// It would make something else of the key than a person's way in.
    #[error("option {0} cannot be allowed: it makes of a registered key something else than one person's way in")]
    Never(&'static str),
}

/// Why an option list is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OptionError {
    /// The list is longer than any that is meant well.
    #[error("they are longer than {MAX_OPTIONS} bytes")]
    TooLong,
    /// A value that does not begin or end with a quote, or goes on behind it.
    #[error("the quotes around a value are broken; write name=\"value\", with \\\" for a quote within")]
    Quotes,
    /// Nothing stands between two commas, or before the first, or behind the last.
    #[error("one of them is empty; take the superfluous comma out")]
    Empty,
    /// sshd has no such option.
    #[error("one of them is none that sshd knows; sshd would refuse the key")]
    Unknown,
    /// The option is known, and not on the allow-list.
    #[error("option {0} is not allowed in registered keys; take it out, or allow it in the box's configuration")]
    NotAllowed(&'static str),
    /// The option needs a value.
    #[error("option {0} needs a value, as in {0}=\"value\"")]
    NoValue(&'static str),
    /// The option takes no value.
    #[error("option {0} takes no value")]
    Superfluous(&'static str),
    /// sshd refuses a line that has this option twice.
    #[error("option {0} is given twice; sshd would refuse the key")]
    Twice(&'static str),
    /// The value of `from` has what no host name, address or pattern has.
    #[error("option from is no list of host names, addresses, networks (10.0.0.0/8) and patterns with * and ?")]
    From,
    /// The value of `expiry-time` is not a time.
    #[error("option expiry-time is no time; write YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with Z behind it for UTC")]
    ExpiryTime,
}

impl Default for AllowedOptions {
    /// `restrict`, `no-agent-forwarding`, `no-port-forwarding`, `no-pty`, `no-user-rc`, `no-X11-forwarding`,
    /// `verify-required`, `from=` and `expiry-time=`; times are those of [`time_zone_of_the_box`].
    fn default() -> Self {
        Self { extra: BTreeSet::new(), time_zone: time_zone_of_the_box() }
    }
}

impl AllowedOptions {
    /// The default ones, and these names, in any case: `command`, `environment`, `permitopen`, `permitlisten`, `pty`,
    /// `agent-forwarding`, `port-forwarding`, `user-rc`, `X11-forwarding`, `no-touch-required`.
    ///
    /// `cert-authority`, `principals` and `tunnel` cannot be allowed: what they let in ends neither with its person
    /// nor with their key.
    pub fn with(extra: &[String]) -> Result<Self, UnknownOption> {
        let mut allowed = Self::default();
        for name in extra {
            match known(name) {
                None => return Err(UnknownOption::Unknown(name.chars().take(100).collect())),
                Some((name, _, Rule::Never)) => return Err(UnknownOption::Never(name)),
                Some((_, _, Rule::Default)) => {}
                Some((name, _, Rule::Extra)) => {
                    allowed.extra.insert(name);
                }
            }
        }
        Ok(allowed)
    }

    /// The same, with times that name no zone read as times of `time_zone`.
    #[must_use]
    pub fn in_time_zone(self, time_zone: TimeZone) -> Self {
        Self { time_zone, ..self }
    }

    /// Reads an option list: what stands before the key in a line of `authorized_keys`.
    pub fn parse(&self, list: &str) -> Result<Restrictions, OptionError> {
        if list.len() > MAX_OPTIONS {
            return Err(OptionError::TooLong);
        }
        let mut restrictions = Restrictions::default();
        for option in split(list)? {
            let (given, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
            let (name, form, rule) = known(given).ok_or(OptionError::Unknown)?;
            if rule != Rule::Default && !self.extra.contains(name) {
                return Err(OptionError::NotAllowed(name));
            }
            match (form, value) {
                (Form::Flag, None) => flag(&mut restrictions.options, name),
                (Form::Flag, Some(_)) => return Err(OptionError::Superfluous(name)),
                (Form::Value, None) => return Err(OptionError::NoValue(name)),
                (Form::Value, Some(value)) => self.value(&mut restrictions, name, &dequote(value)?)?,
            }
        }
        Ok(restrictions)
    }

    fn value(&self, restrictions: &mut Restrictions, name: &'static str, value: &str) -> Result<(), OptionError> {
        match name {
            "expiry-time" => {
                let expires = expiry_time(value, &self.time_zone).ok_or(OptionError::ExpiryTime)?;
                // sshd, too, takes the earliest of several.
                restrictions.expires = Some(restrictions.expires.map_or(expires, |other| other.min(expires)));
                return Ok(());
            }
            "from" if !is_host_list(value) => return Err(OptionError::From),
            _ if SINGLE.contains(&name) && !restrictions.all(name).is_empty() => return Err(OptionError::Twice(name)),
            _ => {}
        }
        restrictions.options.insert(format!("{name}=\"{}\"", value.replace('"', "\\\"")));
        Ok(())
    }
}

/// The names that can be added to the allow-list, for a message.
fn extras() -> String {
    let names: Vec<_> = KNOWN.iter().filter(|(_, _, rule)| *rule == Rule::Extra).map(|(name, ..)| *name).collect();
    names.join(", ")
}

/// Names count in any case, as in sshd.
fn known(name: &str) -> Option<(&'static str, Form, Rule)> {
    KNOWN.into_iter().find(|(known, ..)| known.eq_ignore_ascii_case(name))
}

/// Cuts a list at its commas, those within quotes aside.
fn split(list: &str) -> Result<Vec<&str>, OptionError> {
    let mut options = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    let bytes = list.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'"' if !escaped => quoted = !quoted,
            b',' if !quoted => {
                options.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        // A backslash stands for itself unless a quote follows.
        escaped = byte == b'\\' && bytes.get(at + 1) == Some(&b'"');
    }
    if quoted {
        return Err(OptionError::Quotes);
    }
    options.push(&list[start..]);
    if options.iter().any(|option| option.is_empty()) { Err(OptionError::Empty) } else { Ok(options) }
}

/// The value between two quotes. A quote within stands behind a backslash; a backslash else stands for itself.
fn dequote(text: &str) -> Result<String, OptionError> {
    let mut rest = text.strip_prefix('"').ok_or(OptionError::Quotes)?.chars().peekable();
    let mut value = String::new();
    while let Some(c) = rest.next() {
        match c {
            '\\' if rest.peek() == Some(&'"') => value.extend(rest.next()),
            '"' if rest.peek().is_none() => return Ok(value),
            '"' => return Err(OptionError::Quotes),
            c => value.push(c),
        }
    }
    Err(OptionError::Quotes)
}

/// Puts a flag to those on its left as sshd does, where the last word counts, and leaves out what says nothing.
fn flag(options: &mut BTreeSet<String>, name: &'static str) {
    if name == "restrict" {
        options.retain(|option| !PERMISSIONS.contains(&option.as_str()));
    } else if PERMISSIONS.contains(&name) {
        options.remove(&format!("no-{name}"));
        if !options.contains("restrict") {
            return;
        }
    } else if let Some(permission) = name.strip_prefix("no-").filter(|rest| PERMISSIONS.contains(rest)) {
        options.remove(permission);
    }
    options.insert(name.to_owned());
}

/// Whether a value of `from` has only what host names, addresses, networks and patterns of ssh_config(5) are made of.
fn is_host_list(value: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-_:/*?".contains(c);
    value
        .split(',')
        .map(|host| host.strip_prefix('!').unwrap_or(host))
        .all(|host| !host.is_empty() && host.chars().all(fits))
}

/// The moment that a value of `expiry-time` names: `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, in UTC with `Z`,
/// else in `time_zone`, the earlier one where a clock is put back.
fn expiry_time(value: &str, time_zone: &TimeZone) -> Option<Timestamp> {
    let (digits, utc) = value.strip_suffix(['Z', 'z']).map_or((value, false), |digits| (digits, true));
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || !matches!(digits.len(), 8 | 12 | 14) {
        return None;
    }
    let number = |at: usize, length: usize| digits.get(at..at + length).map_or(Some(0), |text| text.parse::<i8>().ok());
    let year = digits[..4].parse().ok()?;
    let time =
        DateTime::new(year, number(4, 2)?, number(6, 2)?, number(8, 2)?, number(10, 2)?, number(12, 2)?, 0).ok()?;
    if utc { Offset::UTC.to_timestamp(time).ok() } else { time_zone.to_ambiguous_timestamp(time).earlier().ok() }
}
