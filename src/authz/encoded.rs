//! Query parameters and cookies, whose names and values are percent-encoded.

use super::attributes::Attributes;
use super::text::Text;

/// The first parameter of that name in a query, decoded; a parameter without `=` has the empty value.
#[must_use]
pub fn parameter<'a>(query: &'a [u8], name: &[u8]) -> Option<Text<'a>> {
    let pairs = query.split(|byte| *byte == b'&');
    pairs.map(split).find(|(key, _)| is(key, name)).map(|(_, value)| decode(value))
}

/// The first cookie of that name, decoded, over all `Cookie` headers. Decoding merges what a server that decodes takes
/// for one, so that a client cannot appear as several by writing its cookie in several ways.
#[must_use]
pub fn cookie<'a>(attributes: &Attributes<'a>, name: &[u8]) -> Option<Text<'a>> {
    let lines = attributes.headers.iter().filter(|(header, _)| *header == b"cookie").map(|(_, line)| *line);
    let pairs = lines.flat_map(|line| line.split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
    let mut named = pairs.map(split).filter(|(key, _)| is(key.trim_ascii(), name));
    named.next().map(|(_, value)| decode(unquoted(value.trim_ascii())))
}

fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'=', pair) {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, b""),
    }
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

fn is(encoded: &[u8], name: &[u8]) -> bool {
    encoded == name || Decoded(encoded).eq(name.iter().copied())
}

/// `%41` is `A`, `+` a blank; a `%` that encodes nothing stands for itself.
#[must_use]
pub fn decode(encoded: &[u8]) -> Text<'_> {
    if memchr::memchr2(b'%', b'+', encoded).is_none() {
        return Text::Borrowed(encoded);
    }
    Text::Made(Decoded(encoded).collect())
}

struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        match (first, rest) {
            (b'+', _) => Some(b' '),
            (b'%', [high, low, rest @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    self.0 = rest;
                    Some(high << 4 | low)
                }
                _ => Some(first),
            },
            _ => Some(first),
        }
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        for (query, value) in [
            ("key=a", Some("a")),
            ("x=1&key=a&key=b", Some("a")),
            ("k%65y=a%20b+c", Some("a b c")),
            ("key", Some("")),
            ("key=", Some("")),
            ("key=a=b", Some("a=b")),
            ("key=%", Some("%")),
            ("key=%4", Some("%4")),
            ("key=%zz%41", Some("%zzA")),
            ("key=%2541", Some("%41")),
            ("KEY=a", None),
            ("keys=a", None),
            ("xkey=a;key=b", None),
            ("", None),
        ] {
            let found = parameter(query.as_bytes(), b"key").map(|text| String::from_utf8(text.to_vec()).unwrap());
            assert_eq!(found.as_deref(), value, "{query}");
        }
        assert!(matches!(parameter(b"key=plain", b"key"), Some(Text::Borrowed(b"plain"))));
        assert_eq!(parameter(b"key=%ff%00", b"key").as_deref(), Some(&[255, 0][..]));
    }

    #[test]
    fn cookies() {
        type Case<'t> = (&'t [&'t str], Option<&'t str>);
        let cases: &[Case<'_>] = &[
            (&["sid=a"], Some("a")),
            (&["x=1; sid=a; sid=b"], Some("a")),
            (&["x=1", "sid=b;y=2"], Some("b")),
            (&["sid=\"a\""], Some("a")),
            (&["sid=%61"], Some("a")),
            (&[" sid = a "], Some("a")),
            (&["sid"], Some("")),
            (&["SID=a", "ssid=b", "sid2=c"], None),
            (&[], None),
        ];
        for (lines, value) in cases {
            let mut attributes = Attributes::default();
            attributes.headers.push((b"x-cookie", b"sid=no"));
            attributes.headers.extend(lines.iter().map(|line| (&b"cookie"[..], line.as_bytes())));
            let found = cookie(&attributes, b"sid").map(|text| String::from_utf8(text.to_vec()).unwrap());
            assert_eq!(found.as_deref(), *value, "{lines:?}");
        }
    }
}
