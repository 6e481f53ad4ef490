//! A map from texts that is cheap to clone and cheap to edit, however large it is.
//!
//! A few items stand in a row. More are spread over shards of some hundreds, shared by all clones of the map; an edit
//! copies its shard, and the list of shards. The map grows one shard at a time (linear hashing): never does one edit
//! move all items. A lookup costs what it costs in one hash table, and one step to the shard.

use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use smallvec::SmallVec;

/// A key or value; most are short enough to need no memory elsewhere.
pub(super) type Text = SmallVec<[u8; 16]>;

/// Up to so many items are compared one after the other.
const FEW: usize = 4;

/// Items per shard, on average: about as many as a map of a million has shards, so that both copies stay small.
const SHARD: usize = 400;

/// Something that is found by a text of its own.
pub(super) trait Named {
    fn text(&self) -> &[u8];
}

/// Items by their texts.
#[derive(Clone, Debug)]
pub(super) enum TextMap<T> {
    Few(SmallVec<[T; 2]>),
    Many(Arc<Shards<T>>),
}

#[derive(Clone, Debug)]
pub(super) struct Shards<T> {
    shards: Vec<Arc<HashTable<T>>>,
    len: usize,
    hasher: RandomState,
}

impl<T> Default for TextMap<T> {
    fn default() -> Self {
        Self::Few(SmallVec::new())
    }
}

impl<T> TextMap<T> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every item, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let (few, many) = match self {
            Self::Few(few) => (Some(few), None),
            Self::Many(many) => (None, Some(many)),
        };
        let many = many.into_iter().flat_map(|many| &many.shards).flat_map(|shard| shard.iter());
        few.into_iter().flatten().chain(many)
    }
}

impl<T: Named + Clone> TextMap<T> {
    pub(super) fn get(&self, text: &[u8]) -> Option<&T> {
        match self {
            Self::Few(few) => few.iter().find(|item| item.text() == text),
            Self::Many(many) => many.get(text),
        }
    }

    /// The item, to be changed in all but its text. Copies what is shared, also when there is no such item.
    pub(super) fn get_mut(&mut self, text: &[u8]) -> Option<&mut T> {
        match self {
            Self::Few(few) => few.iter_mut().find(|item| item.text() == text),
            Self::Many(many) => {
                let (hash, place) = many.find_place(text);
                let shards = Arc::make_mut(many);
                Arc::make_mut(&mut shards.shards[place]).find_mut(hash, |item| item.text() == text)
            }
        }
    }

    /// Adds an item whose text is not in the map yet.
    pub(super) fn insert(&mut self, item: T) {
        match self {
            Self::Few(few) if few.len() < FEW => few.push(item),
            Self::Few(few) => {
                let mut many = Shards { shards: vec![Arc::default()], len: 0, hasher: RandomState::default() };
                few.drain(..).chain([item]).for_each(|item| many.insert(item));
                *self = Self::Many(Arc::new(many));
            }
            Self::Many(many) => Arc::make_mut(many).insert(item),
        }
    }

    /// Takes an item out.
    pub(super) fn take(&mut self, text: &[u8]) -> Option<T> {
        match self {
            Self::Few(few) => few.iter().position(|item| item.text() == text).map(|at| few.swap_remove(at)),
            Self::Many(many) => {
                many.get(text)?;
                let shards = Arc::make_mut(many);
                let taken = shards.take(text)?;
                if shards.len <= FEW / 2 {
                    *self = Self::Few(self.iter().cloned().collect());
                }
                Some(taken)
            }
        }
    }

    /// Changes every item, in all but its text.
    pub(super) fn for_each_mut(&mut self, change: &mut dyn FnMut(&mut T)) {
        match self {
            Self::Few(few) => few.iter_mut().for_each(change),
            Self::Many(many) => {
                for shard in &mut Arc::make_mut(many).shards {
                    Arc::make_mut(shard).iter_mut().for_each(&mut *change);
                }
            }
        }
    }
}

impl<T: Named + Clone> Shards<T> {
    fn get(&self, text: &[u8]) -> Option<&T> {
        let (hash, place) = self.find_place(text);
        self.shards.get(place)?.find(hash, |item| item.text() == text)
    }

