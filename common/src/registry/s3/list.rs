//! Listings of the bucket, always to their end.
//!
//! A listing that stops early would read as keys that are gone: whatever is not whole is an error.

use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::Object;

use crate::registry::{Registry, RegistryError};

/// Entries asked for in one page: the most that S3 gives.
const PAGE: i32 = 1000;

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// Its object key.
    pub(super) key: Arc<str>,
    /// What changes whenever the object does: its ETag, which tells of the bytes, and the time it was put, which also
    /// tells of its metadata.
    pub(super) version: String,
    /// The ETag alone, quoted as S3 has it.
    pub(super) etag: Option<String>,
    /// Its size in bytes.
    pub(super) size: u64,
}

/// The objects below `prefix` whose keys `keep` wants.
pub(super) async fn objects(
    client: &Client,
    bucket: &str,
    prefix: &str,
    keep: impl Fn(&str) -> bool,
) -> Result<Vec<Listed>, RegistryError> {
    let mut objects = Vec::new();
    each_page(client, bucket, prefix, None, |page| {
        let wanted = page.contents.unwrap_or_default().into_iter().filter_map(Listed::new);
        objects.extend(wanted.filter(|object| keep(&object.key)));
    })
    .await?;
    Ok(objects)
}

/// The names of the folders right below `prefix`, without it and without the final `/`.
pub(super) async fn folders(client: &Client, bucket: &str, prefix: &str) -> Result<Vec<String>, RegistryError> {
    let mut folders = Vec::new();
    each_page(client, bucket, prefix, Some("/"), |page| {
        let below = page.common_prefixes.unwrap_or_default().into_iter().filter_map(|folder| folder.prefix);
        folders.extend(below.filter_map(|folder| Some(folder.strip_prefix(prefix)?.strip_suffix('/')?.to_owned())));
    })
    .await?;
    Ok(folders)
}

async fn each_page(
    client: &Client,
    bucket: &str,
    prefix: &str,
    delimiter: Option<&str>,
    mut take: impl FnMut(ListObjectsV2Output),
) -> Result<(), RegistryError> {
    let action = || format!("ListObjectsV2 {bucket}/{prefix}");
    let mut next: Option<String> = None;
    loop {
        let request = client
            .list_objects_v2()
            .bucket(bucket)
            .prefix(prefix)
            .max_keys(PAGE)
            .set_delimiter(delimiter.map(str::to_owned))
            .set_continuation_token(next.clone());
        // Boxed: the future of a call is large, and many are joined.
        let page =
            Box::pin(request.send()).await.map_err(|error| RegistryError::of_call(Registry::S3, action(), &error))?;
        if !is_whole(&page) {
            return Err(RegistryError::cut_short(Registry::S3, action()));
        }
        let token = page.next_continuation_token.clone().filter(|_| page.is_truncated == Some(true));
        // The same token again would be the same page again, for ever.
        if token.is_some() && token == next {
            return Err(RegistryError::cut_short(Registry::S3, action()));
        }
        take(page);
        match token {
            Some(token) => next = Some(token),
            None => return Ok(()),
        }
    }
}

/// Whether a page says where it goes on, if it does, and holds as many entries as it says.
fn is_whole(page: &ListObjectsV2Output) -> bool {
    let entries = page.contents().len() + page.common_prefixes().len();
    let counted = page.key_count.is_none_or(|count| usize::try_from(count) == Ok(entries));
    let goes_on = page.is_truncated == Some(true);
    counted && (!goes_on || page.next_continuation_token.as_deref().is_some_and(|token| !token.is_empty()))
}

impl Listed {
    fn new(object: Object) -> Option<Self> {
        let put = object.last_modified.map(|time| time.as_nanos()).unwrap_or_default();
        let etag = object.e_tag;
        Some(Self {
            key: object.key?.into(),
            version: format!("{} {put}", etag.as_deref().unwrap_or_default()),
            etag,
            size: object.size.and_then(|size| size.try_into().ok()).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r15_a_page_with_fewer_entries_than_it_says_or_without_its_sequel_is_not_whole() {
        let object = Object::builder().key("people/alice/a.pub").build();
        let page = || ListObjectsV2Output::builder().contents(object.clone());
        assert!(is_whole(&page().build()));
        assert!(is_whole(&page().key_count(1).is_truncated(true).next_continuation_token("x").build()));
        assert!(!is_whole(&page().key_count(2).build()));
        assert!(!is_whole(&page().key_count(1).is_truncated(true).build()));
    }

    #[test]
    fn an_object_put_anew_has_a_new_version_even_with_the_same_bytes() {
        let object = |seconds| {
            let time = aws_smithy_types::DateTime::from_secs(seconds);
            Listed::new(Object::builder().key("k").e_tag("\"e\"").last_modified(time).size(5).build()).unwrap()
        };
        assert_ne!(object(1).version, object(2).version);
        assert_eq!(object(1), object(1));
    }
}
