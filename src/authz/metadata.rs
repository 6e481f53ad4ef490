//! Values out of dynamic metadata: a `google.protobuf.Struct` in its encoding, of which only what is asked for is read.

use super::text::Text;
use crate::wire::{Reader, Value};

/// The deepest nesting that is followed, of structs and of lists.
const MAX_DEPTH: usize = 16;

/// The value at a path of keys with dots between: a text as it is, a number or a truth value as JSON writes them, of a
/// list its first item. A key may hold dots itself; of several keys that the path begins with, the longest is meant.
/// `None` for what is not there, is null or a struct, or is no message.
#[must_use]
pub fn find<'a>(structure: &'a [u8], path: &str) -> Option<Text<'a>> {
    let mut fields = structure;
    let mut rest = path;
    for _ in 0..MAX_DEPTH {
        let (key, value) = entry(fields, |key| begins(rest, key))?;
        match rest.as_bytes().get(key.len()) {
            None => return scalar(value),
            Some(_) => rest = &rest[key.len() + 1..],
        }
        let Kind::Struct(below) = kind(value)? else { return None };
        fields = below;
    }
    None
}

/// The struct below a key.
#[must_use]
pub fn below<'a>(structure: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let (_, value) = entry(structure, |found| found == key)?;
    match kind(value)? {
        Kind::Struct(below) => Some(below),
        _ => None,
    }
}

fn begins(path: &str, key: &[u8]) -> bool {
    path.as_bytes().strip_prefix(key).is_some_and(|rest| rest.is_empty() || (rest[0] == b'.' && rest.len() > 1))
}

/// The entry with the longest key that is accepted. Of one key twice the last is meant, as Protocol Buffers say.
fn entry(structure: &[u8], accept: impl Fn(&[u8]) -> bool) -> Option<(&[u8], &[u8])> {
    let mut found: Option<(&[u8], &[u8])> = None;
    let mut fields = Reader::new(structure);
    while let Some(field) = fields.field().ok()? {
        let (1, Value::Bytes(entry)) = field else { continue };
        let (mut key, mut value) = (&b""[..], &b""[..]);
        let mut parts = Reader::new(entry);
        while let Some(part) = parts.field().ok()? {
            match part {
                (1, Value::Bytes(bytes)) => key = bytes,
                (2, Value::Bytes(bytes)) => value = bytes,
                _ => {}
            }
        }
        if accept(key) && found.is_none_or(|(best, _)| key.len() >= best.len()) {
            found = Some((key, value));
        }
    }
    found
}

/// A `google.protobuf.Value`.
enum Kind<'a> {
    Number(f64),
    Text(&'a [u8]),
    Bool(bool),
    Struct(&'a [u8]),
    List(&'a [u8]),
}

/// `None` for null.
fn kind(value: &[u8]) -> Option<Kind<'_>> {
    let mut kind = None;
    let mut fields = Reader::new(value);
    while let Some(field) = fields.field().ok()? {
        kind = match field {
            (1, Value::Number(_)) => None,
            (2, Value::Fixed64(bits)) => Some(Kind::Number(f64::from_bits(bits))),
            (3, Value::Bytes(text)) => Some(Kind::Text(text)),
            (4, Value::Number(truth)) => Some(Kind::Bool(truth != 0)),
            (5, Value::Bytes(fields)) => Some(Kind::Struct(fields)),
            (6, Value::Bytes(items)) => Some(Kind::List(items)),
            _ => kind,
        };
    }
    kind
}

fn scalar(mut value: &[u8]) -> Option<Text<'_>> {
    for _ in 0..MAX_DEPTH {
        match kind(value)? {
            Kind::Text(text) => return Some(Text::Borrowed(text)),
            Kind::Bool(truth) => return Some(Text::Borrowed(if truth { b"true" } else { b"false" })),
            Kind::Number(number) => return self::number(number),
            Kind::Struct(_) => return None,
            Kind::List(items) => match Reader::new(items).field().ok()?? {
                (1, Value::Bytes(first)) => value = first,
                _ => return None,
            },
        }
    }
    None
}

