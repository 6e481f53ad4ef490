//! The format that nginx and Apache call combined, and common when its last two fields are missing.

use std::borrow::Cow;

use jiff::civil::{Date, Time};
use jiff::tz::Offset;

use super::entry::{Entry, Field, LineError};
use crate::core::clock::Micros;

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

pub(super) fn parse(line: &[u8], entry: &mut Entry) -> Result<(), LineError> {
    let line = std::str::from_utf8(line).map_err(|_| LineError::new("line", "not UTF-8"))?;
    let (address, rest) = line.split_once(' ').ok_or_else(|| LineError::new("line", "has no fields"))?;
    let (_, rest) = rest.split_once(' ').ok_or_else(|| missing("user"))?;
    // A user's name may have blanks in it.
    let (user, rest) = rest.split_once(" [").ok_or_else(|| missing("time"))?;
    let (time, rest) = rest.split_once(']').ok_or_else(|| missing("time"))?;
    entry.at = at(time).ok_or_else(|| LineError::value("time", time, "a time like 05/Jan/2026:10:00:00 +0100"))?;
    if address != "-" {
        entry.set_address("address", address)?;
    }
    if user != "-" {
        entry.set(Field::User, user);
    }
    if entry.address.is_none() && entry.user().is_none() {
        return Err(LineError::new("address", "there is neither an address nor a user"));
    }
    let (request, rest) = quoted(rest).ok_or_else(|| missing("request"))?;
    set_request(&request, entry);

    let mut numbers = rest.trim_ascii_start().splitn(3, ' ');
    let status = numbers.next().filter(|status| !status.is_empty()).ok_or_else(|| missing("status"))?;
    entry.set_status(number(status, "status")?)?;
    entry.bytes = number(numbers.next().ok_or_else(|| missing("bytes"))?, "bytes")?;
    let Some(rest) = numbers.next().filter(|rest| !rest.trim_ascii().is_empty()) else { return Ok(()) };
    let (_, rest) = quoted(rest).ok_or_else(|| missing("referer"))?;
    let (agent, _) = quoted(rest).ok_or_else(|| missing("user agent"))?;
    if agent != "-" {
        entry.set(Field::UserAgent, &agent);
    }
    Ok(())
}

fn missing(field: &'static str) -> LineError {
    LineError::new(field, "missing, or not where it should be")
}

fn number<T: std::str::FromStr>(text: &str, field: &'static str) -> Result<Option<T>, LineError> {
    match text {
        "-" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| LineError::value(field, text, "a whole number or -")),
    }
}

/// `GET /path HTTP/1.1`. What a broken client sends is no request at all, but the line still counts.
fn set_request(request: &str, entry: &mut Entry) {
    let Some((method, rest)) = request.split_once(' ') else { return };
    if method.is_empty()
        || method.len() > 32
        || !method.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return;
    }
    entry.set(Field::Method, method);
    entry.set_path(rest.rsplit_once(' ').map_or(rest, |(target, _)| target));
}

/// The text of the quotes that follow, and what comes after them.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let inner = text.trim_ascii_start().strip_prefix('"')?;
    let bytes = inner.as_bytes();
    let mut at = 0;
    let mut escapes = false;
    loop {
        at += memchr::memchr2(b'"', b'\\', &bytes[at..])?;
        if bytes[at] == b'"' {
            break;
        }
        escapes = true;
        // The byte after a backslash is not the end, whatever it is.
        at += 2;
        if at > bytes.len() {
            return None;
        }
    }
    let (text, rest) = (&inner[..at], &inner[at + 1..]);
    Some((if escapes { unescape(text).into() } else { text.into() }, rest))
}

