//! An observation as bytes: which of its parts are there, the numbers, then the texts, each with its length before it.
//!
//! Texts that a client chooses are written in their short forms, so that a record is bounded: 321 bytes and the name of
//! the domain.

use std::net::IpAddr;

use crate::anomaly::observation::{Observation, Outcome};
use crate::core::client::{MAX_PATH, MAX_USER, MAX_USER_AGENT, short_name, short_path};
use crate::core::clock::Micros;

/// The longest method that is written whole.
const MAX_METHOD: usize = 16;
/// Flags, time, hits, outcome, address, country, system, status, bytes and duration.
const NUMBERS: usize = 2 + 8 + 8 + 1 + 16 + 2 + 4 + 2 + 8 + 8;
/// A length of two bytes, and four of one.
const LENGTHS: usize = 2 + 4;

const USER: u16 = 1;
const IPV4: u16 = 1 << 1;
const IPV6: u16 = 1 << 2;
const AGENT: u16 = 1 << 3;
const COUNTRY: u16 = 1 << 4;
const ASN: u16 = 1 << 5;
const STATUS: u16 = 1 << 6;
const BYTES: u16 = 1 << 7;
const DURATION: u16 = 1 << 8;

const OUTCOMES: [Outcome; 4] = [Outcome::Unknown, Outcome::Allowed, Outcome::Limited, Outcome::LimitedByAdjustment];

/// The most bytes that an observation can take.
pub(super) const fn most_bytes(observation: &Observation<'_>) -> usize {
    NUMBERS + LENGTHS + observation.domain.len() + MAX_USER + MAX_METHOD + MAX_PATH + MAX_USER_AGENT
}

/// Appends an observation. A domain's name longer than 65 535 bytes is cut.
pub(super) fn write(out: &mut Vec<u8>, observation: &Observation<'_>) {
    let start = out.len();
    let mut flags = 0;
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&observation.at.0.to_le_bytes());
    out.extend_from_slice(&observation.hits.to_le_bytes());
    out.push(observation.outcome as u8);
    match observation.address {
        Some(IpAddr::V4(address)) => {
            flags |= IPV4;
            out.extend_from_slice(&address.octets());
        }
        Some(IpAddr::V6(address)) => {
            flags |= IPV6;
            out.extend_from_slice(&address.octets());
        }
        None => {}
    }
    let mut optional = |flag: u16, bytes: Option<&[u8]>| {
        if let Some(bytes) = bytes {
            flags |= flag;
            out.extend_from_slice(bytes);
        }
    };
    optional(COUNTRY, observation.country.as_ref().map(|code| &code[..]));
    optional(ASN, observation.asn.map(u32::to_le_bytes).as_ref().map(|number| &number[..]));
    optional(STATUS, observation.status.map(u16::to_le_bytes).as_ref().map(|number| &number[..]));
    optional(BYTES, observation.bytes.map(u64::to_le_bytes).as_ref().map(|number| &number[..]));
    optional(DURATION, observation.duration.map(|length| length.0.to_le_bytes()).as_ref().map(|number| &number[..]));
    let domain = &observation.domain[..observation.domain.floor_char_boundary(usize::from(u16::MAX))];
    out.extend_from_slice(&u16::try_from(domain.len()).unwrap_or_default().to_le_bytes());
    out.extend_from_slice(domain.as_bytes());
    text(out, &observation.method[..observation.method.floor_char_boundary(MAX_METHOD)]);
    text(out, short_path(observation.path));
    if let Some(user) = observation.user {
        flags |= USER;
        text(out, &short_name(user, MAX_USER));
    }
    if let Some(agent) = observation.user_agent {
        flags |= AGENT;
        text(out, &short_name(agent, MAX_USER_AGENT));
    }
    if let Some(place) = out.get_mut(start..start + 2) {
        place.copy_from_slice(&flags.to_le_bytes());
    }
}

