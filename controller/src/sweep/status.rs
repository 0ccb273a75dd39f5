//! What agents have said of themselves, in the bucket, when their instances are gone.

use std::collections::BTreeSet;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

use super::ground::Ground;
use super::thing::{Thing, Verdict};
use super::{About, Deleted, Sweep};
use crate::aws::CallError;
use crate::aws::bucket::Listed;

const KIND: &str = "status";

/// The kind.
#[derive(Debug)]
pub(super) struct Status;

impl Sweep for Status {
    fn about(&self) -> About {
        // The id of an instance never comes back.
        About { kind: KIND, regional: false, unasked: true, guarded: true }
    }

    fn look<'a>(&'a self, ground: &'a Ground, _: &'a str) -> LocalBoxFuture<'a, Result<Vec<Thing>, CallError>> {
        async move {
            let statuses = ground.statuses().await?;
            let ids: Vec<String> = statuses.keys().cloned().collect();
            let living = ground.living(&ids, &ground.home).await?;
            Ok(statuses.iter().map(|(id, listed)| judge(id, listed.clone(), &living)).collect())
        }
        .boxed_local()
    }

    fn delete<'a>(&'a self, ground: &'a Ground, thing: &'a Thing) -> LocalBoxFuture<'a, Result<Deleted, CallError>> {
        async move { ground.bucket.delete(&thing.id).await.map(|()| Deleted::Gone) }.boxed_local()
    }
}

fn judge(id: &str, listed: Listed, living: &BTreeSet<String>) -> Thing {
    let verdict = if living.contains(id) {
        Verdict::Kept("its instance is there".to_owned())
    } else {
        Verdict::Unused(format!("instance {id} is gone"))
    };
    let Listed { key, bytes, modified } = listed;
    Thing { since: modified, bytes: Some(bytes), ..Thing::new(KIND, key, verdict) }
}
