//! What a person should know about an answer that was had: it is said, and stops nothing.

use std::fmt;
use std::sync::Arc;

use fleetkey_common::names::{GroupName, PersonName};
use fleetkey_common::public_key::Fingerprint;
use fleetkey_common::registry::Registry;

/// Something that a person should know about an answer that was had.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Notice {
    /// A grant names a group that does not exist.
    NoSuchGroup(GroupName),
    /// A grant names an IAM user who does not exist.
    NoSuchUser(PersonName),
    /// A person is named, and no registry has a key of theirs.
    NoKeys(PersonName),
    /// A key that a registry holds was refused.
    Rejected {
        /// Whose key it is.
        person: PersonName,
        /// Who holds it.
        registry: Registry,
        /// Where it stands there.
        place: Arc<str>,
        /// What is wrong with it.
        reason: String,
    },
    /// A granted key is registered with restrictions that no line can say together.
    Clash {
        /// Whose key it is.
        person: PersonName,
        /// Which.
        fingerprint: Fingerprint,
    },
    /// A granted key is barred.
    Revoked {
        /// Whose key it is.
        person: PersonName,
        /// Which.
        fingerprint: Fingerprint,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::NoSuchGroup(group) => write!(f, "there is no IAM group {group}: @@{group} lets nobody in"),
            Notice::NoSuchUser(person) => write!(f, "there is no IAM user {person}: @{person} lets nobody in"),
            Notice::NoKeys(person) => write!(f, "no registry has a key of {person}"),
            Notice::Rejected { person, registry, place, reason } => {
                write!(f, "a key of {person} was refused ({registry}, {place}): {reason}")
            }
            Notice::Clash { person, fingerprint } => {
                write!(
                    f,
                    "key {fingerprint} of {person} is left out: where it is registered, different from= or command= are asked for"
                )
            }
            Notice::Revoked { person, fingerprint } => write!(f, "key {fingerprint} of {person} is revoked"),
        }
    }
}
