//! Who makes a request, as far as it tells.
//!
//! Names of clients travel: from decisions to the anomaly worker, and back as subjects of adjustments. What a client
//! chooses itself may be long, so that both ways know it by its short form ([`short_name`], [`short_path`]), which
//! depends on the text alone.

use std::borrow::Cow;
use std::hash::Hasher as _;
use std::net::{IpAddr, Ipv6Addr};

use siphasher::sip::SipHasher13;

/// The longest name of a user that is its own short form, bytes.
pub const MAX_USER: usize = 64;
/// The longest user agent that is its own short form, bytes.
pub const MAX_USER_AGENT: usize = 80;
/// The longest path that is its own short form, bytes.
pub const MAX_PATH: usize = 96;
/// The end of a short form: `~` and 16 hexadecimal digits.
const MARK: usize = 17;

/// What a request tells of its client. Texts that are not known are `None` or empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Client<'a> {
    /// The user.
    pub user: Option<&'a str>,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// `GET`.
    pub method: &'a str,
    /// The path, or its template; with or without query.
    pub path: &'a str,
    /// The user agent.
    pub user_agent: Option<&'a str>,
    /// The country of the address, ISO 3166-1 alpha-2.
    pub country: Option<[u8; 2]>,
    /// The autonomous system of the address.
    pub asn: Option<u32>,
}

impl<'a> Client<'a> {
    /// What is known of either; `self` goes before.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let text = |one: &'a str, other| if one.is_empty() { other } else { one };
        Self {
            user: self.user.or(other.user),
            address: self.address.or(other.address),
            method: text(self.method, other.method),
            path: text(self.path, other.path),
            user_agent: self.user_agent.or(other.user_agent),
            country: self.country.or(other.country),
            asn: self.asn.or(other.asn),
        }
    }
}

/// What tells clients apart: an IPv4 address, the first 64 bits of an IPv6 one.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

/// The address that a text names: `192.0.2.1`, `2001:db8::1`, or as a network that is one client's,
/// `192.0.2.1/32`, `2001:db8::/64`. A wider network is none.
#[must_use]
pub fn address(text: &str) -> Option<IpAddr> {
    let Some((text, length)) = text.split_once('/') else { return text.parse().ok() };
    let address: IpAddr = text.parse().ok()?;
    let narrow = if address.is_ipv4() { 32..=32 } else { 64..=128 };
    narrow.contains(&length.parse::<u8>().ok()?).then_some(address)
}

/// The beginning of `bytes` that is UTF-8.
#[must_use]
pub fn text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => bytes.get(..error.valid_up_to()).and_then(|valid| str::from_utf8(valid).ok()).unwrap_or_default(),
    }
}

/// The short form of a name: itself up to `max` bytes (at least 17), else its beginning and a hash of the whole.
#[must_use]
pub fn short_name(name: &str, max: usize) -> Cow<'_, str> {
    if name.len() <= max {
        return name.into();
    }
    // The key is fixed: every replica must come to the same. Who makes two names meet is taken for one client.
    let mut hasher = SipHasher13::new();
    hasher.write(name.as_bytes());
    let kept = name.floor_char_boundary(max.saturating_sub(MARK));
    format!("{}~{:016x}", &name[..kept], hasher.finish()).into()
}

/// The short form of a path: without query and fragment, and of a long one the first segments that have room.
#[must_use]
pub fn short_path(path: &str) -> &str {
    let end = path.bytes().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(path.len());
    let path = &path[..end];
    if path.len() <= MAX_PATH {
        return path;
    }
    let path = &path[..path.floor_char_boundary(MAX_PATH)];
    match path.rfind('/') {
        Some(slash) if slash > 0 => &path[..slash],
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_one_clients() {
        for (text, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1/32", Some("192.0.2.1")),
            ("192.0.2.0/24", None),
            ("2001:db8::1", Some("2001:db8::1")),
            ("2001:db8::/64", Some("2001:db8::")),
            ("2001:db8::/48", None),
            ("2001:db8::/129", None),
            ("nobody", None),
            ("", None),
        ] {
            assert_eq!(address(text), expected.map(|text| text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn networks_tell_clients_apart() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(of("2001:db8:0:1:2:3:4:5"), "2001:db8:0:1::");
    }

    #[test]
    fn paths_are_cut_at_segments() {
        assert_eq!(short_path("/a/b?c=/d#e"), "/a/b");
        assert_eq!(short_path("/a#?"), "/a");
        let long = format!("/{}/{}", "a".repeat(60), "b".repeat(60));
        assert_eq!(short_path(&long), &long[..61]);
        assert_eq!(short_path(&"a".repeat(200)).len(), MAX_PATH);
    }

    proptest! {
        #[test]
        fn short_forms_are_short_and_stay(name in "\\PC{0,200}", max in 17_usize..100) {
            let short = short_name(&name, max);
            prop_assert!(short.len() <= max);
            prop_assert_eq!(short_name(&short, max), short.clone());
            let path = short_path(&name);
            prop_assert!(path.len() <= MAX_PATH && name.starts_with(path));
            prop_assert_eq!(short_path(path), path);
            prop_assert_eq!(text(name.as_bytes()), name.as_str());
        }

        #[test]
        fn names_that_begin_alike_stay_apart(name in "[a-z]{100}", one in "[a-z]{1,9}", other in "[a-z]{1,9}") {
            let long = |end: &str| short_name(&format!("{name}{end}"), 64).into_owned();
            prop_assert_eq!(long(&one) == long(&other), one == other);
        }
    }
}
