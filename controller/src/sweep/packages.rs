//! Packages of the agent in the bucket that no box runs and no new box would get.
//!
//! The newest of each kind always stays, and so does whatever a box that told of itself says to run. Any other stays for
//! as long as a URL of it can be valid that somebody was given while it was the newest. A box needs the object only
//! while it boots, so that none is harmed whose agent says nothing.

use std::collections::BTreeSet;

use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::ground::{AT_ONCE, Ground};
use super::thing::{Thing, Verdict};
use super::{About, Deleted, Sweep};
use crate::aws::CallError;
use crate::aws::agent_package::{self, LONGEST_VALID, PackagesError};
use crate::aws::bucket::{Bucket, Listed};
use crate::package::{Index, PublishedPackage, digest_of_key};

const KIND: &str = "packages";

/// The kind.
#[derive(Debug)]
pub(super) struct Packages;

impl Sweep for Packages {
    fn about(&self) -> About {
        About { kind: KIND, regional: false, unasked: true, guarded: false }
    }

    fn look<'a>(&'a self, ground: &'a Ground, _: &'a str) -> LocalBoxFuture<'a, Result<Vec<Thing>, CallError>> {
        async move {
            let bucket = &ground.bucket;
            // First the objects: one that is published in between is in the index by then.
            let listed: Vec<(String, Listed)> = bucket
                .list_objects(Index::FOLDER)
                .await?
                .into_iter()
                .filter_map(|listed| Some((digest_of_key(&listed.key)?.to_owned(), listed)))
                .collect();
            if listed.is_empty() {
                return Ok(Vec::new());
            }
            let index = agent_package::index(bucket).await.map_err(|error| call(&error, bucket))?;
            let running = running(ground).await?;
            Ok(listed
                .into_iter()
                .map(|(digest, listed)| judge(&digest, listed, &index, &running, ground.now))
                .collect())
        }
        .boxed_local()
    }

    fn delete<'a>(&'a self, ground: &'a Ground, thing: &'a Thing) -> LocalBoxFuture<'a, Result<Deleted, CallError>> {
        async move {
            let bucket = &ground.bucket;
            // Out of the index first: it must never name what is not there.
            let forgotten = agent_package::forget(bucket, &thing.handle).await;
            if !forgotten.map_err(|error| call(&error, bucket))? {
                return Ok(Deleted::InUse);
            }
            bucket.delete(&thing.id).await.map(|()| Deleted::Gone)
        }
        .boxed_local()
    }
}

fn call(error: &PackagesError, bucket: &Bucket) -> CallError {
    let other = || CallError::answer(format!("s3 GetObject {} in {}", Index::KEY, bucket.name()), error_text(error));
    error.call().cloned().unwrap_or_else(other)
}

