//! Keys fetched before, so that what has not changed is not fetched again.
//!
//! The cache must never make a place look smaller than it is: it answers with all keys of a place or with none.

use std::collections::HashMap;
use std::sync::Arc;

use super::{RegisteredKey, Registry};

/// Between a place's own version and the number of its keys, where that is not one.
const OF: &str = " of ";

/// Keys fetched before, looked up by place and version; holds no more than the last key set did.
#[derive(Debug, Default)]
pub struct KeyCache {
    places: HashMap<Registry, HashMap<Arc<str>, Vec<RegisteredKey>>>,
}

impl KeyCache {
    /// A cache of these keys. One that is given several times is held once.
    pub fn new(keys: impl IntoIterator<Item = (Registry, RegisteredKey)>) -> Self {
        let mut cache = Self::default();
        for (registry, key) in keys {
            let place = cache.places.entry(registry).or_default().entry(Arc::clone(&key.place)).or_default();
            if !place.contains(&key) {
                place.push(key);
            }
        }
        cache
    }

    /// All keys at `place`, if they were fetched before and its version is still `version`. `None` when only some of
    /// them are held: a key can be missing from the last key set because it was revoked.
    pub fn get(&self, registry: Registry, place: &str, version: &str) -> Option<Vec<&RegisteredKey>> {
        let held = self.places.get(&registry)?.get(place)?;
        let mut total = 0;
        let current: Vec<_> = held
            .iter()
            .filter(|key| match key.version.strip_prefix(version) {
                Some("") => {
                    total = 1;
                    true
                }
                Some(rest) => rest.strip_prefix(OF).and_then(|count| count.parse().ok()).is_some_and(|count| {
                    total = count;
                    true
                }),
                None => false,
            })
            .collect();
        (total > 0 && current.len() == total).then_some(current)
    }
}

/// The version under which a place with that many keys is cached.
pub(super) fn version_of(version: &str, keys: usize) -> Arc<str> {
    if keys == 1 { Arc::from(version) } else { Arc::from(format!("{version}{OF}{keys}")) }
}

/// The version of a place that is read again each time.
pub(super) fn never_cached() -> Arc<str> {
    Arc::from("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restrictions::Restrictions;

    fn key(at: u8, version: Arc<str>) -> RegisteredKey {
        RegisteredKey {
            key: crate::registry::tests::ed25519(at),
            restrictions: Restrictions::default(),
            place: Arc::from("people/alice/all.pub"),
            version,
        }
    }

    fn cache(keys: Vec<RegisteredKey>) -> KeyCache {
        KeyCache::new(keys.into_iter().map(|key| (Registry::S3, key)))
    }

    #[test]
    fn a_key_is_found_by_registry_place_and_version_alone() {
        let cache = cache(vec![key(1, version_of("v1", 1)), key(1, version_of("v1", 1))]);
        let place = "people/alice/all.pub";
        assert_eq!(cache.get(Registry::S3, place, "v1").unwrap().len(), 1);
        assert!(cache.get(Registry::S3, place, "v").is_none());
        assert!(cache.get(Registry::S3, place, "v12").is_none());
        assert!(cache.get(Registry::Ec2, place, "v1").is_none());
        assert!(cache.get(Registry::S3, "people/bob/all.pub", "v1").is_none());
    }

    #[test]
    fn a_place_of_several_keys_is_held_whole_or_not_at_all() {
        let place = "people/alice/all.pub";
        let both = cache(vec![key(1, version_of("v1", 2)), key(2, version_of("v1", 2))]);
        assert_eq!(both.get(Registry::S3, place, "v1").unwrap().len(), 2);
        let one = cache(vec![key(1, version_of("v1", 2))]);
        assert!(one.get(Registry::S3, place, "v1").is_none(), "the other may have been revoked since, or restored");
        assert!(cache(vec![key(1, never_cached())]).get(Registry::S3, place, "v1").is_none());
    }
}
