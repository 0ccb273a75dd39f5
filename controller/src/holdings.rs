//! What the registries hold: read, never judged and never changed.

use fleetkey_common::bucket::{PEOPLE, SSH_PUBKEY, parse_person_key, parse_ssh_pubkey_key};
use fleetkey_common::key_line::{self, Line};
use fleetkey_common::names::PersonName;
use fleetkey_common::public_key::{Ec2Fingerprint, Fingerprint, PublicKey};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::aws::CallError;
use crate::aws::bucket::Bucket;

/// How many objects are fetched at a time.
const FETCHES: usize = 16;

/// A file of a person's keys: `people/<person>/...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PersonFile {
    /// Its object key.
    pub(crate) path: String,
    /// Whose it is.
    pub(crate) person: PersonName,
    /// The keys that it holds: that of its name, or for a file named by hand those in it.
    pub(crate) keys: Vec<Fingerprint>,
}

/// A key under an EC2 fingerprint: `ssh_pubkey:...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedFile {
    /// Its object key.
    pub(crate) path: String,
    /// The keys that it holds: that of its name where the name is a SHA-256, else those in it.
    pub(crate) keys: Vec<Fingerprint>,
}

/// Every person's files. Only those named by hand are fetched, since the others' names say what they hold.
pub(crate) async fn people(bucket: &Bucket) -> Result<Vec<PersonFile>, CallError> {
    let listed = bucket.list(PEOPLE).await?.into_iter();
    let files = listed.filter_map(|path| parse_person_key(&path).map(|(person, key)| (path, person, key)));
    let files = stream::iter(files).map(|(path, person, named)| async move {
        let keys = keys_of(bucket, &path, named).await?;
        Ok(PersonFile { path, person, keys })
    });
    files.buffered(FETCHES).try_collect().await
}

/// Every key under an EC2 fingerprint, in the words of whoever wrote it.
pub(crate) async fn named(bucket: &Bucket) -> Result<Vec<NamedFile>, CallError> {
    let files = stream::iter(bucket.list(SSH_PUBKEY).await?).map(|path| async move {
        let named = match parse_ssh_pubkey_key(&path) {
            Some(Ec2Fingerprint::Sha256(fingerprint)) => Some(fingerprint),
            _ => None,
        };
        let keys = keys_of(bucket, &path, named).await?;
        Ok(NamedFile { path, keys })
    });
    files.buffered(FETCHES).try_collect().await
}

async fn keys_of(bucket: &Bucket, path: &str, named: Option<Fingerprint>) -> Result<Vec<Fingerprint>, CallError> {
    if let Some(fingerprint) = named {
        return Ok(vec![fingerprint]);
    }
    let object = bucket.get(path).await?.unwrap_or_default();
    Ok(keys_in(&object.body).iter().map(PublicKey::fingerprint).collect())
}

/// The keys in a file, found as sshd would find them: a key that is not seen cannot be taken out.
pub(crate) fn keys_in(body: &[u8]) -> Vec<PublicKey> {
    let lines = body.split(|&byte| byte == b'\n');
    lines
        .filter_map(|line| match key_line::read(line) {
            Line::Key { key, .. } => Some(key),
            _ => None,
        })
        .collect()
}
