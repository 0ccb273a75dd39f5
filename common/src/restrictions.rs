//! What a registered key may be used for: the options of sshd(8), `AUTHORIZED_KEYS FILE FORMAT`, that Fleetkey hands on.
//!
//! Only options on an allow-list get through. By default these are the ones that take something away.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

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

impl Restrictions {
    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        self.options.is_empty() && self.expires.is_none()
    }

    /// Both together, for a key that is registered twice: the options of either, and the earlier expiry.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let expires = match (self.expires, other.expires) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self { options: self.options.union(&other.options).cloned().collect(), expires }
    }

    /// Whether the key is past its expiry at `now`.
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}
