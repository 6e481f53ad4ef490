//! What shows that bytes which were kept elsewhere are as they were written, and by whom: copies of the rules, and what the
//! anomaly workers of several replicas share.
//!
//! One key serves all of them. What is sealed begins with what it is, so that nothing can stand in another's place.

use std::io;
use std::path::{Path, PathBuf};

use ring::{digest, hmac};

/// The shortest key, in bytes.
pub const MIN_KEY_BYTES: usize = 32;
/// Bytes of a tag.
pub(crate) const TAG_BYTES: usize = 32;
/// Keeps tags apart from anything else that the same key may be used for; as it was when only copies of rules had them.
const CONTEXT: &[u8] = b"tidegate copy of rules";

/// Seals bytes, with a key (HMAC-SHA-256) or without (SHA-256).
#[derive(Clone, Debug)]
pub struct Seal(Option<hmac::Key>);

/// A file that holds no key.
#[derive(Debug, thiserror::Error)]
#[error("{path:?}: {error}; write at least {MIN_KEY_BYTES} characters, such as `openssl rand -hex 32` makes")]
pub struct KeyError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub error: io::Error,
}

impl Seal {
    /// Checksums: what is damaged shows, but anybody can make them.
    pub const CHECKSUM: Self = Self(None);

    /// Only who has the key can seal. The longer than [`MIN_KEY_BYTES`] and the more random, the better.
    #[must_use]
    pub fn keyed(key: &[u8]) -> Self {
        Self(Some(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }

    /// With the key on the first line of a file.
    ///
    /// # Errors
    /// When the file cannot be read, or its first line is shorter than [`MIN_KEY_BYTES`].
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let wrong = |error| KeyError { path: path.to_owned(), error };
        let text = std::fs::read_to_string(path).map_err(wrong)?;
        let key = text.lines().next().unwrap_or_default().trim();
        if key.len() < MIN_KEY_BYTES {
            return Err(wrong(io::Error::other(format!("its first line is no key, {} bytes are too few", key.len()))));
        }
        Ok(Self::keyed(key.as_bytes()))
    }

    /// Whether there is a key.
    #[must_use]
    pub const fn has_key(&self) -> bool {
        self.0.is_some()
    }

    /// What shows that `content` is as it was.
    pub(crate) fn tag(&self, content: &[u8]) -> [u8; TAG_BYTES] {
        let mut tag = [0; TAG_BYTES];
        match &self.0 {
            Some(key) => {
                let mut context = hmac::Context::with_key(key);
                context.update(CONTEXT);
                context.update(content);
                tag.copy_from_slice(context.sign().as_ref());
            }
            None => {
                let mut context = digest::Context::new(&digest::SHA256);
                context.update(CONTEXT);
                context.update(content);
                tag.copy_from_slice(context.finish().as_ref());
            }
        }
        tag
    }

    /// Whether `tag` is that of `content`; compares in constant time.
    pub(crate) fn holds(&self, content: &[u8], tag: &[u8; TAG_BYTES]) -> bool {
        let differs = self.tag(content).iter().zip(tag).fold(0, |differs, (ours, theirs)| differs | (ours ^ theirs));
        std::hint::black_box(differs) == 0
    }
}
