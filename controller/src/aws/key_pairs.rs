//! EC2 key pairs of one region: found, imported, tagged, deleted.

use std::collections::BTreeMap;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::primitives::Blob;
use aws_sdk_ec2::types::{KeyPairInfo, ResourceType, Tag, TagSpecification};
use fleetkey_common::public_key::{Ec2Fingerprint, Fingerprint, PublicKey};

use super::{CallError, failed};

/// A key pair as EC2 describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeyPair {
    /// Its id: `key-...`.
    pub(crate) id: String,
    /// Its name: up to 255 characters, not always a person's.
    pub(crate) name: String,
    /// The fingerprint in EC2's own words.
    pub(crate) fingerprint: String,
    /// The public half, if EC2 gave it and it is of a type that Fleetkey hands out.
    pub(crate) key: Option<PublicKey>,
    /// Its tags.
    pub(crate) tags: BTreeMap<String, String>,
}

impl KeyPair {
    /// The SHA-256 of the key: from the public half, else from EC2's fingerprint where that is one.
    pub(crate) fn sha256(&self) -> Option<Fingerprint> {
        match (&self.key, self.fingerprint.parse::<Ec2Fingerprint>()) {
            (Some(key), _) => Some(key.fingerprint()),
            (None, Ok(Ec2Fingerprint::Sha256(fingerprint))) => Some(fingerprint),
            (None, _) => None,
        }
    }
}

impl From<KeyPairInfo> for KeyPair {
    fn from(info: KeyPairInfo) -> Self {
        let tags = info.tags.unwrap_or_default().into_iter();
        Self {
            id: info.key_pair_id.unwrap_or_default(),
            name: info.key_name.unwrap_or_default(),
            fingerprint: info.key_fingerprint.unwrap_or_default(),
            key: info.public_key.and_then(|line| line.trim().parse().ok()),
            tags: tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect(),
        }
    }
}

/// All key pairs of the region. DescribeKeyPairs has no pages: it answers with all of them.
pub(crate) async fn list(client: &Client) -> Result<Vec<KeyPair>, CallError> {
    let answer = client.describe_key_pairs().include_public_key(true).send().await;
    let answer = answer.map_err(failed("ec2 DescribeKeyPairs"))?;
    Ok(answer.key_pairs.unwrap_or_default().into_iter().map(KeyPair::from).collect())
}

/// Imports a public key (`type base64 comment`) under a name, with its tags from the first moment.
///
/// Gives the fingerprint that EC2 made of it.
pub(crate) async fn import(
    client: &Client,
    name: &str,
    line: &str,
    tags: &BTreeMap<String, String>,
) -> Result<String, CallError> {
    let action = format!("ec2 ImportKeyPair {name}");
    let specification =
        TagSpecification::builder().resource_type(ResourceType::KeyPair).set_tags(Some(tag_list(tags))).build();
    let call = client.import_key_pair().key_name(name).public_key_material(Blob::new(line.as_bytes()));
    let answer = call.tag_specifications(specification).send().await.map_err(failed(action.clone()))?;
    answer.key_fingerprint.ok_or_else(|| CallError::answer(action, "the answer has no fingerprint"))
}

/// Sets tags of a key pair, and removes those named.
pub(crate) async fn tag(
    client: &Client,
    pair: &KeyPair,
    tags: &BTreeMap<String, String>,
    remove: &[&str],
) -> Result<(), CallError> {
    let about = format!("{} ({})", pair.name, pair.id);
    let call = client.create_tags().resources(&pair.id).set_tags(Some(tag_list(tags)));
    call.send().await.map_err(failed(format!("ec2 CreateTags {about}")))?;
    if !remove.is_empty() {
        let gone = remove.iter().map(|name| Tag::builder().key(*name).build()).collect();
        let call = client.delete_tags().resources(&pair.id).set_tags(Some(gone));
        call.send().await.map_err(failed(format!("ec2 DeleteTags {about}")))?;
    }
    Ok(())
}

/// Deletes a key pair by its name, by which policies allow it. Gone already: done.
pub(crate) async fn delete(client: &Client, pair: &KeyPair) -> Result<(), CallError> {
    let answer = client.delete_key_pair().key_name(&pair.name).send().await;
    match answer.map_err(failed(format!("ec2 DeleteKeyPair {}", pair.name))) {
        Err(error) if error.code.as_deref() != Some("InvalidKeyPair.NotFound") => Err(error),
        _ => Ok(()),
    }
}

fn tag_list(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(name, value)| Tag::builder().key(name).value(tag_value(value)).build()).collect()
}

/// What EC2 takes in a tag's value: at most 256 letters, digits, blanks and `+ - = . _ : / @`; others become `_`.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions>
fn tag_value(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || " +-=._:/@".contains(c);
    text.chars().take(256).map(|c| if allowed(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r7_every_sign_of_a_user_name_makes_a_tag_that_ec2_takes() {
        assert_eq!(tag_value("arn:aws:iam::1:user/p/a+b=c,d.e@f-g_h"), "arn:aws:iam::1:user/p/a+b=c_d.e@f-g_h");
        assert_eq!(tag_value(&"x".repeat(300)).len(), 256);
    }
}
