//! The text of a token: made once, shown once, and kept as its hash only.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

/// What every token begins with, so that people and scanners of secrets know one when they see it.
pub const PREFIX: &str = "tg_";

/// The operating system gives no random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random bits for a token")]
pub struct NoRandomBits;

/// A token's text: [`PREFIX`], then 256 random bits in base64url.
pub struct Secret(String);

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// [`NoRandomBits`].
    pub fn generate() -> Result<Self, NoRandomBits> {
        let mut bits = [0; 32];
        SystemRandom::new().fill(&mut bits).map_err(|_| NoRandomBits)?;
        Ok(Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bits))))
    }

    /// The text, to show once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        hash(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}***")
    }
}

/// What is kept of a token's text. A plain hash will do, as nobody guesses 256 random bits.
#[must_use]
pub fn hash(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same_and_none_is_shown_by_chance() {
        let (one, other) = (Secret::generate().unwrap(), Secret::generate().unwrap());
        assert_ne!(one.reveal(), other.reveal());
        assert_eq!(one.reveal().len(), PREFIX.len() + 43);
        assert_eq!(one.hash(), hash(one.reveal()));
        assert_eq!(format!("{one:?}"), "tg_***");
    }

    #[test]
    fn the_hash_is_sha_256() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(hash("abc")[..4], [0xba, 0x78, 0x16, 0xbf]);
    }
}
