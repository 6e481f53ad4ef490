//! The client's address: where it stands, and how it is written as a value.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::attributes::Attributes;
use super::text::Text;
use crate::config::ext_authz::{AddressSource, ClientAddress as Settings};

/// Which address is the client's, and how much of it tells clients apart.
#[derive(Clone, Debug)]
pub struct ClientAddress {
    source: AddressSource,
    trusted_hops: usize,
    ipv4_prefix: u8,
    ipv6_prefix: u8,
}

impl ClientAddress {
    /// As the settings say. Prefixes beyond an address's length are its length.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            source: settings.source,
            trusted_hops: settings.trusted_hops.max(1),
            ipv4_prefix: settings.ipv4_prefix.min(32),
            ipv6_prefix: settings.ipv6_prefix.min(128),
        }
    }

    /// The client's address, an IPv4 one as such. `None` when it is not there, or is none: then another entry of
    /// `X-Forwarded-For` is not believed either, because clients write what stands before the trusted ones.
    #[must_use]
    pub fn of(&self, attributes: &Attributes<'_>) -> Option<IpAddr> {
        match self.source {
            AddressSource::Peer => parse(attributes.peer_address),
            AddressSource::XForwardedFor => {
                let lines = attributes.headers.iter().rev().filter(|(name, _)| *name == b"x-forwarded-for");
                let mut entries = lines.flat_map(|(_, line)| line.rsplit(|byte| *byte == b','));
                parse(entries.nth(self.trusted_hops - 1)?)
            }
        }
    }

    /// The address cut to its prefix, `2001:db8:1:2::/64`; an address that is not cut is written without.
    #[must_use]
    pub fn text(&self, address: IpAddr) -> Text<'static> {
        let (network, prefix, whole) = match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.ipv4_prefix)).unwrap_or(0);
                (IpAddr::from(Ipv4Addr::from_bits(address.to_bits() & mask)), self.ipv4_prefix, 32)
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.ipv6_prefix)).unwrap_or(0);
                (IpAddr::from(Ipv6Addr::from_bits(address.to_bits() & mask)), self.ipv6_prefix, 128)
            }
        };
        if prefix == whole { Text::displayed(network) } else { Text::displayed(format_args!("{network}/{prefix}")) }
    }
}

/// Reads an address: `192.0.2.1`, `2001:db8::1`, `[2001:db8::1]`, each perhaps with a port, blanks around. An IPv4 one
/// that is written as IPv6 is an IPv4 one. Zones (`%eth0`) mean nothing outside of their own host and are refused.
#[must_use]
pub fn parse(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\t']);
    let address: IpAddr = if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        if !port.is_empty() {
            self::port(port.strip_prefix(':')?)?;
        }
        address.parse::<Ipv6Addr>().ok()?.into()
    } else if let Ok(address) = text.parse() {
        address
    } else {
        let (address, port) = text.split_once(':')?;
        self::port(port)?;
        address.parse::<Ipv4Addr>().ok()?.into()
    };
    Some(address.to_canonical())
}