fn error_text(error: &PackagesError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

/// The versions that the agents of living instances say to be.
async fn running(ground: &Ground) -> Result<BTreeSet<String>, CallError> {
    #[derive(Deserialize)]
    struct Told {
        agent: String,
    }
    let statuses = ground.statuses().await?;
    let ids: Vec<String> = statuses.keys().cloned().collect();
    let living = ground.living(&ids, &ground.home).await?;
    let told = statuses.iter().filter(|(id, _)| living.contains(*id)).map(|(_, listed)| async move {
        let object = ground.bucket.get(&listed.key).await?.unwrap_or_default();
        Ok::<_, CallError>(serde_json::from_slice::<Told>(&object.body).ok().map(|told| told.agent))
    });
    let told: Vec<Option<String>> = stream::iter(told).buffered(2 * AT_ONCE).try_collect().await?;
    Ok(told.into_iter().flatten().collect())
}

fn judge(digest: &str, listed: Listed, index: &Index, running: &BTreeSet<String>, now: Timestamp) -> Thing {
    let Listed { key, bytes, modified } = listed;
    let published = index.packages().find(|package| package.sha256 == digest && package.key == key);
    let since = published.map_or(modified, |package| index.superseded(package));
    let fetchable = since.is_some_and(|since| {
        now.duration_since(since) < SignedDuration::try_from(LONGEST_VALID).unwrap_or(SignedDuration::MAX)
    });
    let verdict = match published {
        Some(package) if index.newest(package.format, package.arch) == Some(package) => {
            Verdict::Kept(format!("new boxes get it: the newest {} for {}", package.format, package.arch))
        }
        Some(package) if running.iter().any(|version| is_of_version(package, version)) => {
            Verdict::Kept(format!("a box runs version {}", package.version))
        }
        _ if fetchable => Verdict::Kept("a URL of it may still be valid".to_owned()),
        Some(package) => {
            Verdict::Unused(format!("no box runs version {}, and a newer one is published", package.version))
        }
        None => Verdict::Unused("the index does not name it".to_owned()),
    };
    Thing { handle: digest.to_owned(), bytes: Some(bytes), since, ..Thing::new(KIND, key, verdict) }
}

/// Whether an agent of this version may have come from the package: the version of a package may have more at its end, such as
/// the revision of a distribution, and an epoch in front.
fn is_of_version(package: &PublishedPackage, agent: &str) -> bool {
    let version = package.version.split_once(':').map_or(package.version.as_str(), |(_, version)| version);
    let rest = version.strip_prefix(agent).filter(|_| !agent.is_empty());
    rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: &str = "2026-11-21T00:00:00Z";

    fn digest(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    /// An index of packages: digit of the digest, format, version, day of November.
    fn index(packages: &[(char, &str, &str, u32)]) -> Index {
        let packages: Vec<_> = packages
            .iter()
            .map(|(digit, format, version, day)| {
                json!({"key": key(*digit), "sha256": digest(*digit), "version": version, "format": format,
                    "arch": "x86_64", "size": 4, "published_at": format!("2026-11-{day:02}T00:00:00Z"), "published_by": "a"})
            })
            .collect();
        Index::parse(json!({"version": 1, "packages": packages}).to_string().as_bytes()).unwrap()
    }

    fn key(digit: char) -> String {
        format!("agent/{}/fleetkey-agent.deb", digest(digit))
    }

    fn why(digit: char, day: u32, index: &Index, running: &[&str]) -> (bool, String) {
        let modified = Some(format!("2026-11-{day:02}T00:00:00Z").parse().unwrap());
        let listed = Listed { key: key(digit), bytes: 4, modified };
        let running = running.iter().map(ToString::to_string).collect();
        let thing = judge(&digest(digit), listed, index, &running, NOW.parse().unwrap());
        (thing.goes(), thing.why().to_owned())
    }

    #[test]
    fn the_newest_of_each_kind_what_a_box_runs_and_what_can_still_be_fetched_stay() {
        let index = index(&[
            ('1', "deb", "0.1.0", 1),
            ('2', "rpm", "0.1.0-1", 1),
            ('3', "deb", "0.2.0", 2),
            ('4', "deb", "0.3.0", 16),
            ('5', "deb", "0.4.0", 17),
        ]);
        let kept = |why: &str| (false, why.to_owned());
        assert_eq!(why('5', 17, &index, &[]), kept("new boxes get it: the newest deb for x86_64"));
        assert_eq!(why('2', 1, &index, &[]), kept("new boxes get it: the newest rpm for x86_64"));
        assert_eq!(why('1', 1, &index, &["0.1.0"]), kept("a box runs version 0.1.0"));
        // It was the newest until the 17th, and a URL that was signed then is valid for seven days.
        assert_eq!(why('4', 16, &index, &[]), kept("a URL of it may still be valid"));
        // Until the 16th.
        assert_eq!(why('3', 2, &index, &["0.1.0"]), kept("a URL of it may still be valid"));
        let gone = (true, "no box runs version 0.1.0, and a newer one is published".to_owned());
        assert_eq!(why('1', 1, &index, &["0.2.0"]), gone);
    }

    #[test]
    fn an_object_that_the_index_does_not_name_goes_when_it_is_old() {
        let index = index(&[('1', "deb", "0.1.0", 1)]);
        assert_eq!(why('9', 1, &index, &[]), (true, "the index does not name it".to_owned()));
        assert!(!why('9', 20, &index, &[]).0);
    }

    #[test]
    fn an_agent_may_have_come_from_every_package_whose_version_begins_so() {
        let of = |version: &str, agent: &str| {
            let index = index(&[('1', "deb", version, 1)]);
            is_of_version(index.packages().next().unwrap(), agent)
        };
        for version in ["0.1.0", "0.1.0-1", "0.1.0+later", "0.1.0~rc1", "1:0.1.0-1"] {
            assert!(of(version, "0.1.0"), "{version}");
        }
        for (version, agent) in [("0.1.01", "0.1.0"), ("0.1.0.1", "0.1.0"), ("0.2.0", "0.1.0"), ("0.1.0", "")] {
            assert!(!of(version, agent), "{version} {agent}");
        }
    }
}
