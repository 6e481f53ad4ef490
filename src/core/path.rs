//! Descriptor paths: where in a domain's tree a rule stands, and what it is called by.
//!
//! A path is written `key=value,key2,key3=pre*`: entries joined by `,`, each `key` or `key=value`. The characters that
//! the notation (or a Redis key around it) uses itself, and control characters, are written `%XX`. The text is the
//! rule's name within its domain: in counters, in the API, in databases.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use super::ruleset::MAX_DEPTH;

/// The longest text of a path, in bytes: an index of Postgres holds no longer one.
pub const MAX_PATH_BYTES: usize = 2_000;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathEntry {
    /// Not empty; a `*` in it matches any text.
    pub key: Box<str>,
    /// `None` matches every value; never empty; a `*` in it matches any text.
    pub value: Option<Box<str>>,
}

impl PathEntry {
    /// Whether there is a `*` in the key or the value.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        self.key.contains('*') || self.value.as_deref().is_some_and(|value| value.contains('*'))
    }
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No entries.
    #[error("a descriptor path has at least one entry; write for example user_id=123 or user_id")]
    Empty,
    /// An entry without key.
    #[error("entry {0} has no key; write key or key=value")]
    EmptyKey(usize),
    /// A value that is there but empty.
    #[error("entry {0} has an empty value; leave the '=' out to match every value")]
    EmptyValue(usize),
    /// A `=` too many.
    #[error("entry {0} has more than one '='; write a '=' of the value as %3D")]
    ManyValues(usize),
    /// Characters that stand for themselves nowhere.
    #[error("'{0}' must be written %XX, as its bytes in hexadecimal")]
    Unescaped(char),
    /// A `%` that begins no byte, or bytes that are not UTF-8.
    #[error("entry {0}: '%' must begin %XX, the bytes of a UTF-8 character in hexadecimal")]
    BadEscape(usize),
    /// Too many entries.
    #[error("{0} entries, at most {MAX_DEPTH} are allowed")]
    TooDeep(usize),
    /// Too long.
    #[error("{0} bytes long, at most {MAX_PATH_BYTES} are allowed")]
    TooLong(usize),
}

/// A descriptor path: 1 to [`MAX_DEPTH`] entries, at most [`MAX_PATH_BYTES`] as text. Ordered and compared as text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DescriptorPath {
    text: Box<str>,
    entries: Box<[PathEntry]>,
}

impl DescriptorPath {
    /// A path of these entries. An empty value counts as none.
    ///
    /// # Errors
    /// [`PathError`].
    pub fn new(entries: impl IntoIterator<Item = PathEntry>) -> Result<Self, PathError> {
        let mut entries: Box<[PathEntry]> = entries.into_iter().collect();
        for entry in &mut entries {
            entry.value = entry.value.take().filter(|value| !value.is_empty());
        }
        if entries.is_empty() {
            return Err(PathError::Empty);
        }
        if entries.len() > MAX_DEPTH {
            return Err(PathError::TooDeep(entries.len()));
        }
        if let Some(position) = entries.iter().position(|entry| entry.key.is_empty()) {
            return Err(PathError::EmptyKey(position + 1));
        }
        let text = canonical_path(entries.iter().map(|entry| (&*entry.key, entry.value.as_deref())));
        if text.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong(text.len()));
        }
        Ok(Self { text: text.into(), entries })
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The entries, at least one.
    #[must_use]
    pub fn entries(&self) -> &[PathEntry] {
        &self.entries
    }
}

impl fmt::Display for DescriptorPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for DescriptorPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if let Some(raw) = text.chars().find(|c| matches!(c, '|' | '{' | '}') || c.is_control()) {
            return Err(PathError::Unescaped(raw));
        }
        let entries = text.split(',').zip(1..).map(|(entry, number)| {
            let (key, value) = match entry.split_once('=') {
                Some((_, "")) => return Err(PathError::EmptyValue(number)),
                Some((_, value)) if value.contains('=') => return Err(PathError::ManyValues(number)),
                Some((key, value)) => (key, Some(value)),
                None => (entry, None),
            };
            if key.is_empty() {
                return Err(PathError::EmptyKey(number));
            }
            let read = |text: &str| unescape(text).ok_or(PathError::BadEscape(number));
            Ok(PathEntry { key: read(key)?, value: value.map(read).transpose()? })
        });
        Self::new(entries.collect::<Result<Vec<_>, _>>()?)
    }
}