    fn find_place(&self, text: &[u8]) -> (u64, usize) {
        let hash = hash(&self.hasher, text);
        (hash, place(hash, self.shards.len()))
    }

    fn insert(&mut self, item: T) {
        let (hash, place) = self.find_place(item.text());
        insert(Arc::make_mut(&mut self.shards[place]), &self.hasher, hash, item);
        self.len += 1;
        if self.len > self.shards.len() * SHARD {
            self.grow();
        }
    }

    fn take(&mut self, text: &[u8]) -> Option<T> {
        let (hash, place) = self.find_place(text);
        let entry = Arc::make_mut(&mut self.shards[place]).find_entry(hash, |item| item.text() == text).ok()?;
        self.len -= 1;
        Some(entry.remove().0)
    }

    /// Splits the next shard in two.
    fn grow(&mut self) {
        let new = self.shards.len();
        let split = new ^ (1 << new.ilog2());
        let mut stay = HashTable::with_capacity(SHARD / 2);
        let mut go = HashTable::with_capacity(SHARD / 2);
        for item in Arc::unwrap_or_clone(std::mem::take(&mut self.shards[split])) {
            let hash = hash(&self.hasher, item.text());
            let half = if place(hash, new + 1) == new { &mut go } else { &mut stay };
            insert(half, &self.hasher, hash, item);
        }
        self.shards[split] = Arc::new(stay);
        self.shards.push(Arc::new(go));
    }
}

fn insert<T: Named>(table: &mut HashTable<T>, hasher: &RandomState, hashed: u64, item: T) {
    table.insert_unique(hashed, item, |item| hash(hasher, item.text()));
}

fn hash(hasher: &RandomState, text: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(text);
    hasher.finish()
}

/// The shard of a hash. While the number of shards is between two powers of two, those that are not split yet have
/// the items of two. The bits are others than those that a shard's own table goes by.
fn place(hash: u64, shards: usize) -> usize {
    let mask = shards.next_power_of_two() - 1;
    let place = (hash >> 32) as usize & mask;
    if place < shards { place } else { place & (mask >> 1) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl Named for (String, u32) {
        fn text(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }

    type Model = BTreeMap<String, u32>;

    fn holds(map: &TextMap<(String, u32)>, model: &Model) -> bool {
        map.len() == model.len()
            && map.iter().cloned().collect::<Model>() == *model
            && model.iter().all(|(text, number)| map.get(text.as_bytes()).is_some_and(|item| item.1 == *number))
    }

    #[test]
    fn growing_and_shrinking_loses_nothing() {
        let (mut map, mut model) = (TextMap::<(String, u32)>::default(), Model::new());
        let mut old = Vec::new();
        for number in 0..5_000 {
            if number % 1_000 == 3 {
                old.push((map.clone(), model.clone()));
            }
            map.insert((number.to_string(), number));
            model.insert(number.to_string(), number);
        }
        assert!(holds(&map, &model));
        for number in 0..4_999 {
            assert_eq!(map.take(number.to_string().as_bytes()), Some((number.to_string(), number)));
        }
        assert!(matches!(&map, TextMap::Few(few) if few.len() == 1));
        assert!(old.iter().all(|(map, model)| holds(map, model)), "clones are not touched");
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0u8..3, 0u32..12, 0u32..100), 0..60)) {
            let (mut map, mut model) = (TextMap::<(String, u32)>::default(), Model::new());
            for (what, text, number) in steps {
                let text = text.to_string();
                let clone = map.clone();
                let before = model.clone();
                match what {
                    0 if model.contains_key(&text) => map.get_mut(text.as_bytes()).unwrap().1 = number,
                    0 => map.insert((text.clone(), number)),
                    _ => prop_assert_eq!(map.take(text.as_bytes()).is_some(), model.contains_key(&text)),
                }
                if what == 0 { model.insert(text, number); } else { model.remove(&text); }
                prop_assert!(holds(&map, &model));
                prop_assert!(holds(&clone, &before));
            }
        }
    }
}
