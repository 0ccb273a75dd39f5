//! User-data as EC2 takes it: as it is while it is short enough, else compressed.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::problem::RoleError;

/// What EC2 takes, in bytes, before it is put into base64.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-add-user-data.html>
const LIMIT: usize = 16_384;

/// What a box boots with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserData {
    /// The text, beginning with `#cloud-config`.
    pub(crate) text: String,
}

impl UserData {
    /// The bytes for EC2, not yet in base64: the text, or, above 16,384 bytes, the text in gzip, which cloud-init takes.
    ///
    /// # Errors
    /// When that is too long as well.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, RoleError> {
        let plain = self.text.len();
        if plain <= LIMIT {
            return Ok(self.text.clone().into_bytes());
        }
        // No time and no name in the header: the same text gives the same bytes, so that a client token stays good.
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let packed = encoder.write_all(self.text.as_bytes()).and_then(|()| encoder.finish()).unwrap_or_default();
        if packed.is_empty() || packed.len() > LIMIT {
            return Err(RoleError::TooLong { plain, packed: packed.len(), limit: LIMIT });
        }
        Ok(packed)
    }
}
