//! How lengths of time, listen addresses and lists are written.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// A length of time: `10s`, `1m 30s`, `250ms`; also as Go writes it, `1h0m0s` and `1.5h`.
pub mod duration {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Written as humantime does, `1m 30s`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }

    /// Reads a length of time.
    ///
    /// # Errors
    /// When the text is none.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Number(f64),
        }
        match Written::deserialize(deserializer) {
            Ok(Written::Text(text)) => super::parse_duration(&text).map_err(de::Error::custom),
            Ok(Written::Number(number)) => {
                Err(de::Error::custom(format!("a length of time needs a unit; write \"{number}s\" or \"{number}ms\"")))
            }
            Err(_) => Err(de::Error::custom("expected a length of time such as \"10s\" or \"1m 30s\"")),
        }
    }
}

/// A number that may have a fraction. By itself, a text would be read with the precision of an `f32`.
pub mod number {
    use serde::{Deserialize, Deserializer, de};

    /// Reads a number.
    ///
    /// # Errors
    /// When the text is none.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Text(String),
        }
        match Written::deserialize(deserializer) {
            Ok(Written::Number(number)) => Ok(number),
            Ok(Written::Text(text)) => match text.trim().parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(number),
                _ => Err(de::Error::custom(format!("\"{text}\" is no number; write one such as \"0.5\""))),
            },
            Err(_) => Err(de::Error::custom("expected a number such as \"0.5\"")),
        }
    }
}

/// Reads a length of time, in humantime's notation or Go's.
///
/// # Errors
/// A sentence that says what to write.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let trimmed = text.trim();
    if trimmed == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(trimmed).ok().or_else(|| parse_go_duration(trimmed)).ok_or_else(|| {
        let hint = if trimmed.parse::<f64>().is_ok() { "; the unit is missing" } else { "" };
        format!("\"{text}\" is no length of time{hint}; write one such as \"10s\", \"1m 30s\" or \"250ms\"")
    })
}

/// Go's notation: numbers, perhaps with a fraction, each with a unit. Negative lengths have no meaning here.
fn parse_go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = tail;
    }
    Some(total)
}

/// An address to listen on: `127.0.0.1:8081`, `[::1]:8081`, `localhost:8081`, or `:8081` for every IPv4 interface.
pub mod address {
    use super::SocketAddr;
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Written as `ip:port`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(address: &SocketAddr, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(address)
    }

    /// Reads an address.
    ///
    /// # Errors
    /// When the text is none.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
        super::parse_address(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Like [`address`], for a listener that need not be.
pub mod optional_address {
    use super::SocketAddr;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    /// Written as `ip:port`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(address: &Option<SocketAddr>, serializer: S) -> Result<S::Ok, S::Error> {
        address.map(|address| address.to_string()).serialize(serializer)
    }

    /// Reads an address, or nothing.
    ///
    /// # Errors
    /// When the text is none.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
        Option::<String>::deserialize(deserializer)?
            .map(|text| super::parse_address(&text).map_err(de::Error::custom))
            .transpose()
    }
}

/// Reads an address to listen on. Names other than `localhost` are not looked up.
///
/// # Errors
/// A sentence that says what to write.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let trimmed = text.trim();
    if let Ok(address) = trimmed.parse() {
        return Ok(address);
    }
    let wrong =
        || format!("\"{text}\" is no address to listen on; write one such as \"0.0.0.0:8081\" or \"[::]:8081\"");
    let (host, port) = trimmed.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    Ok(SocketAddr::new(parse_host(host).ok_or_else(wrong)?, port))
}

/// The host of an address to listen on; none means every IPv4 interface.
pub(super) fn parse_host(host: &str) -> Option<IpAddr> {
    match host {
        "" => Some(Ipv4Addr::UNSPECIFIED.into()),
        "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
        other => other.trim_start_matches('[').trim_end_matches(']').parse().ok(),
    }
}

/// A list: as YAML writes one, or in one text with commas between.
pub mod list {
    use serde::Deserializer;
    use serde::de::value::StrDeserializer;
    use serde::de::{DeserializeOwned, Error, IntoDeserializer, SeqAccess, Visitor};
    use std::fmt;
    use std::marker::PhantomData;

    /// Reads a list. Blanks around commas do not count, and an empty text is an empty list.
    ///
    /// # Errors
    /// When an element is not what it should be.
    pub fn deserialize<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
        struct ListVisitor<T>(PhantomData<T>);
        impl<'de, T: DeserializeOwned> Visitor<'de> for ListVisitor<T> {
            type Value = Vec<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list, or texts with commas between")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                items
                    .map(|item| {
                        let item: StrDeserializer<'_, E> = item.into_deserializer();
                        T::deserialize(item)
                    })
                    .collect()
            }
            fn visit_unit<E: Error>(self) -> Result<Vec<T>, E> {
                Ok(Vec::new())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(list)
            }
        }
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

/// Names and values: as YAML writes a map, or in one text, `name=value` with commas between.
pub mod map {
    use serde::Deserializer;
    use serde::de::value::StrDeserializer;
    use serde::de::{DeserializeOwned, Error, IntoDeserializer, MapAccess, Visitor};
    use std::collections::BTreeMap;
    use std::fmt;
    use std::marker::PhantomData;

    /// Reads a map. Blanks around names and values do not count, and an empty text is an empty map.
    ///
    /// # Errors
    /// When a part of the text has no `=`, or a value is not what it should be.
    pub fn deserialize<'de, D: Deserializer<'de>, T: DeserializeOwned>(
        deserializer: D,
    ) -> Result<BTreeMap<String, T>, D::Error> {
        struct MapVisitor<T>(PhantomData<T>);
        impl<'de, T: DeserializeOwned> Visitor<'de> for MapVisitor<T> {
            type Value = BTreeMap<String, T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map, or texts name=value with commas between")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                parts
                    .zip(1..)
                    .map(|(part, number)| {
                        // The part itself may be a secret.
                        let missing = || E::custom(format!("part {number} has no '='; write name=value,name=value"));
                        let (name, value) = part.split_once('=').ok_or_else(missing)?;
                        let value: StrDeserializer<'_, E> = value.trim().into_deserializer();
                        Ok((name.trim().to_owned(), T::deserialize(value)?))
                    })
                    .collect()
            }
            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(BTreeMap::new())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut map = BTreeMap::new();
                while let Some((name, value)) = entries.next_entry()? {
                    map.insert(name, value);
                }
                Ok(map)
            }
        }
        deserializer.deserialize_any(MapVisitor(PhantomData))
    }
}

/// Writes 0.8 as 0.8, not as the double nearest to the float nearest to it.
pub(super) fn serialize_f32<S: serde::Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(value.to_string().parse().unwrap_or(f64::from(*value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        for (text, millis) in [
            ("10s", 10_000),
            ("1m 30s", 90_000),
            ("1m30s", 90_000),
            ("250ms", 250),
            ("1h0m0s", 3_600_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("+1s", 1_000),
            ("0", 0),
            ("0s", 0),
            ("1day", 86_400_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "-1s", "s", "1.2.3s", "1x", "1e9999h", "99999999999999999999h", "1s2", "NaNs", "infs"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses() {
        for (text, address) in [
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("[::1]:1", "[::1]:1"),
            ("localhost:1", "127.0.0.1:1"),
            (":1", "0.0.0.0:1"),
        ] {
            assert_eq!(parse_address(text).unwrap().to_string(), address, "{text}");
        }
        for text in ["", "1", "1.1.1.1", "example.org:1", "1.1.1.1:65536", "1.1.1.1:"] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }
}
