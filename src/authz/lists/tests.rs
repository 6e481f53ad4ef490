//! What lists say of whom.

use std::net::IpAddr;

use proptest::prelude::*;

use super::entry::Network;
use super::{Entry, EntryError, ListKind, Lists, ListsBuilder, MAX_PATHS, Subject, Verdict};

/// Some time.
const NOW: u64 = 1_900_000_000;

/// Lists of texts, and their mistakes.
fn read(deny: &str, allow: &str) -> (Lists, Vec<(usize, EntryError)>) {
    let mut builder = ListsBuilder::new(false);
    let mut mistakes = Vec::new();
    builder.add_text(ListKind::Deny, deny, |line, _, error| mistakes.push((line, error)));
    builder.add_text(ListKind::Allow, allow, |line, _, error| mistakes.push((line, error)));
    (builder.build(), mistakes)
}

fn lists(deny: &str, allow: &str) -> Lists {
    let (lists, mistakes) = read(deny, allow);
    assert_eq!(mistakes, []);
    lists
}

fn of_address(lists: &Lists, address: &str) -> String {
    told(&lists.verdict(&Subject { address: Some(address.parse().unwrap()), user: None, path: b"/" }, NOW))
}

fn told(verdict: &Verdict<'_>) -> String {
    match verdict {
        Verdict::Unlisted => String::new(),
        Verdict::Allowed(entry) => format!("allow {entry}"),
        Verdict::Denied(entry) => format!("deny {entry}"),
    }
}

#[test]
fn empty_lists_say_nothing() {
    let lists = Lists::default();
    assert!(lists.is_empty());
    let subject = Subject { address: Some("192.0.2.1".parse().unwrap()), user: Some(b"alice"), path: b"/" };
    assert_eq!(lists.verdict(&subject, NOW), Verdict::Unlisted);
}

#[test]
fn the_longest_network_speaks_and_deny_of_two_equal_ones() {
    let lists = lists(
        "10.0.0.0/8\n10.1.2.0/24\n192.0.2.7\n2001:db8::/32\n203.0.113.0/24",
        "10.1.0.0/16\n10.1.2.3\n192.0.2.7\n2001:db8:1::/48\n::/0\n203.0.113.0/24",
    );
    assert_eq!((lists.len(ListKind::Deny), lists.len(ListKind::Allow)), (5, 6));
    for (address, expected) in [
        ("10.255.0.1", "deny 10.0.0.0/8"),
        ("10.1.0.1", "allow 10.1.0.0/16"),
        ("10.1.2.1", "deny 10.1.2.0/24"),
        ("10.1.2.3", "allow 10.1.2.3"),
        ("::ffff:10.1.2.3", "allow 10.1.2.3"),
        ("::ffff:10.2.2.3", "deny 10.0.0.0/8"),
        ("192.0.2.7", "deny 192.0.2.7"),
        ("192.0.2.8", ""),
        ("203.0.113.9", "deny 203.0.113.0/24"),
        ("2001:db8::1", "deny 2001:db8::/32"),
        ("2001:db8:1::1", "allow 2001:db8:1::/48"),
        ("2001:db9::1", "allow ::/0"),
    ] {
        assert_eq!(of_address(&lists, address), expected, "{address}");
    }
}

#[test]
fn users_and_paths_are_denied_before_all_else_and_allowed_after_it() {
    let lists = lists(
        "user:mallory\nuser:eve\npath:/admin/{*rest}\n192.0.2.0/24",
        "user:alice\nuser:mallory\npath:/health\npath:/admin/health\n198.51.100.0/24",
    );
    for (address, user, path, expected) in [
        (None, Some("mallory"), "/", "deny user:mallory"),
        (Some("198.51.100.1"), Some("eve"), "/health", "deny user:eve"),
        (Some("198.51.100.1"), Some("alice"), "/admin/x", "deny path:/admin/{*rest}"),
        (Some("198.51.100.1"), None, "/admin", "deny path:/admin/{*rest}"),
        (None, None, "/admin/health", "deny path:/admin/{*rest}"),
        (Some("192.0.2.1"), Some("alice"), "/health", "deny 192.0.2.0/24"),
        (Some("198.51.100.1"), Some("bob"), "/", "allow 198.51.100.0/24"),
        (Some("203.0.113.1"), Some("alice"), "/x", "allow user:alice"),
        (Some("203.0.113.1"), Some("bob"), "/health", "allow path:/health"),
        (Some("203.0.113.1"), Some("bob"), "/healthy", ""),
        (None, Some("Alice"), "/x", ""),
        (None, Some(""), "/x", ""),
        (None, None, "/x", ""),
    ] {
        let address = address.map(|address| address.parse().unwrap());
        let subject = Subject { address, user: user.map(str::as_bytes), path: path.as_bytes() };
        assert_eq!(told(&lists.verdict(&subject, NOW)), expected, "{subject:?}");
    }
}

