//! Calls to AWS, counted for the table. Pure.

use anyhow::Result;

use super::samples::Samples;
use crate::proxy::{Call, count};

/// How many there are.
pub(super) fn total(calls: &[Call]) -> Result<Samples> {
    Samples::one(f64::from(u32::try_from(calls.len())?))
}

/// Each kind and how often it was made: `iam:GetGroup 1, s3:ListObjectsV2 2`.
pub(super) fn listed(calls: &[Call]) -> String {
    let kinds: Vec<String> = count(calls).into_iter().map(|(kind, number)| format!("{kind} {number}")).collect();
    if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") }
}

/// The same in few words where there are many kinds.
pub(super) fn summed_up(calls: &[Call]) -> String {
    const FEW: usize = 4;
    let kinds = count(calls).len();
    if kinds <= FEW { listed(calls) } else { format!("{} of {kinds} kinds", calls.len()) }
}
