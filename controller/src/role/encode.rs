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

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn noise(length: usize) -> String {
        let mut state = 1_u64;
        let mut letter = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b' ' + u8::try_from((state >> 33) % 94).unwrap())
        };
        (0..length).map(|_| letter()).collect()
    }

    #[test]
    fn up_to_the_limit_it_is_sent_as_it_is_and_above_compressed() {
        let text = "#cloud-config\n".to_owned() + &"x".repeat(LIMIT - 14);
        assert_eq!(UserData { text: text.clone() }.encode().unwrap(), text.as_bytes());
        let text = text + "\n";
        let packed = UserData { text: text.clone() }.encode().unwrap();
        let mut read = String::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut read).unwrap();
        assert_eq!(read, text);
        assert!(packed.len() < LIMIT);
        assert_eq!(UserData { text }.encode().unwrap(), packed, "the same text gives the same bytes");
    }

    #[test]
    fn what_is_too_long_when_compressed_is_refused_with_its_size() {
        let text = noise(2 * LIMIT);
        let error = UserData { text }.encode().unwrap_err();
        assert!(
            matches!(error, RoleError::TooLong { plain: 32_768, packed, limit: 16_384 } if packed > 16_384),
            "{error}"
        );
    }
}
