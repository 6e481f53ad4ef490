//! How descriptors and costs are written: short where that says it all.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Descriptor, Hits, HitsOf};

/// The long way to write a descriptor.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    entries: Vec<String>,
    #[serde(default)]
    hits: Option<Hits>,
}

impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.hits {
            None => self.entries.serialize(serializer),
            hits => Whole { entries: self.entries.clone(), hits: hits.clone() }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DescriptorVisitor;
        impl<'de> Visitor<'de> for DescriptorVisitor {
            type Value = Descriptor;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of values, [remote_address, path], or { entries: [...], hits: ... }")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Descriptor, A::Error> {
                let entries = Vec::deserialize(SeqAccessDeserializer::new(items))?;
                Ok(Descriptor { entries, hits: None })
            }
            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Descriptor, A::Error> {
                let Whole { entries, hits } = Whole::deserialize(MapAccessDeserializer::new(fields))?;
                Ok(Descriptor { entries, hits })
            }
        }
        deserializer.deserialize_any(DescriptorVisitor)
    }
}

impl<'de> Deserialize<'de> for Hits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HitsVisitor;
        impl<'de> Visitor<'de> for HitsVisitor {
            type Value = Hits;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of hits, not negative, or { value: request_size, per: 1024 }")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Hits, E> {
                text.parse().map(Hits::Fixed).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Hits, E> {
                Ok(Hits::Fixed(number))
            }
            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Hits, A::Error> {
                HitsOf::deserialize(MapAccessDeserializer::new(fields)).map(Hits::Of)
            }
        }
        deserializer.deserialize_any(HitsVisitor)
    }
}
