//! Small numbers for texts: user agents, templates, countries. Bounded: what does not fit is [`OTHER`].

use std::sync::Arc;

use std::collections::HashMap;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

/// A text's number.
pub type Id = u16;
/// The source does not tell.
pub const MISSING: Id = 0;
/// There were too many others.
pub const OTHER: Id = 1;

/// Texts and their numbers. The caller hashes, so that a text is hashed once.
#[derive(Debug)]
pub struct Names {
    ids: HashMap<u64, Id, FixedState>,
    names: Vec<Name>,
    capacity: usize,
}

/// A text that has a number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Name {
    text: Arc<str>,
    hash: u64,
    /// When it was last met, in ticks.
    met: u32,
}

impl Names {
    /// At most `capacity` texts.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { ids: HashMap::default(), names: Vec::new(), capacity: capacity.min(usize::from(Id::MAX) - 2) }
    }

    /// The number of a text that has this hash. When the room is full, one that was not met since `stale` gives way.
    pub fn id(&mut self, hash: u64, text: impl FnOnce() -> Arc<str>, tick: u32, stale: u32) -> Id {
        if let Some(id) = self.ids.get(&hash) {
            if let Some(name) = self.names.get_mut(usize::from(*id) - 2) {
                name.met = tick;
            }
            return *id;
        }
        let index = if self.names.len() < self.capacity {
            self.names.push(Name { text: text(), hash, met: tick });
            self.names.len() - 1
        } else {
            // A few are looked at, from a place that the hash chooses.
            let start = usize::try_from(hash >> 33).unwrap_or_default();
            let found = (0..4).map(|step| (start + step) % self.capacity.max(1));
            let found = found.min_by_key(|index| self.names.get(*index).map_or(u32::MAX, |name| name.met));
            let Some((index, old)) = found.and_then(|index| Some((index, self.names.get_mut(index)?))) else {
                return OTHER;
            };
            if old.met >= stale {
                return OTHER;
            }
            self.ids.remove(&old.hash);
            *old = Name { text: text(), hash, met: tick };
            index
        };
        let id = Id::try_from(index + 2).unwrap_or(OTHER);
        self.ids.insert(hash, id);
        id
    }

    /// The text, but for [`MISSING`] and [`OTHER`].
    #[must_use]
    pub fn text(&self, id: Id) -> Option<&Arc<str>> {
        self.names.get(usize::from(id).checked_sub(2)?).map(|name| &name.text)
    }

    /// The texts, in the order of their numbers.
    #[must_use]
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// The same with the numbers that texts had; nothing, when they are too many.
    #[must_use]
    pub fn with(mut self, names: Vec<Name>) -> Option<Self> {
        if names.len() > self.capacity {
            return None;
        }
        for (index, name) in names.iter().enumerate() {
            self.ids.insert(name.hash, Id::try_from(index + 2).ok()?);
        }
        self.names = names;
        Some(self)
    }

    /// One more than the largest number given.
    #[must_use]
    pub fn end(&self) -> usize {
        self.names.len() + 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_room_gives_other_until_something_is_stale() {
        let mut names = Names::new(4);
        let ids: Vec<_> = (0..6_u64).map(|hash| names.id(hash, || hash.to_string().into(), 10, 0)).collect();
        assert_eq!(ids, [2, 3, 4, 5, OTHER, OTHER]);
        assert_eq!(names.text(3).map(|text| &**text), Some("1"));
        assert_eq!(names.text(OTHER), None);
        let again = names.id(9, || "nine".into(), 5_000, 4_000);
        assert_ne!(again, OTHER);
        assert_eq!(names.text(again).map(|text| &**text), Some("nine"));
    }
}
