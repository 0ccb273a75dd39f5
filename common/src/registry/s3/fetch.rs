//! Downloads of key objects: bounded in number, size and time.
//!
//! Nothing here reads a key; a body that is too large is never held whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use futures_util::{StreamExt as _, stream};

use super::list::Listed;
use crate::aws::{OPERATION_TIMEOUT, is_no_such_key};
use crate::key_line::MAX_BODY;
use crate::registry::place::words;
use crate::registry::{Registry, RegistryError};

/// Downloads that are under way at once.
const CONCURRENCY: usize = 32;
/// Time for the bytes of one body, which the time limits of the call do not cover.
const BODY_TIMEOUT: Duration = OPERATION_TIMEOUT;

/// What became of a download.
#[derive(Debug)]
pub(super) enum Fetched {
    /// The object, as it was listed.
    Body {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Its metadata, by name without `x-amz-meta-`.
        metadata: HashMap<String, String>,
    },
    /// It was deleted since it was listed.
    Gone,
    /// It has more than [`MAX_BODY`] bytes.
    TooLarge,
}

/// The objects, by object key; each is fetched once, however often it is given.
pub(super) async fn objects<'a>(
    client: &Client,
    bucket: &str,
    wanted: impl Iterator<Item = &'a Listed>,
) -> HashMap<Arc<str>, Result<Fetched, Arc<RegistryError>>> {
    let unique: HashMap<&str, &Listed> = wanted.map(|object| (&*object.key, object)).collect();
    let downloads: Vec<_> = unique
        .into_values()
        .map(|object| async move { (Arc::clone(&object.key), one(client, bucket, object).await.map_err(Arc::new)) })
        .collect();
    stream::iter(downloads).buffer_unordered(CONCURRENCY).collect().await
}

async fn one(client: &Client, bucket: &str, object: &Listed) -> Result<Fetched, RegistryError> {
    if object.size > MAX_BODY as u64 {
        return Ok(Fetched::TooLarge);
    }
    let action = || format!("GetObject {bucket}/{}", object.key);
    let request = client.get_object().bucket(bucket).key(&*object.key);
    // Refused when the object is no longer the one that was listed: it would be cached under a wrong version.
    let answer = match request.set_if_match(object.etag.clone()).send().await {
        Ok(answer) => answer,
        Err(error) if is_no_such_key(&error) => return Ok(Fetched::Gone),
        Err(error) => return Err(RegistryError::of_call(Registry::S3, action(), &error)),
    };
    let failed = |cause: String| RegistryError { registry: Registry::S3, action: action(), cause };
    match tokio::time::timeout(BODY_TIMEOUT, read(answer.body)).await {
        Ok(Ok(Some(bytes))) => Ok(Fetched::Body { bytes, metadata: answer.metadata.unwrap_or_default() }),
        Ok(Ok(None)) => Ok(Fetched::TooLarge),
        Ok(Err(cause)) => Err(failed(cause)),
        Err(_) => Err(failed(format!("its body did not come in {} s", BODY_TIMEOUT.as_secs()))),
    }
}

/// All bytes of a body, or `None` as soon as they are too many.
async fn read(mut body: ByteStream) -> Result<Option<Vec<u8>>, String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| words(&error))?;
        if bytes.len() + chunk.len() > MAX_BODY {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_and_not_a_byte_further() {
        assert_eq!(read(ByteStream::from(vec![b'x'; MAX_BODY])).await, Ok(Some(vec![b'x'; MAX_BODY])));
        assert_eq!(read(ByteStream::from(vec![b'x'; MAX_BODY + 1])).await, Ok(None));
    }
}
