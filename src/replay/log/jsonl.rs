//! JSON lines: `{"ts": 1767607200.25, "user_id": "alice", "ip_address": "192.0.2.1", "method": "GET", "path": "/",
//! "status": 200, "bytes": 512, "user_agent": "curl/8.5", "country": "DE", "label": "legit"}`. Only `ts` and one of
//! `user_id` and `ip_address` must be there; other fields are ignored.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use super::entry::{Entry, Field, LineError};

#[derive(Deserialize)]
struct Object<'a> {
    ts: Time,
    #[serde(borrow, default)]
    user_id: Text<'a>,
    #[serde(borrow, default)]
    ip_address: Text<'a>,
    #[serde(borrow, default)]
    method: Text<'a>,
    #[serde(borrow, default)]
    path: Text<'a>,
    #[serde(default)]
    status: Number,
    #[serde(default)]
    bytes: Number,
    #[serde(borrow, default)]
    user_agent: Text<'a>,
    #[serde(borrow, default)]
    country: Text<'a>,
    #[serde(borrow, default)]
    label: Text<'a>,
}

/// Seconds since the Unix epoch, or `2026-01-05T10:00:00Z`.
struct Time(f64);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimeVisitor)
    }
}

struct TimeVisitor;

impl Visitor<'_> for TimeVisitor {
    type Value = Time;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("seconds since 1970, or a time like 2026-01-05T10:00:00Z")
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Time, E> {
        Ok(Time(seconds))
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Time, E> {
        Ok(Time(seconds as f64))
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Time, E> {
        Ok(Time(seconds as f64))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
        let wrong = || E::invalid_value(Unexpected::Str(text), &self);
        if let Ok(seconds) = text.parse() {
            return Ok(Time(seconds));
        }
        let time: Timestamp = text.parse().map_err(|_| wrong())?;
        Ok(Time(time.as_microsecond() as f64 / 1e6))
    }
}

/// A whole number; none when it is `null`, an empty text or `-`. A text stands for the number that it shows.
#[derive(Default)]
struct Number(Option<u64>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
        Ok(Number(Some(number)))
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number in range")]
    fn visit_f64<E: Error>(self, number: f64) -> Result<Number, E> {
        if number.fract() != 0.0 || !(0.0..1e15).contains(&number) {
            return Err(E::invalid_value(Unexpected::Float(number), &self));
        }
        Ok(Number(Some(number as u64)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
        match text {
            "" | "-" => Ok(Number(None)),
            _ => text
                .parse()
                .map(|number| Number(Some(number)))
                .map_err(|_| E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<Number, E> {
        Ok(Number(None))
    }
}

/// A text, borrowed where it has no escapes; empty when there is none. A number stands for its digits.
#[derive(Default)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(number.to_string())))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(number.to_string())))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(number.to_string())))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(if value { "true" } else { "false" })))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Text::default())
    }
}

pub(super) fn parse(line: &[u8], entry: &mut Entry) -> Result<(), LineError> {
    // An array would be taken for the fields in their order.
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err(LineError::new("line", "not a JSON object"));
    }
    let object: Object<'_> = serde_json::from_slice(line).map_err(|_| explain(line))?;
    entry.set_seconds(object.ts.0)?;
    // As some log it when they do not know.
    let address = Some(&*object.ip_address.0).filter(|address| !matches!(*address, "" | "-"));
    if object.user_id.0.is_empty() && address.is_none() {
        return Err(LineError::new("user_id", "user_id or ip_address must be given, or both"));
    }
    entry.set(Field::User, &object.user_id.0);
    if let Some(address) = address {
        entry.set_address("ip_address", address)?;
    }
    entry.set(Field::Method, &object.method.0);
    entry.set_path(&object.path.0);
    entry.set_status(object.status.0)?;
    entry.bytes = object.bytes.0;
    entry.set(Field::UserAgent, &object.user_agent.0);
    entry.country = country(&object.country.0)?;
    entry.set_label(&object.label.0)
}

fn country(text: &str) -> Result<Option<[u8; 2]>, LineError> {
    match text.as_bytes() {
        b"" | b"-" => Ok(None),
        // There are codes of no country, like T1.
        &[first, second] if first.is_ascii_alphabetic() && second.is_ascii_alphanumeric() => {
            Ok(Some([first.to_ascii_uppercase(), second.to_ascii_uppercase()]))
        }
        _ => Err(LineError::value("country", text, "a code of two letters like DE")),
    }
}

/// Reads a line again that could not be read, slower, to tell where it is wrong.
fn explain(line: &[u8]) -> LineError {
    let mut reader = serde_json::Deserializer::from_slice(line);
    let error = match serde_path_to_error::deserialize::<_, Object<'_>>(&mut reader) {
        Ok(_) => return LineError::new("line", "something follows the JSON object"),
        Err(error) => error,
    };
    let path = error.path().to_string();
    // Where it is cut off, it is not known which field was next.
    let field = if path == "." || path == "?" { "line".to_owned() } else { path };
    let reason = error.inner().to_string();
    // The position in the line is of use, its number within itself is not.
    LineError::new(field, reason.replace(" at line 1 column ", ", at column "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::clock::Micros;

    fn read(line: &str) -> Result<Entry, String> {
        let mut entry = Entry::default();
        parse(line.as_bytes(), &mut entry).map(|()| entry).map_err(|error| error.to_string())
    }

    #[test]
    fn a_whole_line() {
        let entry = read(
            r#"{"ts": 1767607200.250001, "user_id": "al\u00efce", "ip_address": "::ffff:192.0.2.1", "method": "GET",
            "path": "/a/b?c=d", "status": 404, "bytes": 512, "user_agent": "curl \"8\"", "country": "de",
            "label": "legit", "more": {"ts": [1]}}"#,
        )
        .unwrap();
        assert_eq!(entry.at, Micros(1_767_607_200_250_001));
        assert_eq!(entry.user(), Some("alïce"));
        assert_eq!(entry.address, Some("192.0.2.1".parse().unwrap()));
        assert_eq!((entry.method(), entry.path()), (Some("GET"), Some("/a/b")));
        assert_eq!((entry.status, entry.bytes), (Some(404), Some(512)));
        assert_eq!(entry.user_agent(), Some("curl \"8\""));
        assert_eq!((entry.country, entry.label()), (Some(*b"DE"), Some("legit")));
    }

    #[test]
    fn most_of_it_may_be_missing() {
        for line in [
            r#"{"ts":0,"user_id":"a"}"#,
            r#"{"ts":1,"ip_address":"2001:db8::1"}"#,
            r#"{"ts":1,"user_id":42,"ip_address":null,"status":null,"bytes":null,"country":"-","path":""}"#,
        ] {
            let entry = read(line).unwrap();
            assert_eq!((entry.path(), entry.status, entry.country), (None, None, None), "{line}");
        }
        assert_eq!(read(r#"{"ts":1,"user_id":42}"#).unwrap().user(), Some("42"));
    }

    #[test]
    fn others_write_the_same_otherwise() {
        let entry = read(
            r#"{"ts":"2026-01-05T11:00:00.25+01:00","user_id":4.5,"ip_address":"[2001:db8::1]:443","status":"404",
            "bytes":512.0,"country":"T1","label":true}"#,
        )
        .unwrap();
        assert_eq!(entry.at, Micros(1_767_607_200_250_000));
        assert_eq!((entry.user(), entry.label()), (Some("4.5"), Some("true")));
        assert_eq!(entry.address, Some("2001:db8::1".parse().unwrap()));
        assert_eq!((entry.status, entry.bytes, entry.country), (Some(404), Some(512), Some(*b"T1")));
        let entry = read(r#"{"ts":"1.5","user_id":-7,"ip_address":"-","status":0,"bytes":"-"}"#).unwrap();
        assert_eq!((entry.at, entry.user()), (Micros(1_500_000), Some("-7")));
        assert_eq!((entry.address, entry.status, entry.bytes), (None, None, None));
    }

    #[test]
    fn mistakes_name_the_field() {
        for (line, wanted) in [
            (r#"{"user_id":"a"}"#, "line: missing field `ts`"),
            (r#"{"ts":"now","user_id":"a"}"#, "ts: invalid value: string \"now\", expected seconds"),
            (r#"{"ts":1767607200000,"user_id":"a"}"#, "ts: 1767607200000 is not in the range"),
            (r#"{"ts":-1,"user_id":"a"}"#, "ts: -1 is not"),
            (r#"{"ts":1}"#, "user_id: user_id or ip_address must be given"),
            (r#"{"ts":1,"user_id":["a"]}"#, "user_id: invalid type: sequence, expected a text"),
            (r#"{"ts":1,"ip_address":"localhost"}"#, "ip_address: \"localhost\" is not an IPv4 or IPv6 address"),
            (r#"{"ts":1,"user_id":"a","status":70000}"#, "status: 70000 is not the status of a response"),
            (
                r#"{"ts":1,"user_id":"a","status":"OK"}"#,
                "status: invalid value: string \"OK\", expected a whole number",
            ),
            (r#"{"ts":1,"user_id":"a","bytes":1.5}"#, "bytes: invalid value: floating point `1.5`"),
            (r#"{"ts":1,"user_id":"a","bytes":-5}"#, "bytes: invalid type: integer `-5`"),
            (r#"{"ts":1,"user_id":"a","country":"Germany"}"#, "country: \"Germany\" is not a code of two letters"),
            (r#"{"ts":1,"user_id":"a""#, "line: EOF while parsing an object"),
            (r#"{"ts":1,"user_id":"a"} {}"#, "line: something follows"),
            (r#"[1,"a"]"#, "line: not a JSON object"),
            ("", "line: not a JSON object"),
        ] {
            let error = read(line).err().unwrap_or_else(|| format!("{line} was read"));
            assert!(error.starts_with(wanted), "{line}: {error}");
        }
        assert!(parse(b"{\"ts\":1,\"user_id\":\"\xff\"}", &mut Entry::default()).is_err());
        let deep = format!("{{\"ts\":1,\"user_id\":\"a\",\"x\":{}", "[".repeat(50_000));
        assert!(read(&deep).is_err());
    }
}
