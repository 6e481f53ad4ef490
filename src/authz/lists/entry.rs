//! One entry, as it is written: a network, `user:NAME` or `path:TEMPLATE`, and perhaps ` until TIME`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;

use super::builder::{MAX_ENTRIES, MAX_PATHS};

/// The end of an entry that has none.
pub(super) const NEVER: u64 = u64::MAX;
/// The longest name of a user, in bytes.
const MAX_NAME: usize = 1024;

/// One entry of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'t> {
    pub(super) of: Of<'t>,
    /// In seconds since 1970.
    pub(super) until: u64,
}

/// Of whom it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of<'t> {
    Network(Network),
    User(&'t str),
    Path(&'t str),
}

/// A network: its first address, and the length of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Network {
    V4(u32, u8),
    V6(u128, u8),
}

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// It is nothing that a list knows.
    #[error("'{0}' is no network")]
    Unknown(String),
    /// What follows the slash is no length of a prefix.
    #[error("'{text}' has no prefix of 0 to {most} bits")]
    Prefix {
        /// As it is written.
        text: String,
        /// Bits of an address.
        most: u8,
    },
    /// It is an address with the length of a prefix, and may mean either.
    #[error("'{text}' is no network: its address has bits beyond the prefix")]
    HostBits {
        /// As it is written.
        text: String,
        /// The network that it is in.
        network: String,
        /// The address alone.
        address: String,
    },
    /// No user has this name.
    #[error("a user's name has 1 to {MAX_NAME} bytes and no control characters")]
    User,
    /// No template.
    #[error("{0}")]
    Path(String),
    /// `until` without a time.
    #[error("there is no time after 'until'")]
    NoTime,
    /// What follows `until` is no time.
    #[error("'{0}' is no time")]
    Time(String),
    /// Too much.
    #[error("the lists have more than {MAX_ENTRIES} entries")]
    TooMany,
    /// Too much.
    #[error("a list has more than {MAX_PATHS} path templates")]
    TooManyPaths,
}

impl EntryError {
    /// What to write instead.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Unknown(_) => "write a network (203.0.113.0/24), an address, user:NAME or path:TEMPLATE".to_owned(),
            Self::Prefix { most, .. } => format!("write an address, a slash and 0 to {most}; or the address alone"),
            Self::HostBits { network, address, .. } => {
                format!("write {network} for the network, or {address} for the one address")
            }
            Self::User => "write the name after user:, as the value that ext_authz.user names has it".to_owned(),
            Self::Path(_) => return None,
            Self::NoTime | Self::Time(_) => {
                "write date, time and offset after 'until': 2030-01-31T12:00:00Z or 2030-01-31T12:00:00+01:00"
                    .to_owned()
            }
            Self::TooMany => "list whole networks instead of single addresses".to_owned(),
            Self::TooManyPaths => {
                "write {name} for a segment that differs, and {*rest} for all that follows".to_owned()
            }
        })
    }
}

impl<'t> Entry<'t> {
    /// A network, or an address.
    ///
    /// # Errors
    /// When it is neither, or an address that is not the first of its network.
    pub fn network(text: &str) -> Result<Self, EntryError> {
        Ok(Self { of: Of::Network(Network::parse(text)?), until: NEVER })
    }

    /// A user of this name.
    ///
    /// # Errors
    /// [`EntryError::User`].
    pub fn user(name: &'t str) -> Result<Self, EntryError> {
        if name.is_empty() || name.len() > MAX_NAME || name.contains(char::is_control) {
            return Err(EntryError::User);
        }
        Ok(Self { of: Of::User(name), until: NEVER })
    }

    /// Paths that fit a template, which is read when the entry is taken.
    #[must_use]
    pub const fn path(template: &'t str) -> Self {
        Self { of: Of::Path(template), until: NEVER }
    }

