//! What a registered key may be used for: the options of sshd(8), `AUTHORIZED_KEYS FILE FORMAT`, that Fleetkey hands on.
//!
//! Only options on an allow-list get through. By default these are the ones that take something away. Nothing here
//! may ever let a key do more than each place that it is registered at says.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::{Dst, TimeZone};
use serde::{Deserialize, Serialize};

mod allowed;
#[cfg(test)]
mod tests;

pub use allowed::{AllowedOptions, OptionError, UnknownOption};

/// What a key may do unless an option says otherwise, each taken away by `no-...` or by `restrict`, and given back
/// behind `restrict` by its own name.
const PERMISSIONS: [&str; 5] = ["X11-forwarding", "agent-forwarding", "port-forwarding", "pty", "user-rc"];

/// Options of which sshd takes one in a line, and refuses a line with two.
const SINGLE: [&str; 2] = ["command", "from"];

/// Options that list what may be done: two lists together allow what is in both.
const LISTS: [&str; 2] = ["permitlisten", "permitopen"];

/// Options that give something beyond a permission: kept if both sides give it.
const GIFTS: [&str; 2] = ["environment", "no-touch-required"];

/// Options of one key: none, for most.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Restrictions {
    /// Options other than `expiry-time`, each as it stands in `authorized_keys`: `no-pty`, `from="10.0.0.0/8"`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub options: BTreeSet<String>,
    /// The moment from which the key lets nobody in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// Where a box keeps its time zone; see localtime(5).
const LOCAL_TIME: &str = "/etc/localtime";

/// The time zone in which this box's sshd reads times: what `/etc/localtime` says, and UTC where it says nothing, as in
/// tzset(3).
///
/// Not `$TZ`, by which whoever starts the agent would shift when keys expire.
pub fn time_zone_of_the_box() -> TimeZone {
    let data = std::fs::read(LOCAL_TIME).unwrap_or_default();
    TimeZone::tzif("", &data).unwrap_or(TimeZone::UTC)
}

impl Restrictions {
    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        self.options.is_empty() && self.expires.is_none()
    }

    /// Both together, for a key that is registered twice: what neither forbids, until the earlier expiry.
    ///
    /// The key may then do no more than under either. Where two options cannot stand in one line (two `from=`, two
    /// `command=`), both are kept and the outcome is [`contradictory`](Self::contradictory).
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let expires = match (self.expires, other.expires) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let mut options: BTreeSet<String> = self
            .options
            .union(&other.options)
            .filter(|option| {
                let name = name_of(option);
                if PERMISSIONS.contains(&name) {
                    self.permits(name) && other.permits(name)
                } else {
                    !GIFTS.contains(&name) || (self.options.contains(*option) && other.options.contains(*option))
                }
            })
            .cloned()
            .collect();
        for list in LISTS {
            let (ours, theirs) = (self.all(list), other.all(list));
            if ours.is_empty() || theirs.is_empty() {
                continue;
            }
            options.retain(|option| name_of(option) != list || (ours.contains(option) && theirs.contains(option)));
            if ours.is_disjoint(&theirs) {
                // Nothing is in both lists, and an empty list would allow everything.
                options.insert("no-port-forwarding".to_owned());
            }
        }
        if options.contains("no-port-forwarding") {
            options.retain(|option| option != "port-forwarding" && !LISTS.contains(&name_of(option)));
        }
        Self { options, expires }
    }

    /// Whether no line of `authorized_keys` can say this: two places that hold the key want it let in from different
    /// hosts, or with different commands.
    ///
    /// sshd takes one `from=` and one `command=` in a line. Choosing either would be laxer than the other, so such a
    /// key is not to be handed out. Should its line be written all the same, sshd refuses it: both options stand in it.
    pub fn contradictory(&self) -> bool {
        SINGLE.iter().any(|single| self.all(single).len() > 1)
    }

    /// Whether the key is past its expiry at `now`.
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// The options as they stand before the key in `authorized_keys`: sorted, with commas, empty if there are none.
    ///
    /// What gives a permission back stands last, since sshd reads from left to right and `restrict` takes all away.
    /// The expiry is left out without `expiry_time`. It is written as a time of `time_zone`, the box's own, since
    /// sshd before 9.1 does not know the `Z` of UTC, and never later than it is.
    pub fn to_options(&self, time_zone: &TimeZone, expiry_time: bool) -> String {
        let (given_back, mut options): (Vec<&str>, Vec<&str>) =
            self.options.iter().map(String::as_str).partition(|option| PERMISSIONS.contains(option));
        let expiry = self.expires.filter(|_| expiry_time).map(|expires| expiry_option(expires, time_zone));
        options.extend(expiry.as_deref());
        options.sort_unstable();
        options.extend(given_back);
        options.join(",")
    }

    /// Whether one of [`PERMISSIONS`] is left.
    fn permits(&self, permission: &str) -> bool {
        let has = |option: &str| self.options.contains(option);
        !has(&format!("no-{permission}")) && (!has("restrict") || has(permission))
    }

    /// Every option of that name.
    fn all(&self, name: &str) -> BTreeSet<&String> {
        self.options.iter().filter(|option| name_of(option) == name).collect()
    }
}

/// The name of an option as it stands in [`Restrictions::options`].
fn name_of(option: &str) -> &str {
    option.split_once('=').map_or(option, |(name, _)| name)
}

/// `expiry-time="YYYYMMDDHHMMSS"`, a time of `time_zone`.
///
/// sshd has mktime(3) read it with `tm_isdst` 0, that is as standard time, also in summer (glibc), or as whatever
/// time is in force (others). The smaller of the two offsets from UTC gives a time that none of them takes for later.
fn expiry_option(expires: Timestamp, time_zone: &TimeZone) -> String {
    // sshd refuses the time 0 and takes one before it for the far future; what expired then has expired long since.
    let earliest = Timestamp::from_second(2 * 24 * 3600).unwrap_or(Timestamp::UNIX_EPOCH);
    let expires = expires.max(earliest);
    let in_force = time_zone.to_offset_info(expires);
    let mut offset = in_force.offset();
    if in_force.dst() == Dst::Yes {
        let standard_before = time_zone.preceding(expires).find(|change| change.dst() == Dst::No);
        let standard_after = time_zone.following(expires).find(|change| change.dst() == Dst::No);
        for standard in standard_before.into_iter().chain(standard_after) {
            offset = offset.min(standard.offset());
        }
    }
    // Cut to the second, which for times after 1970 is the earlier one.
    format!("expiry-time=\"{}\"", offset.to_datetime(expires).strftime("%Y%m%d%H%M%S"))
}
