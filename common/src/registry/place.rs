//! From the bytes at one place of a registry to keys: the part that all registries share, without any network.
//!
//! One bad key costs itself alone, and is told; nothing bad is mended.

use std::sync::Arc;

use jiff::Timestamp;

use super::cache::{never_cached, version_of};
use super::{Lookup, RegisteredKey, Rejected};
use crate::key_line;
use crate::public_key::PublicKey;
use crate::restrictions::{AllowedOptions, Restrictions};

/// What stands at one place, but for its bytes.
pub(super) struct Place<'a> {
    /// As in [`RegisteredKey::place`].
    pub(super) name: &'a Arc<str>,
    /// The place's own version.
    pub(super) version: &'a str,
    /// Options that keys may carry.
    pub(super) allowed: &'a AllowedOptions,
    /// When all keys of the place expire, beside what each says itself.
    pub(super) expires: Option<Timestamp>,
}

impl Place<'_> {
    /// The keys in `body` that are well formed and that `check` lets pass; the others with their reasons.
    pub(super) fn read(&self, body: &[u8], check: impl Fn(&PublicKey) -> Result<(), String>) -> Lookup {
        let mut lookup = Lookup::default();
        for line in key_line::registered(body, self.allowed) {
            let checked = line.map_err(|error| words(&error)).and_then(|accepted| {
                check(&accepted.key)?;
                Ok(accepted)
            });
            match checked {
                Ok(accepted) => {
                    let own = Restrictions { expires: self.expires, ..Restrictions::default() };
                    let key = RegisteredKey {
                        key: accepted.key,
                        restrictions: accepted.restrictions.and(&own),
                        place: Arc::clone(self.name),
                        version: never_cached(),
                    };
                    if !lookup.keys.contains(&key) {
                        lookup.keys.push(key);
                    }
                }
                Err(reason) => lookup.rejected.push(self.rejected(reason)),
            }
        }
        if lookup.keys.is_empty() && lookup.rejected.is_empty() {
            lookup.rejected.push(self.rejected("it holds no key".to_owned()));
        }
        // A place with a bad key is read again each time, so that its fault is told until it is mended.
        if lookup.rejected.is_empty() {
            let version = version_of(self.version, lookup.keys.len());
            for key in &mut lookup.keys {
                key.version = Arc::clone(&version);
            }
        }
        lookup
    }

    /// The place as one that is refused whole.
    pub(super) fn refused(&self, reason: impl Into<String>) -> Lookup {
        Lookup { rejected: vec![self.rejected(reason.into())], ..Lookup::default() }
    }

    fn rejected(&self, reason: String) -> Rejected {
        Rejected { place: Arc::clone(self.name), reason }
    }
}

/// An error and its causes in one line.
pub(super) fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
