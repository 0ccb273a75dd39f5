//! Many people with a key each, made up fast: nobody has the private halves, and no key is made by ssh-keygen.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetkey_common::public_key::PublicKey;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sha2::{Digest as _, Sha256};

use super::progress::Progress;
use crate::cloud::Cloud;

/// The group that everybody is in.
pub(super) const GROUP: &str = "staff";

/// Calls under way at once. moto does one after the other, and never waits for the next this way.
const AT_ONCE: usize = 8;

/// How many people are made between two lines of progress.
const STEP: usize = 1000;

/// The name of a person, by number.
pub(super) fn name(number: usize) -> String {
    format!("person-{number:05}")
}

/// The key of a person, by number: always the same. Its point is made up, which nobody notices who does not log in.
pub(super) fn key(number: usize) -> Result<PublicKey> {
    const ALGORITHM: &str = "ssh-ed25519";
    let point = Sha256::digest(name(number));
    let fields = [ALGORITHM.as_bytes(), point.as_slice()];
    let lengths = [[0, 0, 0, 11], [0, 0, 0, 32]];
    let blob: Vec<u8> =
        lengths.iter().zip(fields).flat_map(|(length, field)| length.iter().chain(field)).copied().collect();
    Ok(PublicKey::from_parts(ALGORITHM, &STANDARD.encode(blob))?)
}

/// Makes people of these numbers in IAM, with their keys in the bucket. They are in no group.
async fn make(cloud: &Cloud, number: usize) -> Result<()> {
    let (name, key) = (name(number), key(number)?);
    cloud.create_user(&name).await?;
    let object = format!("people/{name}/{}.pub", key.fingerprint().to_hex());
    cloud.put_object(&object, format!("{key} {name}\n"), &[]).await
}

/// Makes the people `from..to`, and puts them into the group, which is made if `from` is 0.
pub(super) async fn grow(cloud: &Cloud, from: usize, to: usize, progress: &Progress) -> Result<()> {
    if from == 0 {
        cloud.create_group(GROUP).await?;
    }
    for start in (from..to).step_by(STEP) {
        let end = (start + STEP).min(to);
        let calls = (start..end).map(|number| async move {
            make(cloud, number).await?;
            cloud.add_to_group(&name(number), GROUP).await
        });
        stream::iter(calls).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        progress.say(&format!("{end} of {to} people are in IAM and in the bucket"));
    }
    Ok(())
}

/// Makes one person who is in no group yet.
pub(super) async fn add_outsider(cloud: &Cloud, number: usize) -> Result<()> {
    make(cloud, number).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_person_and_are_the_same_each_time() -> Result<()> {
        assert_eq!(key(7)?, key(7)?);
        assert_ne!(key(7)?.fingerprint(), key(8)?.fingerprint());
        assert_eq!(key(7)?.algorithm(), "ssh-ed25519");
        Ok(())
    }
}