/// A text of at most 255 bytes.
fn text(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).unwrap_or_default());
    out.extend_from_slice(text.as_bytes());
}

/// The first observation, and the bytes behind it; `None` at the end.
pub(super) fn read(bytes: &[u8]) -> Option<(Observation<'_>, &[u8])> {
    let mut from = Bytes(bytes);
    let flags = u16::from_le_bytes(from.array()?);
    let (at, hits) = (Micros(from.number()?), from.number()?);
    let [outcome] = from.array()?;
    let address = match flags & (IPV4 | IPV6) {
        IPV4 => Some(IpAddr::from(from.array::<4>()?)),
        IPV6 => Some(IpAddr::from(from.array::<16>()?)),
        _ => None,
    };
    let has = |flag: u16| flags & flag != 0;
    let country = if has(COUNTRY) { Some(from.array()?) } else { None };
    let asn = if has(ASN) { Some(u32::from_le_bytes(from.array()?)) } else { None };
    let status = if has(STATUS) { Some(u16::from_le_bytes(from.array()?)) } else { None };
    let bytes = if has(BYTES) { Some(from.number()?) } else { None };
    let duration = if has(DURATION) { Some(Micros(from.number()?)) } else { None };
    let length = u16::from_le_bytes(from.array()?);
    let domain = from.text(length.into())?;
    let (method, path) = (from.short_text()?, from.short_text()?);
    let user = if has(USER) { Some(from.short_text()?) } else { None };
    let user_agent = if has(AGENT) { Some(from.short_text()?) } else { None };
    let outcome = OUTCOMES.get(usize::from(outcome)).copied().unwrap_or_default();
    let observation = Observation {
        at,
        domain,
        user,
        address,
        method,
        path,
        user_agent,
        country,
        asn,
        status,
        bytes,
        duration,
        hits,
        outcome,
    };
    Some((observation, from.0))
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self, length: usize) -> Option<&'a str> {
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    fn short_text(&mut self) -> Option<&'a str> {
        let [length] = self.array()?;
        self.text(length.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(
            numbers in any::<(u64, u64, u8)>(),
            optional in any::<(Option<u128>, bool, Option<[u8; 2]>, Option<u32>, Option<u16>, Option<u64>, Option<u64>)>(),
            domain in "\\PC{0,90}", method in "[A-Z]{0,16}", path in "\\PC{0,200}",
            user in prop::option::of("\\PC{0,100}"), agent in prop::option::of("\\PC{0,200}"),
        ) {
            let (address, is_short, country, asn, status, bytes, duration) = optional;
            let address = address.map(|bits| if is_short { IpAddr::from((bits as u32).to_be_bytes()) } else { IpAddr::from(bits.to_be_bytes()) });
            let observation = Observation {
                at: Micros(numbers.0), hits: numbers.1, outcome: OUTCOMES[usize::from(numbers.2) % 4],
                domain: &domain, method: &method, path: &path, user: user.as_deref(), user_agent: agent.as_deref(),
                address, country, asn, status, bytes, duration: duration.map(Micros),
            };
            let mut out = vec![7];
            write(&mut out, &observation);
            write(&mut out, &observation);
            prop_assert!(out.len() <= 1 + 2 * most_bytes(&observation));
            let (user, agent) = (user.as_deref().map(|user| short_name(user, MAX_USER)), agent.as_deref().map(|agent| short_name(agent, MAX_USER_AGENT)));
            let short = Observation {
                path: short_path(&path), user: user.as_deref(), user_agent: agent.as_deref(), ..observation
            };
            let (first, rest) = read(&out[1..]).unwrap();
            let (second, rest) = read(rest).unwrap();
            prop_assert_eq!(first, short);
            prop_assert_eq!(second, short);
            prop_assert!(read(rest).is_none());
        }
    }

    #[test]
    fn the_bound_is_as_the_documentation_says() {
        assert_eq!(most_bytes(&Observation::default()), 321);
    }
}