    /// Reads a line of a list; `None` when there is no entry in it. A comment is a line that begins with `#`, or what
    /// follows a space and a `#`. The first word `until` begins the end of the entry, so a user whose name holds one,
    /// or a ` #`, can stand in the settings only.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn parse(line: &'t str) -> Result<Option<Self>, EntryError> {
        let line = without_comment(line);
        if line.is_empty() {
            return Ok(None);
        }
        let (text, until) = match split_until(line) {
            Some((text, time)) => (text, end(time)?),
            None => (line, NEVER),
        };
        let entry = if let Some(name) = text.strip_prefix("user:") {
            Self::user(name.trim())?
        } else if let Some(template) = text.strip_prefix("path:") {
            Self::path(template.trim())
        } else {
            Self::network(text)?
        };
        Ok(Some(Self { until, ..entry }))
    }
}

/// As it is written in a list, without its end.
impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            Of::Network(network) => network.fmt(f),
            Of::User(name) => write!(f, "user:{name}"),
            Of::Path(template) => write!(f, "path:{template}"),
        }
    }
}

fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    let comment = line.char_indices().find(|(_, character)| {
        let begins = *character == '#' && before.is_whitespace();
        before = *character;
        begins
    });
    comment.map_or(line, |(start, _)| &line[..start]).trim()
}

/// What stands before and after the first word `until`.
fn split_until(line: &str) -> Option<(&str, &str)> {
    const WORD: &str = "until";
    line.match_indices(WORD).find_map(|(start, _)| {
        let (before, after) = (&line[..start], &line[start + WORD.len()..]);
        let alone =
            before.ends_with(char::is_whitespace) && (after.is_empty() || after.starts_with(char::is_whitespace));
        alone.then(|| (before.trim_end(), after.trim_start()))
    })
}

/// In seconds since 1970, rounded up.
fn end(time: &str) -> Result<u64, EntryError> {
    if time.is_empty() {
        return Err(EntryError::NoTime);
    }
    let end: Timestamp = time.parse().map_err(|_| EntryError::Time(shown(time)))?;
    let seconds = end.as_second() + i64::from(end.subsec_nanosecond() > 0);
    Ok(u64::try_from(seconds).unwrap_or(0))
}

impl Network {
    fn parse(text: &str) -> Result<Self, EntryError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| EntryError::Unknown(shown(text)))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match prefix {
            None => most,
            // No sign, no leading zero, nothing that other readers might take for something else.
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|length: &u8| *length <= most && length.to_string() == digits)
                .ok_or_else(|| EntryError::Prefix { text: shown(text), most })?,
        };
        let network = match address {
            IpAddr::V4(address) => Self::V4(address.to_bits() & mask_v4(length), length),
            IpAddr::V6(address) => Self::V6(address.to_bits() & mask_v6(length), length),
        };
        if network.first() != address {
            let (network, address) = (network.plain().to_string(), address.to_canonical().to_string());
            return Err(EntryError::HostBits { text: shown(text), network, address });
        }
        Ok(network.plain())
    }

    const fn first(self) -> IpAddr {
        match self {
            Self::V4(bits, _) => IpAddr::V4(Ipv4Addr::from_bits(bits)),
            Self::V6(bits, _) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        }
    }

    /// IPv4 in IPv6's clothes is IPv4.
    fn plain(self) -> Self {
        match self {
            Self::V6(bits, length @ 96..) => match Ipv6Addr::from_bits(bits).to_ipv4_mapped() {
                Some(address) => Self::V4(address.to_bits(), length - 96),
                None => self,
            },
            _ => self,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(_, 32) | Self::V6(_, 128) => self.first().fmt(f),
            Self::V4(_, length) | Self::V6(_, length) => write!(f, "{}/{length}", self.first()),
        }
    }
}

fn mask_v4(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

fn mask_v6(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

/// So much of a text as is worth showing.
fn shown(text: &str) -> String {
    const WIDTH: usize = 100;
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