#[test]
fn an_entry_ends_on_the_second_and_gives_way_to_what_is_behind_it() {
    let lists = lists(
        "10.0.0.0/8\n10.1.0.0/16 until 2030-03-17T17:46:40Z\nuser:eve until 2030-03-17T18:46:40+01:00\n\
         path:/a/b until 2030-03-17T17:46:40Z\npath:/a/{x} until 2030-03-17T17:46:39.5Z\npath:/{*rest}  until 2030-03-17T17:46:41Z",
        "10.1.2.0/24 until 2030-03-17T17:46:40Z",
    );
    let end = 1_900_000_000;
    let of = |subject: &Subject<'_>, now| told(&lists.verdict(subject, now));
    let subject = |address: &str, user, path| Subject { address: Some(address.parse().unwrap()), user, path };
    let late = end + 1;
    let network = subject("10.1.2.3", None, b"");
    assert_eq!(of(&Subject { path: b"/", ..network }, end - 1), "deny path:/{*rest}");
    assert_eq!(of(&network, late), "deny 10.0.0.0/8");
    let user = subject("192.0.2.1", Some(b"eve"), b"/a/b");
    assert_eq!(of(&user, end - 1), "deny user:eve");
    assert_eq!(of(&user, end), "deny path:/{*rest}");
    assert_eq!(of(&user, late), "");
    let path = subject("192.0.2.1", None, b"/a/b");
    assert_eq!(of(&path, end - 1), "deny path:/a/b");
    assert_eq!(of(&path, end), "deny path:/{*rest}");
    assert_eq!(of(&path, u64::MAX), "");
}

#[test]
fn of_networks_the_next_longer_speaks_when_one_has_ended() {
    let lists = lists("10.0.0.0/8\n10.1.0.0/16 until 2030-03-17T17:46:40Z", "10.1.2.0/24 until 2030-03-17T17:46:39Z");
    let subject = Subject { address: Some("10.1.2.3".parse().unwrap()), user: None, path: b"/" };
    for (now, expected) in [(NOW - 2, "allow 10.1.2.0/24"), (NOW - 1, "deny 10.1.0.0/16"), (NOW, "deny 10.0.0.0/8")] {
        assert_eq!(told(&lists.verdict(&subject, now)), expected);
    }
}

#[test]
fn an_entry_written_twice_counts_once_and_lasts_longer() {
    let lists = lists(
        "192.0.2.1 until 2030-03-17T17:46:41Z\n192.0.2.1/32 until 2001-01-01T00:00:00Z\n::ffff:192.0.2.1\n\
         user:eve until 2001-01-01T00:00:00Z\nuser:eve\npath:/a/{x} until 2001-01-01T00:00:00Z\npath:/a/{y}/",
        "",
    );
    assert_eq!(lists.len(ListKind::Deny), 3);
    assert_eq!(of_address(&lists, "192.0.2.1"), "deny 192.0.2.1");
    let subject = Subject { address: None, user: Some(b"eve"), path: b"/a/b" };
    assert_eq!(told(&lists.verdict(&subject, u64::MAX - 1)), "deny user:eve");
    let path = Subject { user: None, ..subject };
    assert_eq!(told(&lists.verdict(&path, NOW)), "deny path:/a/{x}");
}