/// As JSON writes it: without a fraction where there is none, with an exponent where it would be long.
fn number(number: f64) -> Option<Text<'static>> {
    match number {
        0.0 => Some(Text::Borrowed(b"0")),
        number if !number.is_finite() => None,
        number if (1e-6..1e21).contains(&number.abs()) => Some(Text::displayed(number)),
        number => Some(Text::displayed(format_args!("{number:e}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use prost_types::value::Kind as Of;
    use prost_types::{ListValue, Struct, Value as Any};

    fn any(kind: Of) -> Any {
        Any { kind: Some(kind) }
    }

    fn text(text: &str) -> Any {
        any(Of::StringValue(text.to_owned()))
    }

    fn structure<const N: usize>(entries: [(&str, Any); N]) -> Struct {
        Struct { fields: entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect() }
    }

    fn list(values: Vec<Any>) -> Any {
        any(Of::ListValue(ListValue { values }))
    }

    fn found(structure: &[u8], path: &str) -> Option<String> {
        find(structure, path).map(|text| String::from_utf8(text.to_vec()).unwrap())
    }

    #[test]
    fn values_are_found_by_their_path() {
        let realm =
            structure([("roles", list(vec![text("admin"), text("user")])), ("level", any(Of::NumberValue(3.0)))]);
        let claims = structure([
            ("sub", text("alice")),
            ("empty", text("")),
            ("n", any(Of::NumberValue(2.5))),
            ("yes", any(Of::BoolValue(true))),
            ("no", any(Of::BoolValue(false))),
            ("null", any(Of::NullValue(0))),
            ("none", list(vec![])),
            ("nested", list(vec![list(vec![text("deep")])])),
            ("list_of_null", list(vec![any(Of::NullValue(0)), text("x")])),
            ("realm_access", any(Of::StructValue(realm))),
            ("https://example.com/tenant", text("t1")),
            ("a", any(Of::StructValue(structure([("b", text("short"))])))),
            ("a.b", text("long")),
        ]);
        let bytes = claims.encode_to_vec();
        for (path, value) in [
            ("sub", Some("alice")),
            ("empty", Some("")),
            ("n", Some("2.5")),
            ("yes", Some("true")),
            ("no", Some("false")),
            ("null", None),
            ("none", None),
            ("nested", Some("deep")),
            ("list_of_null", None),
            ("realm_access", None),
            ("realm_access.roles", Some("admin")),
            ("realm_access.level", Some("3")),
            ("realm_access.none", None),
            ("realm_access.", None),
            ("sub.x", None),
            ("su", None),
            ("subject", None),
            ("https://example.com/tenant", Some("t1")),
            ("a.b", Some("long")),
            ("", None),
            (".", None),
        ] {
            assert_eq!(found(&bytes, path).as_deref(), value, "{path}");
        }
        assert!(below(&bytes, b"realm_access").is_some_and(|realm| found(realm, "level").as_deref() == Some("3")));
        assert!(below(&bytes, b"sub").is_none() && below(&bytes, b"x").is_none());
    }

    #[test]
    fn numbers_are_as_json_has_them() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (150.0, "150"),
            (-7.0, "-7"),
            (0.1, "0.1"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (1e20, "100000000000000000000"),
            (1e21, "1e21"),
            (1.5e300, "1.5e300"),
            (5e-7, "5e-7"),
        ] {
            let bytes = structure([("n", any(Of::NumberValue(number)))]).encode_to_vec();
            let found = found(&bytes, "n").unwrap();
            assert_eq!(found, text);
            assert_eq!(serde_json::from_str::<f64>(&found).unwrap(), number);
        }
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let bytes = structure([("n", any(Of::NumberValue(number)))]).encode_to_vec();
            assert_eq!(found(&bytes, "n"), None);
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nest = |depth: usize| {
            let mut value = text("x");
            for _ in 0..depth {
                value = any(Of::StructValue(structure([("a", value)])));
            }
            structure([("a", value)]).encode_to_vec()
        };
        let path = |depth: usize| vec!["a"; depth + 1].join(".");
        assert_eq!(found(&nest(15), &path(15)).as_deref(), Some("x"));
        assert_eq!(found(&nest(16), &path(16)), None);
        let mut value = text("x");
        for _ in 0..40 {
            value = list(vec![value]);
        }
        assert_eq!(found(&structure([("a", value)]).encode_to_vec(), "a"), None);
    }

    #[test]
    fn the_last_of_one_key_is_meant() {
        let mut bytes = structure([("a", text("1"))]).encode_to_vec();
        bytes.extend(structure([("a", text("2"))]).encode_to_vec());
        assert_eq!(found(&bytes, "a").as_deref(), Some("2"));
        assert_eq!(found(&bytes[..bytes.len() - 1], "a"), None, "cut off");
    }
}
