//! A name that fits no box: what it would have fitted is looked for, on the way out, and named.

use fleetkey_common::aws_names::AbsoluteName;

use crate::aws::instances;
use crate::fleet::Fleet;
use crate::near;
use crate::refusal::Refusal;

/// Hints for a name of which there is no box. One more call to EC2; if it fails there are none.
pub(super) async fn hints(fleet: &Fleet, name: &AbsoluteName) -> Vec<String> {
    let seen = instances::near(&fleet.ec2, name, &fleet.namespace).await.unwrap_or_default();
    let seen: Vec<AbsoluteName> = seen.into_iter().map(|found| found.name).collect();
    near::hints(name, &fleet.namespace, &seen)
}

/// The refusal with such hints.
pub(super) async fn explain(fleet: &Fleet, name: &AbsoluteName, refusal: Refusal) -> Refusal {
    hints(fleet, name).await.into_iter().fold(refusal, Refusal::hint)
}
