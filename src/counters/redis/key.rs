//! The names of counters in Redis, which people read and every replica must agree on:
//!
//! ```text
//! rate_limit:{<domain>|<rule path>|<values>}:<algorithm>:<window>[:<limit's name or position>]
//! ```
//!
//! Everything of one counter is in one hash slot, that of the text in braces. In a cluster with `cluster_buckets`, the
//! braces hold the number of a bucket instead, so that counters share slots, and with them calls:
//!
//! ```text
//! rate_limit:{17}<domain>|<rule path>|<values>:<algorithm>:<window>[:<limit's name or position>]
//! ```
//!
//! Bytes that the notation uses itself, or
//! that are not printable ASCII, are written `%XX`, so that no value can forge another counter's name or leave the
//! braces. Values that would take more than [`LONGEST`] bytes are replaced by `~` and a SHA-256 of them. The first
//! part is the configured prefix; the layout of the counters' contents has a version of its own, in their first byte.

use std::fmt::Write as _;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::core::limit::Limit;
use crate::counters::CounterKey;

pub use crate::redis::topology::SLOTS;

/// The longest text of a counter's values, in bytes.
const LONGEST: usize = 200;

/// The name of a counter. With 0 `buckets` it has a tag of its own, else that of one of so many.
#[must_use]
pub fn name(prefix: &str, key: &CounterKey<'_>, limit: &Limit, buckets: u16) -> Bytes {
    let expected = prefix.len() + key.name.domain.len() + key.name.path.len() + LONGEST / 2;
    let mut text = String::with_capacity(expected);
    text.push_str(prefix);
    text.push_str(":{");
    let start = text.len();
    escape(&mut text, key.name.domain.as_bytes());
    text.push('|');
    path(&mut text, key.name.path);
    text.push('|');
    values(&mut text, &key.values);
    if buckets == 0 {
        text.push('}');
    } else {
        // Any function that all replicas share would do; this one is at hand.
        let bucket = slot(&text.as_bytes()[start..]) % buckets;
        text.insert_str(start, &format!("{bucket}}}"));
    }
    text.push(':');
    text.push_str(limit.algorithm().name());
    // Writing to a String cannot fail.
    let _ = write!(text, ":{}", limit.window());
    if let Some(limit) = key.name.limit {
        text.push(':');
        escape(&mut text, limit.as_bytes());
    }
    Bytes::from(text)
}

/// The slot of a counter's name: that of the text in its first braces.
#[must_use]
pub fn slot(name: &[u8]) -> u16 {
    fred::util::redis_keyslot(name)
}

fn values(text: &mut String, values: &[&[u8]]) {
    let start = text.len();
    for (position, value) in values.iter().enumerate() {
        if position > 0 {
            text.push(',');
        }
        // No need to write out what will not stay.
        if text.len() - start + value.len() > LONGEST {
            text.truncate(start);
            return digest(text, values);
        }
        escape(text, value);
    }
    if text.len() - start > LONGEST {
        text.truncate(start);
        digest(text, values);
    }
}

fn digest(text: &mut String, values: &[&[u8]]) {
    let mut hasher = Sha256::new();
    for value in values {
        hasher.update((value.len() as u64).to_le_bytes());
        hasher.update(value);
    }
    text.push('~');
    for byte in hasher.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
}

/// A canonical path, in which the notation's own characters are escaped already.
fn path(text: &mut String, path: &str) {
    if path.bytes().all(|byte| byte.is_ascii_graphic()) {
        text.push_str(path);
        return;
    }
    for byte in path.bytes() {
        if byte.is_ascii_graphic() {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

fn escape(text: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        if byte.is_ascii_graphic() && !matches!(byte, b'%' | b'|' | b'{' | b'}' | b',' | b':' | b'~') {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::core::clock::Micros;
    use crate::core::limit::{LimitParts, Window};
    use crate::counters::CounterName;

    fn named(domain: &str, path: &str, values: &[&[u8]], place: Option<&str>) -> String {
        let limit = Limit::new(LimitParts::fixed_window(1, Window::Length(Micros::from_secs(60)))).unwrap();
        let key = CounterKey {
            space: 0,
            name: CounterName { domain, path, limit: place },
            values: values.iter().copied().collect(),
        };
        String::from_utf8(name("rate_limit", &key, &limit, 0).to_vec()).unwrap()
    }

    #[test]
    fn counters_share_the_tags_of_buckets() {
        let limit = Limit::new(LimitParts::fixed_window(1, Window::Length(Micros::from_secs(60)))).unwrap();
        let mut slots = std::collections::HashSet::new();
        for client in 0..1_000 {
            let client = client.to_string();
            let key = CounterKey {
                space: 0,
                name: CounterName { domain: "edge", path: "user_id", limit: None },
                values: [client.as_bytes()].into_iter().collect(),
            };
            let name = String::from_utf8(name("rate_limit", &key, &limit, 16).to_vec()).unwrap();
            let (tag, rest) = name.strip_prefix("rate_limit:{").unwrap().split_once('}').unwrap();
            assert!(tag.parse::<u16>().unwrap() < 16, "{name}");
            assert_eq!(rest, format!("edge|user_id|{client}:fixed_window:60s"));
            slots.insert(slot(name.as_bytes()));
        }
        assert_eq!(slots.len(), 16);
    }

    #[test]
    fn names_are_readable() {
        assert_eq!(
            named("edge", "user_id,path=/a", &[b"alice"], None),
            "rate_limit:{edge|user_id,path=/a|alice}:fixed_window:60s"
        );
        assert_eq!(named("edge", "k", &[b"a", b""], Some("daily")), "rate_limit:{edge|k|a,}:fixed_window:60s:daily");
    }

    #[test]
    fn no_value_forges_another_name() {
        let hostile: [&[&[u8]]; 12] = [
            &[],
            &[b""],
            &[b"", b""],
            &[b","],
            &[b"a,b"],
            &[b"a", b"b"],
            &[b"a}:fixed_window:60s"],
            &[b"~"],
            &[b"%2C"],
            &[b"\xff\x00\r\n"],
            &[b" "],
            &[b"x|y"],
        ];
        let long = [vec![b'a'; 300], vec![b'b'; 300], vec![b'%'; 80]];
        let mut seen = HashMap::new();
        for values in hostile {
            let text = named("d", "k", values, None);
            assert!(text.is_ascii() && text.matches(['{', '}']).count() == 2, "{text}");
            // No values, and one empty value, belong to different rules.
            if values != [b"" as &[u8]] {
                assert_eq!(seen.insert(text, values), None);
            }
        }
        for value in &long {
            let text = named("d", "k", &[value], None);
            assert!(text.len() < 130, "{text}");
            assert!(seen.insert(text, &[]).is_none());
        }
    }

    #[test]
    fn the_boundary_between_values_counts_in_the_digest_too() {
        let (a, b) = ([b'x'; 150], [b'x'; 151]);
        assert_ne!(named("d", "k", &[&a, &b], None), named("d", "k", &[&b, &a], None));
    }

    #[test]
    fn the_slot_is_that_of_the_text_in_braces() {
        let name = named("edge", "user_id", &[b"alice"], None);
        assert_eq!(slot(name.as_bytes()), slot(b"edge|user_id|alice"));
        assert!(slot(name.as_bytes()) < SLOTS);
    }
}