#[test]
fn a_text_may_have_comments_and_space() {
    let text = "\u{feff}# all of these\r\n\r\n  192.0.2.0/24   # an office\r\n\t198.51.100.7\tuntil\t2030-06-01T00:00:00Z\t# a guest\n\
                #192.0.3.0/24\nuser:  CN=Alice Smith, O=Example \nuser:a#b\npath: /x#y\n";
    let (lists, mistakes) = read(text, "");
    let lines: Vec<usize> = mistakes.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [8], "{mistakes:?}");
    assert_eq!(lists.len(ListKind::Deny), 4);
    assert_eq!(of_address(&lists, "192.0.2.77"), "deny 192.0.2.0/24");
    assert_eq!(of_address(&lists, "198.51.100.7"), "deny 198.51.100.7");
    assert_eq!(of_address(&lists, "192.0.3.1"), "");
    for name in ["CN=Alice Smith, O=Example", "a#b"] {
        let subject = Subject { address: None, user: Some(name.as_bytes()), path: b"/" };
        assert_eq!(told(&lists.verdict(&subject, NOW)), format!("deny user:{name}"));
    }
}

#[test]
fn mistakes_are_told_with_their_line_and_what_to_write() {
    let table = [
        (
            "10.0.0.1/8",
            "'10.0.0.1/8' is no network: its address has bits",
            "10.0.0.0/8 for the network, or 10.0.0.1 for",
        ),
        ("::ffff:10.0.0.1/104", "bits beyond the prefix", "write 10.0.0.0/8 for the network, or 10.0.0.1 for"),
        ("2001:db8::1/32", "bits beyond the prefix", "write 2001:db8::/32 for the network, or 2001:db8::1 for"),
        ("10.0.0.0/33", "'10.0.0.0/33' has no prefix of 0 to 32 bits", "0 to 32"),
        ("::/129", "no prefix of 0 to 128 bits", "0 to 128"),
        ("10.0.0.0/", "no prefix", "the address alone"),
        ("10.0.0.0/08", "no prefix", "the address alone"),
        ("10.0.0.0/+8", "no prefix", "the address alone"),
        ("10.0.0.0/255.0.0.0", "no prefix", "the address alone"),
        ("10.0.0.0/8/8", "no prefix", "the address alone"),
        ("10.0.0", "'10.0.0' is no network", "user:NAME or path:TEMPLATE"),
        ("10.0.0.01", "is no network", "203.0.113.0/24"),
        ("10.0.0.0 /8", "is no network", "203.0.113.0/24"),
        ("example.com", "is no network", "203.0.113.0/24"),
        ("usr:eve", "'usr:eve' is no network", "user:NAME"),
        ("192.0.2.1 2030-01-01T00:00:00Z", "is no network", "203.0.113.0/24"),
        ("until 2030-01-01T00:00:00Z", "is no network", "203.0.113.0/24"),
        ("192.0.2.1 until", "no time after 'until'", "2030-01-31T12:00:00Z"),
        ("192.0.2.1 until # soon", "no time after 'until'", "2030-01-31T12:00:00Z"),
        ("192.0.2.1 until 2030-01-01", "'2030-01-01' is no time", "2030-01-31T12:00:00Z"),
        ("192.0.2.1 until 2030-01-01T00:00:00", "is no time", "offset"),
        ("192.0.2.1 until 2030-13-01T00:00:00Z", "is no time", "offset"),
        ("192.0.2.1 until tomorrow", "'tomorrow' is no time", "offset"),
        ("user:eve until tomorrow", "'tomorrow' is no time", "offset"),
        ("user:", "a user's name has 1 to 1024 bytes", "after user:"),
        ("user:a\u{7}b", "no control characters", "after user:"),
        ("path:", "must start with '/'", ""),
        ("path:/a/{b", "a whole segment", ""),
        ("path:/a/{*b}/c", "nothing may follow", ""),
    ];
    let text: Vec<&str> = table.iter().map(|(line, ..)| *line).collect();
    let (lists, mistakes) = read(&text.join("\n"), "");
    assert!(lists.is_empty());
    assert_eq!(mistakes.len(), table.len());
    for (index, ((line, message, help), (number, error))) in table.iter().zip(&mistakes).enumerate() {
        assert_eq!(*number, index + 1);
        assert!(error.to_string().contains(message), "{line}: {error}");
        assert!(error.help().unwrap_or_default().contains(help), "{line}: {:?}", error.help());
    }
    let long = "x".repeat(10_000);
    assert!(Entry::network(&long).unwrap_err().to_string().len() < 200);
    assert_eq!(Entry::user(&long), Err(EntryError::User));
}

