//! Keys of key pairs in the bucket, `ssh_pubkey:...`, that no region's key pair and no person uses.
//!
//! One bucket serves all regions, so that a key that no pair of one region has may be that of another: either every
//! region says so, or no key goes (fault 9 of CGCloud). What does not look like such a key is somebody else's.

use std::collections::BTreeSet;

use fleetkey_common::bucket::{SSH_PUBKEY, parse_ssh_pubkey_key};
use fleetkey_common::public_key::{Ec2Fingerprint, Fingerprint, PublicKey};
use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use super::ground::{AT_ONCE, Ground};
use super::thing::{Thing, Verdict};
use super::{About, Deleted, Sweep};
use crate::aws::bucket::Listed;
use crate::aws::{CallError, key_pairs};
use crate::holdings;

const KIND: &str = "keys";

/// The kind.
#[derive(Debug)]
pub(super) struct Keys;

/// By what keys are in use.
#[derive(Debug, Default)]
struct Used {
    /// What EC2 calls the keys of all pairs of all regions, in its words and in ours.
    pairs: BTreeSet<String>,
    /// The keys themselves, of pairs whose public half EC2 tells.
    halves: BTreeSet<Fingerprint>,
    /// The keys of all persons in the bucket.
    people: BTreeSet<Fingerprint>,
}

impl Used {
    /// Whether a key pair has the key of this object, by the object's name.
    fn by_name(&self, fingerprint: Ec2Fingerprint, key: &str) -> bool {
        let name = key.strip_prefix(SSH_PUBKEY).unwrap_or(key);
        self.pairs.contains(name) || self.pairs.contains(&fingerprint.to_string())
    }
}

/// A key in the bucket.
struct Named {
    listed: Listed,
    fingerprint: Ec2Fingerprint,
    /// The keys in it, for one whose name alone does not tell that it is in use.
    keys: Vec<Fingerprint>,
}

impl Sweep for Keys {
    fn about(&self) -> About {
        About { kind: KIND, regional: false, unasked: true, guarded: false }
    }

    fn look<'a>(&'a self, ground: &'a Ground, _: &'a str) -> LocalBoxFuture<'a, Result<Vec<Thing>, CallError>> {
        async move {
            let listed = ground.bucket.list_objects(SSH_PUBKEY).await?;
            let named: Vec<_> =
                listed.into_iter().filter_map(|listed| Some((parse_ssh_pubkey_key(&listed.key)?, listed))).collect();
            if named.is_empty() {
                return Ok(Vec::new());
            }
            let used = used(ground).await?;
            let named = stream::iter(named).map(|(fingerprint, listed)| named_key(ground, &used, fingerprint, listed));
            let named: Vec<Option<Named>> = named.buffered(2 * AT_ONCE).try_collect().await?;
            Ok(named.into_iter().flatten().map(|named| judge(named, &used)).collect())
        }
        .boxed_local()
    }

    fn delete<'a>(&'a self, ground: &'a Ground, thing: &'a Thing) -> LocalBoxFuture<'a, Result<Deleted, CallError>> {
        async move { ground.bucket.delete(&thing.id).await.map(|()| Deleted::Gone) }.boxed_local()
    }
}

/// Asks every region and the bucket. Fails when any does not answer.
async fn used(ground: &Ground) -> Result<Used, CallError> {
    let mut used = Used::default();
    for pair in ground.everywhere(async |ec2| key_pairs::list(ec2).await).await?.into_iter().flatten() {
        used.halves.extend(pair.sha256());
        used.pairs.extend(pair.fingerprint.parse().map(|known: Ec2Fingerprint| known.to_string()));
        used.pairs.insert(pair.fingerprint);
    }
    used.people = holdings::people(&ground.bucket).await?.into_iter().flat_map(|file| file.keys).collect();
    Ok(used)
}

/// A key with what is in it, which is fetched only if its name does not settle the matter; `None` if it is gone by now.
async fn named_key(
    ground: &Ground,
    used: &Used,
    fingerprint: Ec2Fingerprint,
    listed: Listed,
) -> Result<Option<Named>, CallError> {
    let keys = match fingerprint {
        Ec2Fingerprint::Sha256(key) => vec![key],
        _ if used.by_name(fingerprint, &listed.key) => Vec::new(),
        _ => match ground.bucket.get(&listed.key).await? {
            Some(object) => holdings::keys_in(&object.body).iter().map(PublicKey::fingerprint).collect(),
            None => return Ok(None),
        },
    };
    Ok(Some(Named { listed, fingerprint, keys }))
}

fn judge(named: Named, used: &Used) -> Thing {
    let by_name = used.by_name(named.fingerprint, &named.listed.key);
    let verdict = if by_name || named.keys.iter().any(|key| used.halves.contains(key)) {
        Verdict::Kept("a key pair has it".to_owned())
    } else if named.keys.iter().any(|key| used.people.contains(key)) {
        Verdict::Kept("a person has it".to_owned())
    } else if named.keys.is_empty() {
        Verdict::Kept("it holds no key that can be read; look who put it there".to_owned())
    } else {
        Verdict::Unused("no key pair of any region and no person has it".to_owned())
    };
    let Listed { key, bytes, modified } = named.listed;
    Thing { since: modified, bytes: Some(bytes), ..Thing::new(KIND, key, verdict) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, keys: &[Fingerprint]) -> Named {
        let listed = Listed { key: format!("{SSH_PUBKEY}{name}"), bytes: 100, modified: None };
        Named { listed, fingerprint: name.parse().unwrap(), keys: keys.to_vec() }
    }

    fn key(digit: char) -> Fingerprint {
        std::iter::repeat_n(digit, 64).collect::<String>().parse().unwrap()
    }

    #[test]
    fn fault_9_a_key_that_a_pair_or_a_person_has_by_any_of_its_names_stays() {
        let md5 = |digit: char| vec![format!("{digit}{digit}"); 16].join(":");
        let used = Used {
            pairs: BTreeSet::from([md5('1')]),
            halves: BTreeSet::from([key('2')]),
            people: BTreeSet::from([key('3')]),
        };
        for (name, keys, why) in [
            (md5('1'), vec![], "a key pair has it"),
            (md5('9'), vec![key('9'), key('2')], "a key pair has it"),
            (md5('9'), vec![key('3')], "a person has it"),
            (md5('9'), vec![], "it holds no key that can be read; look who put it there"),
        ] {
            let thing = judge(named(&name, &keys), &used);
            assert_eq!((thing.goes(), thing.why()), (false, why), "{name}");
        }
        assert!(judge(named(&md5('9'), &[key('9')]), &used).goes());
    }
}
