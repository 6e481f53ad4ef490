//! Hashes of secret values.

use ring::hmac;

use crate::authz::text::Text;

/// The shortest key, in bytes.
pub(super) const MIN_KEY_BYTES: usize = 32;
/// So much of a hash is kept, in bytes: two values of a billion meet by chance in one of 10^20 cases.
const KEPT: usize = 16;
/// Keeps hashes apart from anything else that the same key may be used for.
const CONTEXT: &[u8] = b"tidegate value of a request";

/// Hashes secret values (HMAC-SHA-256): whoever sees the hash cannot try out values without the key.
#[derive(Clone, Debug)]
pub(super) struct SecretKey(hmac::Key);

impl SecretKey {
    pub(super) fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// `h:` and 32 hexadecimal digits.
    pub(super) fn hash(&self, value: &[u8]) -> Text<'static> {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(CONTEXT);
        context.update(value);
        let tag = context.sign();
        Text::hexadecimal("h:", tag.as_ref().get(..KEPT).unwrap_or_default())
    }
}
