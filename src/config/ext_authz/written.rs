//! How descriptors and costs are written: short where that says it all.

use serde::{Deserialize, Deserializer};

use super::{Descriptor, Hits, HitsOf};

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Entries(Vec<String>),
            Whole {
                entries: Vec<String>,
                #[serde(default)]
                hits: Option<Hits>,
            },
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Entries(entries) => Self { entries, hits: None },
            Written::Whole { entries, hits } => Self { entries, hits },
        })
    }
}

impl<'de> Deserialize<'de> for Hits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Fixed(u64),
            Of(HitsOf),
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Fixed(hits) => Self::Fixed(hits),
            Written::Of(of) => Self::Of(of),
        })
    }
}
