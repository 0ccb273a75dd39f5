//! Sources: where the agent gets the facts from which grants are resolved. The fetch stage of the line.
//!
//! A source answers what it was asked and decides nothing. Each part of its answer can fail alone, and a failure is
//! never told as an empty answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use fleetkey_common::key_spec::KeySpec;
use fleetkey_common::names::{GroupName, PersonName};
use fleetkey_common::public_key::{Fingerprint, PublicKey};
use fleetkey_common::registry::{KeyCache, Lookup, Registry};
use futures_util::future::BoxFuture;
use thiserror::Error;

pub mod directory;
#[cfg(feature = "aws")]
pub mod iam;

/// Why one part of an answer could not be had, in one line: what was asked, of whom, and what came back.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Fault(pub Arc<str>);

/// What an IAM group turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    /// The group exists; these are its users, perhaps none.
    Of(BTreeSet<PersonName>),
    /// There is no such group.
    NoSuchGroup,
}

/// All that a source found out about the key specs that it was asked for.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// Set when the source could not be asked at all; everything else is empty then.
    pub unreachable: Option<Fault>,
    /// Every group named by a spec.
    pub groups: BTreeMap<GroupName, Result<Membership, Fault>>,
    /// Every `@user`, and whether the user exists.
    pub users: BTreeMap<PersonName, Result<bool, Fault>>,
    /// For globs: the names that each registry has. Empty when no spec is a glob.
    pub names: BTreeMap<Registry, Result<BTreeSet<PersonName>, Fault>>,
    /// What each registry has of each person whom some spec led to.
    pub keys: BTreeMap<PersonName, BTreeMap<Registry, Lookup>>,
    /// The keys that are barred whatever else holds them. `None`: this source keeps no such list.
    pub revoked: Option<Result<BTreeSet<Fingerprint>, Fault>>,
}

impl Findings {
    /// Nothing was found out, because of this.
    pub fn unreachable(fault: Fault) -> Self {
        Self { unreachable: Some(fault), ..Self::default() }
    }
}

/// Where the agent gets its facts from.
pub trait Source: fmt::Debug + Send + Sync {
    /// Finds out about `specs`. Bodies of keys that `cache` holds unchanged are not fetched again.
    fn fetch<'a>(&'a self, specs: &'a BTreeSet<KeySpec>, cache: &'a KeyCache) -> BoxFuture<'a, Findings>;

    /// Which of these keys, seen in a key file, any registry holds.
    fn known<'a>(&'a self, candidates: &'a [PublicKey]) -> BoxFuture<'a, Result<BTreeSet<Fingerprint>, Fault>>;
}