#[test]
fn lists_are_bounded() {
    let paths: String = (0..=MAX_PATHS).map(|n| format!("path:/{n}\n")).collect();
    let (lists, mistakes) = read(&paths, "path:/x");
    assert_eq!(mistakes, [(MAX_PATHS + 1, EntryError::TooManyPaths)]);
    assert_eq!((lists.len(ListKind::Deny), lists.len(ListKind::Allow)), (MAX_PATHS, 1));
    let addresses = "192.0.2.1\n".repeat(1_000_002);
    let (lists, mistakes) = read("", &addresses);
    assert_eq!(mistakes, [(1_000_001, EntryError::TooMany)]);
    assert_eq!(lists.len(ListKind::Allow), 1);
}

/// Addresses that differ in few bits, so that networks often lie in one another.
fn addresses() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::from((bits & 0x8101_0111).to_be_bytes())),
        any::<u128>()
            .prop_map(|bits| { IpAddr::from((bits & 0x2001_0000_0101_0000_0000_0000_0000_0011).to_be_bytes()) }),
        any::<u32>()
            .prop_map(|bits| { IpAddr::V6(std::net::Ipv4Addr::from_bits(bits & 0x8101_0111).to_ipv6_mapped()) }),
    ]
}

#[derive(Debug)]
struct Written {
    first: IpAddr,
    length: u8,
    kind: ListKind,
    until: u64,
}

fn bits(address: IpAddr) -> (bool, u128, u8) {
    match address.to_canonical() {
        IpAddr::V4(address) => (true, u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (false, address.to_bits(), 128),
    }
}

fn holds(network: &Written, address: IpAddr) -> bool {
    let ((v4, first, _), (also_v4, bits, _)) = (bits(network.first), bits(address));
    v4 == also_v4 && (network.length == 0 || (first ^ bits).leading_zeros() >= u32::from(network.length))
}

fn written() -> impl Strategy<Value = Written> {
    (addresses(), any::<u8>(), any::<bool>(), 1..6_u64).prop_map(|(address, length, deny, until)| {
        let (_, bits, most) = bits(address);
        let length = length % (most + 1);
        let bits = if length == 0 { 0 } else { bits & (u128::MAX << (128 - length)) };
        let first = if most == 32 {
            IpAddr::from(((bits >> 96) as u32).to_be_bytes())
        } else {
            IpAddr::from(bits.to_be_bytes())
        };
        Written { first, length, kind: if deny { ListKind::Deny } else { ListKind::Allow }, until }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_network_that_speaks_is_what_looking_at_each_says(
        all in prop::collection::vec(written(), 0..40),
        asked in prop::collection::vec(addresses(), 1..40),
        now in 0..7_u64,
    ) {
        let mut builder = ListsBuilder::new(false);
        for network in &all {
            let text = format!("{}/{}", network.first, network.length);
            let entry = Entry { until: network.until, ..Entry::network(&text).unwrap() };
            builder.add(network.kind, &entry).unwrap();
        }
        let lists = builder.build();
        for address in asked {
            let verdict = lists.verdict(&Subject { address: Some(address), user: None, path: b"/" }, now);
            let longest = all.iter()
                .filter(|network| holds(network, address) && now < network.until)
                .max_by_key(|network| (network.length, network.kind == ListKind::Deny));
            let expected = longest.map_or(String::new(), |network| {
                let entry = Entry::network(&format!("{}/{}", network.first, network.length)).unwrap();
                format!("{} {entry}", if network.kind == ListKind::Deny { "deny" } else { "allow" })
            });
            prop_assert_eq!(told(&verdict), expected, "{}", address);
        }
    }

    #[test]
    fn any_line_is_read_or_refused_and_what_is_read_reads_the_same_again(line in "[0-9a-f:./# untilTZ-]{0,24}|.*") {
        if let Ok(Some(entry)) = Entry::parse(&line) {
            let again = entry.to_string();
            let again = Entry::parse(&again).unwrap().unwrap();
            prop_assert_eq!(again.of, entry.of);
        }
    }
}

#[test]
fn a_network_is_written_as_it_is_read() {
    for (text, expected) in [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3/32", "10.1.2.3"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8:0::/32", "2001:db8::/32"),
        ("::1/128", "::1"),
        ("::/0", "::/0"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
    ] {
        assert_eq!(Entry::network(text).unwrap().to_string(), expected);
    }
    assert_eq!(Entry::network("::ffff:0:0/96").unwrap().of, super::entry::Of::Network(Network::V4(0, 0)));
}