/// Writes a descriptor path canonically.
#[must_use]
pub fn canonical_path<'a>(entries: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> String {
    let mut path = String::new();
    for (key, value) in entries {
        if !path.is_empty() {
            path.push(',');
        }
        escape_into(&mut path, key);
        if let Some(value) = value {
            path.push('=');
            escape_into(&mut path, value);
        }
    }
    path
}

/// The keys and values of a canonical path.
pub fn entries_of(path: &str) -> impl Iterator<Item = (Cow<'_, str>, Option<Cow<'_, str>>)> {
    fn read(text: &str) -> Cow<'_, str> {
        if text.contains('%') {
            unescape(text).map_or(text.into(), |text| String::from(text).into())
        } else {
            text.into()
        }
    }
    path.split(',').map(|entry| match entry.split_once('=') {
        Some((key, value)) => (read(key), Some(read(value))),
        None => (read(entry), None),
    })
}

fn escape_into(out: &mut String, text: &str) {
    for character in text.chars() {
        if matches!(character, ',' | '=' | '%' | '|' | '{' | '}') || character.is_control() {
            let mut buffer = [0; 4];
            for byte in character.encode_utf8(&mut buffer).bytes() {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        } else {
            out.push(character);
        }
    }
}

fn unescape(text: &str) -> Option<Box<str>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_first_chunk::<2>()?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok().map(String::into_boxed_str)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(text: &str) -> PathError {
        text.parse::<DescriptorPath>().unwrap_err()
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(error(""), PathError::Empty);
        assert_eq!(error("a,,b"), PathError::EmptyKey(2));
        assert_eq!(error("a,=b"), PathError::EmptyKey(2));
        assert_eq!(error("a="), PathError::EmptyValue(1));
        assert_eq!(error("a=b=c"), PathError::ManyValues(1));
        assert_eq!(error("a|b"), PathError::Unescaped('|'));
        assert_eq!(error("a,b=%4"), PathError::BadEscape(2));
        assert_eq!(error("a=%FF"), PathError::BadEscape(1));
        assert_eq!(error("a=%+1"), PathError::BadEscape(1));
        assert_eq!(error(&"k,".repeat(MAX_DEPTH + 1)), PathError::EmptyKey(MAX_DEPTH + 2));
        assert_eq!(error(&vec!["k"; MAX_DEPTH + 1].join(",")), PathError::TooDeep(MAX_DEPTH + 1));
        assert_eq!(error(&"k".repeat(MAX_PATH_BYTES + 1)), PathError::TooLong(MAX_PATH_BYTES + 1));
    }

    #[test]
    fn what_need_not_be_escaped_may_be() {
        assert_eq!("%61=%2A".parse::<DescriptorPath>().unwrap().as_str(), "a=*");
    }

    proptest! {
        #[test]
        fn every_path_is_read_as_it_was_written(entries in prop::collection::vec(("\\PC{1,8}|[,=%|{}\n]{1,4}", prop::option::of(".{0,8}")), 1..6)) {
            let entries = entries.into_iter().map(|(key, value)| PathEntry { key: key.into(), value: value.map(Into::into) });
            let path = DescriptorPath::new(entries).unwrap();
            let read = entries_of(path.as_str()).map(|(key, value)| PathEntry {
                key: key.into(),
                value: value.map(Into::into),
            });
            prop_assert_eq!(read.collect::<Vec<_>>(), path.entries());
            prop_assert_eq!(path.as_str().parse::<DescriptorPath>().unwrap(), path);
        }
    }
}