/// `\"`, `\\` and `\x22`; anything else stands for itself. Bytes that are no UTF-8 together are replaced.
fn unescape(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            plain.push(byte);
            continue;
        }
        match *rest {
            [b'x', high, low, ref after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                plain.push(digit(high) << 4 | digit(low));
                rest = after;
            }
            [escaped @ (b'"' | b'\\'), ref after @ ..] => {
                plain.push(escaped);
                rest = after;
            }
            _ => plain.push(byte),
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

fn digit(hex: u8) -> u8 {
    match hex {
        b'0'..=b'9' => hex - b'0',
        _ => (hex | 0x20) - b'a' + 10,
    }
}

/// `05/Jan/2026:10:00:00 +0100`.
fn at(time: &str) -> Option<Micros> {
    let bytes: &[u8; 26] = time.as_bytes().try_into().ok()?;
    let punctuation = [(2, b'/'), (6, b'/'), (11, b':'), (14, b':'), (17, b':'), (20, b' ')];
    if punctuation.iter().any(|&(at, mark)| bytes[at] != mark) {
        return None;
    }
    let number = |from: usize, to: usize| {
        bytes[from..to]
            .iter()
            .try_fold(0_i16, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i16::from(byte - b'0')))
    };
    let two = |from: usize| number(from, from + 2).and_then(|two| i8::try_from(two).ok());
    let month = MONTHS.iter().position(|month| *month == &bytes[3..6])?;
    let date = Date::new(number(7, 11)?, i8::try_from(month + 1).ok()?, two(0)?).ok()?;
    // A leap second is the last second of its minute.
    let time = Time::new(two(12)?, two(15)?, two(18)?.min(59), 0).ok()?;
    let offset = i32::from(two(22)?) * 3600 + i32::from(two(24)?) * 60;
    let offset = match bytes[21] {
        b'+' => offset,
        b'-' => -offset,
        _ => return None,
    };
    let timestamp = Offset::from_seconds(offset).ok()?.to_timestamp(date.to_datetime(time)).ok()?;
    u64::try_from(timestamp.as_microsecond()).ok().map(Micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Entry, String> {
        let mut entry = Entry::default();
        parse(line.as_bytes(), &mut entry).map(|()| entry).map_err(|error| error.to_string())
    }

    #[test]
    fn a_whole_line() {
        let entry = read(
            r#"192.0.2.7 - alice [05/Jan/2026:11:00:00 +0100] "GET /a/b?c=%22 HTTP/1.1" 200 2326 "https://site.example/" "curl/8.5""#,
        )
        .unwrap();
        assert_eq!(entry.at, Micros::from_secs(1_767_607_200));
        assert_eq!(entry.address, Some("192.0.2.7".parse().unwrap()));
        assert_eq!((entry.user(), entry.method(), entry.path()), (Some("alice"), Some("GET"), Some("/a/b")));
        assert_eq!((entry.status, entry.bytes, entry.user_agent()), (Some(200), Some(2326), Some("curl/8.5")));
        assert_eq!((entry.label(), entry.country), (None, None));
    }

    #[test]
    fn times_have_zones() {
        for (time, wanted) in [
            ("01/Jan/1970:00:00:00 +0000", Some(0)),
            ("01/Jan/1970:00:00:00 -0130", Some(5_400)),
            ("29/Feb/2024:23:59:60 +0000", Some(1_709_251_199)),
            ("29/Feb/2023:00:00:00 +0000", None),
            ("05/Foo/2026:10:00:00 +0000", None),
            ("05/Jan/2026:24:00:00 +0000", None),
            ("05/Jan/2026:10:00:00 +00:0", None),
            ("05/Jan/2026:10:00:00", None),
            ("01/Jan/1970:00:00:00 +0100", None),
            ("05/Jän/2026:10:00:0 +0000", None),
        ] {
            assert_eq!(at(time), wanted.map(Micros::from_secs), "{time}");
        }
    }

    #[test]
    fn what_clients_write_cannot_break_a_line() {
        let agent = |written: &str| {
            let line =
                format!(r#"2001:db8::1 - - [05/Jan/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 - "-" "{written}""#);
            read(&line).map(|entry| entry.user_agent().map(str::to_owned))
        };
        for (written, wanted) in [
            (r#"a \"quoted\" name"#, r#"a "quoted" name"#),
            (r"back\\slash", r"back\slash"),
            (r"\x22\x5C\xc3\xA9\n", "\"\\é\\n"),
            (r"\xff", "\u{fffd}"),
            (r"\xZZ", r"\xZZ"),
        ] {
            assert_eq!(agent(written).unwrap().as_deref(), Some(wanted), "{written}");
        }
        assert_eq!(agent("-").unwrap(), None);
        assert!(agent(r"unclosed\").is_err());
        let named = read(r#"192.0.2.7 - two words [05/Jan/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 1"#).unwrap();
        assert_eq!(named.user(), Some("two words"));
        for request in [r"\x16\x03\x01", "", "-", "GET", r#"\" \""#] {
            let line = format!(r#"192.0.2.7 - - [05/Jan/2026:10:00:00 +0000] "{request}" 400 150 "-" "-""#);
            let entry = read(&line).unwrap();
            assert_eq!((entry.method(), entry.path(), entry.status), (None, None, Some(400)), "{request}");
        }
    }

    #[test]
    fn mistakes_name_the_field() {
        for (line, wanted) in [
            ("", "line: has no fields"),
            ("192.0.2.7 - alice", "time: missing"),
            (r#"192.0.2.7 - - [today] "GET / HTTP/1.1" 200 1"#, "time: \"today\" is not a time like"),
            (r#"host - - [05/Jan/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 1"#, "address: \"host\" is not"),
            (r#"- - - [05/Jan/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 1"#, "address: there is neither"),
            (r#"192.0.2.7 - - [05/Jan/2026:10:00:00 +0000] GET"#, "request: missing"),
            (r#"192.0.2.7 - - [05/Jan/2026:10:00:00 +0000] "GET / HTTP/1.1""#, "status: missing"),
            (r#"192.0.2.7 - - [05/Jan/2026:10:00:00 +0000] "GET / HTTP/1.1" 200"#, "bytes: missing"),
            (r#"192.0.2.7 - - [05/Jan/2026:10:00:00 +0000] "GET / HTTP/1.1" OK 1"#, "status: \"OK\" is not a whole"),
            (r#"192.0.2.7 - - [05/Jan/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 1 "-""#, "user agent: missing"),
        ] {
            let error = read(line).err().unwrap_or_else(|| format!("{line} was read"));
            assert!(error.starts_with(wanted), "{line}: {error}");
        }
    }
}
