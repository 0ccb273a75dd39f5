//! What nobody uses any more: looked for, shown, deleted.
//!
//! | module | holds |
//! | --- | --- |
//! | a file for each kind of thing | what there is of it, which of it is in use, and how one is deleted |
//! | `thing` | one such thing, and whether it goes |
//! | `ground` | where is looked, and what several kinds need to know |
//! | `course` | all kinds in all regions: looked for at once, deleted one kind after another |
//! | `report` | how it is shown |
//!
//! A further kind is a file here and a line in [`KINDS`]. Each kind looks at the things first and at their users
//! afterwards, so that what is made in between has its users seen. What it could not look at whole it says to be an
//! error, never to be unused.

use futures_util::future::LocalBoxFuture;

use crate::aws::CallError;

pub(crate) mod course;
pub(crate) mod ground;
mod groups;
mod keys;
mod packages;
mod profiles;
mod queues;
pub(crate) mod report;
mod snapshots;
mod status;
mod thing;
mod volumes;

use ground::Ground;
pub(crate) use thing::Thing;

/// All kinds, in the order in which they are deleted: what a dead box says of itself goes last, since it tells when the
/// box was last alive.
pub(crate) static KINDS: [&(dyn Sweep + Sync); 9] = [
    &snapshots::Snapshots,
    &volumes::Volumes { of_data: false },
    &volumes::Volumes { of_data: true },
    &groups::Groups,
    &profiles::Profiles,
    &queues::Queues,
    &keys::Keys,
    &packages::Packages,
    &status::Status,
];

/// Tag: whatever carries it, with whatever value, is never swept.
const KEEP_TAG: &str = "fleetkey:keep";

/// What is to be known of a kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About {
    /// Its name on the command line.
    pub(crate) kind: &'static str,
    /// Whether each region has its own.
    pub(crate) regional: bool,
    /// Whether it is swept where no kind is named.
    pub(crate) unasked: bool,
    /// Whether AWS itself deletes none that is in use, or what is of no use once cannot be of use again. What it does not
    /// guard is looked at once more right before.
    pub(crate) guarded: bool,
}

/// A kind of thing that can be swept.
pub(crate) trait Sweep {
    /// What is to be known of the kind.
    fn about(&self) -> About;

    /// All things of the kind that are Fleetkey's, in use or not: of one region, or of the account.
    ///
    /// # Errors
    /// When anything that says what is in use cannot be asked.
    fn look<'a>(&'a self, ground: &'a Ground, region: &'a str) -> LocalBoxFuture<'a, Result<Vec<Thing>, CallError>>;

    /// Deletes one thing.
    ///
    /// # Errors
    /// When it is there still, for another reason than that it is in use by now.
    fn delete<'a>(&'a self, ground: &'a Ground, thing: &'a Thing) -> LocalBoxFuture<'a, Result<Deleted, CallError>>;
}

/// What came of deleting a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deleted {
    /// It is gone.
    Gone,
    /// It is in use by now, and stays.
    InUse,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_only_those_of_data_must_be_named() {
        let names: BTreeSet<_> = KINDS.iter().map(|sweep| sweep.about().kind).collect();
        assert_eq!(names.len(), KINDS.len());
        let asked: Vec<_> = KINDS.iter().map(|sweep| sweep.about()).filter(|about| !about.unasked).collect();
        assert_eq!(asked.iter().map(|about| about.kind).collect::<Vec<_>>(), ["data-volumes"]);
    }
}
