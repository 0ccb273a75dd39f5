//! Packages of the agent in the bucket: published under their digest, found, and made fetchable for boxes that have no
//! credentials yet.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use thiserror::Error;

use super::CallError;
use super::bucket::{Bucket, Only};
use crate::package::{AgentPackage, Index, IndexError, PublishedPackage};
use crate::role::{Arch, PackageFormat};

/// How often the index is written anew when another publisher was faster each time.
const ATTEMPTS: u32 = 8;

/// The longest that a presigned URL can be valid.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html>
pub(crate) const LONGEST_VALID: Duration = Duration::from_hours(7 * 24);

/// Why packages cannot be published or found.
#[derive(Debug, Error)]
pub(crate) enum PackagesError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The bucket's index cannot be used.
    #[error("cannot use {} in {bucket}", Index::KEY)]
    Index {
        /// The bucket's name.
        bucket: String,
        /// What is wrong with it.
        #[source]
        source: IndexError,
    },
    /// Others wrote the index all the time.
    #[error("{} in {bucket} was written by others each time that it was to be", Index::KEY)]
    Crowded {
        /// The bucket's name.
        bucket: String,
    },
}

impl PackagesError {
    /// The call that failed, if that is what happened.
    pub(crate) fn call(&self) -> Option<&CallError> {
        match self {
            Self::Call(error) => Some(error),
            Self::Index { .. } | Self::Crowded { .. } => None,
        }
    }
}

/// A URL that gives a package to whoever has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PresignedUrl {
    /// The URL.
    pub(crate) url: String,
    /// When it ceases to give anything.
    pub(crate) ends: Timestamp,
    /// Whether it ends before it was to, with the credentials that signed it.
    pub(crate) cut_short: bool,
}

/// What is published in a bucket.
pub(crate) async fn index(bucket: &Bucket) -> Result<Index, PackagesError> {
    Ok(versioned_index(bucket).await?.0)
}

/// The package for new boxes of this kind.
pub(crate) async fn newest(
    bucket: &Bucket,
    format: PackageFormat,
    arch: Arch,
) -> Result<Option<PublishedPackage>, PackagesError> {
    Ok(index(bucket).await?.newest(format, arch).cloned())
}

/// Whether the bucket holds the package's object, whole.
pub(crate) async fn holds(bucket: &Bucket, package: &AgentPackage) -> Result<bool, CallError> {
    let length = bucket.length(&package.key()).await?;
    Ok(length.is_some_and(|length| u64::try_from(length).is_ok_and(|length| length == package.bytes.len() as u64)))
}

/// Puts packages into the bucket, those that it `holds` already excepted, and then into the index.
///
/// Stopped in between, it leaves objects that nothing names; the same call goes on from there.
pub(crate) async fn publish(
    bucket: &Bucket,
    packages: &[(&AgentPackage, bool)],
    who: &str,
) -> Result<(), PackagesError> {
    for (package, _) in packages.iter().filter(|(_, held)| !held) {
        let kind = match package.format {
            PackageFormat::Deb => "application/vnd.debian.binary-package",
            PackageFormat::Rpm => "application/x-rpm",
        };
        bucket.put_bytes(&package.key(), package.bytes.clone(), kind, &Only::Always).await?;
    }
    let packages: Vec<_> = packages.iter().map(|(package, _)| *package).collect();
    change(bucket, |index| index.add(&packages, who, Timestamp::now())).await
}

/// Takes the package of this digest out of the index, and says whether it is out: the newest of its kind stays in. Its
/// object is left as it is.
pub(crate) async fn forget(bucket: &Bucket, sha256: &str) -> Result<bool, PackagesError> {
    let mut out = true;
    change(bucket, |index| {
        let named = index.packages().any(|package| package.sha256 == sha256);
        out = index.leave_out(sha256);
        named && out
    })
    .await?;
    Ok(out)
}

/// Changes the index as it is at the moment of writing; `make` says whether it changed anything.
async fn change(bucket: &Bucket, mut make: impl FnMut(&mut Index) -> bool) -> Result<(), PackagesError> {
    for attempt in 0..ATTEMPTS {
        let (mut index, only) = versioned_index(bucket).await?;
        if !make(&mut index) {
            return Ok(());
        }
        let body = serde_json::to_vec_pretty(&index).map_err(|source| PackagesError::Index {
            bucket: bucket.name().to_owned(),
            source: IndexError::Form(source),
        })?;
        if bucket.put_bytes(Index::KEY, body, "application/json", &only).await? {
            return Ok(());
        }
        // Who lost a race waits the longer the more often.
        tokio::time::sleep(Duration::from_millis(50) * 2_u32.pow(attempt.min(5))).await;
    }
    Err(PackagesError::Crowded { bucket: bucket.name().to_owned() })
}

/// A URL by which the package can be fetched for `valid`, at most [`LONGEST_VALID`], or for as long as the credentials
/// last. Asks AWS nothing but for the credentials.
pub(crate) async fn presign(
    bucket: &Bucket,
    package: &PublishedPackage,
    valid: Duration,
) -> Result<PresignedUrl, CallError> {
    let now = SystemTime::now();
    let asked = now + valid.min(LONGEST_VALID);
    let url = bucket.presigned(&package.key, now, valid.min(LONGEST_VALID)).await?;
    let credentials = bucket.credentials_end().await?;
    let ends = credentials.map_or(asked, |end| end.min(asked));
    let moment = Timestamp::try_from(ends)
        .map_err(|error| CallError::answer(format!("signing a URL of {}", package.key), error.to_string()))?;
    Ok(PresignedUrl { url, ends: moment, cut_short: ends < asked })
}

/// The index, and on which condition another may take its place.
async fn versioned_index(bucket: &Bucket) -> Result<(Index, Only), PackagesError> {
    let Some((object, tag)) = bucket.get_tagged(Index::KEY).await? else {
        return Ok((Index::default(), Only::IfNew));
    };
    let source = |source| PackagesError::Index { bucket: bucket.name().to_owned(), source };
    Ok((Index::parse(&object.body).map_err(source)?, Only::IfStill(tag)))
}
