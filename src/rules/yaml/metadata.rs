//! `metadata`: any map, passed on as it is.

use serde_json::{Map, Number, Value};

use super::fields::{Reader, shorten};
use super::scalar::Meaning;
use super::tree::{Kind, NodeId, Scalar};

impl<'t> Reader<'t, '_> {
    /// The metadata of several maps that are read as one, later ones first in rank.
    pub(super) fn metadata(&mut self, maps: &[NodeId]) -> Option<Map<String, Value>> {
        let mut metadata = Map::new();
        for &map in maps {
            match self.kind(map) {
                Kind::Map(entries) => self.metadata_entries(entries, true, &mut metadata),
                _ if self.is_null(map) => {}
                _ => {
                    let message = format!("metadata must be a map, not {}", self.describe(map));
                    self.problems.error(self.at(map), message, "write 'key: value' lines, indented below it");
                }
            }
        }
        (!metadata.is_empty()).then_some(metadata)
    }

    /// A key at the top is taken as it was written; one further down by its meaning, so that there `n` is "false" and
    /// `1_0` is "10", as in envoyproxy/ratelimit.
    fn metadata_entries(&mut self, entries: &'t [(NodeId, NodeId)], top: bool, metadata: &mut Map<String, Value>) {
        // Only within one map is a second value a mistake.
        let mut written = Vec::with_capacity(entries.len());
        for &(key_id, value) in entries {
            let at = self.at(key_id);
            let Kind::Scalar(scalar) = self.kind(key_id) else {
                let message = format!("key is not of type string: {}", self.describe(key_id));
                self.problems.error(at, message, "write a plain word before the colon");
                continue;
            };
            if scalar.meaning == Meaning::Merge {
                self.merge(value, |reader, entries| reader.metadata_entries(entries, top, metadata));
                continue;
            }
            let key = key_text(scalar, top);
            written.push((key.clone(), at));
            let value = self.metadata_value(value);
            metadata.insert(key, value);
        }
        written.sort();
        for pair in written.windows(2) {
            if let [(key, first), (again, at)] = pair
                && key == again
            {
                let message = format!("'{}' is written twice; the last one counts", shorten(key));
                let help = format!("it stands in line {} already; leave one of them out", first.line);
                self.problems.warning(*at, message, help);
            }
        }
    }

    fn metadata_value(&mut self, id: NodeId) -> Value {
        match self.kind(id) {
            Kind::List(items) => Value::Array(items.iter().map(|&item| self.metadata_value(item)).collect()),
            Kind::Map(entries) => {
                let mut map = Map::new();
                self.metadata_entries(entries, false, &mut map);
                Value::Object(map)
            }
            Kind::Scalar(scalar) => match scalar.meaning {
                Meaning::Null => Value::Null,
                Meaning::Bool(value) => Value::Bool(value),
                Meaning::Int(value) => Number::from_i128(value).map_or(Value::Null, Value::Number),
                Meaning::Float(value) => Number::from_f64(value).map_or_else(
                    || {
                        let message = format!("metadata cannot hold {}", self.describe(id));
                        self.problems.error(self.at(id), message, "write a finite number, or quote it");
                        Value::Null
                    },
                    Value::Number,
                ),
                Meaning::Text | Meaning::Merge => Value::String(scalar.text.to_string()),
            },
        }
    }
}

fn key_text(scalar: &Scalar<'_>, top: bool) -> String {
    match scalar.meaning {
        Meaning::Null if !top => "<nil>".to_owned(),
        Meaning::Null => String::new(),
        Meaning::Bool(value) if !top => value.to_string(),
        Meaning::Int(value) if !top => value.to_string(),
        Meaning::Float(value) if !top => value.to_string(),
        _ => scalar.text.to_string(),
    }
}