fn port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use smallvec::smallvec;

    fn settings(trusted_hops: usize) -> ClientAddress {
        let source = AddressSource::XForwardedFor;
        ClientAddress::new(&Settings { source, trusted_hops, ..Settings::default() })
    }

    #[test]
    fn addresses_as_proxies_write_them() {
        for (text, address) in [
            ("192.0.2.1", "192.0.2.1"),
            (" 192.0.2.1\t", "192.0.2.1"),
            ("192.0.2.1:443", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:DB8::1]", "2001:db8::1"),
            ("[2001:db8::1]:8080", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:c000:201]:1", "192.0.2.1"),
            ("::1", "::1"),
        ] {
            assert_eq!(parse(text.as_bytes()).map(|address| address.to_string()).as_deref(), Some(address), "{text}");
        }
        for text in [
            "",
            " ",
            "unknown",
            "_hidden",
            "localhost",
            "192.0.2",
            "192.0.2.1.1",
            "192.0.2.256",
            "0300.0.2.1",
            "192.0.2.1:",
            "192.0.2.1:x",
            "192.0.2.1:65536",
            "192.0.2.1:+1",
            "[192.0.2.1]",
            "[::1",
            "::1]",
            "[::1]x",
            "[::1]:",
            "fe80::1%eth0",
            "[fe80::1%1]:80",
            "[::1%25lo]",
            "192.0.2.1, 192.0.2.2",
            "\u{661}92.0.2.1",
            "192.0.2.1/32",
            "\"192.0.2.1\"",
            "for=192.0.2.1",
            "/run/envoy.sock",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"192.0.2.1\xff"), None);
    }

    /// What clients write stands in front and moves nothing.
    #[test]
    fn trusted_hops_are_counted_from_the_end() {
        type Case<'t> = (usize, &'t [&'t str], Option<&'t str>);
        let cases: &[Case<'_>] = &[
            (1, &["192.0.2.1"], Some("192.0.2.1")),
            (1, &["6.6.6.6, 192.0.2.1"], Some("192.0.2.1")),
            (2, &["6.6.6.6, 192.0.2.1, 10.0.0.1"], Some("192.0.2.1")),
            (2, &["6.6.6.6,192.0.2.1,10.0.0.1:4711"], Some("192.0.2.1")),
            (3, &["2001:db8::1, [2001:db8::2]:1, 10.0.0.1"], Some("2001:db8::1")),
            // Several lines are one, in their order.
            (1, &["6.6.6.6", "192.0.2.1"], Some("192.0.2.1")),
            (2, &["6.6.6.6, 192.0.2.1", "10.0.0.1"], Some("192.0.2.1")),
            (3, &["192.0.2.1", "10.0.0.1, 10.0.0.2"], Some("192.0.2.1")),
            // Too few, none, or no address: not the next one.
            (1, &[], None),
            (1, &[""], None),
            (2, &["192.0.2.1"], None),
            (1, &["192.0.2.1, unknown"], None),
            (1, &["192.0.2.1,"], None),
            (2, &["192.0.2.1,,10.0.0.1"], None),
            (2, &["192.0.2.1", ""], Some("192.0.2.1")),
            (1, &["192.0.2.1, fe80::1%eth0"], None),
        ];
        for (hops, lines, address) in cases {
            let mut attributes = Attributes { peer_address: b"10.9.9.9", ..Attributes::default() };
            attributes.headers.push((b"x-real-ip", b"7.7.7.7"));
            attributes.headers.extend(lines.iter().map(|line| (&b"x-forwarded-for"[..], line.as_bytes())));
            attributes.headers.push((b"forwarded", b"for=8.8.8.8"));
            let found = settings(*hops).of(&attributes).map(|address| address.to_string());
            assert_eq!(found.as_deref(), *address, "{hops} of {lines:?}");
        }
    }

    #[test]
    fn the_peer_is_what_the_gateway_says() {
        let headers = smallvec![(&b"x-forwarded-for"[..], &b"6.6.6.6"[..])];
        let attributes = Attributes { peer_address: b"::ffff:192.0.2.7", headers, ..Attributes::default() };
        let peer = ClientAddress::new(&Settings::default());
        assert_eq!(peer.of(&attributes), Some([192, 0, 2, 7].into()));
        assert_eq!(peer.of(&Attributes::default()), None);
    }

    #[test]
    fn addresses_are_cut_to_their_prefix() {
        let text = |ipv4_prefix, ipv6_prefix, address: &str| {
            let settings = Settings { ipv4_prefix, ipv6_prefix, ..Settings::default() };
            let text = ClientAddress::new(&settings).text(address.parse().unwrap());
            String::from_utf8(text.to_vec()).unwrap()
        };
        assert_eq!(text(32, 64, "192.0.2.255"), "192.0.2.255");
        assert_eq!(text(24, 64, "192.0.2.255"), "192.0.2.0/24");
        assert_eq!(text(0, 64, "192.0.2.255"), "0.0.0.0/0");
        assert_eq!(text(32, 64, "2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(text(32, 56, "2001:db8:1:2ff::1"), "2001:db8:1:200::/56");
        assert_eq!(text(32, 128, "2001:db8::1"), "2001:db8::1");
        assert_eq!(text(32, 0, "2001:db8::1"), "::/0");
        let longest = text(32, 127, "1111:2222:3333:4444:5555:6666:7777:8889");
        assert_eq!(longest, "1111:2222:3333:4444:5555:6666:7777:8888/127");
    }
}
