//! Points of wall time, as they are kept and shown: RFC 3339.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serializer};

use crate::core::clock::Micros;

/// Wall time for people. What is later than time goes is its end.
#[must_use]
pub fn timestamp(at: Micros) -> Timestamp {
    let micros = i64::try_from(at.0).ok().and_then(|micros| Timestamp::from_microsecond(micros).ok());
    micros.unwrap_or(Timestamp::MAX)
}

/// Before 1970 is 1970.
fn micros(time: Timestamp) -> Micros {
    Micros(u64::try_from(time.as_microsecond()).unwrap_or_default())
}

pub(super) fn serialize<S: Serializer>(at: &Micros, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&timestamp(*at))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Micros, D::Error> {
    Timestamp::deserialize(deserializer).map(micros)
}

/// The same of what may be missing.
pub(super) mod option {
    use super::{Deserialize, Deserializer, Micros, Serializer, Timestamp, micros, timestamp};

    pub fn serialize<S: Serializer>(at: &Option<Micros>, serializer: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => serializer.collect_str(&timestamp(*at)),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Micros>, D::Error> {
        Ok(Option::<Timestamp>::deserialize(deserializer)?.map(micros))
    }
}
