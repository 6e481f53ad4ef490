//! Texts of a request.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use smallvec::SmallVec;

/// So many bytes that were made, not found, need no allocation.
const INLINE: usize = 48;

/// A text of a request: borrowed where it is taken as it is, made otherwise. Any bytes.
#[derive(Clone)]
pub enum Text<'a> {
    /// As the gateway's message, or the settings, have it.
    Borrowed(&'a [u8]),
    /// Made of what they have.
    Made(SmallVec<[u8; INLINE]>),
}

impl<'a> Text<'a> {
    /// A copy of bytes.
    #[must_use]
    pub fn copied(bytes: &[u8]) -> Self {
        Self::Made(SmallVec::from_slice(bytes))
    }

    /// A copy of bytes where they do not live as long as the message does.
    #[must_use]
    pub fn of(bytes: &Cow<'a, [u8]>) -> Self {
        match bytes {
            Cow::Borrowed(bytes) => Self::Borrowed(bytes),
            Cow::Owned(bytes) => Self::copied(bytes),
        }
    }

    /// What is displayed.
    #[must_use]
    pub fn displayed(value: impl fmt::Display) -> Self {
        let mut made = Made(SmallVec::new());
        // Writing to memory cannot fail.
        let _ = fmt::write(&mut made, format_args!("{value}"));
        Self::Made(made.0)
    }

    /// Bytes in hexadecimal, behind a prefix.
    #[must_use]
    pub fn hexadecimal(prefix: &str, bytes: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut made = SmallVec::from_slice(prefix.as_bytes());
        for byte in bytes {
            made.push(DIGITS[usize::from(byte >> 4)]);
            made.push(DIGITS[usize::from(byte & 15)]);
        }
        Self::Made(made)
    }

    /// With its ASCII letters in lower case; borrowed when they are so already.
    #[must_use]
    pub fn into_lower_case(self) -> Self {
        match self {
            Self::Borrowed(bytes) if !bytes.iter().any(u8::is_ascii_uppercase) => Self::Borrowed(bytes),
            Self::Borrowed(bytes) => Self::Made(bytes.iter().map(u8::to_ascii_lowercase).collect()),
            Self::Made(mut bytes) => {
                bytes.make_ascii_lowercase();
                Self::Made(bytes)
            }
        }
    }

    /// With its ASCII letters in upper case; borrowed when they are so already.
    #[must_use]
    pub fn into_upper_case(self) -> Self {
        if self.iter().any(u8::is_ascii_lowercase) {
            Self::Made(self.iter().map(u8::to_ascii_uppercase).collect())
        } else {
            self
        }
    }

    /// As the standard library has such a text.
    #[must_use]
    pub fn into_cow(self) -> Cow<'a, [u8]> {
        match self {
            Self::Borrowed(bytes) => Cow::Borrowed(bytes),
            Self::Made(bytes) => Cow::Owned(bytes.into_vec()),
        }
    }
}

impl Deref for Text<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Made(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

struct Made(SmallVec<[u8; INLINE]>);

impl fmt::Write for Made {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_no_change_is_borrowed() {
        assert!(matches!(Text::Borrowed(b"a1-").into_lower_case(), Text::Borrowed(b"a1-")));
        assert!(matches!(Text::Borrowed(b"GET").into_upper_case(), Text::Borrowed(b"GET")));
        assert_eq!(&*Text::Borrowed("Ab\u{c4}".as_bytes()).into_lower_case(), "ab\u{c4}".as_bytes());
        assert_eq!(&*Text::copied(b"gEt").into_upper_case(), b"GET");
        assert_eq!(&*Text::hexadecimal("x:", &[0, 0x1f, 255]), b"x:001fff");
        assert_eq!(format!("{:?}", Text::Borrowed(b"a\n\xff")), r#""a\n\xff""#);
    }
}
